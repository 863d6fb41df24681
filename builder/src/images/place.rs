//! A directory that becomes a layer, in overlay's format: what is written into it stays in it.
//!
//! Every path is walked from the directory's own descriptor, by names that are no links (`openat2` with `RESOLVE_BENEATH`
//! and `RESOLVE_NO_SYMLINKS`); nothing is ever opened by a path of the host. All files get one owner, no set-user-id bits
//! and no extended attributes. Directories get their modes when all else is written, or one that nobody may write to
//! could not be filled.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, fchmod, fchown, fsetxattr, linkat,
        mkdirat, mknodat, openat, renameat, statat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};

use super::archive::{Flaw, LONGEST_PATH};
use crate::{
    layers::{OPAQUE, open_below},
    upkeep::{GrowingRoom, whole_blocks},
};

/// Names in one layer.
const MOST_ENTRIES: u64 = 1_000_000;
/// Bytes in one layer.
const MOST_BYTES: u64 = 64 << 30;

/// A path as the kernel is given it: no `..`, nothing before the first name, at least one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inside(PathBuf);

impl Inside {
    /// None for the directory itself.
    ///
    /// # Errors
    /// It leads out, or is longer than anything that is kept here.
    pub(super) fn of(path: &[u8]) -> Result<Option<Self>, Flaw> {
        if path.len() > LONGEST_PATH {
            return Err(Flaw::hostile(&path[..100], format!("a path of {} bytes is too long", path.len())));
        }
        let mut inside = PathBuf::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(Flaw::hostile(path, "it leads out with `..`")),
                part => inside.push(std::ffi::OsStr::from_bytes(part)),
            }
        }
        Ok((!inside.as_os_str().is_empty()).then_some(Self(inside)))
    }

    pub(super) fn name(&self) -> &[u8] {
        self.0.file_name().map_or(b"", OsStrExt::as_bytes)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }

    /// The path beside it with another name; none when that is no name.
    pub(super) fn beside(&self, name: &[u8]) -> Option<Self> {
        let good = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
        good.then(|| Self(self.0.with_file_name(std::ffi::OsStr::from_bytes(name))))
    }

    pub(super) fn parent(&self) -> Option<Self> {
        self.0
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map(|parent| Self(parent.to_path_buf()))
    }

    /// Whether its first name is this.
    pub(super) fn is_below(&self, first: &str) -> bool {
        self.0.starts_with(first)
    }
}

/// What is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

/// The directory while it is filled.
pub(super) struct Place {
    root: OwnedFd,
    /// Where what is replaced goes; removed with the workbench that it is on.
    replaced: OwnedFd,
    owner: Option<(u32, u32)>,
    modes: BTreeMap<Inside, (Mode, u64)>,
    root_mode: Option<(Mode, u64)>,
    entries: u64,
    bytes: u64,
    room: GrowingRoom,
}

/// A file that asks before it grows.
struct Asking<'a> {
    file: File,
    room: &'a mut GrowingRoom,
}

