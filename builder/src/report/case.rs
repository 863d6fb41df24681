//! One test case, while it is read.

use staith_model::{TestFailure, TestSummary};

use super::{
    location::{self, Location},
    text,
};

/// Text of one failure that is kept while reading: more than a message ever shows.
const TEXT_KEPT: usize = 64 << 10;

/// What has been read of a test case.
#[derive(Debug)]
pub(super) struct Case {
    suite: String,
    name: String,
    pub(super) skipped: bool,
    /// What a failure or error says of itself, and its text.
    failures: Vec<(String, String)>,
    /// Where the report says that the test is.
    file: Option<String>,
    line: Option<u64>,
}

impl Case {
    pub(super) fn new(suite: String, name: String) -> Self {
        Self { suite, name, skipped: false, failures: Vec::new(), file: None, line: None }
    }

    /// The same case in a suite that was not known before.
    pub(super) fn in_suite(self, suite: String) -> Self {
        Self { suite, ..self }
    }

    /// Says where the test is.
    pub(super) fn is_at(&mut self, file: Option<String>, line: Option<u64>) {
        (self.file, self.line) = (file.filter(|file| !file.trim().is_empty()), line);
    }

    pub(super) fn fail(&mut self, message: String) {
        // A test that fails a million checks has failed; the first few say how.
        if self.failures.len() < 8 {
            self.failures.push((message, String::new()));
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        if let Some((_, body)) = self.failures.last_mut().filter(|(_, body)| body.len() < TEXT_KEPT) {
            body.push_str(&text[..text.floor_char_boundary(TEXT_KEPT)]);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Adds the finished case to the results.
    pub(super) fn count_in(self, summary: &mut TestSummary) {
        let mut one = TestSummary::default();
        match (self.failures.is_empty(), self.skipped) {
            (false, _) => {
                one.failed = 1;
                // Of a million failures, most are only counted.
                if summary.failures.len() < TestSummary::FAILURES_KEPT {
                    one.failures.push(self.into_failure());
                }
            }
            (true, true) => one.skipped = 1,
            (true, false) => one.passed = 1,
        }
        summary.merge(one);
    }

    /// The failure, as it is shown.
    pub(super) fn into_failure(self) -> TestFailure {
        let said: Vec<String> =
            self.failures.iter().map(|(message, body)| text::message(message, body)).collect();
        let texts = self.failures.iter().flat_map(|(message, body)| [message.as_str(), body.as_str()]);
        let place = location::of_failure(texts, self.file.as_deref(), self.line, &self.suite);
        let Location { file, line } = place.unwrap_or_default();
        TestFailure {
            suite: text::name(&self.suite),
            name: text::name(&self.name),
            message: text::message("", &said.join("\n")),
            file: Some(file).filter(|file| !file.is_empty()),
            line,
        }
    }
}
