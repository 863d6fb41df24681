//! What reports said, in words. Pure.

use staith_model::{Coverage, Finding, Findings, Severity, StepResults, TestFailure};

use super::super::{clean::clean_word, human};

/// Findings of one step that are shown to people; whoever wants more reads the events.
const FINDINGS_SHOWN: usize = 20;

/// All that a step's reports came to, one thing each; nothing that is empty.
pub(crate) fn results(results: &StepResults) -> Vec<String> {
    let tests = results.tests.as_ref().map(super::tests);
    let coverage = results.coverage.as_ref().and_then(coverage);
    let findings = results.findings.as_ref().map(findings).filter(|words| !words.is_empty());
    let labelled = [
        tests.map(|words| format!("tests: {words}")),
        coverage.map(|words| format!("coverage: {words}")),
        findings.map(|words| format!("found: {words}")),
    ];
    labelled.into_iter().flatten().collect()
}

/// How much was covered: `87 % of lines, 70 % of branches`. `None` if there was nothing to cover.
pub(crate) fn coverage(coverage: &Coverage) -> Option<String> {
    let parts =
        [(coverage.lines, coverage.of_lines, "lines"), (coverage.branches, coverage.of_branches, "branches")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, of, _)| *of > 0)
        .map(|(covered, of, what)| format!("{} % of {what}", percent(*covered, *of)))
        .collect();
    Some(parts.join(", ")).filter(|words| !words.is_empty())
}

/// Rounded down, so that only all is 100 %.
fn percent(part: u64, of: u64) -> u128 {
    (u128::from(part) * 100).checked_div(u128::from(of)).unwrap_or_default().min(100)
}

/// How much was found, what is bad first: `3 errors, 2 warnings`. Empty if nothing was.
pub(crate) fn findings(findings: &Findings) -> String {
    let parts = [(findings.errors, "error"), (findings.warnings, "warning"), (findings.notes, "note")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, what)| human::count(*many as usize, what))
        .collect();
    parts.join(", ")
}

/// The findings to show, each as compilers write it: `src/a.c:3:5: error: ... [rule]`, on one line.
pub(crate) fn finding(findings: &Findings) -> impl Iterator<Item = (Severity, String)> {
    findings.shown.iter().take(FINDINGS_SHOWN).map(|finding| (finding.severity, one(finding)))
}

fn one(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let number = |number: Option<u32>| number.map(|number| format!(":{number}")).unwrap_or_default();
    let column = finding.line.and(finding.column);
    let place = format!("{}{}{}", clean_word(&finding.path), number(finding.line), number(column));
    let place = if place.is_empty() { place } else { format!("{place}: ") };
    let rule = finding.rule.as_deref().map(|rule| format!(" [{}]", clean_word(rule))).unwrap_or_default();
    format!("{place}{severity}: {}{rule}", clean_word(&finding.message))
}

/// How many findings are not shown, in words.
pub(crate) fn more_findings(findings: &Findings) -> Option<String> {
    let shown = findings.shown.len().min(FINDINGS_SHOWN);
    match (findings.total() as usize).saturating_sub(shown) {
        0 => None,
        more => Some(format!("and {} more", human::number(more as u64))),
    }
}

/// Where a failed test is: ` (tests/cart.py:12)`; nothing where that is not known.
pub(crate) fn place(failure: &TestFailure) -> String {
    let line = failure.line.map(|line| format!(":{line}")).unwrap_or_default();
    let file = failure.file.as_deref().filter(|file| !file.is_empty());
    file.map(|file| format!(" ({}{line})", clean_word(file))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_is_never_rounded_up_to_all() {
        let of = |lines, of_lines, branches, of_branches| {
            coverage(&Coverage { lines, of_lines, branches, of_branches })
        };
        assert_eq!(of(87, 100, 0, 0).unwrap(), "87 % of lines");
        assert_eq!(of(9_999, 10_000, 7, 10).unwrap(), "99 % of lines, 70 % of branches");
        assert_eq!(of(u64::MAX, u64::MAX, 0, 0).unwrap(), "100 % of lines");
        assert_eq!(of(0, 0, 0, 0), None);
    }

    #[test]
    fn findings_read_as_compilers_write_them() {
        let mut findings = Findings::default();
        let error = Finding {
            severity: Severity::Error,
            path: "src/a.c".into(),
            line: Some(3),
            column: Some(5),
            rule: Some("-Wall".into()),
            message: "bad\u{1b}[2J\nworse".into(),
        };
        findings.add(error.clone());
        findings.add(Finding { path: String::new(), line: None, rule: None, ..error.clone() });
        findings.add(Finding { severity: Severity::Note, column: None, ..error.clone() });
        let told: Vec<String> = finding(&findings).map(|(_, told)| told).collect();
        assert_eq!(
            told,
            [
                "src/a.c:3:5: error: bad worse [-Wall]",
                "error: bad worse",
                "src/a.c:3: note: bad worse [-Wall]"
            ]
        );
        assert_eq!(super::findings(&findings), "2 errors, 1 note");
        assert_eq!(more_findings(&findings), None);
        (0..1_200).for_each(|_| findings.add(error.clone()));
        assert_eq!(
            (finding(&findings).count(), more_findings(&findings).unwrap()),
            (20, "and 1,183 more".into())
        );
    }
}
