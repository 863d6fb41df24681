//! Objects that came from servers, on disk.
//!
//! Each is kept for the repository that it came for: that a commit names an object by its hash does not show that its authors
//! may have it, only that repository's server can tell. An object is a file `lfs/<repository>-<object>`; it comes by a rename,
//! after its bytes are on the disk and were found to be the right ones.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};

use super::Pointer;
use crate::{
    layers::Workbench,
    source::{pool::copy_hashed, remote::RemoteRepository},
};

/// The objects of one repository.
pub(super) struct ObjectStore<'a> {
    store: &'a Path,
    bench: &'a Arc<Workbench>,
    key: String,
}

impl<'a> ObjectStore<'a> {
    pub(super) fn of(store: &'a Path, bench: &'a Arc<Workbench>, remote: &RemoteRepository) -> Self {
        Self { store, bench, key: remote.key() }
    }

    fn name(&self, pointer: &Pointer) -> String {
        format!("lfs/{}-{}", self.key, pointer.oid.hex())
    }

    /// Where an object is, if it is here. It stays while this process lives.
    pub(super) fn find(&self, pointer: &Pointer) -> Option<PathBuf> {
        let name = self.name(pointer);
        let path = self.store.join(&name);
        let is_there =
            || fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == pointer.size);
        if !is_there() {
            return None;
        }
        self.bench.uses(&name, &path);
        is_there().then_some(path)
    }

    /// Puts an object in place, if what comes is it. Nothing is left of what is not.
    pub(super) fn keep(&self, pointer: &Pointer, from: &mut dyn Read) -> io::Result<bool> {
        let name = self.name(pointer);
        let (path, fresh) = (self.store.join(&name), self.bench.fresh_path());
        let written = self.write(&fresh, pointer, from);
        if !matches!(written, Ok(true)) {
            let _ = fs::remove_file(&fresh);
            return written;
        }
        self.bench.uses(&name, &path);
        fs::rename(&fresh, &path)?;
        File::open(self.store.join("lfs"))?.sync_all()?;
        Ok(true)
    }

    fn write(&self, fresh: &Path, pointer: &Pointer, from: &mut dyn Read) -> io::Result<bool> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(fresh)?;
        let is_it = copy_hashed(from, &file, pointer.size)? == (pointer.oid, pointer.size);
        if is_it {
            file.sync_all()?;
        }
        Ok(is_it)
    }

    /// Removes what was found not to be what it should be, so that it comes anew.
    pub(super) fn forget(&self, pointer: &Pointer) -> io::Result<()> {
        self.bench.discard(&self.store.join(self.name(pointer)))
    }

    /// Waits until nobody else fetches objects for this repository. Who fetches gives up when nothing comes, so the wait ends.
    pub(super) fn lock(&self) -> io::Result<File> {
        let path = self.store.join("mirrors").join(&self.key).with_extension("lfs-lock");
        let lock = File::options().create(true).append(true).open(path)?;
        loop {
            match flock(&lock, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                locked => return locked.map(|()| lock).map_err(io::Error::from),
            }
        }
    }
}
