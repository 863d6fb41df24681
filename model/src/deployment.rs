//! The life of a deployment: one enum, one transition function.

use serde::{Deserialize, Serialize};

/// Where a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum DeploymentState {
    /// Decided, nothing done.
    Planned,
    /// Waits for approvals, windows and checks.
    AwaitingGates,
    /// Waits to be the only one that writes to its environment.
    Acquiring,
    /// Files are being put beside what runs; nothing is visible.
    Staging,
    /// Every target has every byte, verified. The barrier: from here on, things show.
    Staged,
    /// What has to be done once before the switch is being done: a migration of a database.
    Migrating,
    /// Traffic is being moved.
    Switching {
        /// Counted from 0.
        wave: u32,
    },
    /// The new release has the traffic and is watched.
    Soaking {
        /// The wave that is being watched.
        wave: u32,
    },
    /// A person wants it to stand still, or what was measured says neither yes nor no. What is begun is finished.
    Paused {
        /// The wave in which it stands still.
        wave: u32,
        /// Whether the wave had switched and was being watched.
        soaking: bool,
    },
    /// The old release is drained and parked.
    Finalizing,
    /// The new release serves.
    Succeeded,
    /// No new work; what is in flight is finished.
    Halting,
    /// Traffic is being moved back.
    RollingBack,
    /// The previous release serves.
    RolledBack,
    /// The previous release could not be brought back.
    RollbackFailed,
    /// A person has to say what next.
    NeedsDecision,
    /// It could not be staged everywhere; nothing had become visible.
    Failed,
    /// A gate said no.
    Rejected,
    /// Its gates did not open in time.
    Expired,
    /// A newer one took its place while it waited.
    Superseded,
    /// Somebody withdrew it before anything was done.
    Cancelled,
}

/// What can happen to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentChange {
    /// It was handed in.
    Submitted,
    /// All gates are green.
    GatesPassed,
    /// It is the only writer now.
    Acquired,
    /// Every target verified every byte.
    StagedEverywhere,
    /// Traffic starts to move.
    SwitchBegan,
    /// A wave has its traffic.
    WaveSwitched,
    /// The wave held; another follows.
    NextWave,
    /// The last wave held.
    AllWavesHeld,
    /// The old release is parked.
    Finalized,
    /// Something failed, or a person wants it stopped. Accepted wherever the end has not been reached: abort wins.
    Aborted,
    /// Nothing is in flight, and what was visible has to be taken back.
    RollbackBegan,
    /// The previous release serves, or nothing had become visible.
    Restored,
    /// The previous release could not be brought back.
    RestoreFailed,
    /// It can't be told what is true; a person has to look.
    Undecidable,
    /// A gate said no.
    Rejected,
    /// The gates did not open in time.
    Expired,
    /// A newer deployment took its place.
    Superseded,
    /// Somebody withdrew it before anything was done.
    Cancelled,
    /// The gates opened too long ago to be believed.
    GatesLapsed,
    /// Some target can't be staged; nothing is visible.
    StagingFailed,
    /// What is there is not what the plan was made for.
    PlanOutdated,
    /// What has to be done once before the switch is begun.
    MigrationBegan,
    /// It is to stand still.
    Paused,
    /// It goes on.
    Resumed,
    /// What failed is to be tried again.
    Retried,
    /// A person takes what is there as the end.
    Accepted,
}

/// A change that a deployment in this state can't undergo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a deployment that is {from:?} can't undergo {change:?}")]
pub struct ImpossibleDeploymentChange {
    /// The state it was in.
    pub from: DeploymentState,
    /// What was said to have happened.
    pub change: DeploymentChange,
}

