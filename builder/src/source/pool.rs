//! Contents on disk, each once, to be hard-linked into checkouts: a checkout then costs a link per file, however large
//! the files are, and a changed file costs one file.
//!
//! Two files of one checkout never share an inode: archivers would store them as links to each other, copies would stay
//! linked, and compilers take a header with a known inode for one that they have read. So equal files of one tree have
//! copies of their own, told apart by a number.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    fs::{
        AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, futimens, linkat, open,
    },
    io::Errno,
};

use staith_model::{Digest, DigestStream};

use super::listing::{FileEntry, FileMode, ObjectId};
use crate::{
    layers::Workbench,
    upkeep::{Allowance, Room, allowed, whole_blocks},
};

/// 2001-01-01 and 2009-12-31, the last second of it.
const FIRST_SECOND: i64 = 978_307_200;
const LAST_SECOND: i64 = 1_262_303_999;

/// The time that folders and links have: they have no content to derive one from.
pub(super) const PLAIN_TIME: Timestamps = times(FIRST_SECOND);

const fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// A time of modification that follows from the content.
///
/// It lies in the past, so that tools which compare times (make, cargo) see sources as older than what earlier steps made
/// of them, also in a checkout that was written after those steps. And it differs between contents, so that tools which
/// trust a time and a length (python's compiled files) see a change. Seconds are whole: archives keep no more.
pub(super) fn content_time(blob: ObjectId) -> Timestamps {
    let head = blob.0.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let span = (LAST_SECOND - FIRST_SECOND + 1).unsigned_abs();
    times(FIRST_SECOND.saturating_add_unsigned(head % span))
}

/// One file to be had from the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) blob: ObjectId,
    pub(super) executable: bool,
    /// Whether the id is that of a pointer, for whose content it stands.
    pub(super) lfs: bool,
    /// Counts equal files of one tree, from 0.
    pub(super) copy: u32,
}

impl Item {
    pub(super) fn first(entry: &FileEntry) -> Self {
        Self { blob: entry.blob, executable: entry.mode == FileMode::Executable, lfs: entry.lfs, copy: 0 }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Pool {
    dir: PathBuf,
    owner: Option<(u32, u32)>,
    bench: Arc<Workbench>,
    allowance: Option<Arc<dyn Allowance>>,
    /// Bytes that were allowed together, because asking for each file would cost more than the file.
    room: Arc<Mutex<Option<(Room, u64)>>>,
}

/// Bytes that are asked for at once.
const AT_ONCE: u64 = 16 << 20;

impl Pool {
    /// Each start of the machine has a pool of its own: contents are not synced to the disk, so those from before a power
    /// failure may be torn. Links that older checkouts hold stay valid.
    pub(super) fn open(store: &Path, owner: Option<(u32, u32)>, bench: &Arc<Workbench>) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let (uid, gid) = owner
            .unwrap_or_else(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
        let blobs = store.join("blobs");
        let name = format!("{}-{uid}-{gid}", boot.trim());
        let dir = blobs.join(&name);
        // The last one is made last, so where it is, all are.
        if !dir.join("ff").is_dir() {
            (0..=255_u8).try_for_each(|folder| fs::create_dir_all(dir.join(format!("{folder:02x}"))))?;
        }
        for other in fs::read_dir(&blobs)?.flatten() {
            if !other.file_name().to_string_lossy().starts_with(boot.trim()) {
                bench.discard(&other.path())?;
            }
        }
        Ok(Self { dir, owner, bench: Arc::clone(bench), allowance: None, room: Arc::default() })
    }

    /// The same pool, which asks before it keeps a content.
    pub(super) fn within(self, allowance: Arc<dyn Allowance>) -> Self {
        Self { allowance: Some(allowance), ..self }
    }

    pub(super) fn allowance(&self) -> Option<&Arc<dyn Allowance>> {
        self.allowance.as_ref()
    }

    /// Gives back what was allowed and not used.
    pub(super) fn settle(&self) {
        let taken = self.room.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((room, left)) = taken {
            room.placed_but_for(left);
        }
    }

    /// Asks for so many bytes, as far as there is anybody to ask. [`Pool::settle`] when they are in place.
    pub(super) fn allow(&self, bytes: u64) -> io::Result<()> {
        if self.allowance.is_none() {
            return Ok(());
        }
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, left)) = room.as_mut().filter(|(_, left)| *left >= bytes) {
            *left -= bytes;
            return Ok(());
        }
        if let Some((used, left)) = room.take() {
            used.placed_but_for(left);
        }
        // Where there is little room, what is needed is asked for and no more.
        let (got, left) = match allowed(self.allowance.as_ref(), bytes.max(AT_ONCE)) {
            Ok(got) => (got, bytes.max(AT_ONCE) - bytes),
            Err(_) => (allowed(self.allowance.as_ref(), bytes)?, 0),
        };
        *room = Some((got, left));
        Ok(())
    }

    /// Where it is remembered what a working directory looked like.
    pub(super) fn notes_on(&self, root: &Path) -> PathBuf {
        self.dir.join(format!("notes-{}", Digest::of(root.as_os_str().as_encoded_bytes()).hex()))
    }

