//! From how a step's program ended to what that means, in words. Pure.

use staith_model::{Blame, Command, Reason, StepOutcome, StepPlan, TestSummary};

use crate::engine::{EngineError, StepExit};

/// What a step's end means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) outcome: StepOutcome,
    pub(super) reason: Option<Reason>,
}

impl Verdict {
    fn project(outcome: StepOutcome, what: String, remedy: Option<String>) -> Self {
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

/// The meaning of a program's end, given what its tests said.
pub(super) fn of_exit(step: &StepPlan, exit: &StepExit, tests: Option<&TestSummary>) -> Verdict {
    match exit {
        StepExit::Code(0) => of_tests(tests),
        StepExit::Code(127) if matches!(step.command, Command::Shell(_)) => Verdict::project(
            StepOutcome::Failed,
            "a command was not found in the sandbox (exit code 127); its name is in the step's last lines"
                .into(),
            Some(NOT_FOUND.into()),
        ),
        StepExit::Code(code) => {
            let failed = tests.filter(|tests| tests.failed > 0).map(|tests| format!("; {}", in_words(tests)));
            let what = format!("exit code {code}{}", failed.unwrap_or_default());
            Verdict::project(StepOutcome::Failed, what, None)
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
            Some(format!("if it needs more, set `disk` in [steps.{}]", step.name)),
        ),
        StepExit::HostDiskFull { place, free } => Verdict::broken(
            format!(
                "the disk with {} has only {} left; the step, which was writing to it, was ended before it was full",
                place.display(),
                size(*free)
            ),
            Some("make room, or set STAITH_HOME to a directory on another disk".into()),
        ),
        StepExit::Cancelled => Verdict { outcome: StepOutcome::Cancelled, reason: None },
        StepExit::NotStarted { program, why } => Verdict::project(
            StepOutcome::Failed,
            format!("`{program}` could not be started in the sandbox: {why}"),
            Some(NOT_FOUND.into()),
        ),
    }
}

/// Rounded to what people compare with the size of a disk.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

const NOT_FOUND: &str =
    "install it on this host below /usr, or declare its toolchain with `tools` in runner.toml";

/// A failed test fails the step, also when the test runner ended as if all were well.
fn of_tests(tests: Option<&TestSummary>) -> Verdict {
    match tests.filter(|tests| tests.failed > 0) {
        Some(tests) => Verdict::project(StepOutcome::Failed, in_words(tests), None),
        None => Verdict { outcome: StepOutcome::Passed, reason: None },
    }
}

fn in_words(tests: &TestSummary) -> String {
    format!("{} of {} tests failed", tests.failed, tests.failed + tests.passed + tests.skipped)
}

/// The meaning of an engine's failure.
pub(super) fn of_engine_error(error: &EngineError) -> Verdict {
    Verdict::broken(error.to_string(), error.remedy().map(str::to_owned))
}