impl DeploymentState {
    /// The transition table of a deployment.
    ///
    /// # Errors
    /// The change does not lead out of this state.
    pub const fn after(self, change: DeploymentChange) -> Result<Self, ImpossibleDeploymentChange> {
        use DeploymentChange as Change;
        match (self, change) {
            (Self::Planned, Change::Submitted) => Ok(Self::AwaitingGates),
            (Self::AwaitingGates, Change::GatesPassed) => Ok(Self::Acquiring),
            (Self::Acquiring, Change::Acquired) => Ok(Self::Staging),
            (Self::Staging, Change::StagedEverywhere) => Ok(Self::Staged),
            (Self::Planned | Self::AwaitingGates, Change::Superseded) => Ok(Self::Superseded),
            (Self::Planned | Self::AwaitingGates | Self::Acquiring, Change::Cancelled) => Ok(Self::Cancelled),
            (Self::AwaitingGates, Change::Rejected) => Ok(Self::Rejected),
            (Self::AwaitingGates, Change::Expired) => Ok(Self::Expired),
            (Self::Acquiring, Change::GatesLapsed) => Ok(Self::AwaitingGates),
            (Self::Staging, Change::StagingFailed) => Ok(Self::Failed),
            (Self::Staged, Change::PlanOutdated) => Ok(Self::Planned),
            (Self::Staged, Change::MigrationBegan) => Ok(Self::Migrating),
            (Self::Staged | Self::Migrating, Change::SwitchBegan) => Ok(Self::Switching { wave: 0 }),
            (Self::Switching { wave }, Change::WaveSwitched) => Ok(Self::Soaking { wave }),
            (Self::Soaking { wave }, Change::NextWave) => {
                Ok(Self::Switching { wave: wave.saturating_add(1) })
            }
            (Self::Soaking { .. }, Change::AllWavesHeld) => Ok(Self::Finalizing),
            (Self::Switching { wave }, Change::Paused) => Ok(Self::Paused { wave, soaking: false }),
            (Self::Soaking { wave }, Change::Paused) => Ok(Self::Paused { wave, soaking: true }),
            (Self::Paused { wave, soaking: false }, Change::Resumed) => Ok(Self::Switching { wave }),
            (Self::Paused { wave, soaking: true }, Change::Resumed) => Ok(Self::Soaking { wave }),
            (Self::Finalizing, Change::Finalized) => Ok(Self::Succeeded),
            // Going on after a decision looks at everything again: what was done is found done.
            (Self::NeedsDecision, Change::Retried) => Ok(Self::Staging),
            (Self::NeedsDecision, Change::Accepted) => Ok(Self::Finalizing),
            (Self::Halting | Self::NeedsDecision, Change::RollbackBegan) => Ok(Self::RollingBack),
            // Before the barrier nothing was visible: halting is enough.
            (Self::Halting | Self::RollingBack | Self::NeedsDecision, Change::Restored) => {
                Ok(Self::RolledBack)
            }
            (Self::RollingBack | Self::NeedsDecision, Change::RestoreFailed) => Ok(Self::RollbackFailed),
            (from, Change::Undecidable) if from.is_at_work() => Ok(Self::NeedsDecision),
            (from, Change::Aborted)
                if !from.is_terminal() && !matches!(from, Self::Halting | Self::RollingBack) =>
            {
                Ok(Self::Halting)
            }
            (from, change) => Err(ImpossibleDeploymentChange { from, change }),
        }
    }

    /// Whether nothing more will happen by itself. A person may still decide, where one has to.
    pub const fn is_over(self) -> bool {
        self.is_terminal() || matches!(self, Self::NeedsDecision)
    }

