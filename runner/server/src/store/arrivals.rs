//! What happened at repositories: written down before it is acknowledged, and looked into afterwards.

use async_trait::async_trait;
use staith_model::{
    ArrivalId, Digest, Name,
    service::{Arrival, ArrivalState, Happening},
};

use super::{Actor, Seen, StoreError};

/// Something that happened, and is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArrival {
    /// Its id, if it is new.
    pub id: ArrivalId,
    /// The project.
    pub project: Name,
    /// Who tells it.
    pub source: &'static str,
    /// What they call it. The same project, source and delivery are the same arrival.
    pub delivery: String,
    /// What happened.
    pub happening: Happening,
}

/// What was found out about an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It ended: `Done`, `Ignored` or `Refused`; or an administrator has to agree: `Held`.
    Is(ArrivalState, String, Option<String>),
    /// It can't be looked into now: again at this time, in milliseconds since 1970.
    Again(u64, String),
}

/// Comparing branches and tags with what was seen of them.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The project.
    pub project: Name,
    /// When the looking began, in milliseconds since 1970.
    pub began: u64,
    /// All branches and tags that are there.
    pub now: Vec<Seen>,
    /// For the arrivals that come of it.
    pub ids: ArrivalIds,
}

/// Makes ids for arrivals.
pub type ArrivalIds = fn(u64) -> ArrivalId;

/// Arrivals, and what was seen of branches, tags and clocks.
#[async_trait]
pub trait Arrivals {
    /// Writes down what happened, all of it or nothing. What was told before keeps the id and the state that it has. A branch or a tag
    /// that is known to have this very commit is written down as ignored: somebody else has told it already.
    ///
    /// # Errors
    /// `Unknown`: there is no such project.
    async fn arrive(&self, new: Vec<NewArrival>, now: u64) -> Result<Vec<ArrivalId>, StoreError>;

    /// Compares what is there with what was seen, and writes down as arrivals what nobody told since the last comparison. Only the
    /// first comparison of a project finds nothing. Gives the new ones.
    ///
    /// # Errors
    /// `Unknown`.
    async fn observed(&self, seen: Observed, now: u64) -> Result<Vec<ArrivalId>, StoreError>;

    /// Arrivals that wait and whose time has come, the oldest first, at most so many of each project: who has very many keeps nobody
    /// waiting. What is damaged is left out and told in the server's log.
    async fn waiting(&self, now: u64, most: u32) -> Result<Vec<Arrival>, StoreError>;

    /// Writes down what was found out.
    ///
    /// # Errors
    /// `Unknown`; `Conflict`: it has ended already.
    async fn settle(&self, id: &ArrivalId, finding: Finding, now: u64) -> Result<(), StoreError>;

    /// An arrival.
    async fn arrival(&self, id: &ArrivalId) -> Result<Option<Arrival>, StoreError>;

    /// A project's arrivals, the newest first, older than `before`.
    async fn arrivals_of(
        &self,
        project: &Name,
        before: Option<&ArrivalId>,
        most: u32,
    ) -> Result<Vec<Arrival>, StoreError>;

    /// Agrees to a fork's pipeline, and lets what is held because of it be looked into again. Gives how many those are.
    async fn approve(&self, approval: Approval, by: &Actor, now: u64) -> Result<u32, StoreError>;

    /// Whether somebody has agreed to exactly this.
    async fn is_approved(&self, approval: &Approval) -> Result<bool, StoreError>;
}

/// What an administrator agrees to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The project.
    pub project: Name,
    /// The request's number.
    pub number: u64,
    /// Its commit.
    pub head: String,
    /// The pipeline file's digest.
    pub pipeline: Digest,
}

/// Clocks that start runs.
#[async_trait]
pub trait Schedules {
    /// Up to when a schedule was looked at, in milliseconds since 1970; `None` if it never was.
    async fn looked(&self, project: &Name, schedule: &Name) -> Result<Option<u64>, StoreError>;

    /// Writes down that a schedule was looked at, and what came due, in one.
    async fn look(
        &self,
        project: &Name,
        schedule: &Name,
        due: Option<NewArrival>,
        now: u64,
    ) -> Result<(), StoreError>;

    /// The commit that a schedule built last.
    async fn built(&self, project: &Name, schedule: &Name) -> Result<Option<String>, StoreError>;

    /// Writes down the commit that a schedule builds.
    async fn builds(&self, project: &Name, schedule: &Name, commit: &str) -> Result<(), StoreError>;

    /// A schedule is no more: if there is one of its name again, it is as if there had been none before.
    async fn forget(&self, project: &Name, schedule: &Name) -> Result<(), StoreError>;
}
