//! No bytes break a reader, and nobody's report makes it slow or large.

use proptest::prelude::*;
use staith_model::{StepResults, TestSummary};

use super::super::read;

const SAMPLES: [&[u8]; 12] = [
    include_bytes!("../fixtures/xunit.xml"),
    include_bytes!("../fixtures/nunit.xml"),
    include_bytes!("../fixtures/pytest.xml"),
    include_bytes!("../fixtures/phpunit.xml"),
    include_bytes!("../fixtures/vstest.trx"),
    include_bytes!("../fixtures/node.tap"),
    include_bytes!("../fixtures/perl.tap"),
    include_bytes!("../fixtures/coveragepy.xml"),
    include_bytes!("../fixtures/gcovr.xml"),
    include_bytes!("../fixtures/c8.info"),
    include_bytes!("../fixtures/eslint.sarif"),
    include_bytes!("../fixtures/alphabetical.sarif"),
];

/// A sample and a place in it.
fn sample() -> impl Strategy<Value = (&'static [u8], usize)> {
    prop::sample::select(&SAMPLES[..]).prop_flat_map(|bytes| (Just(bytes), 0..bytes.len()))
}

/// Everything that is said is fit for a terminal.
fn is_harmless(results: &StepResults) -> bool {
    let failures = results.tests.iter().flat_map(|tests| &tests.failures);
    let failures =
        failures.flat_map(|it| [Some(&it.suite), Some(&it.name), Some(&it.message), it.file.as_ref()]);
    let findings = results.findings.iter().flat_map(|findings| &findings.shown);
    let findings = findings.flat_map(|it| [Some(&it.path), it.rule.as_ref(), Some(&it.message), None]);
    let mut texts = failures.chain(findings).flatten();
    texts.all(|text| text.len() <= 4 << 10 && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'))
}

proptest! {
    #[test]
    fn changed_bytes_break_no_reader((bytes, place) in sample(), changed: [u8; 4], length in 0..4usize) {
        let mut bytes = bytes.to_vec();
        let end = (place + length).min(bytes.len());
        bytes.splice(place..end, changed);
        if let Ok(results) = read("r", &bytes) {
            prop_assert!(is_harmless(&results));
        }
    }

    /// A report that was stopped anywhere is an error or a failure, never a pass or less than it says.
    #[test]
    fn no_beginning_of_a_report_is_a_whole_one((bytes, place) in sample()) {
        let whole = read("r", bytes).unwrap();
        if let Ok(part) = read("r", &bytes[..place]) {
            let failed = part.tests.as_ref().is_some_and(|tests| tests.failed > 0);
            // TAP's plan comes first or last; what is left out after all tests is no loss. LCOV may end after a record.
            prop_assert!(failed || part.tests == whole.tests && bytes[place..].trim_ascii().len() < 400
                || part.coverage.is_some());
        }
    }

    #[test]
    fn tap_counts_every_test_once(outcomes in prop::collection::vec(0..5usize, 0..40), plan_first: bool) {
        let lines = ["ok\n", "not ok - a\n", "ok # SKIP b\n", "not ok # TODO c\n", "ok # todo d\n"];
        let tests: String = outcomes.iter().map(|outcome| lines[*outcome]).collect();
        let plan = format!("1..{}\n", outcomes.len());
        let text = if plan_first { plan + &tests } else { tests + &plan };
        let found = read("t", text.as_bytes()).unwrap().tests.unwrap();
        let count = |wanted: &[usize]| outcomes.iter().filter(|outcome| wanted.contains(outcome)).count() as u32;
        let skipped = if outcomes.is_empty() { 1 } else { count(&[2, 3]) };
        prop_assert_eq!((found.passed, found.failed, found.skipped), (count(&[0, 4]), count(&[1]), skipped));
    }

    #[test]
    fn lines_like_tap_break_no_reader(text in "(( {0,9}|)(ok|not ok|1\\.\\.|#|---|\\.\\.\\.|at:|a: b| Subtest: |TODO|[0-9]|\n|\\\\|é)){0,60}") {
        let _ = read("t", format!("1..1\n{text}").as_bytes());
    }
}

#[test]
fn lists_stay_short_and_counts_right() {
    let result = "{\"level\":\"error\",\"message\":{\"text\":\"x\"}},";
    let results = result.repeat(200_000);
    let text =
        format!("{{\"version\":\"2.1.0\",\"runs\":[{{\"results\":[{}]}}]}}", results.trim_end_matches(','));
    let findings = read("s", text.as_bytes()).unwrap().findings.unwrap();
    assert_eq!((findings.errors, findings.shown.len()), (200_000, 100));
    let rules = "{},".repeat(500_000);
    let text = format!(
        "{{\"version\":\"2.1.0\",\"runs\":[{{\"tool\":{{\"driver\":{{\"rules\":[{}]}}}}}}]}}",
        rules.trim_end_matches(',')
    );
    assert_eq!(read("s", text.as_bytes()).unwrap().findings.unwrap().total(), 0);
    let failing = format!("1..200000\n{}", "not ok\n".repeat(200_000));
    let TestSummary { failed, failures, .. } = read("t", failing.as_bytes()).unwrap().tests.unwrap();
    assert_eq!((failed, failures.len()), (200_000, 1000));
}