impl Write for Asking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room.take(bytes.len() as u64)?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Place {
    /// Over two empty directories on one file system.
    pub(super) fn new(
        root: &Path,
        replaced: &Path,
        owner: Option<(u32, u32)>,
        room: GrowingRoom,
    ) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
        let (root, replaced) = (open(root)?, open(replaced)?);
        give(&root, owner)?;
        let (modes, root_mode) = (BTreeMap::new(), None);
        Ok(Self { root, replaced, owner, modes, root_mode, entries: 0, bytes: 0, room })
    }

    /// What is at a path; nothing also where a part of the path is no directory.
    pub(super) fn there(&self, path: &Inside) -> Result<There, Flaw> {
        let Some(directory) = self.existing_parent(path)? else { return Ok(There::Nothing) };
        look(&directory, path)
    }

    pub(super) fn directory(&mut self, path: Option<&Inside>, mode: u32, modified: u64) -> Result<(), Flaw> {
        self.count()?;
        let wanted = (plain(mode), modified);
        let Some(path) = path else {
            self.root_mode = Some(wanted);
            return Ok(());
        };
        let parent = self.parent(path)?;
        match look(&parent, path)? {
            There::Directory => {}
            There::Nothing => self.make_directory(&parent, path)?,
            // A whiteout says that what lies below is gone, also where a directory follows.
            There::Whiteout => {
                self.clear(&parent, path)?;
                self.make_directory(&parent, path)?;
                self.opaque(Some(path))?;
            }
            There::Other => {
                self.clear(&parent, path)?;
                self.make_directory(&parent, path)?;
            }
        }
        self.modes.insert(path.clone(), wanted);
        Ok(())
    }

    pub(super) fn file(
        &mut self,
        path: &Inside,
        mode: u32,
        modified: u64,
        content: &mut dyn Read,
    ) -> Result<u64, Flaw> {
        let parent = self.make_way(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&parent, path.name(), flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| refused(path, errno))?;
        let mut file = Asking { file: File::from(file), room: &mut self.room };
        let left = MOST_BYTES - self.bytes;
        // One byte more than there may be tells too much from just enough.
        let written = io::copy(&mut content.take(left + 1), &mut file)?;
        if written > left {
            return Err(Flaw::TooLarge(format!("it unpacks to more than {} GiB", MOST_BYTES >> 30)));
        }
        self.bytes += written;
        let file = file.file;
        give(&file, self.owner)?;
        fchmod(&file, plain(mode)).map_err(io::Error::from)?;
        rustix::fs::futimens(&file, &at_time(modified)).map_err(io::Error::from)?;
        Ok(written)
    }

    pub(super) fn symlink(&mut self, path: &Inside, target: &[u8], modified: u64) -> Result<(), Flaw> {
        let parent = self.make_way(path)?;
        symlinkat(target, &parent, path.name()).map_err(|errno| refused(path, errno))?;
        self.give_at(&parent, path)?;
        let times = at_time(modified);
        utimensat(&parent, path.name(), &times, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
        Ok(())
    }

    /// A second name for a file or link of this same layer.
    pub(super) fn hard_link(&mut self, path: &Inside, target: &Inside) -> Result<(), Flaw> {
        if path == target {
            return Ok(());
        }
        let from = self.existing_parent(target)?;
        let found = from.as_ref().map_or(Ok(There::Nothing), |from| look(from, target))?;
        let (Some(from), There::Other) = (from, found) else {
            let why = format!(
                "it is a hard link to `{}`, which is no file of the same layer",
                target.bytes().escape_ascii()
            );
            return Err(Flaw::hostile(path.bytes(), why));
        };
        let parent = self.make_way(path)?;
        linkat(&from, target.name(), &parent, path.name(), AtFlags::empty())
            .map_err(|errno| refused(path, errno))?;
        Ok(())
    }

    pub(super) fn pipe(&mut self, path: &Inside, mode: u32) -> Result<(), Flaw> {
        let parent = self.make_way(path)?;
        mknodat(&parent, path.name(), FileType::Fifo, plain(mode), 0)
            .map_err(|errno| refused(path, errno))?;
        self.give_at(&parent, path)
    }

    /// Says that a name of a lower layer is gone. What this layer itself has there stays.
    pub(super) fn whiteout(&mut self, path: &Inside) -> Result<(), Flaw> {
        match self.there(path)? {
            There::Nothing => {
                let parent = self.make_way(path)?;
                // Device 0:0 is no device; anybody may make one.
                mknodat(&parent, path.name(), FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(|errno| refused(path, errno))?;
                self.give_at(&parent, path)
            }
            There::Directory => self.opaque(Some(path)),
            There::Whiteout | There::Other => self.count(),
        }
    }

    /// Says that a directory shows nothing of lower layers.
    pub(super) fn opaque(&mut self, path: Option<&Inside>) -> Result<(), Flaw> {
        self.count()?;
        let directory = match path {
            None => self.root.try_clone()?,
            Some(path) => {
                if self.there(path)? != There::Directory {
                    self.directory(Some(path), 0o755, 0)?;
                }
                self.open(path)?
            }
        };
        Ok(fsetxattr(&directory, OPAQUE[0], b"y", XattrFlags::empty()).map_err(io::Error::from)?)
    }

    /// Gives the directories their modes and times, deepest first. Returns how much there is: names and bytes, and the room
    /// that they take.
    pub(super) fn finish(self) -> Result<(u64, u64, GrowingRoom), Flaw> {
        for (path, (mode, modified)) in self.modes.iter().rev() {
            // One that was replaced by something else later has no mode of its own any more.
            if self.there(path)? == There::Directory {
                let directory = self.open(path)?;
                fchmod(&directory, *mode).map_err(io::Error::from)?;
                rustix::fs::futimens(&directory, &at_time(*modified)).map_err(io::Error::from)?;
            }
        }
        let (mode, modified) = self.root_mode.unwrap_or((Mode::from_raw_mode(0o755), 0));
        fchmod(&self.root, mode).map_err(io::Error::from)?;
        rustix::fs::futimens(&self.root, &at_time(modified)).map_err(io::Error::from)?;
        Ok((self.entries, self.bytes, self.room))
    }

    fn count(&mut self) -> Result<(), Flaw> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(Flaw::TooLarge(format!("it holds more than {MOST_ENTRIES} files")));
        }
        Ok(self.room.take(whole_blocks(1))?)
    }

    /// Counts a new thing that is no directory, and makes its name free. The directory that it goes into.
    fn make_way(&mut self, path: &Inside) -> Result<OwnedFd, Flaw> {
        self.count()?;
        let parent = self.parent(path)?;
        if look(&parent, path)? != There::Nothing {
            self.clear(&parent, path)?;
        }
        Ok(parent)
    }

    fn clear(&mut self, parent: &OwnedFd, path: &Inside) -> Result<(), Flaw> {
        match unlinkat(parent, path.name(), AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                self.count()?;
                let aside = self.entries.to_string();
                renameat(parent, path.name(), &self.replaced, aside.as_str())
                    .map_err(|errno| refused(path, errno))
            }
            Err(errno) => Err(refused(path, errno)),
        }
    }

    fn make_directory(&self, parent: &OwnedFd, path: &Inside) -> Result<(), Flaw> {
        mkdirat(parent, path.name(), Mode::from_raw_mode(0o700)).map_err(|errno| refused(path, errno))?;
        self.give_at(parent, path)
    }

    /// The directory that holds a path; what is missing of it is made, as archives may leave directories out.
    fn parent(&mut self, path: &Inside) -> Result<OwnedFd, Flaw> {
        let Some(parent) = path.parent() else { return Ok(self.root.try_clone()?) };
        match self.open(&parent) {
            Err(Flaw::Io(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                self.directory(Some(&parent), 0o755, 0)?;
                self.open(&parent)
            }
            opened => opened,
        }
    }

    fn existing_parent(&self, path: &Inside) -> Result<Option<OwnedFd>, Flaw> {
        let Some(parent) = path.parent() else { return Ok(Some(self.root.try_clone()?)) };
        match self.open(&parent) {
            Ok(parent) => Ok(Some(parent)),
            Err(Flaw::Io(error)) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a directory without passing any link.
    fn open(&self, path: &Inside) -> Result<OwnedFd, Flaw> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_below(self.root.as_fd(), &path.0, flags).map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP | libc::ENOTDIR | libc::EXDEV) => {
                Flaw::hostile(path.bytes(), "something is to be put below it, and it is a link or a file")
            }
            Some(libc::ENAMETOOLONG) => Flaw::hostile(path.bytes(), "a name in it is longer than 255 bytes"),
            _ => Flaw::Io(error),
        })
    }

    fn give_at(&self, parent: &OwnedFd, path: &Inside) -> Result<(), Flaw> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(parent, path.name(), Some(user), Some(group), flags)
            .map_err(io::Error::from)?)
    }
}

