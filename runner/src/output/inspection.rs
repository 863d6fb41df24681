//! What a package is, for people and for programs.

use std::io;

use serde_json::json;
use staith_packager::web_deploy::{
    Declared, Dialect, Inspection, Writer,
    archive::{Provider, ProviderOptions},
};

use super::{
    clean::clean_word,
    human,
    look::{Look, Tone},
    packages::look,
    sink::Sink,
    table,
};

/// Says what a package is, on standard output.
///
/// # Errors
/// It could not be written, and not because nobody reads.
pub(crate) fn inspection(
    package: &str,
    inspection: &Inspection,
    entries: bool,
    json: bool,
) -> io::Result<()> {
    let mut out = Sink::new(io::stdout());
    if json {
        out.line(&told(package, inspection).to_string());
    } else {
        lines(package, inspection, entries, look()).iter().for_each(|line| out.line(line));
    }
    out.written()
}

/// The report, with its warnings as people read them beside their kinds.
fn told(package: &str, inspection: &Inspection) -> serde_json::Value {
    let mut told = json!({"package": package});
    let mut report = serde_json::to_value(inspection).unwrap_or_default();
    let warnings = report.get_mut("warnings").and_then(|warnings| warnings.as_array_mut());
    for (warning, said) in warnings.into_iter().flatten().zip(&inspection.warnings) {
        warning["text"] = said.to_string().into();
    }
    if let (Some(told), serde_json::Value::Object(report)) = (told.as_object_mut(), report) {
        told.extend(report);
    }
    told
}

fn lines(package: &str, inspection: &Inspection, entries: bool, look: Look) -> Vec<String> {
    let mut lines = vec![look.tint(Tone::Strong, &clean_word(package))];
    lines.extend(table::lines(&facts(inspection)));
    lines.push(String::new());
    lines.push(look.tint(Tone::Strong, &clean_word(&inspection.root)));
    lines.extend(inspection.options.iter().flat_map(|options| settings(options, 1)));
    for provider in &inspection.providers {
        provider_lines(provider, 1, &mut lines);
    }
    if !inspection.parameters.is_empty() {
        lines.push(String::new());
        lines.push(look.tint(Tone::Strong, "parameters"));
        lines.extend(inspection.parameters.iter().flat_map(parameter_lines));
    }
    if entries {
        lines.push(String::new());
        let row = |entry: &staith_packager::web_deploy::InspectedEntry| {
            vec![
                format!("  {}", human::number(entry.size)),
                entry.time.to_string(),
                entry.crc.clone(),
                clean_word(&entry.name),
            ]
        };
        lines.extend(table::lines(&inspection.entries.iter().map(row).collect::<Vec<_>>()));
    }
    if !inspection.warnings.is_empty() {
        lines.push(String::new());
        let warning = |said: String| format!("{} {}", look.tint(Tone::Odd, "warning:"), clean_word(&said));
        lines.extend(inspection.warnings.iter().map(|said| warning(said.to_string())));
    }
    lines
}

fn facts(inspection: &Inspection) -> Vec<Vec<String>> {
    let writer = match inspection.writer {
        Writer::Staith => match inspection.profile {
            Some(profile) => format!("Staith, profile {profile}"),
            None => "Staith".to_owned(),
        },
        Writer::WebDeploy => "Web Deploy".to_owned(),
        Writer::Other => "another tool".to_owned(),
    };
    let dialect = match inspection.dialect {
        Dialect::Archive => "Web Deploy package",
        Dialect::Gallery => "Web App Gallery package",
    };
    let (size, unpacked) = (human::size(inspection.size), human::size(inspection.unpacked));
    let (files, entries) =
        (human::count(inspection.files, "file"), human::number(inspection.entries.len() as u64));
    let row = |label: &str, value: String| vec![format!("  {label}"), value];
    let mut rows = vec![
        row("kind", dialect.to_owned()),
        row("made by", writer),
        row("digest", inspection.digest.to_string()),
    ];
    rows.extend(inspection.content.map(|content| row("content", content.to_string())));
    rows.push(row("size", format!("{size}, {unpacked} unpacked, {files} in {entries} entries")));
    rows
}

fn provider_lines(provider: &Provider, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let path = provider.path.as_deref().map(clean_word).unwrap_or_default();
    let mut line = format!("{indent}{} {path}", clean_word(&provider.name)).trim_end().to_owned();
    for attribute in &provider.attributes {
        let value = clean_word(&attribute.value.to_string());
        if !value.is_empty() {
            line.push_str(&format!(", {} {value}", clean_word(&attribute.name)));
        }
    }
    if let Some(stream) = &provider.stream {
        line.push_str(&format!(", in {}", clean_word(stream)));
    }
    lines.push(line);
    lines.extend(provider.options.iter().flat_map(|options| settings(options, depth + 1)));
    for child in &provider.children {
        provider_lines(child, depth + 1, lines);
    }
}

/// What an options blob sets.
fn settings(options: &ProviderOptions, depth: usize) -> Vec<String> {
    let indent = "  ".repeat(depth);
    let setting = |setting: &staith_packager::web_deploy::archive::Setting| {
        let value = setting.value.as_deref().map(clean_word).unwrap_or_default();
        format!("{indent}option {} = {value}", clean_word(&setting.name))
    };
    options.settings.iter().map(setting).collect()
}

fn parameter_lines(parameter: &Declared) -> Vec<String> {
    let default = match parameter.default.as_deref() {
        Some("") => "empty unless set".to_owned(),
        Some(default) => clean_word(default),
        None => "must be set".to_owned(),
    };
    let mut lines = vec![format!("  {}: {default}", clean_word(&parameter.name))];
    lines.extend(parameter.description.as_deref().map(|text| format!("      {}", clean_word(text))));
    if !parameter.tags.is_empty() {
        lines.push(format!("      tags {}", clean_word(&parameter.tags.join(", "))));
    }
    for entry in &parameter.entries {
        let part = |label: &str, part: &Option<String>| match part.as_deref() {
            Some(part) => format!(" {label} {}", clean_word(part)),
            None => String::new(),
        };
        let (scope, matched) = (part("in", &entry.scope), part("at", &entry.matched));
        lines.push(format!("      {}{scope}{matched}", clean_word(&entry.kind)));
    }
    lines
}
