//! One deployment at a time per environment. The kernel drops the lock when its holder ends, however it ends, so no lock
//! outlives its deployment.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::host::durable;

/// How often a held lock is tried again.
const PAUSE: Duration = Duration::from_millis(25);
/// A process that is being started from this one holds all of this one's handles until it is another program, and keeps a lock with
/// them that was given up meanwhile.
const MOMENT: Duration = Duration::from_millis(250);

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else deploys to this environment.
    #[error("{who} is deploying to this environment (it holds {path}); waited {waited} s for it", who = holder(*pid), path = path.display(), waited = waited.as_secs())]
    Held {
        /// The holder's process, as far as it is known.
        pid: Option<u32>,
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The lock can't be used.
    #[error("can't use the lock {path}: {source}", path = path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

/// The right to write to an environment; given up when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    // Held for its lock.
    file: File,
}

impl Lock {
    /// The same lock for another process, as a file of which it reads nothing: it is held until both have let go.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Takes the lock, waiting for `patience` if somebody has it, and for a moment in any case. Cancel-safe.
pub(crate) async fn take(path: &Path, patience: Duration) -> Result<Lock, LockError> {
    let patience = patience.max(MOMENT);
    let failed = |source| LockError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    durable::make_private(&file).map_err(failed)?;
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < patience => {
                tokio::time::sleep(PAUSE).await
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held {
                    pid: read_pid(&mut file),
                    path: path.to_owned(),
                    waited: patience,
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
    write_pid(&mut file).map_err(failed)?;
    Ok(Lock { file })
}

/// Whether somebody has the lock now. Leaves it as it is.
pub(crate) fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// For people only; the lock itself is the kernel's.
fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_is_told_who_has_it_and_the_next_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deploy.lock");
        assert!(!is_held(&path));
        let first = take(&path, Duration::ZERO).await.unwrap();
        assert!(is_held(&path));
        let error = take(&path, Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(!is_held(&path));
        take(&path, Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_gets_it_as_soon_as_it_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deploy.lock");
        let first = take(&path, Duration::ZERO).await.unwrap();
        let patience = Duration::from_secs(60);
        let (second, ()) = tokio::join!(take(&path, patience), async { drop(first) });
        second.unwrap();
    }
}
