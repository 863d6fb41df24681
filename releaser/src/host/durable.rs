//! Writing so that a reader, or a machine that lost its power, sees the old thing or the new one and nothing else.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Makes a folder and those above it, for their owner only; one that exists is fine.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Takes from everybody but the owner what they may do with a file or folder that was made in a more trusting way.
pub(crate) fn make_private(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode & !0o077)) }
}

/// A path without symbolic links, as far as it exists: what is missing at its end may be made later.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for above in path.ancestors() {
        match above.canonicalize() {
            Ok(there) => {
                let missing = path.strip_prefix(above).map_err(io::Error::other)?;
                // Joining nothing would end the path with a slash.
                return Ok(if missing.as_os_str().is_empty() { there } else { there.join(missing) });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(path)
}

/// Makes names that were created, renamed or removed in a folder survive a loss of power.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(here)?.sync_all()
}

/// Replaces the file at `path` by `bytes`. Nobody ever sees half of it.
///
/// # Errors
/// It can't be written, or not made durable.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Points the symbolic link at `path` to `target`; whoever looks sees the old target or the new one. Says whether it
/// pointed there already.
pub(crate) fn point(path: &Path, target: &Path) -> io::Result<bool> {
    if fs::read_link(path).is_ok_and(|now| now == target) {
        return Ok(true);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    // A name of its own for each attempt: a leftover of one that was killed must not be in the way.
    let scratch = tempfile::Builder::new().prefix(".tmp-link-").tempdir_in(folder)?;
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(target, &link)?;
    fs::rename(&link, path)?;
    sync_folder(folder)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_made_is_for_its_owner_only_and_what_was_open_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        create_folder(&deep).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&deep), mode(&dir.path().join("a"))), (0o700, 0o700));
        fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
        make_private(&File::open(&deep).unwrap()).unwrap();
        assert_eq!(mode(&deep), 0o700);
    }

    #[test]
    fn a_path_is_resolved_as_far_as_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir(top.join("real")).unwrap();
        std::os::unix::fs::symlink("real", top.join("link")).unwrap();
        assert_eq!(resolve(&top.join("link/x/y")).unwrap(), top.join("real/x/y"));
        assert_eq!(resolve(&top.join("link")).unwrap().as_os_str(), top.join("real").as_os_str());
        assert!(!top.join("real/x").exists());
    }

    #[test]
    fn a_link_is_moved_and_says_when_it_need_not_be() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        assert!(!point(&link, Path::new("releases/a")).unwrap());
        assert!(point(&link, Path::new("releases/a")).unwrap());
        assert!(!point(&link, Path::new("releases/b")).unwrap());
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("releases/b"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_where_the_link_should_be_is_an_error_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        fs::create_dir(&link).unwrap();
        fs::write(link.join("x"), b"x").unwrap();
        assert!(point(&link, Path::new("releases/a")).is_err());
        assert!(link.join("x").exists());
    }
}
