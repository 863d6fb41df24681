//! Who works on a job. How long they may without saying that they are alive is not kept: see [`crate::queue`].

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use staith_model::{
    AttemptId, Digest, RunnerId,
    service::{AttemptEnd, AttemptOutcome, JobState, StopKind},
};

use super::{Actor, StoreError};

/// A runner's question for a job.
#[derive(Clone)]
pub struct Claim {
    /// Who asks.
    pub runner: RunnerId,
    /// The same question has the same one.
    pub nonce: String,
    /// On whose behalf, for the audit log.
    pub by: Actor,
    /// The id of the attempt, if this begins one.
    pub attempt: AttemptId,
    /// The digest of the token of an attempt. The store keeps that, and never has a token.
    pub token: Arc<dyn Fn(&AttemptId) -> Digest + Send + Sync>,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("runner", &self.runner)
            .field("nonce", &self.nonce)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`Claim`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimable {
    /// The runner has this attempt: from now on, or since it asked with the same nonce before.
    Given(Given),
    /// There is nothing that it could take.
    Nothing {
        /// The same for all runners that could take the same jobs.
        kind: String,
    },
    /// It had an attempt by this nonce, and that has ended.
    Spent,
}

/// An attempt that a runner has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Which.
    pub live: Live,
    /// Which try it is, from one on.
    pub number: u32,
    /// What to do: a [`JobSpec`](staith_model::service::JobSpec) in JSON, as it is sent.
    pub spec_json: String,
    /// Whether it was given before.
    pub again: bool,
}

/// An attempt that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Which.
    pub attempt: AttemptId,
    /// Its number among all attempts.
    pub fence: u64,
    /// Who has it.
    pub runner: RunnerId,
    /// When it began, in milliseconds since 1970.
    pub began: u64,
    /// After so many milliseconds its runner ends it.
    pub timeout_millis: u64,
    /// What the server wants it to end for.
    pub stop: Option<(StopKind, String)>,
}

/// What an attempt says at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// Which.
    pub attempt: AttemptId,
    /// The digest of the token that came with it.
    pub token: Digest,
    /// Its fence, as it says.
    pub fence: u64,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The names of its streams.
    pub streams: Vec<String>,
    /// From where, for the audit log.
    pub by: Actor,
}

/// What became of a [`Finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// It is taken, and its job is so now.
    Taken(JobState),
    /// It had been taken before, with the same outcome.
    Before,
    /// The token is not this attempt's.
    NotTheirs,
    /// It is not taken yet: these of its streams are not closed. Nothing comes after an end.
    Unclosed(Vec<String>),
}

/// Attempts.
#[async_trait]
pub trait Attempts {
    /// Gives a runner a job, if there is one. Repeated with the same nonce it gives the same attempt, whatever else is queued. A run
    /// that is damaged is passed over and told in the server's log.
    async fn claim(&self, claim: Claim, now: u64) -> Result<Claimable, StoreError>;

    /// The attempt, if it has not ended and this is its token; `None` if the token is not its. `StaleFence` if it has ended or has
    /// another fence.
    async fn live(&self, attempt: AttemptId, token: Digest, fence: u64) -> Result<Option<Live>, StoreError>;

    /// All attempts that have not ended. What is damaged is left out and told in the server's log.
    async fn all_live(&self) -> Result<Vec<Live>, StoreError>;

    /// Ends an attempt as its runner says, and decides about its job. Only with the fence that counts: `StaleFence` otherwise. The same
    /// again is answered, also after the attempt ended; another outcome is a `Conflict`.
    async fn finish(&self, finish: Finish, now: u64) -> Result<Finished, StoreError>;

    /// Gives an attempt up, and decides about its job: gives what that is now, or `None` if the attempt had ended already. `end` is
    /// what the server knows of its end.
    async fn give_up(
        &self,
        attempt: AttemptId,
        end: AttemptEnd,
        why: String,
        now: u64,
    ) -> Result<Option<JobState>, StoreError>;

    /// Wants an attempt ended. Nothing, if it has ended or is wanted ended already.
    async fn ask_to_end(
        &self,
        attempt: AttemptId,
        kind: StopKind,
        why: String,
        now: u64,
    ) -> Result<(), StoreError>;
}
