//! Files that are not finished yet, and how those of the dead are found.
//!
//! A writer holds a lock on its file. The kernel lets go of it when the writer ends, however it ends: a file that can be locked
//! belongs to nobody. Unlike a process id, a lock can't be mistaken for another process', nor does a container hide it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{Store, StoreError, remove};

/// A file that becomes a blob, or disappears when dropped.
#[derive(Debug)]
pub struct Staged {
    file: File,
    /// `None` once the file has become something else.
    path: Option<PathBuf>,
}

impl Staged {
    /// The file, open for reading and writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) const fn opened(&self) -> &File {
        &self.file
    }

    /// A finished file of this store's disk as a staged one.
    pub(super) const fn adopt(file: File, path: PathBuf) -> Self {
        Self { file, path: Some(path) }
    }

    /// Gives the file its final name, where it replaces what was there. A file that lies on another disk is given back.
    pub(super) fn rename(mut self, to: &Path) -> Result<(), (Self, io::Error)> {
        let Some(from) = self.path.take() else { return Err((self, io::ErrorKind::NotFound.into())) };
        match fs::rename(&from, to) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.path = Some(from);
                Err((self, error))
            }
        }
    }

    /// Gives the file a second name, which nothing may have yet. Whether nothing had.
    pub(super) fn link(&self, to: &Path) -> io::Result<bool> {
        let from = self.path.as_ref().ok_or(io::ErrorKind::NotFound)?;
        match fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What can't be removed now is removed by whoever opens the store next.
            let _ = fs::remove_file(path);
        }
    }
}

impl Store {
    /// A new, empty file on the store's disk; for a store that is elsewhere, on this machine's.
    ///
    /// # Errors
    /// The place can't be written.
    pub fn stage(&self) -> Result<Staged, StoreError> {
        self.scratch.stage()
    }
}

/// A directory for files that are not finished yet.
#[derive(Debug, Clone)]
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn stage(&self) -> Result<Staged, StoreError> {
        let staging = &self.0;
        loop {
            let made = tempfile::Builder::new().prefix("").rand_bytes(20).tempfile_in(staging);
            let made = made.map_err(StoreError::io("make a file in", staging))?;
            // Its removal is in our own hands from here on.
            let (file, path) = made.keep().map_err(|kept| StoreError::io("keep", staging)(kept.error))?;
            // Between its making and its lock, somebody who sweeps may take the file for a dead one's, and remove it.
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(StoreError::io("lock", &path)(error.into())),
                Ok(()) if is_at(&file, &path).map_err(StoreError::io("look at", &path))? => {
                    return Ok(Staged { file, path: Some(path) });
                }
                Ok(()) => {}
            }
        }
    }

    /// Removes the files of writers that are gone.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let staging = &self.0;
        let entries = fs::read_dir(staging).map_err(StoreError::io("list", staging))?;
        for entry in entries {
            let path = entry.map_err(StoreError::io("list", staging))?.path();
            let Ok(file) = File::open(&path) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether `file` is what lies at `path`.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok(there.ino() == ours.ino() && there.dev() == ours.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
