//! Build hosts as a server knows them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::TargetOf;
use crate::{Name, RunnerId, masked};

/// Whether a runner gets jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunnerState {
    /// It does.
    Active,
    /// It ends what it has and gets no more.
    Draining,
    /// Its key counts for nothing any more. For good: a host that is to come back is enrolled with a new key.
    Revoked,
}

/// What somebody wants of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunnerChange {
    /// End what it has, take no more.
    Drain,
    /// Take jobs again.
    Resume,
    /// Count for nothing.
    Revoke,
}

impl RunnerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Draining, Self::Revoked];

    /// The state after a change; `None` where the change is not allowed. Asking for what is already so is allowed.
    pub const fn after(self, change: RunnerChange) -> Option<Self> {
        match (self, change) {
            (_, RunnerChange::Revoke) => Some(Self::Revoked),
            (Self::Revoked, _) => None,
            (_, RunnerChange::Drain) => Some(Self::Draining),
            (_, RunnerChange::Resume) => Some(Self::Active),
        }
    }

    /// As the API, messages and the database write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Revoked => "revoked",
        }
    }
}

/// `POST /api/v1/enrolments`: an administrator asks for a code by which one host becomes a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentAsked {
    /// The pool that the host will belong to.
    pub pool: Name,
    /// Labels that it will have, beside those that it says itself.
    #[serde(default)]
    pub labels: BTreeSet<Name>,
    /// Whether it gets one job only, after which its key is revoked.
    #[serde(default)]
    pub ephemeral: bool,
    /// How long the code is to be valid, from a minute to a day; ten minutes if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_millis: Option<u64>,
    /// The machine of an environment that the host is there for. It gets deployments then, and no jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetOf>,
}

/// The answer to [`EnrolmentAsked`]. The code is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentMade {
    /// To be given to `staith runner register --token`.
    pub code: String,
    /// How long it is valid.
    pub valid_millis: u64,
}

masked!(EnrolmentMade, code, valid_millis);

/// A runner, in the answer to `GET /api/v1/runners`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerSeen {
    /// Who it is.
    pub id: RunnerId,
    /// What people call it.
    pub name: Name,
    /// The pool that it belongs to.
    pub pool: Name,
    /// What it offers.
    pub labels: BTreeSet<Name>,
    /// Whether it gets one job only.
    pub ephemeral: bool,
    /// The version of its program when it last came.
    pub version: String,
    /// Whether it gets jobs.
    pub state: RunnerState,
    /// When it was enrolled, in milliseconds since 1970.
    pub enrolled: u64,
    /// When it was last heard of.
    pub seen: u64,
    /// The machine of an environment that it is there for; `None` where it builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetOf>,
}

/// `GET /api/v1/status`: the server and how much there is of everything, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The version of its program.
    pub version: String,
    /// By what others reach it.
    pub url: String,
    /// Runners that get jobs.
    pub runners_active: u64,
    /// Runs that have not ended.
    pub runs_open: u64,
    /// Jobs that wait for a runner.
    pub jobs_queued: u64,
    /// Jobs that wait for other jobs.
    pub jobs_waiting: u64,
    /// Jobs that a runner has.
    pub jobs_running: u64,
    /// Happenings that were not looked into yet.
    pub arrivals_waiting: u64,
    /// Messages to forges that were not delivered yet.
    pub outbox_waiting: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_brings_a_revoked_runner_back() {
        for state in RunnerState::ALL {
            assert_eq!(state.after(RunnerChange::Revoke), Some(RunnerState::Revoked));
        }
        assert_eq!(RunnerState::Revoked.after(RunnerChange::Resume), None);
        assert_eq!(RunnerState::Revoked.after(RunnerChange::Drain), None);
        assert_eq!(RunnerState::Draining.after(RunnerChange::Resume), Some(RunnerState::Active));
    }
}
