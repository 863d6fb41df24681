//! What a package lets one set, and what it comes to.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use serde_json::{Map, Value as Json, json};
use staith_packager::parameters::{Declarations, Entry, Kind, Parameter, Resolved, Rule, Settled};

use super::{
    clean::clean_word,
    look::{Look, Tone},
    sink::Sink,
    table,
};

/// Lists a package's parameters on standard output, and what they come to where that is known.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn parameters(
    package: &str,
    declared: &Declarations,
    resolved: Option<&Resolved>,
    json: bool,
) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        out.line(&as_json(package, declared, resolved).to_string());
    } else {
        let look = Look::choose(io::stdout().is_terminal(), |name| std::env::var(name).ok());
        lines(package, declared, resolved, look).iter().for_each(|line| out.line(line));
    }
    out.written()
}

/// Says that a file to fill in was written.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn set_file_written(file: &Path, json: bool) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    let file = file.display().to_string();
    out.line(&if json {
        json!({ "written": file }).to_string()
    } else {
        clean_word(&format!("{file} is written"))
    });
    out.written()
}

fn settled<'a>(resolved: Option<&'a Resolved>, parameter: &Parameter) -> Option<&'a Settled> {
    resolved?.settled().iter().find(|settled| settled.parameter.name == parameter.name)
}

fn as_json(package: &str, declared: &Declarations, resolved: Option<&Resolved>) -> Json {
    let parameters: Vec<Json> = declared
        .parameters()
        .iter()
        .map(|parameter| {
            let mut told = Map::new();
            let mut tell = |key: &str, value: Json| told.insert(key.to_owned(), value);
            tell("name", json!(parameter.name));
            for (key, text) in [
                ("friendly_name", parameter.friendly_name.as_deref()),
                ("description", parameter.description.as_deref()),
                ("default", parameter.shown_default()),
            ] {
                if let Some(text) = text {
                    tell(key, json!(text));
                }
            }
            tell("tags", json!(parameter.tags));
            tell("secret", json!(parameter.is_secret()));
            tell("takes", takes_json(parameter));
            tell("entries", parameter.entries.iter().map(entry_json).collect());
            if let Some(settled) = settled(resolved, parameter) {
                tell("value", json!(settled.value.shown()));
                tell("from", json!(settled.from.to_string()));
            }
            Json::Object(told)
        })
        .collect();
    let notes = declared.notes().iter();
    let notes: Vec<Json> =
        notes.map(|note| json!({"line": note.line, "column": note.column, "ignored": note.what})).collect();
    json!({ "package": package, "parameters": parameters, "notes": notes })
}

fn takes_json(parameter: &Parameter) -> Json {
    let empty = parameter.validation.allow_empty;
    match &parameter.validation.rule {
        None => json!({ "empty": empty }),
        Some(Rule::Boolean) => json!({ "empty": empty, "boolean": true }),
        Some(Rule::Enumeration(choices)) => json!({ "empty": empty, "one_of": choices }),
        Some(Rule::RegularExpression(pattern)) => json!({ "empty": empty, "matching": pattern.as_str() }),
    }
}

fn entry_json(entry: &Entry) -> Json {
    json!({
        "kind": entry.matcher.kind().as_str(), "scope": entry.scope.as_str(), "match": entry.matcher.to_text(),
        "may_match_nothing": entry.may_match_nothing(), "windows_only": entry.matcher.kind().is_for_windows(),
    })
}

fn lines(package: &str, declared: &Declarations, resolved: Option<&Resolved>, look: Look) -> Vec<String> {
    if declared.is_empty() {
        return vec![format!("{} declares no parameters", clean_word(package))];
    }
    let mut lines = Vec::new();
    for parameter in declared.parameters() {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(look.tint(Tone::Strong, &clean_word(&parameter.name)));
        lines.extend(table::lines(&rows(parameter, settled(resolved, parameter), look)));
    }
    if !declared.notes().is_empty() {
        lines.push(String::new());
    }
    for note in declared.notes() {
        let what = clean_word(&note.what);
        lines.push(format!(
            "parameters.xml:{}:{}: {what} is not known and was ignored",
            note.line, note.column
        ));
    }
    lines
}

