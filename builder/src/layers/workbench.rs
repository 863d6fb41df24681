//! Temporary things of one process, told apart from those of dead ones.
//!
//! Everything that is not yet finished lives in `<store>/tmp/<id>/`, and whoever made it holds a lock on
//! `<store>/tmp/<id>.lock`. The kernel gives the lock up when the process ends, however it ends, in whatever
//! process-id namespace it lived. Whoever opens the store next removes what nobody holds.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, UTIME_NOW, flock, utimensat};

use super::{
    lease::{self, Lease},
    removal::remove_tree,
};

/// A place for unfinished things on the store's file system, so that finishing one is a rename.
#[derive(Debug)]
pub(crate) struct Workbench {
    dir: PathBuf,
    lock: PathBuf,
    next: AtomicU64,
    lease: Lease,
}

impl Workbench {
    /// A fresh workbench in `<store>/tmp`; what dead processes left there is removed in the background.
    pub(crate) fn open(store: &Path) -> io::Result<Arc<Self>> {
        let tmp = store.join("tmp");
        fs::create_dir_all(&tmp)?;
        // Half-made things are nobody else's business. As root, steps need no way through here: the helper opens what
        // they see before it gives up being root. Where the folder is another user's, its owner decides.
        let _ = fs::set_permissions(&tmp, fs::Permissions::from_mode(0o700));
        let bench = Arc::new(loop {
            if let Some(bench) = Self::try_new(store, &tmp)? {
                break bench;
            }
        });
        bench.sweep(&tmp)?;
        Ok(bench)
    }

    /// `None` when a sweeper took the new lock file for a dead one, in the instant before it was locked.
    fn try_new(store: &Path, tmp: &Path) -> io::Result<Option<Self>> {
        let (held, lock) = tempfile::Builder::new()
            .prefix("")
            .suffix(".lock")
            .tempfile_in(tmp)?
            .keep()
            .map_err(|e| e.error)?;
        let is_ours = flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !is_ours || held.metadata()?.nlink() == 0 {
            return Ok(None);
        }
        let dir = lock.with_extension("");
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Some(Self { dir, lock, next: AtomicU64::new(0), lease: Lease::begin(held, store)? }))
    }

    /// Says that this process uses the thing of this name from here on, so that nobody takes it away to make room. Say it
    /// before looking whether the thing is there. `mark` is a file whose time tells when the thing was last used.
    pub(crate) fn uses(&self, name: &str, mark: &Path) {
        match self.lease.pin(name) {
            Ok(true) => touch(mark),
            Ok(false) => {}
            Err(error) => tracing::warn!(name, %error, "it could not be said that this is in use"),
        }
    }

    /// Says which contents this process may still need, by their git ids.
    pub(crate) fn may_need<'a>(&self, blobs: impl Iterator<Item = &'a [u8; 20]>) {
        let blobs: Vec<u8> = blobs.flatten().copied().collect();
        if let Err(error) = lease::write_contents(&self.dir, &self.fresh_path(), &blobs) {
            tracing::warn!(%error, "it could not be said which contents are needed");
        }
    }

    /// The file that this process holds as long as the workbench is in use.
    pub(crate) fn lock_file(&self) -> &Path {
        &self.lock
    }

    /// A path on the workbench at which nothing is.
    pub(crate) fn fresh_path(&self) -> PathBuf {
        self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A new empty directory on the workbench.
    pub(crate) fn fresh_dir(&self) -> io::Result<PathBuf> {
        let path = self.fresh_path();
        fs::DirBuilder::new().mode(0o755).create(&path)?;
        Ok(path)
    }

    /// Moves `path` out of sight at once and removes it in the background. What can't be removed now, because this
    /// process ends first, the next one removes.
    pub(crate) fn discard(self: &Arc<Self>, path: &Path) -> io::Result<()> {
        let trash = self.fresh_path();
        match fs::rename(path, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            moved => moved?,
        }
        self.remove_in_background(vec![trash]);
        Ok(())
    }

    /// Removes what is on the workbench, while others go on. What is left when this process ends, the next one removes.
    pub(crate) fn remove_in_background(self: &Arc<Self>, trash: Vec<PathBuf>) {
        let bench = Arc::clone(self);
        let removal = Removal::begin();
        let remove = move || {
            for path in trash {
                if let Err(error) = remove_tree(&path) {
                    tracing::warn!(path = %path.display(), %error, "left for the next start to remove");
                }
            }
            drop(bench);
            drop(removal);
        };
        if let Err(error) = std::thread::Builder::new().name("staith-trash".to_owned()).spawn(remove) {
            tracing::warn!(%error, "no thread for removing; left for the next start");
        }
    }

    fn sweep(self: &Arc<Self>, tmp: &Path) -> io::Result<()> {
        let mut trash = Vec::new();
        for entry in fs::read_dir(tmp)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "lock") {
                self.take_over_if_dead(&path, &mut trash)?;
            } else if !path.with_extension("lock").exists() && path != self.dir {
                // The lock file is made before the directory and removed after it, so this one belongs to nobody.
                trash.extend(self.take(&path));
            }
        }
        if !trash.is_empty() {
            self.remove_in_background(trash);
        }
        Ok(())
    }

    fn take_over_if_dead(&self, lock: &Path, trash: &mut Vec<PathBuf>) -> io::Result<()> {
        let held = match File::open(lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() || held.metadata()?.nlink() == 0 {
            return Ok(());
        }
        trash.extend(self.take(&lock.with_extension("")));
        let _ = fs::remove_file(lock);
        Ok(())
    }

    fn take(&self, path: &Path) -> Option<PathBuf> {
        let trash = self.fresh_path();
        fs::rename(path, &trash).ok().map(|()| trash)
    }
}

