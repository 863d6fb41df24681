//! The life of a step: one enum, one transition function.

use serde::{Deserialize, Serialize};

/// Whose fault a failure is. Decides the wording, the exit code and whether a retry makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The project being built: its code, its tests, its pipeline.
    Project,
    /// This machine or something around it: a full disk, a missing kernel feature, a dead network.
    Environment,
    /// Staith itself.
    Us,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It ran and succeeded.
    Passed,
    /// It did not run: the same step with the same inputs had passed before.
    Cached,
    /// It ran and failed.
    Failed,
    /// It ran longer than it may; its whole process tree was ended.
    TimedOut,
    /// It wanted more memory than it may have, whatever its exit code says.
    OutOfMemory,
    /// Somebody cancelled the run.
    Cancelled,
    /// It did not run: a step it needs did not pass, its condition does not hold, or another step failed and ended the run.
    Skipped,
    /// Contact with whoever ran it was lost.
    Lost,
    /// The engine could not run it.
    EngineBroken,
}

impl StepOutcome {
    /// Every outcome, for tests and tables.
    pub const ALL: [Self; 9] = [
        Self::Passed,
        Self::Cached,
        Self::Failed,
        Self::TimedOut,
        Self::OutOfMemory,
        Self::Cancelled,
        Self::Skipped,
        Self::Lost,
        Self::EngineBroken,
    ];

    /// What became of the step, as the rest of a sentence about it.
    pub const fn as_clause(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Cached => "had passed before",
            Self::Failed => "failed",
            Self::TimedOut => "ran longer than it may",
            Self::OutOfMemory => "wanted more memory than it may have",
            Self::Cancelled => "was cancelled",
            Self::Skipped => "was skipped",
            Self::Lost => "was lost while it ran",
            Self::EngineBroken => "could not be run",
        }
    }

    /// Whether the steps that need this one may go on.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Passed | Self::Cached)
    }

    /// Whose fault it is; `None` for a success, a cancellation, or a step that never had its turn.
    pub const fn blame(self) -> Option<Blame> {
        match self {
            Self::Passed | Self::Cached | Self::Cancelled | Self::Skipped => None,
            Self::Failed | Self::TimedOut | Self::OutOfMemory => Some(Blame::Project),
            Self::Lost | Self::EngineBroken => Some(Blame::Environment),
        }
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "outcome")]
pub enum StepState {
    /// Steps it needs have not finished.
    Waiting,
    /// It may start as soon as there is room.
    Ready,
    /// It is running.
    Running,
    /// It has ended, for good. An attempt that is followed by another is no end: it leads back to [`Ready`](Self::Ready).
    Finished(StepOutcome),
}

/// What can happen to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepChange {
    /// All steps it needs have succeeded, or have ended and its condition holds.
    NeedsMet,
    /// It was started.
    Started,
    /// An attempt did not pass, and another will be made.
    Retried,
    /// It ended so.
    Ended(StepOutcome),
}

/// A change that a step in this state can't undergo. Seeing one is a bug in Staith or a damaged journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a step that is {from:?} can't undergo {change:?}")]
pub struct ImpossibleStepChange {
    /// The state it was in.
    pub from: StepState,
    /// What was said to have happened.
    pub change: StepChange,
}

impl StepState {
    /// The transition table of a step.
    ///
    /// # Errors
    /// The change does not lead out of this state.
    pub const fn after(self, change: StepChange) -> Result<Self, ImpossibleStepChange> {
        use StepOutcome::{Cached, Cancelled, EngineBroken, Skipped};
        match (self, change) {
            (Self::Waiting, StepChange::NeedsMet) => Ok(Self::Ready),
            (Self::Ready, StepChange::Started) => Ok(Self::Running),
            (Self::Running, StepChange::Retried) => Ok(Self::Ready),
            // What never started can only be passed over, be known already, or find no working engine.
            (Self::Waiting, StepChange::Ended(outcome @ (Skipped | Cancelled))) => {
                Ok(Self::Finished(outcome))
            }
            (Self::Ready, StepChange::Ended(outcome @ (Cached | Skipped | Cancelled | EngineBroken))) => {
                Ok(Self::Finished(outcome))
            }
            // What ran can't turn out never to have run.
            (Self::Running, StepChange::Ended(outcome)) if !matches!(outcome, Cached | Skipped) => {
                Ok(Self::Finished(outcome))
            }
            (from, change) => Err(ImpossibleStepChange { from, change }),
        }
    }

    /// The outcome, once there is one.
    pub const fn outcome(self) -> Option<StepOutcome> {
        if let Self::Finished(outcome) = self { Some(outcome) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_change() -> impl Strategy<Value = StepChange> {
        prop_oneof![
            Just(StepChange::NeedsMet),
            Just(StepChange::Started),
            Just(StepChange::Retried),
            prop::sample::select(&StepOutcome::ALL[..]).prop_map(StepChange::Ended),
        ]
    }

    proptest! {
        #[test]
        fn a_finished_step_never_changes(outcome in prop::sample::select(&StepOutcome::ALL[..]), change in any_change()) {
            prop_assert!(StepState::Finished(outcome).after(change).is_err());
        }

        #[test]
        fn only_a_started_step_passes_and_only_an_unstarted_one_is_cached(changes in prop::collection::vec(any_change(), 0..8)) {
            let (mut state, mut started) = (StepState::Waiting, false);
            for change in changes {
                if let Ok(next) = state.after(change) {
                    started = match change {
                        StepChange::Started => true,
                        StepChange::Retried => false,
                        _ => started,
                    };
                    state = next;
                }
            }
            match state.outcome() {
                Some(StepOutcome::Passed | StepOutcome::Failed | StepOutcome::TimedOut | StepOutcome::OutOfMemory) => prop_assert!(started),
                Some(StepOutcome::Cached | StepOutcome::Skipped) => prop_assert!(!started),
                _ => {}
            }
        }

        #[test]
        fn every_state_but_the_last_has_a_way_to_be_cancelled(changes in prop::collection::vec(any_change(), 0..8)) {
            let state = changes.into_iter().fold(StepState::Waiting, |state, change| state.after(change).unwrap_or(state));
            let cancelled = state.after(StepChange::Ended(StepOutcome::Cancelled));
            prop_assert_eq!(cancelled.is_ok(), state.outcome().is_none());
        }
    }

    #[test]
    fn success_and_blame_exclude_each_other() {
        for outcome in StepOutcome::ALL {
            assert!(!(outcome.is_success() && outcome.blame().is_some()), "{outcome:?}");
        }
    }
}