    /// Writes notes, whole or not at all.
    pub(super) fn note(&self, notes: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = self.bench.fresh_path();
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, notes))
    }

    fn path(&self, item: Item) -> PathBuf {
        let id = item.blob.to_string();
        let (folder, rest) = id.split_at(2);
        let mode = match (item.executable, item.lfs) {
            (false, false) => 'r',
            (true, false) => 'x',
            (false, true) => 'R',
            (true, true) => 'X',
        };
        self.dir.join(folder).join(format!("{rest}{mode}{}", item.copy))
    }

    pub(super) fn has(&self, item: Item) -> bool {
        self.path(item).exists()
    }

    /// Links the item to `to`. `false` when it is not in the pool.
    pub(super) fn link(&self, item: Item, to: &Path) -> io::Result<bool> {
        let from = self.path(item);
        match linkat(CWD, &from, CWD, to, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            // An inode has a limited number of links.
            Err(Errno::MLINK) => {
                let mut from = File::open(from)?;
                let copied = self.take_in(&mut from, u64::MAX, |_, _| Some((item, to.to_owned())))?;
                Ok(copied.is_some())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The content, if some item with it is here.
    pub(super) fn read(&self, blob: ObjectId) -> Option<Vec<u8>> {
        let item = |executable| Item { blob, executable, lfs: false, copy: 0 };
        [false, true].into_iter().find_map(|executable| fs::read(self.path(item(executable))).ok())
    }

    /// Puts the item's content into the pool. It is there whole or not at all.
    pub(super) fn insert(&self, item: Item, bytes: &[u8]) -> io::Result<()> {
        self.allow(whole_blocks(bytes.len() as u64))?;
        self.place(item, bytes, &self.path(item))
    }

    /// Writes the item to `to`, where nothing is, and puts it into the pool from there. It is in the pool whole or not at
    /// all.
    pub(super) fn insert_from(&self, item: Item, bytes: &[u8], to: &Path) -> io::Result<()> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(to)?;
        self.fill(&file, item, bytes)?;
        accept_existing(linkat(CWD, to, CWD, self.path(item), AtFlags::empty()))
    }

    /// A file of the pool with the item's content, whatever its mode and however often it was copied.
    pub(super) fn any_like(&self, item: Item) -> Option<PathBuf> {
        let like = |executable| self.path(Item { executable, copy: 0, ..item });
        [false, true].into_iter().map(like).find(|path| path.is_file())
    }

    /// Where an item is, or would be.
    pub(super) fn place_of(&self, item: Item) -> PathBuf {
        self.path(item)
    }

    /// Takes in a content of any length, piece by piece: at most `limit` bytes of it, and then what `judge` makes of its
    /// digest and length: which item it is and where it goes, or nothing. Whatever goes there is there whole or not at all.
    pub(super) fn take_in<T>(
        &self,
        from: &mut dyn Read,
        limit: u64,
        judge: impl FnOnce(Digest, u64) -> Option<(Item, T)>,
    ) -> io::Result<Option<T>>
    where
        T: AsRef<Path>,
    {
        let fresh = self.bench.fresh_path();
        let taken = self.take_to(&fresh, from, limit, judge);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => taken,
        }
    }

    fn take_to<T: AsRef<Path>>(
        &self,
        fresh: &Path,
        from: &mut dyn Read,
        limit: u64,
        judge: impl FnOnce(Digest, u64) -> Option<(Item, T)>,
    ) -> io::Result<Option<T>> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(fresh)?;
        let (hash, length) = copy_hashed(from, &file, limit)?;
        let Some((item, to)) = judge(hash, length) else { return Ok(None) };
        self.dress(&file, item)?;
        accept_existing(linkat(CWD, fresh, CWD, to.as_ref(), AtFlags::empty()))?;
        Ok(Some(to))
    }

    fn place(&self, item: Item, bytes: &[u8], to: &Path) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        match open(self.dir.as_path(), flags, mode) {
            Ok(file) => {
                let file = File::from(file);
                self.fill(&file, item, bytes)?;
                let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
                accept_existing(linkat(CWD, unnamed, CWD, to, AtFlags::SYMLINK_FOLLOW))
            }
            // Not every file system has files without a name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let path = self.bench.fresh_path();
                let file = File::create_new(&path)?;
                self.fill(&file, item, bytes)?;
                let linked = accept_existing(linkat(CWD, &path, CWD, to, AtFlags::empty()));
                linked.and(fs::remove_file(&path))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn fill(&self, mut file: &File, item: Item, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)?;
        self.dress(file, item)
    }

    /// Gives a file its owner, mode and time.
    fn dress(&self, file: &File, item: Item) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fchmod(file, Mode::from_raw_mode(if item.executable { 0o755 } else { 0o644 }))?;
        Ok(futimens(file, &content_time(item.blob))?)
    }
}

/// Whether a file of the pool is one that git-lfs keeps, by its name.
pub(super) fn is_large(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.get(38..39).is_some_and(|letter| matches!(letter, "R" | "X"))
}

/// Copies at most so many bytes and one more, which tells too many from just enough. What came, and how much.
pub(super) fn copy_hashed(from: &mut dyn Read, mut to: &File, limit: u64) -> io::Result<(Digest, u64)> {
    let (mut hash, mut bytes, mut length) = (DigestStream::new(), vec![0; 256 * 1024], 0_u64);
    let mut from = from.take(limit.saturating_add(1));
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return Ok((hash.finish(), length)),
            Ok(read) => {
                hash.update(&bytes[..read]);
                to.write_all(&bytes[..read])?;
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Somebody else put the same content there first.
fn accept_existing(linked: Result<(), Errno>) -> io::Result<()> {
    match linked {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_in_the_past_and_follow_the_content(one: [u8; 20], other: [u8; 20]) {
            let time = |id| content_time(ObjectId(id)).last_modification;
            prop_assert!((FIRST_SECOND..=LAST_SECOND).contains(&time(one).tv_sec));
            prop_assert_eq!(time(one).tv_nsec, 0);
            prop_assert_eq!(time(one), time(one));
            prop_assert!(one[..8] == other[..8] || time(one) != time(other) || one != other);
        }
    }
}
