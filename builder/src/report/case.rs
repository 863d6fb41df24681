//! One test case, while its element is read.

use staith_model::{TestFailure, TestSummary};

use super::text;

/// All failures are counted; this many are kept to be shown.
const FAILURES_KEPT: usize = 1000;
/// Text of one element that is kept while reading: more than a message ever shows.
const TEXT_KEPT: usize = 64 << 10;

/// What has been read of a `<testcase>`.
#[derive(Debug)]
pub(super) struct Case {
    suite: String,
    name: String,
    pub(super) skipped: bool,
    /// The `message` attribute and the text of each `<failure>` and `<error>`.
    failures: Vec<(String, String)>,
}

impl Case {
    pub(super) fn new(suite: String, name: String, skipped: bool) -> Self {
        Self { suite, name, skipped, failures: Vec::new() }
    }

    pub(super) fn fail(&mut self, message: String) {
        // A test that fails a million checks has failed; the first few say how.
        if self.failures.len() < 8 {
            self.failures.push((message, String::new()));
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        if let Some((_, body)) = self.failures.last_mut().filter(|(_, body)| body.len() < TEXT_KEPT) {
            body.push_str(text);
        }
    }

    /// Adds the finished case to the results.
    pub(super) fn count_in(self, summary: &mut TestSummary) {
        if self.failures.is_empty() {
            let counter = if self.skipped { &mut summary.skipped } else { &mut summary.passed };
            *counter = counter.saturating_add(1);
            return;
        }
        summary.failed = summary.failed.saturating_add(1);
        if summary.failures.len() == FAILURES_KEPT {
            return;
        }
        let said: Vec<String> =
            self.failures.iter().map(|(message, body)| text::message(message, body)).collect();
        summary.failures.push(TestFailure {
            file: None,
            line: None,
            suite: text::name(&self.suite),
            name: text::name(&self.name),
            message: text::message("", &said.join("\n")),
        });
    }
}
