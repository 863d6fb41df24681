//! What a person is told when a deployment did not do what it should: why, whose fault, what serves now, what to do.

use staith_model::{Blame, DeploymentId, Digest, Exit, Reason};

use super::{books::BooksError, lock::LockError};
use crate::{
    health::{Health, Verdict},
    host::{CommandError, HostError},
    keeper::Pool,
    plan::Operation,
    traffic::TrafficError,
};

/// Why a release does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The deployment began and failed, or was cancelled; says what serves now.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// Somebody else deploys.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It was cancelled before it began; nothing was done.
    #[error("cancelled before anything was done; what served still does")]
    Cancelled,
    /// Nothing was done, because the release's program could not be started.
    #[error("nothing was deployed: {0}")]
    Command(#[from] CommandError),
    /// Nothing was done, because the place to deploy to can't be used.
    #[error("environment `{environment}` can't be deployed to: {source}")]
    Unreachable {
        /// Its name.
        environment: String,
        /// Why not.
        source: HostError,
    },
    /// Nothing was done, because what is there can't be seen.
    #[error("it can't be told who gets requests in environment `{environment}`: {source}")]
    Unseen {
        /// Its name.
        environment: String,
        /// Why not.
        source: TrafficError,
    },
    /// The environment's own files can't be used.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// Nothing was ever deployed here.
    #[error("nothing has been deployed to {dir} yet")]
    NeverDeployed {
        /// The environment's folder.
        dir: String,
    },
    /// No release served before the current one.
    #[error("there is no previous release to go back to; {}", choices(.available))]
    NothingToGoBackTo {
        /// Releases on disk, beside the current one.
        available: Vec<String>,
    },
    /// The release to go back to is not on disk.
    #[error("release {release} is not on disk any more (or never was); {}", choices(.available))]
    BeyondRetention {
        /// The release.
        release: Digest,
        /// Releases on disk, beside the current one.
        available: Vec<String>,
    },
}

fn choices(releases: &[String]) -> String {
    if releases.is_empty() {
        return "no other release is on disk: deploy the package that you want again".into();
    }
    format!("on disk are {}: go back to one of those, or deploy a package again", releases.join(", "))
}

impl DriveError {
    /// What happened, whose fault it is and what to do.
    pub fn reason(&self) -> Reason {
        let (blame, remedy) = match self {
            Self::Failed(failure) => return failure.reason.clone(),
            Self::Unreachable { source, .. } => (source.blame(), source.remedy()),
            Self::Unseen { source, .. } => (source.blame(), source.remedy()),
            Self::Command(error) if error.is_of_the_host() => (Blame::Environment, Some(error.remedy())),
            Self::Command(error) => (Blame::Project, Some(error.remedy())),
            Self::Lock(LockError::Held { .. }) => {
                (Blame::Environment, Some("wait for that deployment, or end it: what it did is kept".into()))
            }
            Self::NeverDeployed { .. } => (Blame::Environment, Some("deploy a package first".into())),
            _ => (Blame::Environment, None),
        };
        Reason { blame, what: self.to_string(), remedy }
    }

    /// What the shell is told.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Failed(failure) => match failure.ending {
                Ending::RolledBack if failure.cancelled => Exit::Interrupted,
                Ending::RolledBack => Exit::RolledBack,
                Ending::RollbackFailed(_) | Ending::NeedsDecision(_) => Exit::NeedsDecision,
            },
            Self::Cancelled => Exit::Interrupted,
            Self::NothingToGoBackTo { .. } | Self::BeyondRetention { .. } | Self::NeverDeployed { .. } => {
                Exit::Configuration
            }
            Self::Command(error) if !error.is_of_the_host() => Exit::Configuration,
            Self::Command(_)
            | Self::Lock(_)
            | Self::Unreachable { .. }
            | Self::Unseen { .. }
            | Self::Books(_) => Exit::Environment,
        }
    }
}

