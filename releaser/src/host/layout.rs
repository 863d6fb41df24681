//! Where things are in an environment's folder.
//!
//! ```text
//! blobs/<hex>, blobs/<hex>.x       file contents, read-only; .x are executable
//! releases/<release hex>/          the tree, made of hard links to blobs
//! releases/<release hex>.json      its manifest, beside it
//! releases/.tmp-…, releases/.old-… being built, being removed
//! current -> releases/<hex>        for people and for boot
//! ```

use std::path::{Path, PathBuf};

use staith_model::Digest;

/// The places in an environment's folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

/// What staging names its unfinished work.
pub(super) const UNFINISHED: &str = ".tmp-";
/// What removal names its unfinished work.
pub(super) const LEAVING: &str = ".old-";

impl Layout {
    /// The layout in the folder `root`, which should be absolute: programs are started from paths made here.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The environment's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that a release is started from.
    pub fn release(&self, release: &Digest) -> PathBuf {
        self.releases().join(release.hex())
    }

    /// The pointer for people and for boot.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    pub(super) fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    pub(super) fn manifest(&self, release: &Digest) -> PathBuf {
        self.releases().join(format!("{}.json", release.hex()))
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Mode differs by file, and hard links share it: so an executable content is another blob than the same content
    /// that is not.
    pub(super) fn blob(&self, content: &Digest, executable: bool) -> PathBuf {
        self.blobs().join(if executable { format!("{}.x", content.hex()) } else { content.hex() })
    }
}

/// The release that a folder below `releases/` holds, by the folder's name.
pub(super) fn release_of_folder(name: &str) -> Option<Digest> {
    format!("sha256:{name}").parse().ok()
}
