//! From how a step's program ended to what that means, in words. Pure.

mod bars;

use staith_model::{Blame, Command, Findings, Reason, StepOutcome, StepPlan, StepResults, TestSummary};

use crate::{
    engine::{EngineError, StepExit},
    report::ReportError,
};

/// What a step's end means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: StepOutcome,
    pub(super) reason: Option<Reason>,
}

impl Verdict {
    /// Somebody cancelled it.
    pub(super) const fn cancelled() -> Self {
        Self { outcome: StepOutcome::Cancelled, reason: None }
    }

    /// It failed through the project's fault.
    pub(super) fn project(outcome: StepOutcome, what: String, remedy: Option<String>) -> Self {
        Self { outcome, reason: Some(Reason { blame: Blame::Project, what, remedy }) }
    }

    /// The step failed through no fault of the project's.
    pub(super) fn broken(what: String, remedy: Option<String>) -> Self {
        let reason = Reason { blame: Blame::Environment, what, remedy };
        Self { outcome: StepOutcome::EngineBroken, reason: Some(reason) }
    }

    /// The step's program did its part, but what it left is not what it declared.
    pub(super) fn undelivered(what: String, remedy: Option<String>) -> Self {
        Self::project(StepOutcome::Failed, what, remedy)
    }
}

/// The meaning of a program's end, given what its reports said. What a matcher `noticed` in its output explains a failure,
/// and makes one only where the step says what may be found.
pub(super) fn of_exit(
    step: &StepPlan,
    exit: &StepExit,
    reported: &StepResults,
    noticed: Option<&Findings>,
) -> Verdict {
    match exit {
        StepExit::Code(0) => of_results(step, reported, noticed),
        StepExit::Code(127) if matches!(step.command, Command::Shell(_)) => Verdict::project(
            StepOutcome::Failed,
            "a command was not found in the sandbox (exit code 127); its name is in the step's last lines"
                .into(),
            Some(not_found(step).into()),
        ),
        // A shell's word for the signal, which a program might also choose for another reason.
        StepExit::Code(code) if *code == 128 + FILE_TOO_LONG && step.limits.disk.is_some() => too_long(
            step,
            format!("exit code {code}, as shells tell of signal {FILE_TOO_LONG} (SIGXFSZ)"),
            "most likely ",
        ),
        StepExit::Code(code) => {
            let mut all = reported.clone();
            all.merge(StepResults { findings: noticed.cloned(), ..StepResults::default() });
            let parts: Vec<String> =
                [format!("exit code {code}")].into_iter().chain(failures(&all)).collect();
            Verdict::project(StepOutcome::Failed, parts.join("; "), None)
        }
        // Not asked of code 0, above: a script that goes on after it has decided that it does not matter.
        StepExit::Signal(FILE_TOO_LONG) if step.limits.disk.is_some() => {
            too_long(step, format!("ended by signal {FILE_TOO_LONG} (SIGXFSZ)"), "")
        }
        StepExit::Signal(signal) => {
            Verdict::project(StepOutcome::Failed, format!("ended by signal {signal}"), None)
        }
        StepExit::TimedOut => Verdict::project(
            StepOutcome::TimedOut,
            format!("still running after {} s; all its processes were ended", step.timeout_seconds),
            Some(format!("if it needs longer, set `timeout` in [steps.{}]", step.name)),
        ),
        StepExit::OutOfMemory => Verdict::project(
            StepOutcome::OutOfMemory,
            "it wanted more memory than it may have".into(),
            Some(format!("if it needs more, set `memory` in [steps.{}]", step.name)),
        ),
        StepExit::DiskUsedUp { limit } => Verdict::project(
            StepOutcome::Failed,
            format!("it wrote more than the {} that it may; all its processes were ended", size(*limit)),
            Some(format!(
                "if it needs more, set `disk` in [steps.{}]; each file counts as 4 KiB at least",
                step.name
            )),
        ),
        StepExit::HostDiskFull { place, free } => Verdict::broken(
            format!(
                "the disk with {} has only {} left; the step, which was writing to it, was ended before it was full",
                place.display(),
                size(*free)
            ),
            Some("make room, or set STAITH_HOME to a directory on another disk".into()),
        ),
        StepExit::Cancelled => Verdict::cancelled(),
        StepExit::NotStarted { program, why } => Verdict::project(
            StepOutcome::Failed,
            format!("`{program}` could not be started in the sandbox: {why}"),
            Some(not_found(step).into()),
        ),
    }
}

