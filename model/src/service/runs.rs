//! Runs as people see them. Times are milliseconds since 1970 by the server's clock.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AttemptOutcome, AttemptState, JobState, RunStanding, Trust};
use crate::{AttemptId, Digest, Name, RunId, RunnerId};

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Its project.
    pub project: Name,
    /// Its number in the project, for people.
    pub number: u64,
    /// How it stands.
    pub state: RunStanding,
    /// Why it was cancelled, or waits, if there is a reason beside its jobs'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The commit that it builds, if it builds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The digest of its plan, as `staith plan` prints it.
    pub plan_digest: Digest,
    /// Whose code it is.
    pub trust: Trust,
    /// On whose behalf.
    pub asked_by: String,
    /// Runs of the project with the same group and trust don't run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
    /// Higher goes first in its project.
    pub priority: i32,
    /// When it was added.
    pub created: u64,
    /// When the last of its jobs ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
}

/// `GET /api/v1/runs`: the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPage {
    /// At most as many as were asked for.
    pub runs: Vec<RunSummary>,
    /// What to send as `after` for the next ones; none if there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RunId>,
}

/// `GET /api/v1/runs/{run}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// The run.
    #[serde(flatten)]
    pub run: RunSummary,
    /// Its jobs, by name.
    pub jobs: Vec<JobView>,
}

/// A job of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its name in the run.
    pub name: Name,
    /// Where it is.
    pub state: JobState,
    /// Why it failed, was cancelled or skipped, is tried again, or is not taken by any runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The pool whose runners may take it.
    pub pool: Name,
    /// What a runner must have.
    pub labels: BTreeSet<Name>,
    /// Labels that no runner has which could otherwise take it. Only while it is queued.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unmet: BTreeSet<Name>,
    /// Jobs of the run that must have passed.
    pub needs: BTreeSet<Name>,
    /// When it came into the queue, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// All tries, the first one first. None is ever taken away or overwritten.
    pub attempts: Vec<AttemptView>,
}

/// A try at a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its id.
    pub id: AttemptId,
    /// Which try it is, from one on.
    pub number: u32,
    /// Where it is.
    pub state: AttemptState,
    /// Who has it, or had.
    pub runner: RunnerId,
    /// What people call that runner.
    pub runner_name: String,
    /// How it ended, as its runner said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// Why it was given up, or is to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the runner got it.
    pub began: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// The names of its streams, as its runner said when it finished.
    #[serde(default)]
    pub streams: Vec<String>,
}

/// `POST /api/v1/runs/{run}/cancel`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelAsked {
    /// For people; who asked is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
