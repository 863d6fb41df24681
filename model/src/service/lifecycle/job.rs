//! The life of a job.

use serde::{Deserialize, Serialize};

use super::RetryCause;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Jobs that it needs have not passed yet, or its run waits for its turn.
    Waiting,
    /// A runner may take it.
    Queued,
    /// A runner has it.
    Leased,
    /// It passed.
    Passed,
    /// It failed, and is not tried again.
    Failed,
    /// Somebody, or a newer run, wanted it ended.
    Cancelled,
    /// A job that it needs did not pass.
    Skipped,
}

super::words!(JobState, "a job",
    Waiting => "waiting", Queued => "queued", Leased => "leased", Passed => "passed", Failed => "failed",
    Cancelled => "cancelled", Skipped => "skipped");

/// What can happen to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobChange {
    /// All jobs that it needs passed, and it is its run's turn.
    Released,
    /// A runner took it.
    Claimed,
    /// Its attempt did not pass for a cause that is not the project's: it is tried again. There is no way back to the queue without one.
    Again(RetryCause),
    /// Its attempt passed.
    Passed,
    /// Its attempt did not pass.
    Failed,
    /// It was ended before it had passed or failed.
    Cancelled,
    /// A job that it needs did not pass.
    NeedsNotMet,
    /// A person wants what did not pass tried again.
    AskedAgain,
}

/// A change that a job in this state can't undergo. Seeing one is a bug in Staith or a damaged database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} can't undergo {change:?}")]
pub struct ImpossibleJobChange {
    /// The state it was in.
    pub from: JobState,
    /// What was said to have happened.
    pub change: JobChange,
}

impl JobState {
    /// The transition table of a job.
    ///
    /// # Errors
    /// The change does not lead out of this state.
    pub fn after(self, change: &JobChange) -> Result<Self, ImpossibleJobChange> {
        match (self, change) {
            (Self::Waiting, JobChange::Released) | (Self::Leased, JobChange::Again(_)) => Ok(Self::Queued),
            (Self::Queued, JobChange::Claimed) => Ok(Self::Leased),
            (Self::Leased, JobChange::Passed) => Ok(Self::Passed),
            (Self::Leased, JobChange::Failed) => Ok(Self::Failed),
            (Self::Waiting | Self::Queued | Self::Leased, JobChange::Cancelled) => Ok(Self::Cancelled),
            (Self::Waiting, JobChange::NeedsNotMet) => Ok(Self::Skipped),
            (Self::Failed | Self::Cancelled | Self::Skipped, JobChange::AskedAgain) => Ok(Self::Waiting),
            (from, change) => Err(ImpossibleJobChange { from, change: change.clone() }),
        }
    }

    /// Whether nothing more happens to it unless a person asks.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::Cancelled | Self::Skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_change() -> impl Strategy<Value = JobChange> {
        prop_oneof![
            Just(JobChange::Released),
            Just(JobChange::Claimed),
            prop::sample::select(RetryCause::ALL).prop_map(JobChange::Again),
            Just(JobChange::Passed),
            Just(JobChange::Failed),
            Just(JobChange::Cancelled),
            Just(JobChange::NeedsNotMet),
            Just(JobChange::AskedAgain),
        ]
    }

    fn any_state() -> impl Strategy<Value = JobState> {
        prop::sample::select(JobState::ALL)
    }

    proptest! {
        #[test]
        fn what_is_over_begins_again_only_for_a_person_and_what_passed_never(from in any_state(), change in any_change()) {
            if from.is_over() {
                let asked = from != JobState::Passed && change == JobChange::AskedAgain;
                prop_assert_eq!(from.after(&change).is_ok(), asked);
            } else {
                prop_assert!(change != JobChange::AskedAgain || from.after(&change).is_err());
            }
        }

        #[test]
        fn the_way_back_to_the_queue_has_a_cause(from in any_state(), change in any_change()) {
            if from == JobState::Leased && from.after(&change) == Ok(JobState::Queued) {
                prop_assert!(matches!(change, JobChange::Again(_)));
            }
        }

        #[test]
        fn only_what_a_runner_has_passes_or_fails(from in any_state(), change in any_change()) {
            if let Ok(JobState::Passed | JobState::Failed) = from.after(&change) {
                prop_assert_eq!(from, JobState::Leased);
            }
        }

        #[test]
        fn whatever_is_not_over_can_be_cancelled(changes in prop::collection::vec(any_change(), 0..20)) {
            let state = changes.iter().fold(JobState::Waiting, |state, change| state.after(change).unwrap_or(state));
            prop_assert_eq!(state.after(&JobChange::Cancelled).is_ok(), !state.is_over());
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse::<JobState>().as_ref(), Ok(state));
            assert_eq!(serde_json::to_string(state).unwrap(), format!("\"{state}\""));
        }
        assert!("done".parse::<JobState>().is_err());
    }
}
