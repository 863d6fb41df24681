//! Which hosts are runners.

use std::collections::BTreeSet;

use async_trait::async_trait;
use staith_model::{
    Digest, Name, RunnerId,
    service::{Enrolled, EnrolmentAsked, RunnerChange, RunnerSeen, RunnerState},
};

use super::{Actor, StoreError};

/// A host that proved that it has a key, and asks to become a runner.
#[derive(Debug, Clone)]
pub struct Applicant {
    /// The digest of the code that it brought.
    pub code: Digest,
    /// The id that it gets if it is not known yet.
    pub id: RunnerId,
    /// What people call it.
    pub name: Name,
    /// Its public key in base 64, in the one form that the encoding has.
    pub public_key: String,
    /// What it offers beside what the code gives.
    pub labels: BTreeSet<Name>,
    /// The version of its program.
    pub version: String,
    /// From where it came, for the audit log.
    pub from: Option<String>,
}

/// What comes of an application. No refusal uses the code up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Application {
    /// It is a runner.
    Taken(Enrolled),
    /// Nobody was given such a code.
    UnknownCode,
    /// The code was valid for some minutes, which are over.
    ExpiredCode,
    /// Another host used it.
    UsedCode,
    /// The key belongs to a runner that was enrolled with another code.
    KnownKey,
}

/// A session that a runner asks for, whose proof was checked.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Whose.
    pub runner: RunnerId,
    /// Used once.
    pub nonce: String,
    /// Of the session's token, which is not kept.
    pub digest: Digest,
    /// From when on it counts for nothing, in milliseconds since 1970.
    pub expires: u64,
    /// The version of the runner's program.
    pub version: String,
}

/// What a runner's proof is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRunner {
    /// Its public key in base 64.
    pub public_key: String,
    /// Whether it gets jobs.
    pub state: RunnerState,
}

/// Enrolments, runners and their sessions.
#[async_trait]
pub trait Runners {
    /// Keeps the digest of a code until `expires` (milliseconds since 1970), and forgets those that expired long ago.
    async fn add_enrolment(
        &self,
        code: Digest,
        gives: EnrolmentAsked,
        expires: u64,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError>;

    /// Makes the applicant a runner and uses the code up, once. The same key with the same code and name gets the same answer again,
    /// also when the code has expired since: its answer may have been lost.
    async fn enrol(&self, applicant: Applicant, now: u64) -> Result<Application, StoreError>;

    /// What a runner's proof is checked against; `None` if there is no such runner.
    async fn known_runner(&self, runner: &RunnerId) -> Result<Option<KnownRunner>, StoreError>;

    /// Keeps a session's token, and that the runner was heard of. Whether the nonce was new; if not, nothing happened.
    ///
    /// # Errors
    /// `Conflict` if the runner was revoked.
    async fn add_session(&self, session: NewSession, now: u64) -> Result<bool, StoreError>;

    /// All runners, the newest first.
    async fn runners(&self) -> Result<Vec<RunnerSeen>, StoreError>;

    /// Changes whether a runner gets jobs, and gives the new state.
    ///
    /// # Errors
    /// `Unknown`; `Conflict` where a runner that was revoked is to come back.
    async fn change_runner(
        &self,
        runner: &RunnerId,
        change: RunnerChange,
        by: Actor,
        now: u64,
    ) -> Result<RunnerState, StoreError>;
}
