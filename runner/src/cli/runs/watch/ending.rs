//! Which exit code the end of a run is: the one that `staith run` would have ended with.

use staith_model::{
    Exit,
    service::{AttemptOutcome, AttemptState, AttemptView, JobState, RunStanding, RunView},
};

/// The exit code of a run that is over.
pub(super) fn exit_of(view: &RunView) -> Exit {
    match view.run.state {
        RunStanding::Passed => Exit::Passed,
        RunStanding::Cancelled => Exit::Interrupted,
        RunStanding::Failed | RunStanding::Waiting | RunStanding::Running => {
            let failed = view.jobs.iter().filter(|job| job.state == JobState::Failed);
            let exits: Vec<Exit> = failed.filter_map(|job| job.attempts.last()).map(of_failed).collect();
            // As of steps: the worst that happened.
            let worst = [Exit::Bug, Exit::Environment, Exit::Configuration];
            let worst = worst.into_iter().find(|exit| exits.contains(exit));
            worst.unwrap_or(Exit::StepFailed)
        }
    }
}

/// The exit code of an attempt that has ended.
pub(super) fn of_attempt(attempt: &AttemptView) -> Exit {
    match &attempt.outcome {
        Some(AttemptOutcome::Passed) => Exit::Passed,
        Some(AttemptOutcome::Cancelled) => Exit::Interrupted,
        _ => of_failed(attempt),
    }
}

/// The same, where it is the reason for which its job failed.
fn of_failed(attempt: &AttemptView) -> Exit {
    match (&attempt.outcome, attempt.state) {
        (Some(AttemptOutcome::Failed { configuration: true, .. }), _) => Exit::Configuration,
        (Some(AttemptOutcome::Failed { blame, .. }), _) => (*blame).into(),
        // It was lost: its runner was not heard of.
        (None, AttemptState::Lost) => Exit::Environment,
        // It was ended because it took too long.
        _ => Exit::StepFailed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use staith_model::Blame;

    use super::*;

    fn run(state: &str, jobs: &[(&str, serde_json::Value)]) -> RunView {
        let jobs: Vec<_> = jobs
            .iter()
            .enumerate()
            .map(|(at, (state, attempt))| {
                json!({
                    "name": format!("job{at}"), "state": state, "pool": "default", "labels": [], "needs": [],
                    "attempts": [attempt],
                })
            })
            .collect();
        serde_json::from_value(json!({
            "id": "01arz3ndektsv4rrffq69g5fav", "project": "shop", "number": 7, "state": state,
            "plan_digest": staith_model::Digest::of(b""), "trust": "branch", "asked_by": "person:ann",
            "priority": 0, "created": 1, "jobs": jobs,
        }))
        .unwrap()
    }

    fn attempt(state: &str, outcome: Option<AttemptOutcome>) -> serde_json::Value {
        json!({
            "id": "01arz3ndektsv4rrffq69g5fax", "number": 1, "state": state, "runner": "01arz3ndektsv4rrffq69g5fa1",
            "runner_name": "host", "outcome": outcome, "began": 1,
        })
    }

    #[test]
    fn a_run_on_the_server_ends_as_one_here() {
        let failed = |blame| attempt("finished", Some(AttemptOutcome::failed(blame, "it broke")));
        let refused = || {
            let outcome =
                json!({ "ended": "failed", "blame": "project", "why": "it is empty", "configuration": true });
            attempt("finished", Some(serde_json::from_value(outcome).unwrap()))
        };
        let passed = || attempt("finished", Some(AttemptOutcome::Passed));
        for (state, jobs, exit) in [
            ("passed", vec![("passed", passed())], Exit::Passed),
            ("cancelled", vec![("cancelled", attempt("lost", None))], Exit::Interrupted),
            ("failed", vec![("failed", failed(Blame::Project)), ("passed", passed())], Exit::StepFailed),
            (
                "failed",
                vec![("failed", failed(Blame::Project)), ("failed", failed(Blame::Environment))],
                Exit::Environment,
            ),
            ("failed", vec![("failed", failed(Blame::Us))], Exit::Bug),
            ("failed", vec![("failed", refused())], Exit::Configuration),
            (
                "failed",
                vec![("failed", failed(Blame::Environment)), ("failed", refused())],
                Exit::Environment,
            ),
            ("failed", vec![("failed", attempt("lost", None))], Exit::Environment),
            (
                "failed",
                vec![("failed", attempt("finished", Some(AttemptOutcome::Cancelled)))],
                Exit::StepFailed,
            ),
        ] {
            assert_eq!(exit_of(&run(state, &jobs)), exit, "{state} {jobs:?}");
        }
    }
}