/// The signal of the kernel to a program that would make a file longer than it may be.
const FILE_TOO_LONG: i32 = 25;

/// No file may be longer than all that a step may write, holes counted, because the kernel can bound that at the byte.
fn too_long(step: &StepPlan, ended: String, how_surely: &str) -> Verdict {
    let limit = size(step.limits.disk.unwrap_or_default());
    let what = format!(
        "{ended}: {how_surely}a file would have been longer than the {limit} that the step may write (holes count)"
    );
    let remedy = format!("let it make a shorter file, or set `disk` in [steps.{}]", step.name);
    Verdict::project(StepOutcome::Failed, what, Some(remedy))
}

/// Rounded to what people compare with the size of a disk.
pub(super) fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

/// What to do about a program that is missing where the step ran.
const fn not_found(step: &StepPlan) -> &'static str {
    match step.image {
        None => "install it on this host below /usr, or declare its toolchain with `tools` in runner.toml",
        Some(_) => {
            "the step sees only what is in its image: use one that has the program, or let the step install it"
        }
    }
}

/// A failed test and an error in a report fail the step, also when its program ended as if all were well.
fn of_results(step: &StepPlan, reported: &StepResults, noticed: Option<&Findings>) -> Verdict {
    let failures = bars::below(step, reported, noticed);
    if failures.is_empty() {
        return Verdict { outcome: StepOutcome::Passed, reason: None };
    }
    Verdict::project(StepOutcome::Failed, failures.join("; "), None)
}

/// What in the results fails a step, in words.
fn failures(results: &StepResults) -> Vec<String> {
    failed_tests(results).into_iter().chain(errors_found(results)).collect()
}

fn failed_tests(results: &StepResults) -> Option<String> {
    results.tests.as_ref().filter(|tests| tests.failed > 0).map(tests_in_words)
}

fn errors_found(results: &StepResults) -> Option<String> {
    results.findings.as_ref().filter(|findings| findings.errors > 0).map(findings_in_words)
}

fn tests_in_words(tests: &TestSummary) -> String {
    format!("{} of {} tests failed", tests.failed, tests.total())
}

fn findings_in_words(findings: &Findings) -> String {
    let count = |many: u32, one: &str| format!("{many} {one}{}", if many == 1 { "" } else { "s" });
    let errors = count(findings.errors, "error");
    match findings.warnings {
        0 => format!("{errors} found"),
        warnings => format!("{errors} and {} found", count(warnings, "warning")),
    }
}

/// Reports that can't be read: a sum with a hole in it would look like a pass.
pub(super) fn of_report_errors(errors: &[ReportError]) -> Option<Verdict> {
    let (first, more) = errors.split_first()?;
    let more = match more.len() {
        0 => String::new(),
        1 => "\nand one more report can't be read".to_owned(),
        many => format!("\nand {many} more reports can't be read"),
    };
    let remedy = "let the step write it in one of the formats that are read, or take it out of `reports`";
    Some(Verdict::undelivered(format!("{first}{more}"), Some(remedy.into())))
}

/// Nothing was written where reports were declared.
pub(super) fn without_reports(globs: &[String]) -> Verdict {
    let remedy = "write JUnit XML, TRX, TAP, Cobertura, LCOV or SARIF there, or remove `reports`";
    Verdict::undelivered(format!("it wrote no report that matches {}", globs.join(", ")), Some(remedy.into()))
}

