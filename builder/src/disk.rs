//! What a step may take of the disk.
//!
//! Ordinary file systems give a directory no size: quotas need mount options that few hosts have, and a file system of the
//! step's own could not become a layer by a rename. So what a step writes is measured while it runs, and the step is ended
//! when it is too much (decision 9 in `docs/decisions`).

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::statvfs;
use tokio::time::{Interval, MissedTickBehavior};

/// How often the file system is asked how full it is. A call takes microseconds; a fast disk takes in a hundred MiB
/// meanwhile.
const TICK: Duration = Duration::from_millis(50);
/// What a step wrote is measured at least this often, should others free as much as it fills.
const LONGEST_UNMEASURED: Duration = Duration::from_secs(1);
/// What a file, a link or a directory counts at least, however little is in it: an empty one takes an entry, an inode, and
/// time of whoever removes it. So a limit in bytes is one on how many there may be, too.
const SMALLEST: u64 = 4 << 10;
/// Measuring a large tree takes time; it may take one part in so many of it.
const MEASURING_SHARE: u32 = 10;
/// What of a file system is left alone: as much as the host needs to go on, but no more than this part of a small one.
const RESERVE: u64 = 1 << 30;
const RESERVE_SHARE: u64 = 50;
/// Of the reserve, what a step has to have written to be held responsible when it is reached.
const CULPRIT_SHARE: u64 = 16;

/// What an entry of a file system in memory takes of it, beside its content: the size of such a file system counts only that.
const ENTRY_IN_MEMORY: u64 = 1 << 10;
/// However little a step may write, there is room for what sandboxes and programs need to begin.
const FEWEST_ENTRIES: u64 = 1 << 10;
const MOST_ENTRIES: u64 = 1 << 20;

/// How many entries a file system in memory may have that may take so many bytes: their sum takes no more than these.
pub(crate) fn entries_in_memory(bytes: u64) -> u64 {
    (bytes / ENTRY_IN_MEMORY).clamp(FEWEST_ENTRIES, MOST_ENTRIES)
}

/// Why a step is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It wrote as much as it may.
    Limit {
        /// Bytes that it may write.
        limit: u64,
    },
    /// The file system that it writes to is nearly full.
    HostFull {
        /// Where it writes to.
        place: PathBuf,
        /// Bytes that are free.
        free: u64,
    },
}

/// Watches the directories that one step writes to. What the caller may not read there counts as nothing.
#[derive(Debug)]
pub(crate) struct DiskGuard {
    /// Where most of it goes; all are on one file system.
    upper: PathBuf,
    also: Option<PathBuf>,
    limit: Option<u64>,
    tick: Interval,
    measured: Option<Measured>,
}

/// What a measurement found.
#[derive(Debug, Clone, Copy)]
struct Measured {
    written: u64,
    free: u64,
    free_files: u64,
    at: Instant,
    took: Duration,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: u64,
    size: u64,
    /// Files that can still be made; 0 where the file system does not tell.
    free_files: u64,
    /// Whether hardly a file more can be made, however small.
    out_of_files: bool,
}

impl Room {
    const PLENTY: Self = Self { free: u64::MAX, size: u64::MAX, free_files: u64::MAX, out_of_files: false };
}

impl DiskGuard {
    /// A guard of what is written to `upper`, and to `also` on the same file system; `limit` in bytes.
    pub(crate) fn new(upper: &Path, also: Option<PathBuf>, limit: Option<u64>) -> Self {
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { upper: upper.to_path_buf(), also, limit, tick, measured: None }
    }

    /// Returns when the step has to be ended. Cancel-safe.
    pub(crate) async fn excess(&mut self) -> Excess {
        loop {
            self.tick.tick().await;
            // A file system that says nothing of itself can't be guarded; the step's own limits still hold.
            let Ok(room) = look(&self.upper) else { continue };
            if !self.should_measure(room) {
                continue;
            }
            let began = Instant::now();
            let Some(written) = self.written().await else { continue };
            let (free, free_files) = (room.free, room.free_files);
            self.measured = Some(Measured { written, free, free_files, at: began, took: began.elapsed() });
            if let Some(excess) = judge(written, self.limit, room, &self.upper) {
                return excess;
            }
        }
    }

    /// What is to be said of a step that has ended: it may have reached its limit in its last moments, or all at once. With
    /// `did_well` a full disk did it no harm; otherwise it is the likeliest reason.
    pub(crate) async fn at_the_end(&self, did_well: bool) -> Option<Excess> {
        let room = look(&self.upper).ok().filter(|room| !did_well && is_low(*room));
        if self.limit.is_none() && room.is_none() {
            return None;
        }
        let written = self.written().await?;
        judge(written, self.limit, room.unwrap_or(Room::PLENTY), &self.upper)
    }

