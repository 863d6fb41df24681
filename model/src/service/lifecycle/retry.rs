//! Whether a job is tried again: its cause decides, and nothing else.

use serde::{Deserialize, Serialize};

use super::JobChange;
use crate::{Blame, service::AttemptOutcome};

/// How often a job is tried again by itself. A host that is lost is bad luck; three hosts that are lost in a row are what the job does
/// to them.
pub const MOST_RETRIES: u32 = 2;

/// Why a job is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryCause {
    /// Its runner was not heard of in time.
    RunnerLost,
    /// The runner's host or something around it failed.
    Environment,
    /// Staith failed.
    Us,
}

super::words!(RetryCause, "a cause", RunnerLost => "runner-lost", Environment => "environment", Us => "us");

/// How an attempt ended, whoever says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Its runner said it.
    Told(AttemptOutcome),
    /// Its runner was not heard of in time.
    RunnerLost,
    /// Its runner was asked to end it, and did not in the time it had.
    NotStopped,
}

/// Why the server wanted an attempt to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopKind {
    /// Somebody, or a newer run, wanted that.
    Cancel,
    /// It ran longer than it may.
    TimeOut,
}

super::words!(StopKind, "a stop", Cancel => "cancel", TimeOut => "time-out");

/// What an attempt's end means for its job: the one place that decides about another try.
///
/// `stop` is what the server had asked for, if it had; `retries` how often the job was tried again already. What passed has passed,
/// even if the wish to end it was on the way; what was to end is never tried again.
pub const fn after_attempt(end: &AttemptEnd, stop: Option<StopKind>, retries: u32) -> JobChange {
    let cause = match end {
        AttemptEnd::Told(AttemptOutcome::Passed) => return JobChange::Passed,
        AttemptEnd::Told(AttemptOutcome::Failed { blame: Blame::Project, .. }) => return JobChange::Failed,
        AttemptEnd::Told(AttemptOutcome::Failed { blame: Blame::Environment, .. }) => RetryCause::Environment,
        AttemptEnd::Told(AttemptOutcome::Failed { blame: Blame::Us, .. }) => RetryCause::Us,
        AttemptEnd::RunnerLost => RetryCause::RunnerLost,
        // A runner may end what it runs without being asked: somebody stopped it there.
        AttemptEnd::Told(AttemptOutcome::Cancelled) | AttemptEnd::NotStopped => {
            return match stop {
                Some(StopKind::TimeOut) => JobChange::Failed,
                Some(StopKind::Cancel) | None => JobChange::Cancelled,
            };
        }
    };
    match stop {
        Some(StopKind::Cancel) => JobChange::Cancelled,
        Some(StopKind::TimeOut) => JobChange::Failed,
        None if retries < MOST_RETRIES => JobChange::Again(cause),
        None => JobChange::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::JobState;
    use proptest::prelude::*;

    fn any_end() -> impl Strategy<Value = AttemptEnd> {
        let failed = |blame| AttemptEnd::Told(AttemptOutcome::failed(blame, "it broke"));
        prop_oneof![
            Just(AttemptEnd::Told(AttemptOutcome::Passed)),
            Just(AttemptEnd::Told(AttemptOutcome::Cancelled)),
            prop::sample::select(vec![Blame::Project, Blame::Environment, Blame::Us]).prop_map(failed),
            Just(AttemptEnd::RunnerLost),
            Just(AttemptEnd::NotStopped),
        ]
    }

    proptest! {
        #[test]
        fn every_end_of_an_attempt_is_possible_for_its_job(end in any_end(), stop in prop::option::of(prop::sample::select(StopKind::ALL)), retries in 0u32..9) {
            let after = JobState::Leased.after(&after_attempt(&end, stop, retries));
            prop_assert!(after.is_ok_and(|state| state.is_over() || state == JobState::Queued));
        }

        #[test]
        fn the_projects_own_failures_and_what_was_to_end_are_never_tried_again(end in any_end(), stop in prop::option::of(prop::sample::select(StopKind::ALL)), retries in 0u32..9) {
            let again = matches!(after_attempt(&end, stop, retries), JobChange::Again(_));
            let ours = match &end {
                AttemptEnd::Told(AttemptOutcome::Failed { blame, .. }) => *blame != Blame::Project,
                other => *other == AttemptEnd::RunnerLost,
            };
            prop_assert_eq!(again, ours && stop.is_none() && retries < MOST_RETRIES);
        }

        #[test]
        fn what_passed_has_passed(stop in prop::option::of(prop::sample::select(StopKind::ALL)), retries in 0u32..9) {
            prop_assert_eq!(after_attempt(&AttemptEnd::Told(AttemptOutcome::Passed), stop, retries), JobChange::Passed);
        }
    }
}
