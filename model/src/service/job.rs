//! What a runner is given, and how it ended.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Trust;
use crate::{Blame, Digest, Name, Part, Plan, RunId};

/// A job as a runner gets it: what to do, with nothing left to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The run that it is part of.
    pub run: RunId,
    /// The run's number in its project, for people.
    pub number: u64,
    /// The project as the server knows it.
    pub project: Name,
    /// The job; a run of one job has `run`.
    pub name: Name,
    /// The run's whole plan.
    pub plan: Plan,
    /// Its digest, as `staith plan` prints it.
    pub plan_digest: Digest,
    /// What of the plan this job does; all of it if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Whose code it is.
    pub trust: Trust,
    /// The secrets that its steps name and it may have.
    #[serde(default)]
    pub secrets: BTreeSet<Name>,
    /// After so many milliseconds it is ended.
    pub timeout_millis: u64,
}

/// How an attempt ended, as its runner says. That a runner was lost is said by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// All steps passed, and what was to be packed is in the store.
    Passed,
    /// It did not pass.
    Failed {
        /// Whose fault it is: decides whether it is tried again.
        blame: Blame,
        /// For people.
        why: String,
        /// Whether it is what the project says of itself that can't work, rather than that a step or a test failed. Decides nothing but
        /// the exit code of who waits for the run.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        configuration: bool,
    },
    /// It was ended because the server wanted it.
    Cancelled,
}

impl AttemptOutcome {
    /// It did not pass, for a reason that is not the project's configuration.
    pub fn failed(blame: Blame, why: impl Into<String>) -> Self {
        Self::Failed { blame, why: why.into(), configuration: false }
    }
}
