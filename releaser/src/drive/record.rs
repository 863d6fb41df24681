//! What an environment remembers of its deployments. What serves is not decided here: pools and traffic are looked at,
//! and the record follows.

use serde::{Deserialize, Serialize};
use staith_model::{DeploymentId, Digest};

/// The version of the record that this crate writes.
const VERSION: u32 = 1;
/// Releases that are remembered, far more than any disk would keep.
const LONGEST_HISTORY: usize = 200;

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this shape.
    pub version: u32,
    /// The epoch of the last deployment.
    pub epoch: u64,
    /// The release that serves.
    pub current: Option<Digest>,
    /// Since when, in milliseconds since 1970.
    pub since: Option<u64>,
    /// The release that served before it: where a rollback without a destination leads.
    pub previous: Option<Digest>,
    /// Releases that have served, the newest first, each once.
    pub history: Vec<Digest>,
    /// The last deployment.
    pub last: Option<Attempt>,
}

/// One deployment, as remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Whether it went forward or back.
    pub kind: AttemptKind,
    /// The release that was to serve.
    pub release: Digest,
    /// When it began, in milliseconds since 1970.
    pub began: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended: Option<u64>,
    /// How.
    pub result: AttemptResult,
    /// Why, where it did not succeed.
    pub why: Option<String>,
}

/// Whether a deployment went forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptKind {
    /// A package was deployed.
    Deploy,
    /// A release that was there was brought back.
    Rollback,
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptResult {
    /// It has not, or whoever did it was killed.
    Unfinished,
    /// The release serves.
    Succeeded,
    /// The release before it serves.
    RolledBack,
    /// The release before it could not be brought back.
    RollbackFailed,
    /// A person has to look.
    NeedsDecision,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            version: VERSION,
            epoch: 0,
            current: None,
            since: None,
            previous: None,
            history: Vec::new(),
            last: None,
        }
    }
}

impl Record {
    /// Follows what serves. A rollback is no exception: the newer release becomes the previous one, so that rolling
    /// back twice leads forward again.
    pub fn serves(&mut self, release: Digest, at: u64) {
        if self.current == Some(release) {
            return;
        }
        self.previous = self.current.take().or(self.previous).filter(|previous| *previous != release);
        self.current = Some(release);
        self.since = Some(at);
        self.history.retain(|known| *known != release);
        self.history.insert(0, release);
        self.history.truncate(LONGEST_HISTORY);
    }

    /// Reads a record.
    ///
    /// # Errors
    /// It is no record, or a newer Staith wrote it; says so in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if version > VERSION {
            return Err(format!("a newer Staith wrote it (version {version}); use that one"));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn going_back_twice_leads_forward_again() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let mut record = Record::default();
        record.serves(old, 1);
        record.serves(new, 2);
        record.serves(old, 3);
        assert_eq!((record.current, record.previous, record.since), (Some(old), Some(new), Some(3)));
        record.serves(new, 4);
        assert_eq!((record.current, record.previous), (Some(new), Some(old)));
        assert_eq!(record.history, [new, old]);
        record.serves(new, 5);
        assert_eq!((record.previous, record.since), (Some(old), Some(4)));
    }

    proptest! {
        #[test]
        fn the_previous_release_is_never_the_current_one(served in prop::collection::vec(0u8..4, 1..30)) {
            let mut record = Record::default();
            for (at, release) in served.iter().enumerate() {
                record.serves(Digest::of(&[*release]), at as u64);
            }
            prop_assert_ne!(record.current, record.previous);
            prop_assert_eq!(record.history.first(), record.current.as_ref());
            let unique: std::collections::BTreeSet<_> = record.history.iter().collect();
            prop_assert_eq!(unique.len(), record.history.len());
            let json = serde_json::to_vec(&record).unwrap();
            prop_assert_eq!(Record::parse(&json), Ok(record));
        }
    }

    #[test]
    fn a_newer_record_is_not_guessed_at() {
        assert!(Record::parse(br#"{"version":2,"epochs":[]}"#).unwrap_err().contains("newer"));
        assert!(Record::parse(b"").is_err());
    }
}