/// Removals that are under way in this process.
static REMOVALS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

struct Removal;

impl Removal {
    fn begin() -> Self {
        *REMOVALS.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        *REMOVALS.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        REMOVALS.1.notify_all();
    }
}

/// Waits until what this process no longer needs is removed from its stores, but no longer than `patience`. Whoever calls it
/// before the process ends leaves nothing behind but large trees, which the next process removes.
pub fn await_removals(patience: Duration) {
    let removals = REMOVALS.0.lock().unwrap_or_else(PoisonError::into_inner);
    // Whether time was up does not matter: there is nothing else to be done.
    drop(REMOVALS.1.wait_timeout_while(removals, patience, |removals| *removals > 0));
}

/// Gives a file the time of now, if it is there.
pub(crate) fn touch(mark: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    let _ = utimensat(CWD, mark, &times, AtFlags::empty());
}

impl Drop for Workbench {
    fn drop(&mut self) {
        // First the directory, then the lock: see `sweep`.
        if remove_tree(&self.dir).is_ok() {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(store: &Path) -> Vec<String> {
        let entries = fs::read_dir(store.join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_living_are_left_alone_and_the_dead_are_removed() {
        let store = tempfile::tempdir().unwrap();
        let living = Workbench::open(store.path()).unwrap();
        let kept = living.fresh_dir().unwrap();
        // A dead process: its files are there, its lock is free.
        fs::create_dir_all(store.path().join("tmp/dead/half-made")).unwrap();
        fs::write(store.path().join("tmp/dead.lock"), b"").unwrap();
        fs::create_dir_all(store.path().join("tmp/nobodys")).unwrap();
        let other = Workbench::open(store.path()).unwrap();
        let left = names(store.path());
        assert!(!left.iter().any(|name| name.starts_with("dead") || name == "nobodys"), "{left:?}");
        assert!(kept.exists());
        drop((living, other));
    }

    #[test]
    fn unfinished_things_are_for_their_owner_alone() {
        let store = tempfile::tempdir().unwrap();
        fs::create_dir(store.path().join("tmp")).unwrap();
        fs::set_permissions(store.path().join("tmp"), fs::Permissions::from_mode(0o755)).unwrap();
        let bench = Workbench::open(store.path()).unwrap();
        for dir in [store.path().join("tmp"), bench.dir.clone()] {
            assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700, "{}", dir.display());
        }
    }

    #[test]
    fn what_is_discarded_is_out_of_sight_at_once() {
        let store = tempfile::tempdir().unwrap();
        let bench = Workbench::open(store.path()).unwrap();
        let dir = bench.fresh_dir().unwrap();
        fs::write(dir.join("x"), b"x").unwrap();
        bench.discard(&dir).unwrap();
        assert!(!dir.exists());
        bench.discard(&dir).unwrap();
    }
}
