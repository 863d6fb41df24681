//! The lives of what a server keeps: one enum each, one transition function each. A map, in reading order:
//!
//! 1. [`JobState`]: from waiting for others to an end. [`AttemptState`]: one try at it.
//! 2. [`AttemptEnd`], [`RetryCause`]: how a try ended, and whether that is a reason for another.
//! 3. [`RunStanding`]: what a run is, a fold over its jobs.

mod attempt;
mod job;
mod retry;
mod run;

pub use attempt::{AttemptChange, AttemptState, ImpossibleAttemptChange};
pub use job::{ImpossibleJobChange, JobChange, JobState};
pub use retry::{AttemptEnd, MOST_RETRIES, RetryCause, StopKind, after_attempt};
pub use run::RunStanding;

/// A word that should be a state and is none: of a later version, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no state of {of}")]
pub struct NotAState {
    /// What should have the state.
    pub of: &'static str,
    /// What was found.
    pub word: String,
}

/// The words by which states are kept and shown, in one table.
macro_rules! words {
    ($state:ident, $of:literal, $($variant:ident => $word:literal),+ $(,)?) => {
        impl $state {
            /// Every state, for tests and tables.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As the API, the database and messages write it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::str::FromStr for $state {
            type Err = $crate::service::NotAState;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let unknown = || $crate::service::NotAState { of: $of, word: word.to_owned() };
                Self::ALL.iter().copied().find(|state| state.as_str() == word).ok_or_else(unknown)
            }
        }

        impl std::fmt::Display for $state {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
use words;
