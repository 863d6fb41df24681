//! A directory that a package is applied to, reached by handles only.
//!
//! Somebody else may write there, and may put a link where a directory was. So a path is never handed to the system whole:
//! each of its components is opened in the directory before it, and links are not followed.

use std::{
    fs::{self, File},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, readlinkat,
        statat,
    },
    io::Errno,
};
use staith_model::{Digest, RelPath};

use super::{
    ApplyError,
    plan::APP_OFFLINE,
    staging::WORK,
    tree::{FileFacts, Node, Tree},
};
use crate::hashing;

/// A destination, which need not be there yet.
#[derive(Debug)]
pub(super) struct Destination {
    path: PathBuf,
    root: Option<OwnedFd>,
    /// The one name that is looked at, where not a directory but a single file is applied.
    only: Option<String>,
}

impl Drop for Destination {
    fn drop(&mut self) {
        // A process that is being started from this one holds the same handle for a moment, and would keep the lock with it.
        if let Some(root) = &self.root {
            let _ = flock(root, FlockOperation::Unlock);
        }
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

impl Destination {
    pub(super) fn open(path: &Path, only: Option<String>) -> Result<Self, ApplyError> {
        let root = match openat(CWD, path, DIRECTORY, Mode::empty()) {
            Ok(root) => Some(root),
            Err(Errno::NOENT) => None,
            Err(Errno::NOTDIR) => return Err(ApplyError::NotADirectory(path.to_owned())),
            Err(refused) => return Err(failed("open", path)(refused)),
        };
        Ok(Self { path: path.to_owned(), root, only })
    }

    /// Makes the directory where it is lacking.
    pub(super) fn make(&mut self) -> Result<(), ApplyError> {
        if self.root.is_none() {
            fs::create_dir_all(&self.path).map_err(|source| ApplyError::Destination {
                doing: "make",
                path: self.path.clone(),
                source,
            })?;
            self.root = Self::open(&self.path, None)?.root.take();
        }
        Ok(())
    }

    /// Takes the destination for this process until the handle is closed, however the process ends.
    ///
    /// The lock is on the directory itself, so that no file has to be left there.
    pub(super) fn lease(&self) -> Result<(), ApplyError> {
        let Some(root) = &self.root else { return Ok(()) };
        match flock(root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(Errno::WOULDBLOCK) => Err(ApplyError::Busy(self.path.clone())),
            Err(refused) => Err(self.failed("lock", None)(refused)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> Result<BorrowedFd<'_>, ApplyError> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| self.failed("open", None)(Errno::NOENT))
    }

    /// Everything that is there; nothing that Staith itself put there for the time of an apply.
    pub(super) fn scan(&self) -> Result<Tree, ApplyError> {
        let spelled = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut tree = Tree::new(spelled.to_string_lossy());
        tree.exists = self.root.is_some();
        let mut waiting = Vec::new();
        if self.root.is_some() {
            waiting.push(None);
        }
        while let Some(directory) = waiting.pop() {
            self.scan_directory(directory, &mut tree, &mut waiting)?;
        }
        Ok(tree)
    }

    fn scan_directory(
        &self,
        directory: Option<RelPath>,
        tree: &mut Tree,
        waiting: &mut Vec<Option<RelPath>>,
    ) -> Result<(), ApplyError> {
        let handle = self.directory(directory.as_ref())?;
        let refused = |refused| self.failed("list", directory.as_ref())(refused);
        for entry in Dir::read_from(&handle).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let Ok(name) = str::from_utf8(bytes) else {
                tree.unnamable.insert(directory.clone());
                continue;
            };
            if directory.is_none() && !self.is_looked_at(name)? {
                continue;
            }
            let whole = directory.as_ref().map_or_else(|| name.to_owned(), |above| format!("{above}/{name}"));
            let Ok(path) = RelPath::try_from(whole) else { continue };
            let node = match statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => node_of(&handle, name, &stat),
                // It went while it was looked at.
                Err(Errno::NOENT) => continue,
                Err(refused) => return Err(self.failed("look at", Some(&path))(refused)),
            };
            if matches!(node, Node::Directory) {
                waiting.push(Some(path.clone()));
            }
            tree.nodes.insert(path, node);
        }
        Ok(())
    }

    fn is_looked_at(&self, name: &str) -> Result<bool, ApplyError> {
        if name == WORK || self.only.as_deref().is_some_and(|only| only != name) {
            return Ok(false);
        }
        Ok(name != APP_OFFLINE || !self.has_offline_page_of_ours()?)
    }

    /// Whether the root's `app_offline.htm` was put there by an apply, which may have been killed since: it is the same file
    /// as the one among the unfinished files.
    pub(super) fn has_offline_page_of_ours(&self) -> Result<bool, ApplyError> {
        let root = self.root()?;
        let work = match openat(root, WORK, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(work) => work,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(false),
            Err(refused) => return Err(self.failed("open", None)(refused)),
        };
        let at = |directory: BorrowedFd<'_>| match statat(directory, APP_OFFLINE, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(refused) => Err(self.failed("look at", None)(refused)),
        };
        let ours = at(work.as_fd())?;
        Ok(ours.is_some() && ours == at(root)?)
    }

    /// A directory of the destination; `None` is its root.
    pub(super) fn directory(&self, path: Option<&RelPath>) -> Result<OwnedFd, ApplyError> {
        let mut here = self.root()?.try_clone_to_owned().map_err(|source| ApplyError::Destination {
            doing: "open",
            path: self.path.clone(),
            source,
        })?;
        for component in path.into_iter().flat_map(|path| path.as_str().split('/')) {
            here = openat(&here, component, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
                .map_err(self.failed("open", path))?;
        }
        Ok(here)
    }

    /// A regular file of the destination, open for reading.
    pub(super) fn file(&self, path: &RelPath) -> Result<(File, Stat), ApplyError> {
        let above = self.directory(path.parent().as_ref())?;
        let refused = self.failed("read", Some(path));
        // Without blocking: what was a file may be a pipe by now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&above, path.file_name(), flags, Mode::empty()).map_err(&refused)?;
        let stat = fstat(&opened).map_err(&refused)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(opened), stat)),
            _ => Err(refused(Errno::INVAL)),
        }
    }

    /// Digest of a file's bytes.
    pub(super) fn digest(&self, path: &RelPath) -> Result<Digest, ApplyError> {
        let (file, _) = self.file(path)?;
        let read = hashing::digest_of(file).map_err(|source| ApplyError::Destination {
            doing: "read",
            path: self.at(Some(path)),
            source,
        });
        Ok(read?.0)
    }

    pub(super) fn at(&self, path: Option<&RelPath>) -> PathBuf {
        path.map_or_else(|| self.path.clone(), |path| self.path.join(path.as_str()))
    }

    pub(super) fn failed(
        &self,
        doing: &'static str,
        path: Option<&RelPath>,
    ) -> impl Fn(Errno) -> ApplyError + use<> {
        let path = self.at(path);
        move |refused| failed(doing, &path)(refused)
    }
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(Errno) -> ApplyError {
    let path = path.to_owned();
    move |refused| ApplyError::Destination { doing, path: path.clone(), source: refused.into() }
}

fn node_of(directory: &OwnedFd, name: &str, stat: &Stat) -> Node {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Node::Directory,
        FileType::RegularFile => Node::File(FileFacts {
            size: stat.st_size.unsigned_abs(),
            time: stat.st_mtime,
            mode: Some(stat.st_mode & 0o777),
            ..FileFacts::default()
        }),
        FileType::Symlink => readlinkat(directory, name, Vec::new())
            .ok()
            .and_then(|target| target.into_string().ok())
            .map_or(Node::Special, |target| Node::Link { target }),
        _ => Node::Special,
    }
}
