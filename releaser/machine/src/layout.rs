//! Where things are in an application's folder on a machine.

use std::{
    io,
    path::{Path, PathBuf},
};

use staith_model::Digest;

/// Begins the names of what is not finished. Nothing of that name outlives the next start of the program.
pub(crate) const UNFINISHED: &str = ".tmp-";

/// An application's folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The folder at `root`, which may not exist yet.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        // Without links, as far as it is there: what processes say of their folders has none either.
        let path = std::path::absolute(root)?;
        for above in path.ancestors() {
            if let Ok(there) = above.canonicalize() {
                let missing = path.strip_prefix(above).map_err(io::Error::other)?;
                let root = if missing.as_os_str().is_empty() { there } else { there.join(missing) };
                return Ok(Self { root });
            }
        }
        Ok(Self { root: path })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// A release's files.
    pub(crate) fn release(&self, release: &Digest) -> PathBuf {
        self.root.join("releases").join(release.hex())
    }

    /// What lies beside a release: `manifest`, `service` or `secrets`.
    pub(crate) fn beside(&self, release: &Digest, what: &str) -> PathBuf {
        self.root.join("releases").join(format!("{}.{what}", release.hex()))
    }

    pub(crate) fn scratch(&self, operation: &Digest) -> PathBuf {
        self.root.join("releases").join(format!("{UNFINISHED}{}", operation.short()))
    }

    /// The tree of which the next release is made.
    pub(crate) fn spare(&self) -> PathBuf {
        self.root.join("releases").join(".spare")
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    pub(crate) fn previous(&self) -> PathBuf {
        self.root.join("previous")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(".state.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(".lock")
    }

    pub(crate) fn verified(&self) -> PathBuf {
        self.root.join(".verified")
    }

    /// This program, kept where a unit can start it for as long as the folder is there.
    pub(crate) fn program(&self) -> PathBuf {
        self.root.join(".staith-machine")
    }

    /// Through which whoever keeps the service running is told to end.
    pub(crate) fn keeper(&self) -> PathBuf {
        self.root.join(".keeper")
    }

    pub(crate) fn keeper_lock(&self) -> PathBuf {
        self.root.join(".keeper.lock")
    }

    pub(crate) fn running(&self) -> PathBuf {
        self.root.join(".running")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("service.log")
    }

    pub(crate) fn operations(&self) -> PathBuf {
        self.root.join("ops")
    }

    pub(crate) fn operation(&self, operation: &Digest) -> PathBuf {
        self.root.join("ops").join(format!("{}.json", operation.hex()))
    }
}

/// The release that a folder's name means.
pub(crate) fn release_of(name: &str) -> Option<Digest> {
    format!("sha256:{name}").parse().ok()
}
