//! What was done, by whom and when.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// One entry of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its place in the chain, from one on.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// On whose behalf.
    pub who: String,
    /// From where, if it came over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// A word for what was done.
    pub what: String,
    /// To what.
    pub subject: String,
    /// As it was, in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// As it is since, in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The hash of the entry before; empty in the first.
    pub previous: String,
    /// Its own.
    pub hash: String,
}

/// What became of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// How many entries are as they were written, from the first one on.
    pub whole: u64,
    /// The hash of the last of them. Kept elsewhere, it shows later whether the end was cut off.
    pub head: Option<String>,
    /// The first entry that is not, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenEntry>,
}

/// The first entry that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenEntry {
    /// Its place.
    pub seq: u64,
    /// What is wrong.
    pub why: String,
}

/// The chain of what was done.
#[async_trait]
pub trait Audit {
    /// Entries after a place in the chain, the oldest first, `most` at most.
    async fn audit(&self, after: u64, most: u32) -> Result<Vec<AuditEntry>, StoreError>;
}

/// What a request was answered that had a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repetition {
    /// It is the first; it is to be carried out, and its answer told to [`Repetitions::answered`].
    First,
    /// It was answered so.
    Answered(StoredAnswer),
    /// It was carried out, or is being, and what was answered is not known.
    Unknown,
    /// The key was used for something else.
    Other,
}

/// An answer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its status.
    pub status: u16,
    /// The type of its body.
    pub content_type: Option<String>,
    /// Its body; none if it is shown once.
    pub body: Option<Vec<u8>>,
}

/// Requests that may be sent again.
#[async_trait]
pub trait Repetitions {
    /// Takes note that somebody asks this with that key. Keys are forgotten after a day.
    async fn asked(&self, who: &str, key: &str, request: &str, now: u64) -> Result<Repetition, StoreError>;

    /// Keeps the answer of the first; `None` if the key is free again, because nothing happened.
    async fn answered(&self, who: &str, key: &str, answer: Option<StoredAnswer>) -> Result<(), StoreError>;
}
