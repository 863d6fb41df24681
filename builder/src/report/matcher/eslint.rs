//! ESLint's own form, and Stylelint's: a file, then its problems below it.

use staith_model::{Finding, Severity};

use super::{
    Lines,
    scan::{At, is_path, severity},
};
use crate::report::location::leading_number;

#[derive(Debug, Default)]
pub(super) struct Eslint {
    file: Option<String>,
}

impl Lines for Eslint {
    fn take(&mut self, line: &str) -> Option<Finding> {
        if line.trim().is_empty() {
            self.file = None;
        } else if !line.starts_with([' ', '\t']) {
            self.file = is_path(line.trim_end()).then(|| line.trim_end().to_owned());
        } else {
            return self.problem(line.trim());
        }
        None
    }
}

impl Eslint {
    /// `3:5  error  'x' is defined but never used  no-unused-vars`
    fn problem(&self, text: &str) -> Option<Finding> {
        let path = self.file.as_deref()?;
        let (line, rest) = leading_number(text)?;
        let digits = rest.strip_prefix(':')?.bytes().take_while(u8::is_ascii_digit).count();
        let column = rest[1..=digits].parse().ok().filter(|column| *column > 0);
        let rest = rest[1 + digits..].trim_start();
        let (severity, rest) = severity(rest).or_else(|| symbol(rest))?;
        let rest = rest.trim();
        // Columns are two spaces apart, and the rule is the last.
        let (message, rule) = match rest.rsplit_once("  ") {
            Some((message, rule)) if !rule.contains(' ') => (message, Some(rule)),
            _ => (rest, None),
        };
        Some(At { path, line, column, rest }.finding(severity, rule, message))
    }
}

/// What Stylelint draws instead of a word.
fn symbol(text: &str) -> Option<(Severity, &str)> {
    let error = text.strip_prefix('✖').or_else(|| text.strip_prefix('×'));
    let warning = || text.strip_prefix('⚠').or_else(|| text.strip_prefix('‼'));
    error.map(|rest| (Severity::Error, rest)).or_else(|| Some((Severity::Warning, warning()?)))
}
