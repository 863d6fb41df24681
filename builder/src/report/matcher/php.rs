//! PHP itself, which says where at the end, and the linters that write as compilers do.

use staith_model::{Finding, Severity};

use super::{
    Lines,
    gcc::at_a_place,
    scan::{At, place},
};
use crate::report::location::leading_number;

const WORDS: [(&str, Severity); 9] = [
    ("Parse error: ", Severity::Error),
    ("Fatal error: ", Severity::Error),
    ("Recoverable fatal error: ", Severity::Error),
    ("Core error: ", Severity::Error),
    ("Compile error: ", Severity::Error),
    ("Warning: ", Severity::Warning),
    ("Deprecated: ", Severity::Warning),
    ("Notice: ", Severity::Note),
    ("Strict Standards: ", Severity::Note),
];

#[derive(Debug)]
pub(super) struct Php;

impl Lines for Php {
    fn take(&mut self, line: &str) -> Option<Finding> {
        of_php(line.strip_prefix("PHP ").unwrap_or(line)).or_else(|| at_a_place(line))
    }
}

/// `Parse error: syntax error, unexpected '}' in src/a.php on line 3`,
/// `Fatal error: Uncaught Error: no in src/a.php:3`
fn of_php(line: &str) -> Option<Finding> {
    let (rest, severity) =
        WORDS.iter().find_map(|(word, severity)| Some((line.strip_prefix(word)?, *severity)))?;
    let rest = rest.trim();
    if let Some((before, number)) = rest.rsplit_once(" on line ") {
        let (line, _) = leading_number(number)?;
        let (message, path) = before.rsplit_once(" in ")?;
        return Some(At { path, line, column: None, rest }.finding(severity, None, message));
    }
    let (message, at) = rest.rsplit_once(" in ")?;
    let at = format!("{at}:");
    Some(place(&at)?.finding(severity, None, message))
}
