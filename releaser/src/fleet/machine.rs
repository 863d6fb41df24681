//! The seam to one machine of an environment.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use staith_model::{Blame, DeploymentId, Digest, HealthCheck, Hook, Manifest, Service};
use tokio_util::sync::CancellationToken;

use crate::{
    health::Health,
    host::{Done, Files, PackageFiles, Patience, Progress, Staged},
};

/// A machine that holds the files of releases, side by side and read-only, and runs one of them.
///
/// **Ensure, not do.** Every method that changes something first looks whether it is already so, and says that in its answer.
/// Calling any of them again, after a success, a failure or a crash of either side, is right.
///
/// **Cancel-safe.** Dropping a method's future leaves the thing done or not done, never half-done where anybody could see it;
/// [`Machine::observe`] tells which.
///
/// **Fenced.** What changes what can be seen carries an [`Order`]; an epoch below the highest that the machine has seen is
/// refused with [`MachineError::Fenced`], so that a deployment which lost its lease unknowingly can't do harm.
///
/// **No reply is no failure.** Contact that is lost is [`MachineError::Lost`]: what was asked may or may not have been done.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Makes contact: brings what is needed to the machine, and says what kind of machine it is. Cheap when contact is there.
    ///
    /// # Errors
    /// The machine can't be reached, is not the one whose key is pinned, or lacks something; says what.
    async fn reach(&self) -> Result<Facts, MachineError>;

    /// What is there. Reads only.
    ///
    /// # Errors
    /// The machine can't be looked at. An answer is never guessed.
    async fn observe(&self) -> Result<MachineState, MachineError>;

    /// Puts a release's files in place, every byte verified on the machine, with no effect that a client could see. Only
    /// contents that no release on the machine has are asked of `files`. A release that is there but damaged is built anew
    /// beside it and exchanged.
    ///
    /// # Errors
    /// An entry would leave the release's folder, content is not what was promised, the disk is full, or `cancel` fired. In
    /// every case nothing became visible and what was half-written is gone, or goes with the next call.
    async fn stage(
        &self,
        order: &Order,
        load: &Load,
        files: Arc<dyn PackageFiles>,
        progress: Progress,
        cancel: CancellationToken,
    ) -> Result<Staged, MachineError>;

    /// Points `current` to a staged release, durably and at one instant, and has the service restarted from the release's own
    /// folder; `None` stops the service and removes the pointer. Returns once it was restarted: whether it works is told by
    /// [`Machine::probe`].
    ///
    /// # Errors
    /// The epoch is too low, the release is not staged, the service can't be restarted, or contact was lost.
    async fn switch(&self, order: &Order, to: Option<&Digest>) -> Result<Done, MachineError>;

    /// Runs a hook in the folder of a staged release. Its outcome is written down on the machine before it is told, under the
    /// order's operation: asked again for the same operation, the machine tells what came of it and does not run it again.
    ///
    /// # Errors
    /// The epoch is too low, contact was lost, or ([`MachineError::Undecided`]) the machine died while it ran and it is not
    /// repeatable.
    async fn hook(&self, order: &Order, release: &Digest, hook: &Hook) -> Result<HookOutcome, MachineError>;

    /// Asks the release that `current` points to how it is, on the machine itself, until it is
    /// [healthy](crate::health::Verdict::Healthy) for as long as it has to be, or its deadline has passed. Healthy means that
    /// **this** release answered.
    ///
    /// # Errors
    /// The machine can't be looked at. A release that does not answer is an answer, not an error.
    async fn probe(&self, question: &Question, patience: Patience) -> Result<Health, MachineError>;

    /// How the files of a release are that is on the machine. Reads only; damage is an answer, not an error. Files that are there
    /// beside those of the release are not looked at: applications write some.
    ///
    /// # Errors
    /// The files can't be read, contact was lost, or machines of this kind can't be asked that.
    async fn inspect(&self, release: &Digest, how: Inspection) -> Result<Files, MachineError> {
        let _ = (release, how);
        Err(MachineError::Refused {
            target: "the machine".into(),
            what: "look at a release's files",
            why: "machines of this kind can't be asked that".into(),
            remedy: "look at the machine itself".into(),
            blame: Blame::Environment,
        })
    }

    /// Removes the files of every release that is not in `keep`, except the one that `current` points to and the one before.
    /// Returns what it removed. A crash in between leaves a release whole or gone.
    ///
    /// # Errors
    /// The epoch is too low, or something could not be removed; asking again goes on.
    async fn retain(&self, order: &Order, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, MachineError>;
}

