//! Adding results up: counts stay right whatever happens, and lists stay bounded.

use super::{Coverage, Finding, Findings, Severity, StepResults, TestSummary};

/// All findings are counted; this many, the worst, are kept to be shown.
const FINDINGS_KEPT: usize = 100;

impl StepResults {
    /// Adds another report's results to these.
    pub fn merge(&mut self, other: Self) {
        if let Some(tests) = other.tests {
            self.tests.get_or_insert_default().merge(tests);
        }
        if let Some(coverage) = other.coverage {
            self.coverage.get_or_insert_default().merge(coverage);
        }
        if let Some(findings) = other.findings {
            self.findings.get_or_insert_default().merge(findings);
        }
    }
}

impl TestSummary {
    /// All failed tests are counted; this many are kept to be shown.
    pub const FAILURES_KEPT: usize = 1000;

    /// Adds another report's results to these. All failures are counted, and the first thousand kept.
    pub fn merge(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
        let room = Self::FAILURES_KEPT.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }

    /// How many tests there are.
    pub const fn total(&self) -> u32 {
        self.passed.saturating_add(self.failed).saturating_add(self.skipped)
    }
}

impl Coverage {
    /// Adds what another report covers. Two reports over the same files count them twice.
    pub const fn merge(&mut self, other: Self) {
        self.lines = self.lines.saturating_add(other.lines);
        self.of_lines = self.of_lines.saturating_add(other.of_lines);
        self.branches = self.branches.saturating_add(other.branches);
        self.of_branches = self.of_branches.saturating_add(other.of_branches);
    }
}

impl Findings {
    /// Counts a finding, and keeps it if it is among the hundred worst; of equally bad ones, the first are kept.
    pub fn add(&mut self, finding: Finding) {
        let counter = match finding.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
            Severity::Note => &mut self.notes,
        };
        *counter = counter.saturating_add(1);
        self.keep(finding);
    }

    /// Adds another report's findings to these.
    pub fn merge(&mut self, other: Self) {
        self.errors = self.errors.saturating_add(other.errors);
        self.warnings = self.warnings.saturating_add(other.warnings);
        self.notes = self.notes.saturating_add(other.notes);
        other.shown.into_iter().for_each(|finding| self.keep(finding));
    }

    /// How many there are.
    pub const fn total(&self) -> u32 {
        self.errors.saturating_add(self.warnings).saturating_add(self.notes)
    }

    fn keep(&mut self, finding: Finding) {
        let place = self.shown.partition_point(|kept| kept.severity >= finding.severity);
        if place < FINDINGS_KEPT {
            self.shown.insert(place, finding);
            self.shown.truncate(FINDINGS_KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TestFailure;

    fn finding(severity: Severity, number: usize) -> Finding {
        let message = number.to_string();
        Finding { severity, path: String::new(), line: None, column: None, rule: None, message }
    }

    fn severities() -> impl Strategy<Value = Vec<Severity>> {
        let one = prop_oneof![Just(Severity::Note), Just(Severity::Warning), Just(Severity::Error)];
        prop::collection::vec(one, 0..300)
    }

    proptest! {
        #[test]
        fn the_worst_are_kept_in_their_order_and_all_are_counted(severities in severities(), cut: prop::sample::Index) {
            let all: Vec<Finding> = severities.iter().enumerate().map(|(n, severity)| finding(*severity, n)).collect();
            let of = |some: &[Finding]| some.iter().cloned().fold(Findings::default(), |mut sum, one| { sum.add(one); sum });
            let sum = of(&all);
            prop_assert_eq!(sum.total() as usize, all.len());
            let mut worst = all.clone();
            worst.sort_by_key(|one| std::cmp::Reverse(one.severity));
            worst.truncate(FINDINGS_KEPT);
            prop_assert_eq!(&sum.shown, &worst);
            let (head, tail) = all.split_at(cut.index(all.len() + 1));
            let mut halves = of(head);
            halves.merge(of(tail));
            prop_assert_eq!(halves, sum);
        }
    }

    #[test]
    fn what_is_counted_never_overflows_and_what_is_kept_stays_bounded() {
        let failure = TestFailure {
            suite: String::new(),
            name: String::new(),
            message: String::new(),
            file: None,
            line: None,
        };
        let many = TestSummary { passed: 0, failed: u32::MAX, skipped: 1, failures: vec![failure; 900] };
        let mut sum = many.clone();
        sum.merge(many);
        assert_eq!(
            (sum.failed, sum.total(), sum.failures.len()),
            (u32::MAX, u32::MAX, TestSummary::FAILURES_KEPT)
        );
        let mut coverage = Coverage { lines: u64::MAX, of_lines: u64::MAX, branches: 1, of_branches: 2 };
        coverage.merge(coverage);
        assert_eq!(coverage, Coverage { lines: u64::MAX, of_lines: u64::MAX, branches: 2, of_branches: 4 });
    }

    #[test]
    fn kinds_of_results_do_not_mix() {
        let coverage = Coverage { lines: 1, of_lines: 2, ..Coverage::default() };
        let mut sum = StepResults { coverage: Some(coverage), ..StepResults::default() };
        sum.merge(StepResults { findings: Some(Findings::default()), ..StepResults::default() });
        assert_eq!(
            (sum.tests, sum.coverage, sum.findings),
            (None, Some(coverage), Some(Findings::default()))
        );
    }
}
