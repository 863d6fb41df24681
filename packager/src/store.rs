//! Packages by content and by name, in a directory or a bucket. In reading order:
//!
//! 1. `blobs`: the seam to where bytes are kept; `directory` and `bucket` are what lies behind it. `staging`: files that are not
//!    finished yet, and how those of the dead are found.
//! 2. `blob`: finished files by their digest. `record`: what is written of anything that has no digest for a name.
//! 3. `names`: what was published under which name and version, once and for good. `channel`: names that move. `reference`: how
//!    people say which package they mean. `pin`: what must stay. `reach`: which blobs a name has.
//! 4. `oci`, `artifacts`, `index`: the same as an OCI image layout, with manifests and what speaks of them. `upload`: what comes
//!    in pieces.
//! 5. `retention`: what may go, as a pure function. `collect`: how it goes; `announce`: how nobody loses what he is about to use.
//!    `vacate`: a version that one manifest gives up to another.
//!
//! ```text
//! oci-layout, index.json             for other tools; they follow from what is below, and are never asked
//! blobs/sha256/<64 hex digits>       package files, their manifests, and what comes with them
//! names/<name>/<version>.json        what was published, when, from which run: the truth
//! channels/<name>/<channel>.json     where a channel stands, and where it stood
//! pins/<name>/<version>.json         what must stay, who said so, and why
//! referrers/<manifest>/<...>.json    what speaks of a manifest: provenance, lists of parts
//! gone/<name>/<version>.json         what a version meant that was removed: it never means anything else
//! admitted/<name>/<digest>           what was uploaded under a name and has no manifest yet
//! publishing/, collection/           who is about to use what; what is about to go
//! uploads/, staging/                 what is not finished; locked by its writer as long as that lives
//! ```
//!
//! Any number of processes may use a store at once. Nothing is ever visible that is not complete, and synced to disk.

mod announce;
mod artifacts;
mod blob;
mod blobs;
mod bucket;
mod channel;
mod collect;
mod directory;
mod error;
mod index;
mod location;
mod names;
pub mod oci;
mod pin;
mod reach;
mod record;
mod reference;
mod removal;
mod retention;
mod staging;
mod upload;
mod vacate;
mod version;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;

use self::{reach::Known, staging::Scratch};
use crate::durable;

pub use announce::Announcement;
pub use artifacts::{Manifest, Referrer};
pub use blob::Blob;
pub use blobs::{Blobs, Listed, Reading, Tag};
pub use bucket::Bucket;
pub use channel::{Channel, Expected, Move};
pub use collect::{Collected, Collecting};
pub use directory::Directory;
pub use error::StoreError;
pub use location::Location;
pub use names::Publication;
pub use pin::Pin;
pub use record::{Companion, Origin, Published};
pub use reference::{NotAReference, Reference, Which};
pub use retention::{Policy, Stock, plan_retention};
pub use staging::Staged;
pub use upload::Upload;
pub use version::compare as compare_versions;

/// A place of packages.
#[derive(Debug, Clone)]
pub struct Store {
    blobs: Arc<dyn Blobs>,
    scratch: Scratch,
    uploads: PathBuf,
    known: Known,
    /// Where unfinished things of a store that is elsewhere lie on this machine.
    _beside: Option<Arc<TempDir>>,
}

impl Store {
    /// Opens the store in the directory `root`, which is made if it is not there. Removes what dead processes left half-done. A
    /// store that an earlier Staith made becomes an image layout; nothing of it is lost.
    ///
    /// # Errors
    /// The directory can't be made, or not be written.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let directory = Directory::open(root)?;
        for place in ["blobs/sha256", "names"] {
            make_directories(&root.join(place))?;
        }
        let scratch = directory.scratch().clone();
        let blobs = Arc::new(directory);
        Self { blobs, scratch, uploads: root.join("uploads"), known: Known::default(), _beside: None }
            .opened()
    }

    /// Opens the store in any place. What is not finished lies in a temporary directory of this machine.
    ///
    /// # Errors
    /// The place can't be reached or written.
    pub fn over(blobs: Arc<dyn Blobs>) -> Result<Self, StoreError> {
        let temporary = std::env::temp_dir();
        let beside = tempfile::Builder::new().prefix("staith-store-").tempdir();
        let beside = beside.map_err(StoreError::io("make a directory in", &temporary))?;
        let scratch = Scratch(beside.path().join("staging"));
        make_directories(&scratch.0)?;
        let uploads = beside.path().join("uploads");
        Self { blobs, scratch, uploads, known: Known::default(), _beside: Some(Arc::new(beside)) }.opened()
    }

    fn opened(self) -> Result<Self, StoreError> {
        self.lay_out()?;
        self.recover()?;
        Ok(self)
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
