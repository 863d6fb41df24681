//! The one spelling of `parameters.xml` and of `SetParameters.xml`.

use std::fmt::Write as _;

use super::{Declarations, Parameter, Rule, secrecy};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// The one parameter that every tool sets: Azure Pipelines passes it always, and Web Deploy fails on one it does not know.
const APPLICATION: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<parameters>
  <parameter name="IIS Web Application Name" description="Site and path where the application is installed, for example Default Web Site/app." defaultValue="Default Web Site/app" tags="IisApp">
    <parameterEntry kind="ProviderPath" scope="IisApp" match="^app$" />
  </parameter>
</parameters>
"#;

/// The declaration that every package has.
pub(super) fn application() -> Declarations {
    // It is a text of our own, and a test reads it.
    Declarations::read(APPLICATION.as_bytes()).unwrap_or_default()
}

/// A text as the value of an attribute, such that every reader gets it back whole.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#xD;"),
            '\n' => escaped.push_str("&#xA;"),
            '\t' => escaped.push_str("&#x9;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn attribute(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, " {name}=\"{}\"", escaped(value));
}

pub(super) fn parameters(declarations: &Declarations) -> String {
    let mut out = format!("{HEAD}<parameters>\n");
    for declared in &declarations.parameters {
        parameter(&mut out, declared);
    }
    out.push_str("</parameters>\n");
    out
}

fn parameter(out: &mut String, declared: &Parameter) {
    out.push_str("  <parameter");
    attribute(out, "name", &declared.name);
    let tags = declared.tags.join(", ");
    let optional = [
        ("friendlyName", declared.friendly_name.as_deref()),
        ("description", declared.description.as_deref()),
        ("defaultValue", declared.default.as_deref()),
        ("tags", Some(tags.as_str()).filter(|tags| !tags.is_empty())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            attribute(out, name, value);
        }
    }
    let inside = inside(declared);
    if inside.is_empty() {
        out.push_str(" />\n");
    } else {
        let _ = write!(out, ">\n{inside}  </parameter>\n");
    }
}

fn inside(declared: &Parameter) -> String {
    let mut out = String::new();
    for translation in &declared.translations {
        let text = escaped(&translation.text);
        let culture = escaped(&translation.culture);
        let _ = writeln!(out, "    <{0} culture=\"{culture}\">{text}</{0}>", translation.of);
    }
    validation(&mut out, declared);
    for entry in &declared.entries {
        let _ = write!(out, "    <parameterEntry kind=\"{}\"", entry.matcher.kind());
        attribute(&mut out, "scope", entry.scope.as_str());
        attribute(&mut out, "match", &entry.matcher.to_text());
        if !entry.tags.is_empty() {
            attribute(&mut out, "tags", &entry.tags.join(", "));
        }
        out.push_str(" />\n");
    }
    out
}

fn validation(out: &mut String, declared: &Parameter) {
    let (mut kinds, mut text) = (Vec::new(), None);
    match &declared.validation.rule {
        None => {}
        Some(Rule::Boolean) => kinds.push("Boolean"),
        Some(Rule::Enumeration(choices)) => {
            kinds.push("Enumeration");
            text = Some(choices.join(","));
        }
        Some(Rule::RegularExpression(pattern)) => {
            kinds.push("RegularExpression");
            text = Some(pattern.as_str().to_owned());
        }
    }
    if declared.validation.allow_empty {
        kinds.push("AllowEmpty");
    }
    if kinds.is_empty() {
        return;
    }
    let _ = write!(out, "    <parameterValidation kind=\"{}\"", kinds.join(","));
    if let Some(text) = text {
        attribute(out, "validationString", &text);
    }
    out.push_str(" />\n");
}

/// Parameters that people are to set come with their defaults. What is tagged Hidden is made from others.
pub(super) fn set_parameters(declarations: &Declarations) -> String {
    let mut out = format!("{HEAD}<parameters>\n");
    for declared in declarations.parameters.iter().filter(|declared| !declared.has_tag("Hidden")) {
        let default = declared.default.as_deref().unwrap_or_default();
        let default = if secrecy::is_secret_default(declared, default) { "" } else { default };
        out.push_str("  <setParameter");
        attribute(&mut out, "name", &declared.name);
        attribute(&mut out, "value", default);
        out.push_str(" />\n");
    }
    out.push_str("</parameters>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_package_declares_is_spelled_as_ever() {
        assert_eq!(parameters(&application()), APPLICATION);
    }

    #[test]
    fn every_reader_gets_values_back_whole() {
        let text = " a\r\nb\tc \"<&>' é\u{2028}";
        let xml =
            format!("<parameters><parameter name=\"N\" defaultValue=\"{}\" /></parameters>", escaped(text));
        let read = Declarations::read(xml.as_bytes()).unwrap();
        assert_eq!(read.parameters()[0].default.as_deref(), Some(text));
        assert_eq!(Declarations::read(read.to_xml().as_bytes()).unwrap(), read);
    }
}
