//! Room that is kept free for what is under way: a file that is given up first when the disk is full.
//!
//! What is new is refused from then on, until there is room for the file again and for as much beside it. What was taken before goes on with
//! what the file took up: jobs end, logs are closed, wishes for an end are heard.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    io::Errno,
};

/// How much room it takes up, in bytes: some hundred transactions.
const LENGTH: u64 = 1 << 20;

/// The file, whether it is there or not.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    is_there: AtomicBool,
}

impl Reserve {
    /// Beside a database. Where there is no room for it, it is not there.
    pub(super) fn beside(database: &Path) -> Self {
        let reserve = Self { path: database.with_extension("reserve"), is_there: AtomicBool::new(false) };
        reserve.take();
        reserve
    }

    /// Gives the room away.
    pub(super) fn give_up(&self) {
        if self.is_there.swap(false, Ordering::SeqCst) {
            tracing::warn!(
                "the disk of the database is full: what is new is refused, and what is under way goes on"
            );
        }
        // Also one of an earlier start.
        let _ = fs::remove_file(&self.path);
    }

    /// Whether what is new may be taken.
    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::SeqCst) || (self.has_room() && self.take())
    }

    fn has_room(&self) -> bool {
        let place = self.path.parent().unwrap_or(Path::new("."));
        // Where the system can't say, the disk does when it is written to.
        statvfs(place).map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= 2 * LENGTH)
    }

    fn take(&self) -> bool {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.path);
        let taken = file.and_then(|file| Ok(fallocate(file, FallocateFlags::empty(), 0, LENGTH)?));
        // A file system that can't set room aside is no reason to refuse anything.
        let has_it = match taken {
            Ok(()) => true,
            Err(refused) => matches!(Errno::from_io_error(&refused), Some(Errno::OPNOTSUPP | Errno::NOSYS)),
        };
        if !has_it {
            let _ = fs::remove_file(&self.path);
        }
        self.is_there.store(has_it, Ordering::SeqCst);
        has_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_gone_and_there_again() {
        let place = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&place.path().join("staith.db"));
        let file = place.path().join("staith.reserve");
        assert_eq!(file.metadata().unwrap().len(), LENGTH);
        reserve.give_up();
        assert!(!file.exists());
        assert!(reserve.is_there() && file.exists(), "there is room on this disk");
    }
}
