//! Writing so that a reader, or a machine that lost its power, sees the old thing or the new one and nothing else.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::layout::UNFINISHED;

/// Makes a folder and those above it, with this mode if it is new.
pub(crate) fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_folder(above, 0o755)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes names that were created, renamed or removed in a folder survive a loss of power.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(if path.as_os_str().is_empty() { Path::new("/") } else { path })?.sync_all()
}

/// Replaces the file at `path` by `bytes`, and makes that durable. Nobody ever sees half of it.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = fill(path, bytes, mode, true)?;
    fs::rename(temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Replaces the file at `path` by `bytes`; whether it survives a loss of power is left open.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    fs::rename(fill(path, bytes, mode, false)?, path)
}

fn fill(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> io::Result<PathBuf> {
    let temporary = beside(path);
    // Only the holder of the folder's lock writes, so what has the name is left from one that was killed.
    let _ = fs::remove_file(&temporary);
    let filled = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        if durable { file.sync_all() } else { Ok(()) }
    })();
    if filled.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    filled.map(|()| temporary)
}

/// Points the symbolic link at `path` to `target`, durably; whoever looks sees the old target or the new one.
pub(crate) fn point(path: &Path, target: &Path) -> io::Result<()> {
    if fs::read_link(path).is_ok_and(|now| now == target) {
        // It may have been made an instant before the power was lost.
        return path.parent().map_or(Ok(()), sync_folder);
    }
    let temporary = beside(path);
    let _ = fs::remove_file(&temporary);
    std::os::unix::fs::symlink(target, &temporary)?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Removes a file or link, durably; none is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes whatever is there; nothing is fine.
pub(crate) fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{UNFINISHED}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(dir.path().join(".tmp-a.json"), "left by one that was killed").unwrap();
        write(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_moved_and_a_folder_in_its_place_is_an_error_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        point(&link, Path::new("releases/a")).unwrap();
        point(&link, Path::new("releases/b")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("releases/b"));
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        assert!(point(&link, Path::new("releases/a")).is_err());
        assert!(link.is_dir());
    }
}
