//! The visible part: staged files are put in their places one after the other, and can be taken back.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RenameFlags, fchmod, fstat, mkdirat, openat, renameat,
        renameat_with, statat, unlinkat,
    },
    io::Errno,
};
use staith_model::RelPath;

use super::{
    ApplyError,
    destination::Destination,
    plan::{Action, Change, Object},
    staging::Staging,
};

/// Makes changes, and remembers how to take them back.
pub(super) struct Switch<'s> {
    destination: &'s Destination,
    staging: &'s Staging<'s>,
    done: Vec<Done<'s>>,
    /// Whether there is room for what is replaced and deleted, until all is done.
    keeps_old: bool,
    /// The directory that was worked in last: changes of one directory follow each other.
    open: Option<(Option<RelPath>, OwnedFd)>,
}

struct Done<'s> {
    change: &'s Change,
    undo: Undo,
}

enum Undo {
    /// Remove what was added.
    Remove,
    /// Exchange it with what is staged under this name, once more.
    Exchange(String),
    /// Put back what was moved aside under this name.
    PutBack(String),
    /// Make the directory again, with this mode.
    MakeDirectory(u32),
    /// Nothing was changed.
    Leave,
    /// The old one is gone: there was no room for it, or the file system can't exchange.
    Lost,
}

impl<'s> Switch<'s> {
    pub(super) fn new(destination: &'s Destination, staging: &'s Staging<'s>, keeps_old: bool) -> Self {
        Self { destination, staging, done: Vec::new(), keeps_old, open: None }
    }

    /// Makes one change; `staged` is the name of its staged file.
    pub(super) fn make(&mut self, change: &'s Change, staged: &str) -> Result<(), ApplyError> {
        let mut undo = match (change.action, change.object) {
            (Action::Add | Action::Update, Object::Directory) => self.add_directory(&change.path)?,
            (Action::Add | Action::Update, _) => self.place(&change.path, staged)?,
            (Action::Delete, Object::Directory) => self.remove_directory(&change.path)?,
            (Action::Delete, _) => self.move_aside(&change.path, staged)?,
        };
        if !self.keeps_old && matches!(undo, Undo::Exchange(_) | Undo::PutBack(_)) {
            unlinkat(self.staging.handle(), staged, AtFlags::empty())
                .map_err(self.destination.failed("make room for", Some(&change.path)))?;
            undo = Undo::Lost;
        }
        self.done.push(Done { change, undo });
        Ok(())
    }

    /// Takes back all that was changed, last first. Goes on where one thing fails; the first error is told.
    pub(super) fn take_back(mut self) -> Result<(), ApplyError> {
        let mut first = Ok(());
        while let Some(done) = self.done.pop() {
            let undone = self.undo(&done);
            if first.is_ok() {
                first = undone;
            }
        }
        first
    }

    fn undo(&mut self, done: &Done<'_>) -> Result<(), ApplyError> {
        let path = &done.change.path;
        let (name, refused) =
            (path.file_name(), self.destination.failed("take back the change of", Some(path)));
        let staging = self.staging;
        let above = self.above(path)?;
        match &done.undo {
            Undo::Remove if done.change.object == Object::Directory => {
                unlinkat(above, name, AtFlags::REMOVEDIR)
            }
            Undo::Remove => unlinkat(above, name, AtFlags::empty()),
            Undo::Exchange(staged) | Undo::PutBack(staged) => {
                renameat(staging.handle(), staged.as_str(), above, name)
            }
            Undo::MakeDirectory(mode) => {
                mkdirat(above, name, Mode::RWXU).and_then(|()| set_mode(above, name, *mode))
            }
            Undo::Leave => Ok(()),
            Undo::Lost => Err(Errno::OPNOTSUPP),
        }
        .map_err(refused)
    }

    fn add_directory(&mut self, path: &RelPath) -> Result<Undo, ApplyError> {
        let (name, refused) = (path.file_name(), self.destination.failed("make", Some(path)));
        let above = self.above(path)?;
        match mkdirat(above, name, Mode::RWXU) {
            // Whatever the umask says.
            Ok(()) => set_mode(above, name, 0o755).map(|()| Undo::Remove).map_err(refused),
            Err(Errno::EXIST) => {
                match statat(above, name, AtFlags::SYMLINK_NOFOLLOW).map_err(&refused)?.st_mode {
                    mode if FileType::from_raw_mode(mode) == FileType::Directory => Ok(Undo::Leave),
                    _ => Err(refused(Errno::EXIST)),
                }
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn remove_directory(&mut self, path: &RelPath) -> Result<Undo, ApplyError> {
        let (name, refused) = (path.file_name(), self.destination.failed("delete", Some(path)));
        let above = self.above(path)?;
        let mode = match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat.st_mode & 0o7777,
            Err(Errno::NOENT) => return Ok(Undo::Leave),
            Err(error) => return Err(refused(error)),
        };
        unlinkat(above, name, AtFlags::REMOVEDIR).map_err(refused)?;
        Ok(Undo::MakeDirectory(mode))
    }

    fn move_aside(&mut self, path: &RelPath, aside: &str) -> Result<Undo, ApplyError> {
        let (name, refused) = (path.file_name(), self.destination.failed("delete", Some(path)));
        let staging = self.staging;
        let above = self.above(path)?;
        match renameat(above, name, staging.handle(), aside) {
            Ok(()) => Ok(Undo::PutBack(aside.to_owned())),
            Err(Errno::NOENT) => Ok(Undo::Leave),
            Err(error) => Err(refused(error)),
        }
    }

    /// Puts a staged file in its place in one step. Where something is already, the two change places, so that the old one is
    /// still there to be put back.
    fn place(&mut self, path: &RelPath, staged: &str) -> Result<Undo, ApplyError> {
        let (name, refused) = (path.file_name(), self.destination.failed("replace", Some(path)));
        let staging = self.staging;
        let above = self.above(path)?;
        match renameat_with(staging.handle(), staged, above, name, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(Undo::Exchange(staged.to_owned())),
            Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(refused(error)),
        }
        let is_there = statat(above, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        renameat(staging.handle(), staged, above, name).map_err(refused)?;
        Ok(if is_there { Undo::Lost } else { Undo::Remove })
    }

    /// The directory that `path` lies in.
    fn above(&mut self, path: &RelPath) -> Result<&OwnedFd, ApplyError> {
        let parent = path.parent();
        if self.open.as_ref().is_none_or(|(open, _)| *open != parent) {
            let handle = self.destination.directory(parent.as_ref())?;
            let device = |stat: rustix::fs::Stat| stat.st_dev;
            let refused = self.destination.failed("look at", parent.as_ref());
            let here = fstat(&handle).map(device).map_err(&refused)?;
            if here != fstat(self.staging.handle()).map(device).map_err(refused)? {
                return Err(ApplyError::OtherFileSystem(path.clone()));
            }
            self.open = Some((parent.clone(), handle));
        }
        match &self.open {
            Some((_, handle)) => Ok(handle),
            None => Err(ApplyError::Unstable(path.clone())),
        }
    }
}

/// Sets a directory's mode, whatever the umask says. By its handle: a link may have taken its place.
fn set_mode(above: &OwnedFd, name: &str, mode: u32) -> Result<(), Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    fchmod(openat(above, name, flags, Mode::empty())?, Mode::from_raw_mode(mode))
}
