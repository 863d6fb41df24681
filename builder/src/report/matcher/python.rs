//! Python: flake8, Ruff, Pylint, mypy and whoever writes as they do, and tracebacks.

use staith_model::{Finding, Severity};

use super::{
    Lines,
    gcc::at_a_place,
    scan::{code, finding, place},
};
use crate::report::location::{Location, quoted_file};

/// Lines between a rule of Ruff's and its place.
const PATIENCE: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Python {
    /// The frame of a traceback that is the project's own, as far down as there is one.
    frame: Option<Location>,
    /// What Ruff says is wrong before it says where.
    header: Option<(String, String, u32)>,
}

impl Lines for Python {
    fn take(&mut self, line: &str) -> Option<Finding> {
        if let Some(finding) = self.traceback(line).or_else(|| self.ruff(line)) {
            return Some(finding);
        }
        if let Some(finding) = at_a_place(line) {
            return Some(finding);
        }
        let at = place(line)?;
        let (rule, message) = code(at.rest)?;
        Some(at.finding(severity_of(rule), Some(rule), message))
    }
}

impl Python {
    /// The frames of a traceback, then the exception on the first line that is not indented.
    fn traceback(&mut self, line: &str) -> Option<Finding> {
        if line.trim_start().starts_with("File \"") {
            if let Some(frame) = quoted_file(line) {
                let is_own = |frame: &Location| {
                    !["/lib/", "site-packages", "dist-packages", "<"].iter().any(|it| frame.file.contains(it))
                };
                if is_own(&frame) || !self.frame.as_ref().is_some_and(is_own) {
                    self.frame = Some(frame);
                }
            }
            return None;
        }
        if line.is_empty() || line.starts_with([' ', '\t']) || line.starts_with("Traceback (") {
            return None;
        }
        let Location { file, line: number } = self.frame.take()?;
        let error = line.split([':', ' ']).next().unwrap_or_default();
        let rule = error.ends_with("Error") || error.ends_with("Exception");
        let found = finding(Severity::Error, &file, rule.then_some(error), line);
        Some(Finding { line: number, ..found })
    }

    /// ``F401 [*] `os` imported but unused``, and on the next line ` --> src/a.py:1:8`
    fn ruff(&mut self, line: &str) -> Option<Finding> {
        if let Some(at) = line.trim_start().strip_prefix("--> ") {
            let (rule, message, _) = self.header.take()?;
            let at = format!("{} ", at.trim_end());
            return Some(place(&at)?.finding(severity_of(&rule), Some(&rule), &message));
        }
        if let Some((rule, message)) = code(line).filter(|(_, message)| !message.is_empty()) {
            let message = message.strip_prefix("[*] ").unwrap_or(message);
            self.header = Some((rule.to_owned(), message.to_owned(), PATIENCE));
        } else if let Some((.., patience)) = &mut self.header {
            *patience -= 1;
            if *patience == 0 {
                self.header = None;
            }
        }
        None
    }
}

/// By convention, `E` and `F` are errors (pycodestyle, Pyflakes, Pylint), `C`, `R` and `I` matters of taste.
fn severity_of(rule: &str) -> Severity {
    match rule.bytes().next() {
        Some(b'E' | b'F') => Severity::Error,
        Some(b'C' | b'R' | b'I') => Severity::Note,
        _ => Severity::Warning,
    }
}
