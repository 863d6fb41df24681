//! Removing trees that a step made: links are never followed, and neither odd modes nor depth stop it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat},
    io::Errno,
};

use super::upper::chmod_below;

/// Directories deeper than this are first moved up, so that neither the stack nor the open files run out.
const DEEP: usize = 48;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Removes whatever `path` names, with all below it. What is not there counts as removed.
///
/// # Errors
/// Something could not be removed; as much as possible is gone.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let top = match openat(CWD, parent, DIRECTORY & !OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut raised = vec![name.to_owned()];
    while let Some(name) = raised.pop() {
        remove_at(top.as_fd(), &top, &name, 0, &mut raised)?;
    }
    Ok(())
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn remove_at(
    directory: BorrowedFd<'_>,
    top: &OwnedFd,
    name: &std::ffi::OsStr,
    depth: usize,
    raised: &mut Vec<std::ffi::OsString>,
) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    if unlinkat(directory, name, AtFlags::REMOVEDIR).is_ok() {
        return Ok(());
    }
    if depth == DEEP {
        let above = format!(".raised-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        renameat(directory, name, top, &above)?;
        raised.push(above.into());
        return Ok(());
    }
    let inner = open_for_removal(directory, name)?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            let name = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
            remove_at(inner.as_fd(), top, name, depth + 1, raised)?;
        }
    }
    Ok(unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

/// Overlay's own `work` has mode 000, and a step may leave directories that can't be written: their owner opens them up.
fn open_for_removal(directory: BorrowedFd<'_>, name: &std::ffi::OsStr) -> io::Result<OwnedFd> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory && stat.st_mode & 0o700 != 0o700 {
        // As root this is not needed; as someone else's file it fails. What counts is whether opening works then.
        let _ = chmod_below(directory, Path::new(name), Mode::RWXU);
    }
    Ok(openat(directory, name, DIRECTORY, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("precious")).unwrap();
        fs::write(home.path().join("precious/file"), b"x").unwrap();
        fs::create_dir_all(home.path().join("gone/a")).unwrap();
        std::os::unix::fs::symlink(home.path().join("precious"), home.path().join("gone/a/link")).unwrap();
        remove_tree(&home.path().join("gone")).unwrap();
        assert!(!home.path().join("gone").exists());
        assert!(home.path().join("precious/file").exists());
        remove_tree(&home.path().join("gone")).unwrap();
        remove_tree(&home.path().join("no/such/place")).unwrap();
    }

    #[test]
    fn neither_depth_nor_modes_stop_it() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("deep");
        fs::create_dir(&top).unwrap();
        let mut at = openat(CWD, &top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "dddd", Mode::RWXU).unwrap();
            at = openat(&at, "dddd", DIRECTORY, Mode::empty()).unwrap();
        }
        fs::create_dir_all(top.join("work/work/x")).unwrap();
        fs::set_permissions(top.join("work/work"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&top).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
