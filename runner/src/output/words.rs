//! What happened, in words: one wording for every way of showing it. Pure.

use staith_model::{DeploymentChange, DeploymentState, Exit, Name, Package, Plan, StepOutcome, TestSummary};

mod results;

pub(crate) use results::{coverage, finding, findings, more_findings, place, results};

use super::{clean::clean_word, human};

/// How a step ended.
pub(crate) const fn outcome(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Passed => "passed",
        StepOutcome::Cached => "cached",
        StepOutcome::Failed => "failed",
        StepOutcome::TimedOut => "timed out",
        StepOutcome::OutOfMemory => "out of memory",
        StepOutcome::Cancelled => "cancelled",
        StepOutcome::Skipped => "skipped",
        StepOutcome::Lost => "lost",
        StepOutcome::EngineBroken => "could not run",
    }
}

/// Said of a failure that the pipeline allows.
pub(crate) const ALLOWED: &str = "allowed";

/// Whether the run goes on, and may pass, after this step came to this failure.
pub(crate) fn is_allowed(plan: &Plan, step: &Name, outcome: StepOutcome) -> bool {
    plan.step(step).is_some_and(|step| step.fails_as_it_may(outcome))
}

/// Said of a step that ended at its second attempt or later; nothing of one that did not have to be repeated.
pub(crate) fn attempt(attempts: u32) -> Option<String> {
    (attempts > 1).then(|| format!("attempt {attempts}"))
}

/// Whether a step's ending has to be explained: it neither went well nor follows from something else.
pub(crate) const fn needs_explaining(outcome: StepOutcome) -> bool {
    outcome.blame().is_some()
}

/// Services, by name; empty where there are none.
pub(crate) fn services(services: &[Name]) -> String {
    let names = services.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    match services.len() {
        0 => names,
        1 => format!("service {names}"),
        _ => format!("services {names}"),
    }
}

/// Results of tests, what is bad first: `1 failed, 11 passed`. A report without any says so: `0 tests`.
pub(crate) fn tests(tests: &TestSummary) -> String {
    let parts = [(tests.failed, "failed"), (tests.passed, "passed"), (tests.skipped, "skipped")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, what)| format!("{} {what}", human::number(u64::from(*many))))
        .collect();
    if parts.is_empty() { "0 tests".to_owned() } else { parts.join(", ") }
}

/// Said of a source without any commit: of a directory without git, and of a repository before its first one.
const NOT_COMMITTED: &str = "not committed";

/// Said of a source that is not as its commit has it.
pub(crate) const UNCOMMITTED: &str = "with uncommitted changes";

/// What is built, one thing each: project and version, commit, what it was merged into, uncommitted changes.
pub(crate) fn subject(plan: &Plan) -> Vec<String> {
    let mut parts = vec![format!("{} {}", plan.project, clean_word(&plan.version))];
    match &plan.source.commit {
        Some(commit) => parts.push(format!("commit {}", human::short_id(&clean_word(commit)))),
        None => parts.push(NOT_COMMITTED.to_owned()),
    }
    if let Some(branch) = &plan.trigger.merged_into {
        parts.push(format!("merged into {}", clean_word(branch)));
    } else if plan.source.dirty && plan.source.commit.is_some() {
        parts.push(UNCOMMITTED.to_owned());
    }
    parts
}

/// A package: name, version, size, digest.
pub(crate) fn package(package: &Package) -> Vec<String> {
    vec![format!("{} {}", package.name, package.version), human::size(package.size), package.digest.short()]
}