/// What is said of a parameter, in rows of two cells.
fn rows(parameter: &Parameter, settled: Option<&Settled>, look: Look) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row =
        |label: &str, text: String| rows.push(vec![format!("  {}", look.tint(Tone::Quiet, label)), text]);
    if let Some(settled) = settled {
        let from = look.tint(Tone::Quiet, &format!("({})", clean_word(&settled.from.to_string())));
        row("value", format!("{} {from}", clean_word(&quoted(&settled.value.shown()))));
    }
    for (label, text) in [("called", &parameter.friendly_name), ("for", &parameter.description)] {
        if let Some(text) = text {
            row(label, clean_word(text));
        }
    }
    match parameter.shown_default() {
        Some(default) => row("default", clean_word(&quoted(default))),
        None => row("default", "none: it has to be set".to_owned()),
    }
    if !parameter.tags.is_empty() {
        row("tags", clean_word(&parameter.tags.join(", ")));
    }
    let mut takes: Vec<String> = parameter.validation.rule.iter().map(rule).collect();
    takes.extend(parameter.validation.allow_empty.then(|| "nothing".to_owned()));
    if !takes.is_empty() {
        row("takes", clean_word(&takes.join(", or ")));
    }
    for entry in &parameter.entries {
        row("goes to", clean_word(&place(entry)));
    }
    rows
}

/// A text that may be empty or have spaces at its ends.
fn quoted(text: &str) -> String {
    if text.is_empty() || text.trim() != text { format!("\"{text}\"") } else { text.to_owned() }
}

fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Boolean => "True or False".to_owned(),
        Rule::Enumeration(choices) => {
            choices.iter().map(|choice| quoted(choice)).collect::<Vec<_>>().join(", ")
        }
        Rule::RegularExpression(pattern) => format!("what matches {}", pattern.as_str()),
    }
}

fn place(entry: &Entry) -> String {
    let (kind, scope, text) = (entry.matcher.kind(), entry.scope.as_str(), entry.matcher.to_text());
    let place = match kind {
        Kind::ProviderPath => format!("the path of provider {scope} where it matches {text}"),
        Kind::XmlFile => format!("XML files {scope} at {text}"),
        Kind::TextFile => format!("text files {scope} in place of {text}"),
        Kind::TextFilePosition => format!("text files {scope} at line;column;count {text}"),
        _ => format!("{kind} {scope} {text}, on a Windows machine only"),
    };
    if entry.may_match_nothing() { format!("{place}, if there is such") } else { place }
}

#[cfg(test)]
mod tests {
    use staith_packager::parameters::{Values, resolve};

    use super::*;

    const DECLARED: &str = r#"<parameters odd="1">
        <parameter name="Shop" friendlyName="Name of the shop" description="Shown on top" defaultValue="Lantern Lane">
            <parameterEntry kind="XmlFile" scope="\\web\.config$" match="//@shop" /><hint /></parameter>
        <parameter name="Db" defaultValue="Server=.;Password=hunter2" tags="SqlConnectionString">
            <parameterEntry kind="SqlCommandVariable" scope="x" match="y" /></parameter>
        <parameter name="Coin"><parameterValidation kind="Enumeration,AllowEmpty" validationString="EUR,GBP" /></parameter>
    </parameters>"#;

    #[test]
    fn people_see_what_can_be_set_and_no_secret() {
        let declared = Declarations::read(DECLARED.as_bytes()).unwrap();
        let mut values = Values::default();
        values.set("Coin=", &declared).unwrap();
        let resolved = resolve(&declared, &values).unwrap();
        let expected = [
            "Shop",
            "  value    Lantern Lane (default)",
            "  called   Name of the shop",
            "  for      Shown on top",
            "  default  Lantern Lane",
            r"  goes to  XML files \\web\.config$ at //@shop",
            "",
            "Db",
            "  value    *** (default)",
            "  default  ***",
            "  tags     SqlConnectionString",
            "  goes to  SqlCommandVariable x y, on a Windows machine only",
            "",
            "Coin",
            "  value    \"\" (command line)",
            "  default  none: it has to be set",
            "  takes    EUR, GBP, or nothing",
            "",
            "parameters.xml:3:85: the element `hint` is not known and was ignored",
        ];
        assert_eq!(lines("x", &declared, Some(&resolved), Look::BARE), expected);
        let json = as_json("x", &declared, Some(&resolved)).to_string();
        assert!(!json.contains("hunter2") && json.contains(r#""value":"***""#), "{json}");
        assert_eq!(
            lines("x.zip", &Declarations::default(), None, Look::BARE),
            ["x.zip declares no parameters"]
        );
    }
}
