//! Whatever says a place and a word for how bad it is, in one of the common forms; and the commands by which scripts tell
//! other build systems of problems.

use staith_model::{Finding, Severity};

use super::{
    Lines,
    gcc::at_a_place,
    scan::{finding, place_in_parentheses, severity},
};

#[derive(Debug)]
pub(super) struct Generic;

impl Lines for Generic {
    fn take(&mut self, line: &str) -> Option<Finding> {
        let line = line.trim_start();
        at_a_place(line).or_else(|| in_parentheses(line)).or_else(|| command(line))
    }
}

fn in_parentheses(line: &str) -> Option<Finding> {
    let at = place_in_parentheses(line)?;
    let (severity, rest) = severity(at.rest)?;
    Some(at.finding(severity, None, rest.trim_start_matches([':', ' '])))
}

/// `##vso[task.logissue type=error;sourcepath=a.c;linenumber=3]message`, `::error file=a.c,line=3::message`
fn command(line: &str) -> Option<Finding> {
    if let Some(rest) = line.strip_prefix("##vso[task.logissue ") {
        let (properties, message) = rest.split_once(']')?;
        let severity = match property(properties, ';', "type")? {
            "error" => Severity::Error,
            _ => Severity::Warning,
        };
        let names = ["sourcepath", "linenumber", "columnnumber", "code"];
        return Some(with_properties(severity, properties, ';', names, message));
    }
    let (head, message) = line.strip_prefix("::")?.split_once("::")?;
    let (word, properties) = head.split_once(' ').unwrap_or((head, ""));
    let severity = match word {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        "notice" => Severity::Note,
        _ => return None,
    };
    Some(with_properties(severity, properties, ',', ["file", "line", "col", "title"], message))
}

fn with_properties(
    severity: Severity,
    properties: &str,
    between: char,
    [path, line, column, rule]: [&str; 4],
    message: &str,
) -> Finding {
    let of = |name| property(properties, between, name);
    let number = |name| of(name).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    Finding {
        line: number(line),
        column: number(column),
        ..finding(severity, of(path).unwrap_or_default(), of(rule), message)
    }
}

fn property<'l>(properties: &'l str, between: char, name: &str) -> Option<&'l str> {
    properties.split(between).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}
