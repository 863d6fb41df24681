//! rustc and Clippy: what is wrong on one line, where on the next, which lint somewhat below.

use staith_model::{Finding, Severity};

use super::{
    Lines,
    gcc::at_a_place,
    scan::{place, severity},
};

/// Lines between what is wrong and where: a message may have several.
const PATIENCE: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Rustc {
    /// What is wrong: how bad, its code, the message; and how many more lines are waited for its place.
    header: Option<(Severity, Option<String>, String, u32)>,
    /// What is known but perhaps for the name of its lint.
    open: Option<Finding>,
}

impl Lines for Rustc {
    fn take(&mut self, line: &str) -> Option<Finding> {
        if let Some(header) = header(line) {
            self.header = Some(header);
            return self.open.take();
        }
        if let Some(finding) = at_a_place(line) {
            return self.open.replace(finding);
        }
        if let Some(at) = line.trim_start().strip_prefix("--> ") {
            return self.place(at);
        }
        if line.trim().is_empty() {
            return self.open.take();
        }
        if let Some(finding) = self.open.as_mut().filter(|finding| finding.rule.is_none()) {
            finding.rule = lint(line);
        }
        if let Some((.., patience)) = &mut self.header {
            *patience -= 1;
            if *patience == 0 {
                self.header = None;
            }
        }
        None
    }

    fn end(&mut self) -> Option<Finding> {
        self.open.take()
    }
}

impl Rustc {
    fn place(&mut self, at: &str) -> Option<Finding> {
        let (severity, code, message, _) = self.header.take()?;
        let at = format!("{} ", at.trim_end());
        let finding = place(&at)?.finding(severity, code.as_deref(), &message);
        self.open.replace(finding)
    }
}

/// `error[E0382]: borrow of moved value: `x``
fn header(line: &str) -> Option<(Severity, Option<String>, String, u32)> {
    let (severity, rest) = severity(line)?;
    let (code, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(code, rest)| (Some(code.to_owned()), rest))?,
        None => (None, rest),
    };
    let message = rest.strip_prefix(": ")?;
    Some((severity, code, message.to_owned(), PATIENCE))
}

/// The lint's name in one of the notes below.
fn lint(line: &str) -> Option<String> {
    for (before, after, of) in [
        ("`#[warn(", ")]", ""),
        ("`#[deny(", ")]", ""),
        ("rust-clippy/", "\n", "clippy::"),
        ("`-D ", "`", ""),
    ] {
        let Some((_, rest)) = line.split_once(before) else { continue };
        let name = rest.split(after).next().unwrap_or_default();
        let name = if of.is_empty() { name } else { name.rsplit('#').next().unwrap_or_default() };
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte));
        if is_name && !name.is_empty() && name.len() < 100 {
            return Some(format!("{of}{name}").replace('-', "_"));
        }
    }
    None
}
