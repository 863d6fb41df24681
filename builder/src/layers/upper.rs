//! Reading what a step changed, as overlay's upper directory shows it. Nothing in it is trusted: links are never
//! followed, names may be any bytes, and trees may be deep.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, openat, openat2,
        readlinkat, statat,
    },
    io::Errno,
};

use super::error::{LayerError, at};

/// Longer paths can't be used in one system call, so no later step or tool could read what is there.
const LONGEST_PATH: usize = 3800;
/// One file is held open per level.
const DEEPEST: usize = 128;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Directory {
        replaced: bool,
    },
    File {
        mode: u32,
        size: u64,
    },
    Symlink {
        target: OsString,
    },
    Removed,
    /// What no layer can hold, as a word for people.
    Special(&'static str),
}

/// One thing in an upper directory.
#[derive(Debug)]
pub(super) struct Seen {
    /// Below the upper directory.
    pub(super) path: PathBuf,
    pub(super) kind: Found,
    /// The position of the directory that holds it; `None` at the top.
    pub(super) parent: Option<usize>,
}

/// Opens an upper directory or another root.
pub(super) fn open_root(root: &Path) -> Result<OwnedFd, LayerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, root, flags, Mode::empty()).map_err(at("opening", root))
}

/// Everything below `root`, each directory before what it holds, in the order of names.
pub(super) fn walk(root: &Path) -> Result<Vec<Seen>, LayerError> {
    let top = open_root(root)?;
    let mut walk = Walk { root, seen: Vec::new() };
    walk.directory(top, Path::new(""), None, 0)?;
    Ok(walk.seen)
}

struct Walk<'a> {
    root: &'a Path,
    seen: Vec<Seen>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        directory: OwnedFd,
        path: &Path,
        parent: Option<usize>,
        depth: usize,
    ) -> Result<(), LayerError> {
        let here = self.root.join(path);
        for name in names(&directory).map_err(at("listing", &here))? {
            let below = path.join(&name);
            let index = self.seen.len();
            let (kind, inner) =
                look(directory.as_fd(), &name).map_err(at("looking at", &self.root.join(&below)))?;
            let too_deep = depth + 1 >= DEEPEST || below.as_os_str().len() > LONGEST_PATH;
            let kind =
                if too_deep && inner.is_some() { Found::Special("too deep a directory") } else { kind };
            self.seen.push(Seen { path: below.clone(), kind, parent });
            if let (Some(inner), false) = (inner, too_deep) {
                self.directory(inner, &below, Some(index), depth + 1)?;
            }
        }
        Ok(())
    }
}

fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&*name, b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn look(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<(Found, Option<OwnedFd>)> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let inner = open_directory(directory, name, &stat)?;
            return Ok((Found::Directory { replaced: is_opaque(&inner) }, Some(inner)));
        }
        FileType::RegularFile => {
            Found::File { mode: stat.st_mode & 0o777, size: u64::try_from(stat.st_size).unwrap_or(0) }
        }
        FileType::Symlink => {
            let target = readlinkat(directory, name, Vec::new())?;
            Found::Symlink { target: OsString::from_vec(target.into_bytes()) }
        }
        FileType::CharacterDevice if stat.st_rdev == 0 => Found::Removed,
        FileType::Socket => Found::Special("a socket"),
        FileType::Fifo => Found::Special("a named pipe"),
        _ => Found::Special("a device"),
    };
    Ok((found, None))
}

/// Nothing that the step started is alive any more, so between looking and opening nobody changes anything. Modes of
/// directories are no part of a layer, so a directory that its owner can't read or change is opened up.
fn open_directory(directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> io::Result<OwnedFd> {
    if stat.st_mode & 0o700 != 0o700 {
        // Where this fails, opening decides: root needs no mode, and someone else's directory stays shut.
        let opened_up = Mode::from_raw_mode(stat.st_mode & 0o777) | Mode::RWXU;
        let _ = chmod_below(directory, Path::new(name), opened_up);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}

/// With the mount option `userxattr`, which user namespaces need, overlay marks a directory that replaces a lower one with
/// the first attribute, else with the second. Layers carry the first only.
pub(crate) const OPAQUE: [&str; 2] = ["user.overlay.opaque", "trusted.overlay.opaque"];

fn is_opaque(directory: &OwnedFd) -> bool {
    OPAQUE.iter().any(|attribute| {
        let mut value = [0_u8; 4];
        matches!(fgetxattr(directory, *attribute, &mut value[..]), Ok(1)) && value[0] == b'y'
    })
}

/// Opens something below `root` without passing any link.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    // Opening a pipe would wait for its other end; a mere path opens nothing and takes no such flag.
    let waiting = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | waiting;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, Mode::empty(), resolve) {
        // Old filters of system calls do not know this one.
        Err(Errno::NOSYS | Errno::PERM) => open_by_components(root, path, flags),
        opened => Ok(opened?),
    }
}

/// Changes the mode of something below `root` without passing any link; a link itself has no mode and is refused. The
/// system call for this is younger than many kernels, so it goes through a descriptor of the thing itself.
pub(super) fn chmod_below(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> io::Result<()> {
    let thing = open_below(root, path, OFlags::PATH)?;
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", thing.as_raw_fd()), mode)?)
}

fn open_by_components(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let step_in = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here: Option<OwnedFd> = None;
    let at = |here: &Option<OwnedFd>, name: &OsStr, flags| match here {
        Some(directory) => openat(directory, name, flags, Mode::empty()),
        None => openat(root, name, flags, Mode::empty()),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    for part in path.parent().unwrap_or(Path::new("")) {
        here = Some(at(&here, part, step_in)?);
    }
    Ok(at(&here, name, flags)?)
}

/// The path for people, with bytes that are not UTF-8 escaped.
pub(super) fn escaped(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.escape_debug().to_string(),
        None => path.as_os_str().as_bytes().escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn modes_are_never_changed_through_links() {
        let place = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(place.path().join(name)).unwrap().permissions().mode() & 0o7777;
        for name in ["upper", "precious"] {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::write(place.path().join(name).join("file"), "x").unwrap();
            fs::set_permissions(place.path().join(name).join("file"), fs::Permissions::from_mode(0o640))
                .unwrap();
        }
        std::os::unix::fs::symlink("../precious/file", place.path().join("upper/link")).unwrap();
        std::os::unix::fs::symlink("../precious", place.path().join("upper/folder")).unwrap();
        let root = open_root(&place.path().join("upper")).unwrap();
        for link in ["link", "folder/file", "folder"] {
            assert!(chmod_below(root.as_fd(), Path::new(link), Mode::RWXU).is_err(), "{link}");
        }
        assert_eq!(mode("precious/file"), 0o640);
        chmod_below(root.as_fd(), Path::new("file"), Mode::RWXU).unwrap();
        assert_eq!(mode("upper/file"), 0o700);
    }
}
