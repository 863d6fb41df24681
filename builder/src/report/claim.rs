//! What a report says of itself, beside what its cases say. Where the two differ, the worse holds.
//!
//! A program that crashes at its end may have counted a failure that it did not write down, and one that crashes at its
//! beginning may have announced tests that it did not run. Programs count differently (assertions for tests, one test for
//! each try), so numbers that merely differ say nothing: only failures of which no case tells, and tests of which there is
//! no case at all.

use staith_model::{TestFailure, TestSummary};

use super::text;

/// What a suite or a whole report says of itself.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Claim {
    /// Tests that were not skipped.
    run: u64,
    failed: u64,
}

/// What cases said up to a place in a report.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counted {
    total: u32,
    failed: u32,
}

impl Counted {
    pub(super) const fn of(summary: &TestSummary) -> Self {
        Self { total: summary.total(), failed: summary.failed }
    }
}

impl Claim {
    /// That there are so many tests, of which some did not run.
    pub(super) fn of_tests(self, all: Option<u64>, not_run: [Option<u64>; 2]) -> Self {
        let not_run = not_run.into_iter().flatten().fold(0, u64::saturating_add);
        let run = all.unwrap_or_default().saturating_sub(not_run);
        Self { run: self.run.saturating_add(run), ..self }
    }

    /// That so many of each kind failed.
    pub(super) fn of_failures<const KINDS: usize>(self, kinds: [Option<u64>; KINDS]) -> Self {
        Self { failed: kinds.into_iter().flatten().fold(self.failed, u64::saturating_add), ..self }
    }

    /// The worse of two claims about the same tests.
    pub(super) fn or(self, other: Self) -> Self {
        Self { run: self.run.max(other.run), failed: self.failed.max(other.failed) }
    }

    /// Counts what is claimed and of what the cases since `before` say nothing as failed.
    pub(super) fn hold_to(self, before: Counted, summary: &mut TestSummary, suite: String) {
        let now = Counted::of(summary);
        let (failed, message) = if self.failed > 0 && now.failed == before.failed {
            (self.failed, format!("the report says that {} failed, and has no test that did", self.failed))
        } else if self.run > 0 && now.total == before.total {
            let message = format!(
                "the report says that there are {} tests, and has none of them; the test program probably ended early",
                self.run
            );
            (self.run, message)
        } else {
            return;
        };
        summary.merge(TestSummary {
            failed: u32::try_from(failed).unwrap_or(u32::MAX),
            failures: vec![TestFailure {
                suite: text::name(&suite),
                name: "(what the report says of itself)".to_owned(),
                message,
                file: None,
                line: None,
            }],
            ..TestSummary::default()
        });
    }
}