fn look(parent: &OwnedFd, path: &Inside) -> Result<There, Flaw> {
    match statat(parent, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(There::Nothing),
        Err(errno) => Err(refused(path, errno)),
        Ok(found) => Ok(match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => There::Directory,
            FileType::CharacterDevice => There::Whiteout,
            _ => There::Other,
        }),
    }
}

fn give(thing: impl AsFd, owner: Option<(u32, u32)>) -> io::Result<()> {
    let Some((user, group)) = owner else { return Ok(()) };
    let (user, group) = (rustix::fs::Uid::from_raw(user), rustix::fs::Gid::from_raw(group));
    Ok(fchown(thing, Some(user), Some(group))?)
}

/// Set-user-id and set-group-id bits give nobody anything here, so they are not kept.
fn plain(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o1777)
}

fn at_time(seconds: u64) -> Timestamps {
    // A time that a file system can't hold it brings into its own range.
    let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn refused(path: &Inside, errno: Errno) -> Flaw {
    match errno {
        Errno::NAMETOOLONG => Flaw::hostile(path.bytes(), "its name is longer than 255 bytes"),
        errno => {
            let error = io::Error::from(errno);
            Flaw::Io(io::Error::new(error.kind(), format!("{}: {error}", path.bytes().escape_ascii())))
        }
    }
}
