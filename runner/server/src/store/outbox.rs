//! What is to be told to forges.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use staith_model::Name;

use super::StoreError;

/// What a forge is told of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The commit.
    pub commit: String,
    /// How it is with it.
    pub state: Standing,
    /// For people, in a line.
    pub description: String,
    /// What kind of run it is about: `push`, `pull-request`. A commit has one status of each.
    pub event: String,
    /// The run's number, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// How it is with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It waits.
    Waiting,
    /// It is run.
    Running,
    /// It passed.
    Passed,
    /// It did not.
    Failed,
    /// Somebody or something ended it.
    Cancelled,
    /// There can't be a run.
    Refused,
}

/// Something that waits to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number.
    pub id: i64,
    /// Which of the things that were to be told of its subject.
    pub version: i64,
    /// The project.
    pub project: Name,
    /// What is to be told.
    pub told: Told,
    /// How often it was tried.
    pub tries: u32,
    /// Since when it waits, in milliseconds since 1970.
    pub made: u64,
}

/// What waits to be told, until it was heard.
#[async_trait]
pub trait Outbox {
    /// Puts what runs have come to since this was done last into the outbox; a run that waits there with another state has only the
    /// newer one. Gives how many.
    async fn collect(&self, now: u64) -> Result<u32, StoreError>;

    /// Puts something into the outbox. What waits there of the same subject is replaced.
    async fn post(&self, project: &Name, subject: &str, told: &Told, now: u64) -> Result<(), StoreError>;

    /// What waits and whose time has come, the oldest first, at most so many of each project: a dead forge keeps no other waiting.
    async fn letters(&self, now: u64, most: u32) -> Result<Vec<Letter>, StoreError>;

    /// It was heard. Changes nothing if something newer is to be told meanwhile.
    async fn heard(&self, letter: &Letter, now: u64) -> Result<(), StoreError>;

    /// It was not heard: again at this time (milliseconds since 1970), or never. Changes nothing if something newer is to be told.
    async fn unheard(
        &self,
        letter: &Letter,
        again: Option<u64>,
        why: &str,
        now: u64,
    ) -> Result<(), StoreError>;
}
