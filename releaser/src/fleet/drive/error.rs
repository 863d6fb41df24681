//! Why a driver stopped without a decision of its own.

use staith_model::{DeploymentId, Exit, Name};

use super::{super::plan::FleetPlanError, log::LogError};
use crate::drive::LockError;

/// Why a driver stopped. What it did stays; who comes next goes on from what is there.
#[derive(Debug, thiserror::Error)]
pub enum FleetDriveError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Somebody else drives.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It can't be planned.
    #[error(transparent)]
    Plan(#[from] FleetPlanError),
    /// Another driver has taken over.
    #[error("another process has taken over this environment ({why}); nothing more was done by this one")]
    Overtaken {
        /// How it was seen.
        why: String,
    },
    /// Who gets requests can't be told, so nothing can be planned.
    #[error(
        "{why}; see that it runs and can be asked from here (`traffic` of the environment says where), then try again"
    )]
    TrafficUnseen {
        /// Why not.
        why: String,
    },
    /// No such deployment.
    #[error("this environment's log has no deployment {deployment}")]
    Unknown {
        /// Which.
        deployment: DeploymentId,
    },
    /// An earlier one waits for a person.
    #[error(
        "deployment {deployment} is not finished, and somebody has to decide what becomes of it: {why}; {remedy}"
    )]
    Unfinished {
        /// Which.
        deployment: DeploymentId,
        /// What is to be decided.
        why: String,
        /// How.
        remedy: &'static str,
    },
    /// There is no release to go back to.
    #[error("no other release has served here, so there is none to go back to; deploy one")]
    NothingToGoBackTo,
    /// The release never came to serve here.
    #[error("release {release} never served here, so there is no way back to it: deploying it asks whoever guards the environment, and going back asks nobody; deploy it{known}", known = served(.known))]
    NeverServed {
        /// Its short digest.
        release: String,
        /// Short digests of those that did, the newest first.
        known: Vec<String>,
    },
    /// The release is not everywhere.
    #[error("release {release} is not on {missing} any more, so going back to it would have to bring it there; choose a release that is everywhere ({everywhere}), or force it", missing = missing.iter().map(Name::as_str).collect::<Vec<_>>().join(", "))]
    BeyondRetention {
        /// Its short digest.
        release: String,
        /// Machines that lack it.
        missing: Vec<Name>,
        /// Short digests of those that all machines have.
        everywhere: String,
    },
    /// Machines could not be asked whether they have the release.
    #[error("it can't be told whether the release is on {unseen}, so nothing was changed; see to it, quarantine it, or force it", unseen = unseen.iter().map(Name::as_str).collect::<Vec<_>>().join(", "))]
    Unseen {
        /// They.
        unseen: Vec<Name>,
    },
    /// No two pools.
    #[error("only a blue-green environment can be swapped; this one rolls back with `rollback`")]
    NotPools,
    /// The other pool can't take over.
    #[error("pool `{pool}` can't take the requests: {why}")]
    PoolNotReady {
        /// The pool.
        pool: Name,
        /// Why not.
        why: String,
    },
    /// It leads below the rollback floor, or contracts too early.
    #[error("{why}; if it has to be, give `--override-floor REASON`, which is recorded")]
    BelowFloor {
        /// What would go wrong.
        why: String,
    },
    /// It decided something that its own table refuses.
    #[error("the deployment stands still at {state}: this is a mistake in Staith, please report it")]
    Stuck {
        /// Where.
        state: String,
    },
}

impl FleetDriveError {
    /// What the shell is told.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Plan(error) => error.exit(),
            Self::Unfinished { .. } | Self::BelowFloor { .. } => Exit::NeedsDecision,
            Self::Unknown { .. }
            | Self::NotPools
            | Self::NothingToGoBackTo
            | Self::NeverServed { .. }
            | Self::BeyondRetention { .. } => Exit::Configuration,
            Self::Stuck { .. } => Exit::Bug,
            _ => Exit::Environment,
        }
    }
}

fn served(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!(", or go back to one that did: {}", known.join(", "))
    }
}

/// Why it is not known who gets requests, where nobody answers.
pub(super) const NO_ANSWER: &str = "whoever sends requests did not answer when it was to tell who gets them";
