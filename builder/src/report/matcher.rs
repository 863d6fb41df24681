//! Finds what compilers and linters complain of in the lines that they write.
//!
//! What a matcher finds explains a failure; it never makes one, because lines can say anything. Whoever wants findings to
//! fail a step lets the linter write SARIF.

use std::{
    borrow::Cow,
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use staith_model::{Finding, Findings};

use super::text;

mod eslint;
mod gcc;
mod generic;
mod msbuild;
mod php;
mod python;
mod rustc;
mod scan;
#[cfg(test)]
mod tests;

/// Bytes of a line that are looked at: no compiler says where it is any later.
const BYTES_READ: usize = 4 << 10;
/// Different findings that are remembered, so that one that is told twice is counted once.
const REMEMBERED: usize = 50_000;

/// What understands the lines of one kind of program.
trait Lines: Send + Sync + std::fmt::Debug {
    /// Takes a line without its end, and gives a finding that is now complete.
    fn take(&mut self, line: &str) -> Option<Finding>;

    /// No line follows; gives a finding that waited for more.
    fn end(&mut self) -> Option<Finding> {
        None
    }
}

/// Reads the lines of a step and collects findings. Its memory is bounded, and it looks at each line once.
#[derive(Debug)]
pub struct Matcher {
    lines: Box<dyn Lines>,
    findings: Findings,
    seen: HashSet<u64>,
}

impl Matcher {
    /// Every name that [`named`](Self::named) knows.
    pub const NAMES: [&str; 10] =
        ["gcc", "go", "rustc", "msbuild", "csc", "tsc", "eslint", "python", "php", "generic"];

    /// A matcher by the name that a pipeline gives; `None` if nothing is known by it.
    pub fn named(name: &str) -> Option<Self> {
        let lines: Box<dyn Lines> = match name {
            "gcc" => Box::new(gcc::Gcc),
            "go" => Box::new(gcc::Go),
            "rustc" => Box::new(rustc::Rustc::default()),
            "msbuild" | "csc" | "tsc" => Box::new(msbuild::MsBuild),
            "eslint" => Box::new(eslint::Eslint::default()),
            "python" => Box::new(python::Python::default()),
            "php" => Box::new(php::Php),
            "generic" => Box::new(generic::Generic),
            _ => return None,
        };
        Some(Self { lines, findings: Findings::default(), seen: HashSet::new() })
    }

    /// Takes the next line that the step wrote, to either stream, without its end. Colours don't matter.
    pub fn push(&mut self, line: &str) {
        let start = &line[..line.floor_char_boundary(BYTES_READ)];
        let is_plain = !start.chars().any(|c| c.is_control() && c != '\t');
        let line = if is_plain { Cow::Borrowed(start) } else { Cow::Owned(text::clean(start)) };
        let found = self.lines.take(line.trim_end());
        self.add(found);
    }

    /// What was found.
    pub fn finish(mut self) -> Findings {
        let found = self.lines.end();
        self.add(found);
        self.findings
    }

    /// Counts a finding unless it was told before: build systems repeat the errors at the end, and a header's warnings for
    /// every file that includes it.
    fn add(&mut self, found: Option<Finding>) {
        let Some(finding) = found else { return };
        let mut hasher = DefaultHasher::new();
        (finding.severity as u8, &finding.path, finding.line, finding.column).hash(&mut hasher);
        (&finding.rule, &finding.message).hash(&mut hasher);
        let is_new = self.seen.len() >= REMEMBERED || self.seen.insert(hasher.finish());
        if is_new {
            self.findings.add(finding);
        }
    }
}
