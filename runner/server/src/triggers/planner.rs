//! What a happening comes to. The seam to whoever can read repositories: the server itself can't.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use staith_model::{
    Digest, FleetEnvironment, JobCut, Name, Plan, RelPath,
    service::{Happening, RunGroup},
};
use staith_releaser::fleet::record::notes::Found;

use crate::store::Seen;

/// Reads repositories and makes plans. Calls may take as long as a fetch takes, and are safe to cancel.
#[async_trait]
pub trait Planner: fmt::Debug + Send + Sync {
    /// The branches and tags that an origin has now.
    ///
    /// # Errors
    /// The origin is none, or can't be reached.
    async fn references(&self, origin: &str) -> Result<Vec<Seen>, Unplanned>;

    /// What a happening comes to: the plan that `staith plan` makes of the same commit and event.
    ///
    /// # Errors
    /// The source can't be had, or there is no plan for it.
    async fn plan(&self, wanted: &Wanted) -> Result<Outcome, Unplanned>;

    /// When the pipeline of an origin's default branch wants to be run by a clock: its `[on.schedule]`; `None` if it has none.
    ///
    /// # Errors
    /// The origin can't be reached, or its pipeline makes no sense.
    async fn own_schedule(&self, _origin: &str) -> Result<Option<OwnSchedule>, Unplanned> {
        Ok(None)
    }

    /// The pipeline file of a commit, as it is in the repository.
    ///
    /// # Errors
    /// The source can't be had, or has none.
    async fn pipeline(&self, origin: &str, commit: &str) -> Result<String, Unplanned> {
        let _ = (origin, commit);
        Err(nobody())
    }

    /// Files of a commit that name the machines of its pipeline's environments, by their paths. One that is not there is left out.
    ///
    /// # Errors
    /// The source can't be had, or such a file is none, or too long.
    async fn inventories(&self, _origin: &str, _commit: &str) -> Result<BTreeMap<String, String>, Unplanned> {
        Ok(BTreeMap::new())
    }

    /// The commits to the project that `to` has and `from` has not. Both are whole ids.
    ///
    /// # Errors
    /// The source can't be had, or lacks one of the two.
    async fn commits(&self, origin: &str, from: &str, to: &str) -> Result<Found, Unplanned> {
        let _ = (origin, from, to);
        Err(nobody())
    }

    /// When commits were made, in milliseconds since 1970; those that the repository has not are left out.
    ///
    /// # Errors
    /// The repository can't be read.
    async fn committed_at(
        &self,
        _origin: &str,
        _commits: &[String],
    ) -> Result<BTreeMap<String, u64>, Unplanned> {
        Ok(BTreeMap::new())
    }

    /// An environment of machines, as a pipeline file describes it; `None` if it has none of this name.
    ///
    /// # Errors
    /// The file makes no sense.
    async fn environment(
        &self,
        _pipeline: &str,
        _environment: &Name,
    ) -> Result<Option<FleetEnvironment>, Unplanned> {
        Err(nobody())
    }
}

/// The `[on.schedule]` of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSchedule {
    /// The default branch, which has the pipeline and is built.
    pub branch: String,
    /// When it is due: five fields of cron each.
    pub cron: Vec<String>,
    /// Where these are meant: a name of the IANA time zone database.
    pub time_zone: String,
    /// Why it starts nothing all the same: the branch does not pass its filters.
    pub not: Option<String>,
}

/// What is to be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The project as the server calls it.
    pub project: Name,
    /// Where its source is.
    pub origin: String,
    /// What happened.
    pub happening: Happening,
    /// Paths that count as changed, instead of those that did.
    pub paths: Option<Vec<RelPath>>,
}

/// What a happening comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A run.
    Starts(Box<Planned>),
    /// Nothing, as the pipeline's `[on]` wants it.
    Not {
        /// Why, for people.
        why: String,
    },
}

/// A run as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What will be done.
    pub plan: Plan,
    /// The plan's digest.
    pub digest: Digest,
    /// Why there is a run, for people.
    pub why: String,
    /// Where in the repository the commit is.
    pub lineage: Lineage,
    /// The digest of the pipeline file.
    pub pipeline: Digest,
    /// That of the branch that a request asks to go to; `None` if it has none, or nothing asks to go anywhere.
    pub target_pipeline: Option<Digest>,
    /// The parts of it, each for one runner.
    pub jobs: Vec<JobCut>,
    /// What people should know, a sentence each.
    pub notices: Vec<String>,
    /// Whether a clock leaves it out if it has built this very commit already, as the pipeline's `[on.schedule]` wants it.
    pub unless_built: bool,
    /// The group that the pipeline names for its runs.
    pub group: Option<RunGroup>,
}

/// Where in its repository a commit is: as far as the repository itself shows, whatever somebody claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lineage {
    /// On this branch: it is its commit, or one that came before.
    Branch(String),
    /// It is what this tag names.
    Tag(String),
    /// On some branch or tag.
    Some,
    /// On none: a fork's, or one that was given up.
    Nowhere,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplanned {
    /// It won't work however often it is tried: somebody has to change something.
    #[error("{what}")]
    Refused {
        /// What is wrong.
        what: String,
        /// Why.
        why: Option<String>,
        /// What to do.
        remedy: Option<String>,
    },
    /// It may work later.
    #[error("{what}")]
    NotNow {
        /// What is wrong.
        what: String,
        /// What to do, should it last.
        remedy: Option<String>,
    },
}

/// Plans nothing, for a server that has nobody who reads repositories.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoPlanner;

#[async_trait]
impl Planner for NoPlanner {
    async fn references(&self, _: &str) -> Result<Vec<Seen>, Unplanned> {
        Err(nobody())
    }

    async fn plan(&self, _: &Wanted) -> Result<Outcome, Unplanned> {
        Err(nobody())
    }
}

fn nobody() -> Unplanned {
    Unplanned::NotNow { what: "this server can't read repositories".to_owned(), remedy: None }
}