    async fn written(&self) -> Option<u64> {
        let places: Vec<PathBuf> = [&self.upper].into_iter().chain(&self.also).cloned().collect();
        tokio::task::spawn_blocking(move || places.iter().map(|place| written(place)).sum()).await.ok()
    }

    fn should_measure(&self, room: Room) -> bool {
        let is_low = is_low(room);
        let Some(last) = self.measured else { return is_low || self.limit.is_some() };
        if last.at.elapsed() < last.took * MEASURING_SHARE {
            return false;
        }
        let Some(limit) = self.limit else { return is_low };
        let in_files = last.free_files.saturating_sub(room.free_files).saturating_mul(SMALLEST);
        let at_most =
            last.written.saturating_add(last.free.saturating_sub(room.free)).saturating_add(in_files);
        is_low || at_most >= limit || last.at.elapsed() > LONGEST_UNMEASURED
    }
}

fn judge(written: u64, limit: Option<u64>, room: Room, upper: &Path) -> Option<Excess> {
    if let Some(limit) = limit.filter(|limit| written >= *limit) {
        return Some(Excess::Limit { limit });
    }
    // A disk that others have filled is no reason to end a step that writes next to nothing.
    let is_culprit = written >= reserve(room) / CULPRIT_SHARE || room.out_of_files;
    (is_low(room) && is_culprit).then(|| Excess::HostFull { place: upper.to_path_buf(), free: room.free })
}

fn is_low(room: Room) -> bool {
    room.free < reserve(room) || room.out_of_files
}

fn reserve(room: Room) -> u64 {
    RESERVE.min(room.size / RESERVE_SHARE)
}

fn look(place: &Path) -> io::Result<Room> {
    let found = statvfs(place)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // Some file systems have no fixed number of files, and say so with 0.
    let out_of_files = found.f_files > 0 && found.f_favail < found.f_files / RESERVE_SHARE;
    let (free, size) = (bytes(found.f_bavail), bytes(found.f_blocks));
    Ok(Room { free, size, free_files: found.f_favail, out_of_files })
}

/// Bytes on disk of all below a directory: blocks, not lengths, so that holes count nothing, but [`SMALLEST`] for each. Links are not followed. What
/// vanishes meanwhile, or may not be read, is passed over.
fn written(root: &Path) -> u64 {
    const BLOCK: u64 = 512;
    let (mut sum, mut open) = (0u64, vec![root.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            sum = sum.saturating_add(found.blocks().saturating_mul(BLOCK).max(SMALLEST));
            if found.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const ROOMY: Room = Room { free: 100 * GIB, size: 200 * GIB, free_files: 1 << 20, out_of_files: false };

    fn verdict(written: u64, limit: Option<u64>, room: Room) -> Option<Excess> {
        judge(written, limit, room, Path::new("/upper"))
    }

    #[test]
    fn a_step_may_write_up_to_its_limit() {
        assert_eq!(verdict(99, Some(100), ROOMY), None);
        assert_eq!(verdict(100, Some(100), ROOMY), Some(Excess::Limit { limit: 100 }));
        assert_eq!(verdict(50 * GIB, None, ROOMY), None);
    }

    #[test]
    fn a_host_that_is_nearly_full_is_not_filled() {
        let low = Room { free: GIB - 1, ..ROOMY };
        let full = Some(Excess::HostFull { place: "/upper".into(), free: GIB - 1 });
        assert_eq!(verdict(GIB, None, low), full);
        assert_eq!(verdict(1 << 20, None, low), None, "who writes little is not to blame");
        let small = Room { free: 100 << 20, size: GIB, ..ROOMY };
        assert_eq!(verdict(GIB / 2, None, small), None, "a small file system keeps a small part");
        let no_files = Room { out_of_files: true, ..ROOMY };
        assert!(verdict(1, None, no_files).is_some());
    }

    #[test]
    fn holes_count_nothing_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::File::create(at("hole")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/not/on/this/machine", at("link")).unwrap();
        let before = written(place.path());
        assert!(before < 1 << 20, "{before}");
        fs::create_dir(at("below")).unwrap();
        fs::write(at("below/data"), vec![1; 1 << 20]).unwrap();
        assert!(written(place.path()) >= before + (1 << 20));
    }

    #[test]
    fn files_count_however_little_is_in_them() {
        let place = tempfile::tempdir().unwrap();
        for name in 0..100 {
            fs::write(place.path().join(name.to_string()), "").unwrap();
        }
        assert_eq!(written(place.path()), 100 * SMALLEST);
    }

    #[tokio::test]
    async fn what_grows_beyond_its_limit_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let mut guard = DiskGuard::new(place.path(), None, Some(1 << 20));
        assert_eq!(guard.at_the_end(false).await, None);
        fs::write(place.path().join("data"), vec![1; 2 << 20]).unwrap();
        assert_eq!(guard.excess().await, Excess::Limit { limit: 1 << 20 });
        assert_eq!(guard.at_the_end(true).await, Some(Excess::Limit { limit: 1 << 20 }));
    }
}
