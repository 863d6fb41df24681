//! What a server keeps. The seam between it and its database: traits, one for each room, whose documentation is the contract; the
//! contract suites are `tests/store_*`.
//!
//! 1. [`Actor`]: on whose behalf something is done. [`StoreError`].
//! 2. [`Access`]: who has a token. [`Runners`]: which hosts are runners. [`Projects`]: what is built. [`Arrivals`] and
//!    [`Schedules`]: what happened there. [`Queue`]: runs and jobs. [`Attempts`]: who works on them. [`Streams`]: what attempts send.
//!    [`Packages`]: whose code made them. [`Steps`]: what steps came to, for other runners. [`Releases`]: what the deployer is told,
//!    and says. [`Outbox`]: what forges are told. [`Secrets`]: sealed. [`Health`]
//!    everything. [`Audit`]: what was done. [`Repetitions`]: what may be asked again.
//! 3. `sqlite`: the embedded database: one file, one writer.
//!
//! What all implementations promise: an answer `Ok` to something that changes state means that it is durable (it survives the loss of
//! power). A method is one transaction: all of it happened or nothing of it. A call that is cancelled may have happened. Methods may be
//! called at once from any number of tasks.

mod access;
mod arrivals;
mod attempts;
mod audit;
mod error;
mod health;
mod outbox;
mod packages;
pub(crate) mod page;
mod projects;
mod queue;
mod releases;
mod runners;
mod secrets;
mod sqlite;
mod steps;
mod streams;

pub use access::{Access, NewToken, TokenSeen};
pub use arrivals::{Approval, ArrivalIds, Arrivals, Finding, NewArrival, Observed, Schedules};
pub use attempts::{Attempts, Claim, Claimable, Finish, Finished, Given, Live};
pub use audit::{Audit, AuditEntry, AuditVerdict, BrokenEntry, Repetition, Repetitions, StoredAnswer};
pub use error::StoreError;
pub use health::{Depths, Health};
pub use outbox::{Letter, Outbox, Standing, Told};
pub use packages::{PackageOrigin, Packages, Pushed, Yielded};
pub use projects::{Projects, Seen};
pub use queue::{NewJob, NewRun, Queue, RunFilter};
pub use releases::{Due, KeptRelease, NewOrder, NewRelease, Releases, RunMade};
pub use runners::{Applicant, Application, KnownRunner, NewSession, Runners};
pub use secrets::{
    ReleaseSecret, ReleaseSecretsAsked, ReleaseSecretsFound, Reseal, SealedSecret, SecretPlace, SecretSeen,
    Secrets, SecretsOf,
};
pub(crate) use sqlite::reading;
pub use sqlite::{Sqlite, verify_audit};
pub use steps::{BlobOf, StepCaps, Steps};
pub use streams::{Closing, Growth, StreamListed, StreamMark, StreamPlace, StreamRow, Streams};

use std::fmt;

/// Everything that a server keeps.
pub trait Store:
    Access
    + Arrivals
    + Attempts
    + Secrets
    + Repetitions
    + Audit
    + Health
    + Outbox
    + Packages
    + Projects
    + Queue
    + Releases
    + Runners
    + Schedules
    + Steps
    + Streams
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl Store for Sqlite {}

/// On whose behalf something is done; it is in the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `person:NAME`, `runner:ID`, `attempt:ID`, `forge:PROJECT`, or `server` itself.
    pub who: String,
    /// From where, if it came over the network: an address.
    pub from: Option<String>,
}

impl Actor {
    /// The server, of its own accord.
    pub fn server() -> Self {
        Self { who: "server".to_owned(), from: None }
    }
}