/// The meaning of an engine's failure.
pub(super) fn of_engine_error(error: &EngineError) -> Verdict {
    Verdict::broken(error.to_string(), error.remedy().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use staith_model::{Digest, Finding, Severity};

    use super::*;

    fn findings(errors: u32, warnings: u32) -> Findings {
        let finding = |severity| Finding {
            severity,
            path: "a.c".into(),
            line: None,
            column: None,
            rule: None,
            message: String::new(),
        };
        let mut findings = Findings::default();
        (0..errors).for_each(|_| findings.add(finding(Severity::Error)));
        (0..warnings).for_each(|_| findings.add(finding(Severity::Warning)));
        findings
    }

    fn told(code: i32, reported: StepResults, noticed: Option<Findings>) -> Option<String> {
        let step = StepPlan::new("a".parse().unwrap(), Command::Argv(vec!["cc".into()]), Digest::of(b"tree"));
        let verdict = of_exit(&step, &StepExit::Code(code), &reported, noticed.as_ref());
        assert_eq!(verdict.outcome == StepOutcome::Passed, verdict.reason.is_none());
        verdict.reason.map(|reason| reason.what)
    }

    #[test]
    fn the_bound_on_a_files_length_is_told_where_there_is_one() {
        let mut step = StepPlan::new("a".parse().unwrap(), Command::Shell("x".into()), Digest::of(b"tree"));
        let told =
            |step: &StepPlan, exit| of_exit(step, &exit, &StepResults::default(), None).reason.unwrap();
        assert_eq!(told(&step, StepExit::Code(153)).what, "exit code 153");
        assert_eq!(told(&step, StepExit::Signal(25)).what, "ended by signal 25");
        step.limits.disk = Some(32 << 20);
        let known = told(&step, StepExit::Signal(25));
        assert!(known.what.contains("32 MiB") && !known.what.contains("likely"), "{known:?}");
        assert!(known.remedy.unwrap().contains("`disk` in [steps.a]"));
        assert!(told(&step, StepExit::Code(153)).what.contains("most likely a file would"));
        assert_eq!(told(&step, StepExit::Code(152)).what, "exit code 152");
    }

    #[test]
    fn what_is_missing_is_missing_where_the_step_ran() {
        let remedy = |image: Option<&str>, exit: &StepExit| {
            let step = StepPlan::new("a".parse().unwrap(), Command::Shell("x".into()), Digest::of(b"tree"));
            let step = StepPlan { image: image.map(str::to_owned), ..step };
            of_exit(&step, exit, &StepResults::default(), None).reason.unwrap().remedy.unwrap()
        };
        let gone = StepExit::NotStarted { program: "x".into(), why: "not found".into() };
        for exit in [StepExit::Code(127), gone] {
            assert!(remedy(None, &exit).contains("on this host"));
            let of_image = remedy(Some("alpine:3"), &exit);
            assert!(of_image.contains("its image") && !of_image.contains("host"), "{of_image}");
        }
    }

    #[test]
    fn errors_fail_where_a_report_says_them_and_explain_where_a_matcher_does() {
        let tests = Some(TestSummary { passed: 3, failed: 1, ..TestSummary::default() });
        let reported = |errors, warnings| StepResults {
            findings: Some(findings(errors, warnings)),
            ..StepResults::default()
        };
        assert_eq!(told(0, reported(3, 2), None).unwrap(), "3 errors and 2 warnings found");
        assert_eq!(told(0, reported(1, 0), None).unwrap(), "1 error found");
        assert_eq!(told(0, reported(0, 9), None), None);
        assert_eq!(told(0, StepResults::default(), Some(findings(3, 0))), None);
        assert_eq!(
            told(2, StepResults::default(), Some(findings(1, 1))).unwrap(),
            "exit code 2; 1 error and 1 warning found"
        );
        let both = StepResults { tests, ..reported(1, 0) };
        assert_eq!(told(0, both.clone(), None).unwrap(), "1 of 4 tests failed; 1 error found");
        assert_eq!(told(7, both, None).unwrap(), "exit code 7; 1 of 4 tests failed; 1 error found");
    }
}
