//! One try at a job, on one runner.

use serde::{Deserialize, Serialize};

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptState {
    /// A runner has it, for as long as it renews.
    Leased,
    /// The runner said how it ended.
    Finished,
    /// The server gave it up: nothing of it counts any more.
    Lost,
}

super::words!(AttemptState, "an attempt", Leased => "leased", Finished => "finished", Lost => "lost");

/// What can happen to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptChange {
    /// Its runner said how it ended.
    Finished,
    /// Its runner was not heard of in time, or did not end it when it should.
    GivenUp,
}

/// A change that an attempt in this state can't undergo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attempt that is {from} can't undergo {change:?}")]
pub struct ImpossibleAttemptChange {
    /// The state it was in.
    pub from: AttemptState,
    /// What was said to have happened.
    pub change: AttemptChange,
}

impl AttemptState {
    /// The transition table of an attempt: it ends once.
    ///
    /// # Errors
    /// It has ended.
    pub const fn after(self, change: AttemptChange) -> Result<Self, ImpossibleAttemptChange> {
        match (self, change) {
            (Self::Leased, AttemptChange::Finished) => Ok(Self::Finished),
            (Self::Leased, AttemptChange::GivenUp) => Ok(Self::Lost),
            (from, change) => Err(ImpossibleAttemptChange { from, change }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_ends_once() {
        for change in [AttemptChange::Finished, AttemptChange::GivenUp] {
            let ended = AttemptState::Leased.after(change).unwrap();
            for again in [AttemptChange::Finished, AttemptChange::GivenUp] {
                assert!(ended.after(again).is_err(), "{ended} {again:?}");
            }
        }
    }
}
