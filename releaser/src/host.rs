//! The seam to a place where releases run, and the local one.
//!
//! A host holds the files of releases, side by side and read-only, and runs one release in each of its two pools. It
//! does not decide who gets requests: that is [`Traffic`](crate::traffic::Traffic).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::Arc;

use async_trait::async_trait;
use staith_model::{Digest, Manifest, RelPath, Release};
use tokio_util::sync::CancellationToken;

use crate::{health::Health, keeper::Pool};

mod blobs;
pub(crate) mod command;
pub(crate) mod durable;
mod error;
mod layout;
pub(crate) mod link;
mod local;
mod package;
mod retention;
#[cfg(test)]
pub(crate) mod samples;
mod staging;
#[cfg(test)]
mod tests;
mod tree;

pub use command::{CommandError, check_command};
pub use durable::write as write_durably;
pub use error::HostError;
pub use layout::Layout;
pub use link::KeeperLink;
pub use local::LocalHost;
pub use package::SealedPackage;

/// A place where releases run.
///
/// **Ensure, not do.** Every method that changes something first looks whether it is already so, and says that in its
/// answer. Calling any of them again, after a success, a failure or a crash, is right.
///
/// **Cancel-safe.** Dropping a method's future leaves the thing done or not done, never half-done where anybody could
/// see it; [`Host::observe`] tells which.
///
/// **Fenced.** What changes a pool carries the deployment's epoch; an epoch below the highest that the host has seen is
/// refused with [`HostError::Fenced`], so that a deployment which lost its lock unknowingly can't do harm.
#[async_trait]
pub trait Host: Send + Sync {
    /// Makes the host ready to take orders, bringing up what supervises its pools. Says whether it was.
    ///
    /// # Errors
    /// The host can't be reached or its supervisor can't be started.
    async fn reach(&self) -> Result<Done, HostError>;

    /// What is there. Reads only, and works when nothing runs: a host whose supervisor is not there has empty pools.
    ///
    /// # Errors
    /// The host can't be looked at. An answer is never guessed.
    async fn observe(&self) -> Result<HostState, HostError>;

    /// How a release's files are. [`Depth::Content`] reads and hashes every byte, [`Depth::Presence`] none.
    ///
    /// # Errors
    /// The files can't be read; damage is an answer, not an error.
    async fn inspect(&self, release: &Release, depth: Depth) -> Result<Files, HostError>;

    /// Puts a release's files in place, every byte verified, with no effect that a client could see. Only contents that
    /// the host lacks are asked of `files`. A release that is there but damaged is built anew beside it and exchanged.
    ///
    /// # Errors
    /// An entry would leave the release's folder, the content is not what the package promised, the disk is full, or
    /// `cancel` fired. In every case nothing became visible and what was half-written is gone.
    async fn stage(
        &self,
        release: &Release,
        files: Arc<dyn PackageFiles>,
        progress: Progress,
        cancel: CancellationToken,
    ) -> Result<Staged, HostError>;

    /// Makes a pool run a release from its staged files; whatever else ran in the pool is stopped first. Returns once it
    /// was started: whether it works is told by [`Host::probe`].
    ///
    /// # Errors
    /// The epoch is too low, the program can't be started, or contact was lost.
    async fn start(&self, epoch: u64, pool: Pool, release: &Release) -> Result<Done, HostError>;

    /// Makes a pool run nothing: the program is asked to end and, when its time is up, ended.
    ///
    /// # Errors
    /// The epoch is too low, or contact was lost.
    async fn stop(&self, epoch: u64, pool: Pool) -> Result<Done, HostError>;

    /// Asks the release in a pool how it is, on the pool's own port and not through the proxy, until it is
    /// [healthy](crate::health::Verdict::Healthy) or its deadline has passed. Healthy means that **this** release answered.
    ///
    /// # Errors
    /// The host can't be looked at. A release that does not answer is an answer, not an error.
    async fn probe(&self, pool: Pool, release: &Release, patience: Patience) -> Result<Health, HostError>;

    /// Points `current`, the pointer for people and for boot, to a release, or removes it.
    ///
    /// # Errors
    /// The pointer can't be written.
    async fn activate(&self, release: Option<&Digest>) -> Result<Done, HostError>;

    /// Removes the files of every release that is not in `keep`, except those that a pool holds or `current` points to.
    /// Returns what it removed. A crash in between leaves a release whole or gone.
    ///
    /// # Errors
    /// Something could not be removed; asking again goes on.
    async fn retain(&self, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, HostError>;
}

/// The files of a package, as the host needs them.
pub trait PackageFiles: Send + Sync {
    /// What the package contains.
    fn manifest(&self) -> &Manifest;

    /// Writes the bytes of one file of the manifest to `to`. The host checks their digest whether or not the package
    /// did.
    ///
    /// # Errors
    /// The package can't be read or has no such file, or `to` refused.
    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// The bytes of one file as the package has them, where that saves packing them again on the way to another machine.
    /// They are verified where they arrive. `None` where the package has no such form.
    ///
    /// # Errors
    /// The package can't be read or has no such file.
    fn packed_file(
        &self,
        _path: &RelPath,
    ) -> Result<Option<PackedContent<'_>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(None)
    }
}

/// A file's bytes as a package has them.
pub struct PackedContent<'p> {
    /// The bytes.
    pub bytes: Box<dyn Read + Send + 'p>,
    /// How many they are.
    pub length: u64,
    /// Whether they are one stream of raw Deflate; else they are as they are.
    pub deflated: bool,
}

/// Whether something had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// It was so already; nothing was changed.
    pub already: bool,
}

impl Done {
    /// It was so already.
    pub const ALREADY: Self = Self { already: true };
    /// It was done now.
    pub const NOW: Self = Self { already: false };
}

/// How closely to look at a release's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Whether they are there.
    Presence,
    /// Whether every byte is right.
    Content,
}

/// How a release's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// Not there.
    Absent,
    /// There, but something is missing or different; says what.
    Damaged(String),
    /// There; at [`Depth::Content`], every byte was verified.
    Complete,
}

/// How long to ask for health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until the release's own deadline.
    Deadline,
    /// A moment: long enough for what runs already, too short for what still starts.
    Glance,
}

/// What staging did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staged {
    /// All was there and verified; nothing was written.
    pub already: bool,
    /// Files whose content the host lacked.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Told now and then while files are staged; must be quick.
pub type Progress = Arc<dyn Fn(StageProgress) + Send + Sync>;

/// How far staging is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageProgress {
    /// Files in place.
    pub files: u64,
    /// Files of the release.
    pub of_files: u64,
}

/// What a host holds and runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostState {
    /// The highest epoch that the host has seen.
    pub epoch: u64,
    /// Releases whose files are there, whole or not.
    pub releases: BTreeSet<Digest>,
    /// Where `current` points.
    pub current: Option<Digest>,
    /// What each pool runs; a pool that holds nothing is not listed.
    pub pools: BTreeMap<Pool, PoolView>,
}

/// What a pool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// The release that it was told to run; `None` if what it holds is no release that this host knows.
    pub release: Option<Digest>,
    /// Whether its process is alive.
    pub life: Life,
    /// Whether its process stands on files that have been replaced or removed since it was started.
    pub orphaned: bool,
    /// Requests that it is answering now.
    pub in_flight: u64,
}

/// How a pool's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// None is wanted, or it has been given up.
    Down,
    /// One has been started, or will be again in a moment.
    Starting,
    /// It is alive.
    Up,
}