/// A deployment that began and did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}\n{}", if *cancelled { "the deployment was cancelled" } else { "the deployment failed" }, .reason.what, self.serving_in_words())]
pub struct Failure {
    /// The deployment.
    pub deployment: DeploymentId,
    /// What was being done, in words.
    pub during: String,
    /// Whether a person wanted it stopped.
    pub cancelled: bool,
    /// What happened, whose fault it is and what to do.
    pub reason: Reason,
    /// How it ended.
    pub ending: Ending,
    /// The release that serves now, as far as it could be seen.
    pub serving: Option<Digest>,
    /// Whether requests had been moved before it failed.
    pub was_visible: bool,
    /// What the release answered, where that was the reason.
    pub health: Option<Health>,
}

impl Failure {
    fn serving_in_words(&self) -> String {
        let serving = self
            .serving
            .map_or_else(|| "no release".into(), |release| format!("release {}", release.short()));
        match &self.ending {
            Ending::RolledBack if self.was_visible && self.serving.is_none() => {
                "requests were taken away from it: no release serves, as before".into()
            }
            Ending::RolledBack if self.was_visible => {
                format!("requests were sent back: {serving} serves, as before")
            }
            Ending::RolledBack => format!("no request was moved: {serving} serves, as before"),
            Ending::RollbackFailed(why) => format!("going back failed, too: {why}"),
            Ending::NeedsDecision(why) => format!("a decision is needed: {why}"),
        }
    }
}

/// How a failed deployment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// What served before serves.
    RolledBack,
    /// What served before could not be brought back; says why.
    RollbackFailed(String),
    /// A person has to look; says at what.
    NeedsDecision(String),
}

/// What stops an execution.
#[derive(Debug)]
pub(super) enum Trouble {
    Cancelled,
    Host(HostError),
    Traffic(TrafficError),
    Books(BooksError),
    Unhealthy {
        pool: Pool,
        through_proxy: bool,
        health: Box<Health>,
        told: String,
    },
    /// The package is needed and was not given.
    FilesMissing(Digest),
    /// The world changed so that going on would take a server from under its clients.
    Endangers(Operation),
}

impl From<HostError> for Trouble {
    fn from(error: HostError) -> Self {
        if matches!(error, HostError::Cancelled) { Self::Cancelled } else { Self::Host(error) }
    }
}

impl From<TrafficError> for Trouble {
    fn from(error: TrafficError) -> Self {
        Self::Traffic(error)
    }
}

impl From<BooksError> for Trouble {
    fn from(error: BooksError) -> Self {
        Self::Books(error)
    }
}

impl Trouble {
    /// Whether looking again and planning again may help.
    pub(super) const fn is_lost(&self) -> bool {
        match self {
            Self::Host(error) => error.is_lost(),
            Self::Traffic(error) => error.is_lost(),
            _ => false,
        }
    }

    /// Whether another deployment has taken over: then nothing here is ours to take back.
    pub(super) const fn is_fenced(&self) -> bool {
        matches!(self, Self::Host(HostError::Fenced { .. }) | Self::Traffic(TrafficError::Fenced { .. }))
    }

    pub(super) fn reason(&self, during: &str) -> Reason {
        let (blame, what, remedy) = match self {
            Self::Cancelled => {
                let what = format!("somebody wanted it stopped while it was to {during}");
                return Reason { blame: Blame::Environment, what, remedy: None };
            }
            Self::Host(error) => (error.blame(), error.to_string(), error.remedy()),
            Self::Traffic(error) => (error.blame(), error.to_string(), error.remedy()),
            Self::Books(error) => (Blame::Environment, error.to_string(), None),
            Self::Unhealthy { pool, through_proxy, health, told } => {
                let verdict = match health.verdict {
                    Verdict::Inconclusive => "can't be told to be healthy",
                    _ => "is not healthy",
                };
                let place =
                    if *through_proxy { "behind the proxy".into() } else { format!("in pool {pool}") };
                let what = format!("the release {verdict} {place}: {told}");
                return Reason { blame: Blame::Project, what, remedy: Some(health.remedy()) };
            }
            Self::FilesMissing(release) => (
                Blame::Environment,
                format!("the files of release {} are damaged or incomplete on this host", release.short()),
                Some("deploy that release's package again: it is built anew from it".into()),
            ),
            Self::Endangers(operation) => (
                Blame::Environment,
                format!("it was to {operation}, but that pool gets requests now: somebody else has switched"),
                Some("deploy again: it looks at what is there and goes on".into()),
            ),
        };
        Reason { blame, what: format!("could not {during}: {what}"), remedy }
    }
}
