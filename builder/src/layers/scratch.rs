//! Places for one step to write to.

use std::{
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::{LayerError, at},
    workbench::Workbench,
};

/// An empty upper directory and overlay's work directory beside it. Removed when dropped, with whatever is left in them.
#[derive(Debug)]
pub struct Scratch {
    bench: Arc<Workbench>,
    dir: PathBuf,
}

impl Scratch {
    pub(super) fn new(bench: &Arc<Workbench>, owner: Option<(u32, u32)>) -> Result<Self, LayerError> {
        let dir = bench.fresh_dir().map_err(at("making", Path::new("a scratch directory")))?;
        let scratch = Self { bench: Arc::clone(bench), dir };
        for dir in [scratch.upper(), scratch.work()] {
            std::fs::create_dir(&dir).map_err(at("making", &dir))?;
            if let Some((uid, gid)) = owner {
                chown(&dir, Some(uid), Some(gid)).map_err(at("giving away", &dir))?;
            }
        }
        Ok(scratch)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.dir
    }

    /// For all that the step changes.
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// For overlay's own use; on the same file system.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.bench.discard(&self.dir) {
            tracing::warn!(path = %self.dir.display(), %error, "left for the next start to remove");
        }
    }
}
