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
            (Self::Staged, Change::SwitchBegan) => Ok(Self::Switching { wave: 0 }),
            (Self::Switching { wave }, Change::WaveSwitched) => Ok(Self::Soaking { wave }),
            (Self::Soaking { wave }, Change::NextWave) => {
                Ok(Self::Switching { wave: wave.saturating_add(1) })
            }
            (Self::Soaking { .. }, Change::AllWavesHeld) => Ok(Self::Finalizing),
            (Self::Finalizing, Change::Finalized) => Ok(Self::Succeeded),
            (Self::Halting, Change::RollbackBegan) => Ok(Self::RollingBack),
            // Before the barrier nothing was visible: halting is enough.
            (Self::Halting | Self::RollingBack, Change::Restored) => Ok(Self::RolledBack),
            (Self::RollingBack, Change::RestoreFailed) => Ok(Self::RollbackFailed),
            (Self::Halting | Self::RollingBack, Change::Undecidable) => Ok(Self::NeedsDecision),
            (from, Change::Aborted)
                if !from.is_over() && !matches!(from, Self::Halting | Self::RollingBack) =>
            {
                Ok(Self::Halting)
            }
            (from, change) => Err(ImpossibleDeploymentChange { from, change }),
        }
    }

    /// Whether nothing more will happen by itself.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::RolledBack | Self::RollbackFailed | Self::NeedsDecision)
    }

    /// Whether clients may have seen the new release by now.
    pub const fn may_be_visible(self) -> bool {
        matches!(self, Self::Switching { .. } | Self::Soaking { .. } | Self::Finalizing | Self::Succeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHANGES: [DeploymentChange; 14] = [
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
        fn nothing_is_visible_before_the_barrier(choices in prop::collection::vec(0usize..14, 0..24)) {
            let states = walk(&choices);
            if let Some(first) = states.iter().position(|state| state.may_be_visible()) {
                prop_assert!(states[..first].contains(&DeploymentState::Staged));
            }
        }

        #[test]
        fn abort_is_taken_until_the_end_or_a_halt(choices in prop::collection::vec(0usize..14, 0..24)) {
            for state in walk(&choices) {
                let halting = matches!(state, DeploymentState::Halting | DeploymentState::RollingBack);
                prop_assert_eq!(state.after(DeploymentChange::Aborted).is_ok(), !state.is_over() && !halting);
            }
        }

        #[test]
        fn what_is_over_stays_over_and_what_is_not_can_end(choices in prop::collection::vec(0usize..14, 0..24)) {
            for state in walk(&choices) {
                let ways_on = CHANGES.iter().filter(|change| state.after(**change).is_ok()).count();
                prop_assert_eq!(ways_on == 0, state.is_over());
            }
        }
    }
}