/// How closely files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspection {
    /// Files that were touched since they were verified are read; the others are taken for what they were.
    Touched,
    /// Every byte of every file is read.
    EveryByte,
}

/// In whose name something is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Counts up with each deployment to an environment.
    pub epoch: u64,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The operation, the same each time it is asked for in this deployment until it is decided to do it anew: `H(deployment, attempt,
    /// work)`. The epoch is no part of it, so that a driver which takes over asks for the same.
    pub operation: Digest,
}

/// What a machine needs to hold and run a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The release.
    pub release: Digest,
    /// Its files on this machine: the package's, with those in place of them that were rendered for it.
    pub manifest: Arc<Manifest>,
    /// How it is started and stopped.
    pub service: Service,
    /// Environment variables that are secrets. Kept on the machine where only its superuser reads.
    pub secrets: Vec<(String, staith_model::Secret)>,
    /// Paths of rendered files that hold secrets: readable by the service's account and nobody else.
    pub private: BTreeSet<staith_model::RelPath>,
    /// Whether every byte that is there already is read before it is taken for right, rather than of those that were touched since they
    /// were verified. Machines that remember nothing of that kind read all of them anyway.
    pub every_byte: bool,
}

/// What kind of machine it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The identity that the machine gave itself at its first start.
    pub machine_id: String,
    /// Changes with each start of the machine.
    pub boot_id: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// What it calls itself: `Debian GNU/Linux 12`.
    pub system: String,
    /// Whether orders are carried out as the superuser.
    pub superuser: bool,
    /// Bytes that may still be written where releases are.
    pub free_bytes: u64,
    /// Whether systemd is there and answers the account that orders are carried out as.
    pub systemd: bool,
}

/// What a machine holds and runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineState {
    /// The highest epoch that the machine has seen.
    pub epoch: u64,
    /// Releases whose files are there and were verified when they came.
    pub releases: BTreeSet<Digest>,
    /// Where `current` points.
    pub current: Option<Digest>,
    /// Where it pointed before.
    pub previous: Option<Digest>,
    /// What the service runs; `None` where that can't be told (a restart command, files only).
    pub serving: Option<Serving>,
    /// An operation that was begun and whose end was not written down.
    pub unfinished: Option<Digest>,
}

/// What a service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    /// Nothing.
    Down,
    /// A process of this release; `None` if it was not started from a release's folder.
    Up(Option<Digest>),
}

/// What is asked of a machine for health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The release that has to answer.
    pub release: Digest,
    /// The port of the application.
    pub port: Option<u16>,
    /// What a good answer is; without it, and without a port, what is asked is whether the service runs.
    pub check: Option<HealthCheck>,
    /// Seconds for which it must be healthy without a break.
    pub min_healthy_seconds: u64,
}

/// What came of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookOutcome {
    /// Its exit code; `None` if a signal ended it, or its time was up.
    pub code: Option<i32>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// The last of what it said, both streams, 64 KiB at most. Secrets are not masked yet.
    pub said: Vec<u8>,
    /// Whether it ran before this call.
    pub already: bool,
}

/// Why a machine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Another deployment has taken over.
    #[error(
        "{target}: another deployment has taken over; the machine has seen epoch {seen}, and this one has {asked}"
    )]
    Fenced {
        /// The machine.
        target: String,
        /// The highest that it has seen.
        seen: u64,
        /// Ours.
        asked: u64,
    },
    /// Contact could not be made.
    #[error("{target} can't be reached: {why}")]
    Unreachable {
        /// The machine.
        target: String,
        /// What was tried and what came of it.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// Contact was lost; what was asked may or may not have been done.
    #[error("lost contact with {target} while it was to {what}: {why}")]
    Lost {
        /// The machine.
        target: String,
        /// What it was asked.
        what: &'static str,
        /// How contact was lost.
        why: String,
    },
    /// It was not done.
    #[error("{target} can't {what}: {why}")]
    Refused {
        /// The machine.
        target: String,
        /// What it was asked.
        what: &'static str,
        /// Why not.
        why: String,
        /// What to do about it.
        remedy: String,
        /// Whose fault it is.
        blame: Blame,
    },
    /// It can't be told whether a hook that is not repeatable ran to its end.
    #[error("the machine {target} stopped while the hook `{hook}` ran, and the hook is not repeatable")]
    Undecided {
        /// The machine.
        target: String,
        /// The hook.
        hook: String,
    },
    /// Cancelled; nothing became visible.
    #[error("cancelled")]
    Cancelled,
}

impl MachineError {
    /// Whether looking again and asking again may help.
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Unreachable { .. })
    }
}
