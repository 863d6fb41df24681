//! Whether a step's results come up to what its pipeline asks for. Pure.

use staith_model::{Findings, FindingsBar, Severity, Shortfall, StepPlan, StepResults};

use super::{errors_found, failed_tests};

/// What in the results fails a step whose program ended as if all were well, in words.
pub(super) fn below(step: &StepPlan, reported: &StepResults, noticed: Option<&Findings>) -> Vec<String> {
    let findings = match &step.findings {
        None => errors_found(reported),
        Some(bar) => too_many(bar, reported.findings.as_ref(), noticed),
    };
    let coverage = step.coverage.iter().flat_map(|bar| bar.missed(reported.coverage.as_ref()));
    failed_tests(reported).into_iter().chain(findings).chain(coverage.map(too_little)).collect()
}

fn too_many(bar: &FindingsBar, reported: Option<&Findings>, noticed: Option<&Findings>) -> Option<String> {
    let all = match (reported, noticed) {
        (None, None) => {
            return Some("no report says what was found, and `findings` asks for it".to_owned());
        }
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (Some(reported), Some(noticed)) => {
            let mut all = reported.clone();
            all.merge(noticed.clone());
            all
        }
    };
    bar.is_exceeded(&all).then(|| {
        let what = match (bar.level, bar.counted(&all)) {
            (Severity::Error, 1) => "error",
            (Severity::Error, _) => "errors",
            (Severity::Warning, 1) => "warning or error",
            (Severity::Warning, _) => "warnings and errors",
            (Severity::Note, 1) => "finding",
            (Severity::Note, _) => "findings",
        };
        format!("{} {what} found, and {} is the most", bar.counted(&all), bar.most)
    })
}

fn too_little(missed: Shortfall) -> String {
    let Shortfall { of, covered, least } = missed;
    match covered {
        Some((covered, all)) => {
            format!("{} of {of} are covered, and {least} % is the least", percent(covered, all))
        }
        None => format!("no report says how many {of} are covered, and {least} % is the least"),
    }
}

/// Rounded down to what shows that it is below the bar.
fn percent(part: u64, all: u64) -> String {
    let hundredths = (u128::from(part) * 10_000).checked_div(u128::from(all)).unwrap_or_default();
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole} %"),
        (whole, rest) => format!("{whole}.{rest:02} %"),
    }
}

#[cfg(test)]
mod tests {
    use staith_model::{Command, Coverage, CoverageBar, Digest, TestSummary};

    use super::*;

    fn step(coverage: Option<CoverageBar>, findings: Option<FindingsBar>) -> StepPlan {
        let plan = StepPlan::new("a".parse().unwrap(), Command::Shell("true".into()), Digest::of(b"tree"));
        StepPlan { coverage, findings, ..plan }
    }

    fn found(errors: u32, warnings: u32) -> Findings {
        Findings { errors, warnings, ..Findings::default() }
    }

    #[test]
    fn too_little_coverage_is_told_with_both_numbers() {
        let bar = CoverageBar { lines: Some(80), branches: Some(60) };
        let told = |coverage| {
            let results = StepResults { coverage, ..StepResults::default() };
            below(&step(Some(bar), None), &results, None)
        };
        let of = |lines, branches| Some(Coverage { lines, of_lines: 10_000, branches, of_branches: 10 });
        assert_eq!(told(of(8_000, 6)), [""; 0]);
        assert_eq!(told(of(7_999, 6)), ["79.99 % of lines are covered, and 80 % is the least"]);
        assert_eq!(told(of(9_000, 5)), ["50 % of branches are covered, and 60 % is the least"]);
        assert_eq!(told(None).len(), 2);
        assert!(told(None)[0].starts_with("no report says how many lines are covered"));
    }

    #[test]
    fn what_may_be_found_is_what_the_step_says() {
        let told = |bar, reported, noticed: Option<Findings>| {
            let results = StepResults { findings: reported, ..StepResults::default() };
            below(&step(None, bar), &results, noticed.as_ref()).concat()
        };
        let bar = |level, most| Some(FindingsBar { level, most });
        let (warning, error) = (Severity::Warning, Severity::Error);
        assert_eq!(told(None, Some(found(0, 9)), Some(found(3, 0))), "");
        assert_eq!(told(None, Some(found(1, 0)), None), "1 error found");
        assert_eq!(told(bar(error, 5), Some(found(5, 9)), None), "");
        assert_eq!(told(bar(error, 0), None, Some(found(1, 0))), "1 error found, and 0 is the most");
        assert_eq!(
            told(bar(warning, 2), Some(found(1, 1)), Some(found(0, 1))),
            "3 warnings and errors found, and 2 is the most"
        );
        assert!(told(bar(warning, 2), None, None).starts_with("no report says what was found"));
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let bar = CoverageBar { lines: Some(80), branches: None };
        let tests = Some(TestSummary { passed: 1, failed: 1, ..TestSummary::default() });
        let results = StepResults { tests, findings: Some(found(2, 0)), ..StepResults::default() };
        assert_eq!(below(&step(Some(bar), None), &results, None).len(), 3);
    }
}
