//! What is not finished: files that are complete and verified, but not in their places yet, and those that they replace.
//!
//! It lies in one directory of the destination's root, so on the same file system, where a rename is one step. Whoever holds
//! the destination's lock owns it; what is in it when the lock is taken was left by somebody who was killed.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, Dir, Gid, Mode, OFlags, Timespec, Timestamps, Uid, fchmod, fchown, fsync, futimens, linkat,
        mkdirat, openat, statat, symlinkat, unlinkat,
    },
    io::Errno,
};
use staith_model::RelPath;

use super::{
    ApplyError,
    destination::Destination,
    plan::APP_OFFLINE,
    source::Source,
    tree::{FileFacts, Node},
};
use crate::hashing::Hashing;

/// The directory of unfinished files in a destination's root.
pub(super) const WORK: &str = ".staith-apply";

/// The open directory of unfinished files.
pub(super) struct Staging<'d> {
    destination: &'d Destination,
    directory: OwnedFd,
}

/// Removes what an apply that was killed has left: its `app_offline.htm` first, then its unfinished files.
pub(super) fn recover(destination: &Destination) -> Result<(), ApplyError> {
    let root = destination.root()?;
    if destination.has_offline_page_of_ours()? {
        remove(root, APP_OFFLINE).map_err(destination.failed("remove app_offline.htm from", None))?;
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let work = match openat(root, WORK, flags, Mode::empty()) {
        Ok(work) => work,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(ApplyError::WorkTaken(destination.path().join(WORK))),
        Err(refused) => return Err(destination.failed("open", None)(refused)),
    };
    empty(destination, &work)?;
    unlinkat(root, WORK, AtFlags::REMOVEDIR).map_err(destination.failed("remove unfinished files from", None))
}

fn empty(destination: &Destination, work: &OwnedFd) -> Result<(), ApplyError> {
    let refused = destination.failed("remove unfinished files from", None);
    let entries = Dir::read_from(work).map_err(&refused)?.collect::<Result<Vec<_>, _>>().map_err(&refused)?;
    for entry in entries {
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            match unlinkat(work, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                // Staith makes no directories there.
                Err(Errno::ISDIR) => return Err(ApplyError::WorkTaken(destination.path().join(WORK))),
                Err(error) => return Err(refused(error)),
            }
        }
    }
    Ok(())
}

fn remove(directory: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

impl<'d> Staging<'d> {
    /// Makes the directory. The destination must be leased, and recovered.
    pub(super) fn make(destination: &'d Destination) -> Result<Self, ApplyError> {
        let (root, refused) = (destination.root()?, destination.failed("make unfinished files in", None));
        // What is in it is nobody's business before it is in place.
        mkdirat(root, WORK, Mode::RWXU).map_err(&refused)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = openat(root, WORK, flags, Mode::empty()).map_err(&refused)?;
        Ok(Self { destination, directory })
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Writes a file or a link under `name`, complete and verified, with its mode and its time.
    pub(super) fn stage(
        &self,
        name: &str,
        path: &RelPath,
        node: &Node,
        source: &dyn Source,
    ) -> Result<(), ApplyError> {
        match node {
            Node::File(facts) => self.stage_file(name, path, facts, source),
            Node::Link { target } => {
                symlinkat(target, &self.directory, name).map_err(self.destination.failed("write", Some(path)))
            }
            Node::Directory | Node::Special => Ok(()),
        }
    }

    fn stage_file(
        &self,
        name: &str,
        path: &RelPath,
        facts: &FileFacts,
        source: &dyn Source,
    ) -> Result<(), ApplyError> {
        let refused = self.destination.failed("write", Some(path));
        let mut out = BufWriter::with_capacity(1 << 16, Hashing::into(self.create(name).map_err(&refused)?));
        source.copy(path, &mut out)?;
        let unwritable = |source| ApplyError::Destination {
            doing: "write",
            path: self.destination.at(Some(path)),
            source,
        };
        let written = out.into_inner().map_err(|lost| unwritable(lost.into_error()))?;
        let ((digest, bytes), written) = (written.told(), written.inner());
        if bytes != facts.size || facts.digest.is_some_and(|expected| expected != digest) {
            return Err(ApplyError::Unstable(path.clone()));
        }
        let before = self.replaced(path)?;
        if let Some((_, uid, gid)) = before {
            // Whoever may give files away keeps the owner; others can't, and own the file already or may not replace it.
            let _ = fchown(written, Some(uid), Some(gid));
        }
        let mode = facts.mode.or(before.map(|(mode, ..)| mode)).unwrap_or(0o644);
        fchmod(written, Mode::from_raw_mode(mode)).map_err(&refused)?;
        let time = Timespec { tv_sec: facts.time, tv_nsec: 0 };
        futimens(written, &Timestamps { last_access: time, last_modification: time }).map_err(&refused)
    }

    /// Mode and owner of the file that is to be replaced, if one is.
    fn replaced(&self, path: &RelPath) -> Result<Option<(u32, Uid, Gid)>, ApplyError> {
        match self.destination.file(path) {
            Ok((_, stat)) => {
                Ok(Some((stat.st_mode & 0o777, Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))))
            }
            Err(_) => Ok(None),
        }
    }

    fn create(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    /// Takes the site offline. Whether the page is Staith's own: where somebody's is already, that one stays.
    pub(super) fn go_offline(&self, page: &[u8]) -> Result<bool, ApplyError> {
        let refused = self.destination.failed("write app_offline.htm in", None);
        let root = self.destination.root()?;
        if statat(root, APP_OFFLINE, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(false);
        }
        let mut file = self.create(APP_OFFLINE).map_err(&refused)?;
        file.write_all(page).map_err(|error| refused(errno(&error)))?;
        fchmod(&file, Mode::from_raw_mode(0o644)).map_err(&refused)?;
        file.sync_all().map_err(|error| refused(errno(&error)))?;
        fsync(&self.directory).map_err(&refused)?;
        // From here on the page has two names, and by the second one it is found again, whatever happens to this process.
        match linkat(&self.directory, APP_OFFLINE, root, APP_OFFLINE, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(refused(error)),
        }
    }

    /// Brings the site back, if it was Staith that took it offline, and removes what is unfinished.
    pub(super) fn clean(&self) -> Result<(), ApplyError> {
        recover(self.destination)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next apply.
        let _ = self.clean();
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