    /// Whether nothing more can happen.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded
                | Self::RolledBack
                | Self::RollbackFailed
                | Self::Failed
                | Self::Rejected
                | Self::Expired
                | Self::Superseded
                | Self::Cancelled
        )
    }

    /// Whether it has its environment for itself: whoever comes next finishes or reverses it first.
    pub const fn holds_environment(self) -> bool {
        !self.is_terminal() && !matches!(self, Self::Planned | Self::AwaitingGates | Self::Acquiring)
    }

    /// Whether targets are being worked on.
    const fn is_at_work(self) -> bool {
        self.holds_environment() && !matches!(self, Self::NeedsDecision)
    }

    /// Whether clients may have seen the new release by now.
    pub const fn may_be_visible(self) -> bool {
        matches!(
            self,
            Self::Switching { .. }
                | Self::Soaking { .. }
                | Self::Paused { .. }
                | Self::Finalizing
                | Self::Succeeded
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHANGES: [DeploymentChange; 26] = [
        DeploymentChange::Submitted,
        DeploymentChange::GatesPassed,
        DeploymentChange::Acquired,
        DeploymentChange::StagedEverywhere,
        DeploymentChange::SwitchBegan,
        DeploymentChange::WaveSwitched,
        DeploymentChange::NextWave,
        DeploymentChange::AllWavesHeld,
        DeploymentChange::Finalized,
        DeploymentChange::Aborted,
        DeploymentChange::RollbackBegan,
        DeploymentChange::Restored,
        DeploymentChange::RestoreFailed,
        DeploymentChange::Undecidable,
        DeploymentChange::Rejected,
        DeploymentChange::Expired,
        DeploymentChange::Superseded,
        DeploymentChange::Cancelled,
        DeploymentChange::GatesLapsed,
        DeploymentChange::StagingFailed,
        DeploymentChange::PlanOutdated,
        DeploymentChange::MigrationBegan,
        DeploymentChange::Paused,
        DeploymentChange::Resumed,
        DeploymentChange::Retried,
        DeploymentChange::Accepted,
    ];

    /// Walks at random, but takes a way forward whenever chance offers an impossible change, so that walks get deep.
    fn walk(choices: &[usize]) -> Vec<DeploymentState> {
        let mut states = vec![DeploymentState::Planned];
        for choice in choices {
            let state = states[states.len() - 1];
            let next = (0..CHANGES.len())
                .find_map(|more| state.after(CHANGES[(choice + more) % CHANGES.len()]).ok());
            states.extend(next);
        }
        states
    }

    proptest! {
        #[test]
        fn nothing_is_visible_before_the_barrier(choices in prop::collection::vec(0usize..26, 0..40)) {
            let states = walk(&choices);
            // Accepting what is there after a failure is a person's word, not a switch.
            let switched = states.iter().position(|state| matches!(state, DeploymentState::Switching { .. }));
            if let Some(first) = switched {
                prop_assert!(states[..first].contains(&DeploymentState::Staged));
            }
        }

        #[test]
        fn abort_is_taken_until_the_end_or_a_halt(choices in prop::collection::vec(0usize..26, 0..40)) {
            for state in walk(&choices) {
                let halting = matches!(state, DeploymentState::Halting | DeploymentState::RollingBack);
                let taken = state.after(DeploymentChange::Aborted);
                prop_assert_eq!(taken.is_ok(), !state.is_terminal() && !halting);
                prop_assert!(taken.is_err() || taken == Ok(DeploymentState::Halting));
            }
        }

        #[test]
        fn what_is_terminal_stays_so_and_what_is_not_can_end(choices in prop::collection::vec(0usize..26, 0..40)) {
            for state in walk(&choices) {
                let ways_on = CHANGES.iter().filter(|change| state.after(**change).is_ok()).count();
                prop_assert_eq!(ways_on == 0, state.is_terminal());
                prop_assert!(!state.is_terminal() || state.is_over());
            }
        }

        #[test]
        fn going_back_is_never_left_for_going_forward_without_a_person(choices in prop::collection::vec(0usize..26, 0..40)) {
            for pair in walk(&choices).windows(2) {
                if matches!(pair[0], DeploymentState::Halting | DeploymentState::RollingBack) {
                    prop_assert!(!pair[1].may_be_visible() && pair[1] != DeploymentState::Staging, "{:?}", pair);
                }
            }
        }
    }

    /// Logs of earlier versions hold these words.
    #[test]
    fn the_names_in_stored_events_stay() {
        let words: Vec<String> = CHANGES[..14]
            .iter()
            .map(|change| serde_json::to_string(change).unwrap().trim_matches('"').to_owned())
            .collect();
        assert_eq!(
            words.join(" "),
            "submitted gates-passed acquired staged-everywhere switch-began wave-switched next-wave \
             all-waves-held finalized aborted rollback-began restored restore-failed undecidable"
        );
    }
}
