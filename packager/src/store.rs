//! Packages by content and by name, in a directory. In reading order:
//!
//! 1. `staging`: files that are not finished yet, and how those of the dead are found.
//! 2. `blob`: finished files by their digest. The layout is that of OCI's `blobs/`, so that a store can become a registry's.
//! 3. `names`: what was published under which name and version, once and for good.
//!
//! ```text
//! blobs/sha256/<64 hex digits>       a package file, read-only
//! names/<name>/<version>.json        what was published, when, from which run
//! staging/<random>                   a package being written; locked by its writer as long as that lives
//! ```
//!
//! Any number of processes may use a store at once. Nothing is ever visible that is not complete, and synced to disk.

mod blob;
mod names;
mod staging;
mod version;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use staith_model::Digest;

use crate::durable;

pub use blob::Blob;
pub use names::{Origin, Published};
pub use staging::Staged;

/// A directory of packages.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Why the store can't do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("can't {what} {}: {source}; see to the permissions and the room of the store's disk", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A name and version stand for something else already.
    #[error(
        "{name} {version} is published with {published} and can't become {offered}: a version never changes its meaning; \
         publish under another version"
    )]
    Conflict {
        /// The name.
        name: String,
        /// The version.
        version: String,
        /// What is there.
        published: Digest,
        /// What was to be published.
        offered: Digest,
    },
    /// A blob is not there.
    #[error("the store has no {digest} (looked at {}); build it again, or fetch it from where it was made", path.display())]
    Missing {
        /// What was asked for.
        digest: Digest,
        /// Where it would be.
        path: PathBuf,
    },
    /// A blob's bytes are not what its name says.
    #[error(
        "{} is damaged: {found}; don't deploy it. Remove the file and build the package again: the same content gives the \
         same bytes", path.display()
    )]
    Damaged {
        /// The blob.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A record of a published package can't be understood.
    #[error("{} is no record of a published package ({why}); was it edited? Restore it, or remove it and build again", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was to be published is not what it is said to be.
    #[error(
        "the package to be published is {found} bytes long, not {said}; this is a mistake in Staith, please report it"
    )]
    NotAsSaid {
        /// What was said.
        said: u64,
        /// What is there.
        found: u64,
    },
}

impl StoreError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl Store {
    /// Opens the store in `root`, which is made if it is not there. Removes what dead processes left half-done.
    ///
    /// # Errors
    /// The directory can't be made, or not be written.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned() };
        for place in [store.blobs(), store.names(), store.staging()] {
            make_directories(&place)?;
        }
        store.sweep()?;
        Ok(store)
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }
}

/// Makes a directory and those above it, so that they survive a loss of power.
fn make_directories(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = durable::parent(path);
    make_directories(above)?;
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::io("make the directory", path)(error));
        }
        _ => {}
    }
    durable::sync_directory(above).map_err(StoreError::io("sync the directory", above))
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
