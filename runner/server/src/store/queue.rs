//! Runs and their jobs, as those who ask for them see them. Who works on them is in [`Attempts`](super::Attempts).

use std::collections::BTreeSet;

use async_trait::async_trait;
use staith_model::{
    ArrivalId, AttemptId, Name, RunId,
    service::{JobSpec, RunPage, RunStanding, RunView},
};

use super::{Actor, StoreError};

/// A run that is to be.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// What set it off, if that was written down. An arrival sets off one run, whatever is asked again.
    pub arrival: Option<ArrivalId>,
    /// On whose behalf.
    pub by: Actor,
    /// Runs of a project with the same group and the same trust don't run at once. The trust is part of it, so that a stranger's run
    /// can't hold up or end one of the project's own by naming its group.
    pub concurrency: Option<String>,
    /// Whether an older run of the group is cancelled by this one; otherwise this one waits.
    pub supersedes: bool,
    /// Higher goes first, among the runs of a project.
    pub priority: i32,
    /// At least one; `spec.number` is given by the store. All have the same run, project, plan and trust.
    pub jobs: Vec<NewJob>,
}

/// A job of a run that is to be.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What a runner will be given.
    pub spec: JobSpec,
    /// The pool whose runners may take it.
    pub pool: Name,
    /// What a runner must have.
    pub labels: BTreeSet<Name>,
    /// Jobs of the run that must have passed.
    pub needs: BTreeSet<Name>,
}

/// Which runs are wanted.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only this project's.
    pub project: Option<Name>,
    /// Only the one with this number in its project.
    pub number: Option<u64>,
    /// Only those that stand so.
    pub state: Option<RunStanding>,
    /// Only those that are older than this one: where the page before ended.
    pub after: Option<RunId>,
    /// At most so many.
    pub limit: u32,
}

/// Runs and their jobs.
#[async_trait]
pub trait Queue {
    /// Adds a run with its jobs and gives its number in the project. The same arrival again gives the number that it got before.
    /// Jobs that need none are queued, if it is the run's turn in its group.
    ///
    /// `Conflict` if the jobs don't make sense together: none, two of a name, needs that are not there or go in a circle.
    async fn add_run(&self, run: NewRun, now: u64) -> Result<u64, StoreError>;

    /// Cancels what of a run has not ended. What no runner has ends at once; runners are asked to end what they have, and those
    /// attempts are given back. A run that is over stays as it is.
    async fn cancel_run(
        &self,
        run: RunId,
        by: Actor,
        why: String,
        now: u64,
    ) -> Result<Vec<AttemptId>, StoreError>;

    /// Begins what of a run did not pass again, with new attempts beside the old ones. `Conflict` if the run is not over, or passed.
    async fn retry_run(&self, run: RunId, by: Actor, now: u64) -> Result<(), StoreError>;

    /// Runs, the newest first.
    async fn runs(&self, filter: RunFilter) -> Result<RunPage, StoreError>;

    /// All that is known of a run. A queued job that no runner can take says so.
    async fn run(&self, run: RunId) -> Result<RunView, StoreError>;
}
