//! A folder by its handle: names in it are short to look up, and no link on the way there leads elsewhere.

use std::{ffi::CStr, ffi::CString, io, os::fd::OwnedFd, path::Path};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, flistxattr, fstat, openat, statat, unlinkat};

use crate::verified::{Lost, Node, Verified};

const HERE: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const ABOVE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const NODE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes of names of extended attributes; a folder with more is not one of ours.
const ATTRIBUTES: usize = 1024;

/// A folder that is open.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

/// Looks at files below a root, one folder after the other.
#[derive(Debug)]
pub(crate) struct Near<'a> {
    root: &'a Path,
    last: Option<(&'a str, OwnedFd)>,
}

impl<'a> Near<'a> {
    /// Nothing has been looked at.
    pub(crate) const fn new(root: &'a Path) -> Self {
        Self { root, last: None }
    }

    /// The node at a path; a link in its place is not followed.
    pub(crate) fn look(&mut self, path: &'a str) -> io::Result<Stat> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = match self.last.take() {
            Some((last, folder)) if last == above => folder,
            _ => openat(rustix::fs::CWD, self.root.join(above), ABOVE, Mode::empty())?,
        };
        let (_, folder) = self.last.insert((above, folder));
        Ok(statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// What a new folder has of its own, or by inheritance, before anybody changes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Nature {
    device: u64,
    mode: u32,
    user: u32,
    group: u32,
    attributes: Vec<u8>,
}

impl Folder {
    /// The folder at `path`, which is no link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(rustix::fs::CWD, path, HERE, Mode::empty())?))
    }

    /// A folder in this one.
    pub(crate) fn below(&self, name: &CStr) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, HERE, Mode::empty())?))
    }

    /// What is in it.
    pub(crate) fn names(&self) -> io::Result<Vec<(CString, FileType)>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                kind = FileType::from_raw_mode(self.look(name)?.st_mode);
            }
            names.push((name.to_owned(), kind));
        }
        Ok(names)
    }

    /// The node of that name, links not followed.
    pub(crate) fn look(&self, name: &CStr) -> io::Result<Stat> {
        Ok(statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// What it is like, but for what is in it. Fails where it has attributes beside the system's own: nobody can tell what for.
    pub(crate) fn nature(&self) -> io::Result<Nature> {
        let stat = fstat(&self.0)?;
        let mut attributes = vec![0; ATTRIBUTES];
        let length = match flistxattr(&self.0, &mut attributes[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::NOTSUP) => 0,
            Err(error) => return Err(error.into()),
        };
        attributes.truncate(length);
        let names = attributes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        if names.into_iter().any(|name| !name.starts_with(b"security.")) {
            return Err(io::Error::other("the folder has attributes of somebody else's"));
        }
        let (user, group) = (stat.st_uid, stat.st_gid);
        Ok(Nature { device: stat.st_dev, mode: stat.st_mode, user, group, attributes })
    }

    /// Removes a file or link, and says what that means for whether it is known to be verified.
    pub(crate) fn remove(&self, name: &CStr, verified: &Verified) -> io::Result<Option<Lost>> {
        // A handle that reads nothing: after the name is gone, only it tells how the node is.
        let node = openat(&self.0, name, NODE, Mode::empty())?;
        let untouched = verified.is_untouched(&fstat(&node)?);
        unlinkat(&self.0, name, AtFlags::empty())?;
        let after = Node::from(&fstat(&node)?);
        Ok(match after.names {
            0 => Some(Lost::File(after.inode)),
            _ => untouched.then_some(Lost::Name(after)),
        })
    }

    /// Removes whatever has that name, with all that is in it.
    pub(crate) fn clear(
        &self,
        name: &CStr,
        kind: FileType,
        verified: &Verified,
        lost: &mut Vec<Lost>,
    ) -> io::Result<()> {
        if kind != FileType::Directory {
            lost.extend(self.remove(name, verified)?);
            return Ok(());
        }
        let folder = self.below(name)?;
        for (name, kind) in folder.names()? {
            folder.clear(&name, kind, verified, lost)?;
        }
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    fn name(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    #[test]
    fn what_is_cleared_goes_and_nothing_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        fs::create_dir_all(inside.join("d/e")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(inside.join("d/e/f"), "x").unwrap();
        fs::write(outside.join("stays"), "x").unwrap();
        symlink(&outside, inside.join("d/link")).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let mut lost = Vec::new();
        folder.clear(&name("inside"), FileType::Directory, &Verified::default(), &mut lost).unwrap();
        assert!(!inside.exists() && outside.join("stays").exists());
        assert_eq!(lost.len(), 2);
        symlink(&outside, &inside).unwrap();
        assert!(Folder::open(&inside).is_err() && folder.below(&name("inside")).is_err());
    }

    #[test]
    fn a_folder_that_somebody_changed_is_told_from_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let nature = |name: &str| {
            let path = dir.path().join(name);
            let _ = fs::create_dir(&path);
            Folder::open(&path).unwrap().nature().unwrap()
        };
        assert_eq!(nature("a"), nature("b"));
        fs::set_permissions(dir.path().join("b"), fs::Permissions::from_mode(0o777)).unwrap();
        assert_ne!(nature("a"), nature("b"));
    }
}
