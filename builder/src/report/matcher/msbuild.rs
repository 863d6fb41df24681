//! MSBuild and the compilers below it, and TypeScript's.

use staith_model::Finding;

use super::{
    Lines,
    scan::{code, finding, is_path, place, place_in_parentheses, severity},
};

#[derive(Debug)]
pub(super) struct MsBuild;

impl Lines for MsBuild {
    fn take(&mut self, line: &str) -> Option<Finding> {
        let line = without_node(line.trim_start());
        at_a_place(line).or_else(|| of_a_tool(line))
    }
}

/// `Shop.cs(3,5): error CS0103: ... [Shop.csproj]`, `src/a.ts(3,5): error TS2304: ...`, and TypeScript for terminals:
/// `src/a.ts:3:5 - error TS2304: ...`
fn at_a_place(line: &str) -> Option<Finding> {
    let at = place_in_parentheses(line).or_else(|| place(line))?;
    let (severity, rest) = severity(at.rest)?;
    let (rule, message) = rule_and_message(rest)?;
    Some(at.finding(severity, rule, message))
}

/// `CSC : error CS2001: ...`, `/workspace/Shop.csproj : error NU1101: ...`, `error TS18003: ...`
fn of_a_tool(line: &str) -> Option<Finding> {
    let (origin, rest) = line.split_once(" : ").unwrap_or(("", line));
    let (severity, rest) = severity(rest)?;
    let (rule, message) = rule_and_message(rest)?;
    // Without a file, only a code tells it from a sentence.
    rule?;
    Some(finding(severity, if is_path(origin) { origin } else { "" }, rule, message))
}

fn rule_and_message(rest: &str) -> Option<(Option<&str>, &str)> {
    let rest = rest.trim_start();
    let (rule, message) = match code(rest) {
        Some((code, message)) => (Some(code), message),
        None => (None, rest.strip_prefix(':')?),
    };
    Some((rule, without_project(message)))
}

/// Of several projects that are built at once, the number of the one that speaks comes first: `  2>Shop.cs(3,5): ...`
fn without_node(line: &str) -> &str {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    line[digits..].strip_prefix('>').filter(|_| digits > 0).map_or(line, str::trim_start)
}

/// The project's file is told at the end.
fn without_project(message: &str) -> &str {
    let message = message.trim();
    let parts = message.strip_suffix(']').and_then(|text| text.rsplit_once(" ["));
    match parts {
        Some((message, project)) if project.contains("proj") => message,
        _ => message,
    }
}