/// Where a deployment is.
pub(crate) const fn deployment(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Planned => "planned",
        DeploymentState::AwaitingGates => "waiting for its gates",
        DeploymentState::Acquiring => "waiting for its turn",
        DeploymentState::Staging => "putting files in place",
        DeploymentState::Staged => "all files in place",
        DeploymentState::Switching { .. } => "moving traffic",
        DeploymentState::Soaking { .. } => "watching",
        DeploymentState::Finalizing => "parking the old release",
        DeploymentState::Succeeded => "succeeded",
        DeploymentState::Halting => "stopping",
        DeploymentState::RollingBack => "rolling back",
        DeploymentState::RolledBack => "rolled back",
        DeploymentState::RollbackFailed => "rollback failed",
        DeploymentState::NeedsDecision => "needs a decision",
        DeploymentState::Migrating => "doing what has to be done once before the switch",
        DeploymentState::Paused { .. } => "paused",
        DeploymentState::Failed => "failed before anything showed",
        DeploymentState::Rejected => "rejected",
        DeploymentState::Expired => "expired",
        DeploymentState::Superseded => "superseded",
        DeploymentState::Cancelled => "cancelled",
    }
}

/// A deployment's change, where a log should hold a line of it.
pub(crate) const fn deployment_change(change: DeploymentChange) -> Option<&'static str> {
    match change {
        // What follows at once says as much.
        DeploymentChange::Submitted
        | DeploymentChange::GatesPassed
        | DeploymentChange::Acquired
        | DeploymentChange::WaveSwitched
        | DeploymentChange::AllWavesHeld => None,
        DeploymentChange::GatesLapsed => Some("its gates opened too long ago and are asked again"),
        DeploymentChange::MigrationBegan => Some("doing what has to be done once before the switch"),
        DeploymentChange::PlanOutdated => Some("what is there has changed since it was planned"),
        DeploymentChange::Paused => Some("paused"),
        DeploymentChange::Resumed => Some("going on"),
        DeploymentChange::Retried => Some("trying again what failed"),
        DeploymentChange::Accepted => Some("what is there is accepted"),
        DeploymentChange::StagingFailed => Some("failed; nothing had become visible"),
        DeploymentChange::Rejected => Some("rejected"),
        DeploymentChange::Expired => Some("its gates did not open in time"),
        DeploymentChange::Superseded => Some("a newer deployment took its place"),
        DeploymentChange::Cancelled => Some("cancelled before anything was done"),
        DeploymentChange::StagedEverywhere => Some("all files are in place; nothing shows yet"),
        DeploymentChange::SwitchBegan | DeploymentChange::NextWave => Some("moving traffic"),
        DeploymentChange::Finalized => Some("succeeded: the new release serves"),
        DeploymentChange::Aborted => Some("stopping"),
        DeploymentChange::RollbackBegan => Some("rolling back"),
        DeploymentChange::Restored => Some("rolled back: what served before serves"),
        DeploymentChange::RestoreFailed => Some("rollback failed"),
        DeploymentChange::Undecidable => Some("needs a person's decision"),
    }
}

/// The last word of a command, and what explains it: how it ended and after how long; what that means; the exit code.
pub(crate) fn verdict(exit: Exit, millis: u64) -> Vec<String> {
    let took = human::millis(millis);
    match exit {
        Exit::Passed => vec![format!("passed in {took}")],
        Exit::Interrupted => vec![format!("interrupted after {took}"), exit_code(exit)],
        _ => vec![format!("failed after {took}"), exit.meaning().to_owned(), exit_code(exit)],
    }
}

fn exit_code(exit: Exit) -> String {
    format!("exit code {}", exit.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_say_what_is_bad_first() {
        let summary = |passed, failed, skipped| TestSummary { passed, failed, skipped, failures: Vec::new() };
        assert_eq!(tests(&summary(11, 1, 2)), "1 failed, 11 passed, 2 skipped");
        assert_eq!(tests(&summary(1200, 0, 0)), "1,200 passed");
        assert_eq!(tests(&summary(0, 0, 0)), "0 tests");
    }

    #[test]
    fn what_has_no_commit_is_not_committed() {
        let mut plan = crate::output::stories::shop();
        plan.source.dirty = true;
        assert_eq!(subject(&plan)[1..], ["commit 3f2a91c0d1e2", UNCOMMITTED]);
        plan.source.commit = None;
        assert_eq!(subject(&plan)[1..], [NOT_COMMITTED]);
    }

    #[test]
    fn every_outcome_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<&str> = StepOutcome::ALL.into_iter().map(outcome).collect();
        assert_eq!(words.len(), StepOutcome::ALL.len());
    }
}
