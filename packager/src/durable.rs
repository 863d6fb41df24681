//! Making things appear at once, and stay.

use std::{fs::File, io, path::Path};

use rustix::fs::{CWD, RenameFlags};
use tempfile::TempDir;

/// The directory in which `path` lies.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a directory survive a loss of power.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Gives a finished directory its name, which nothing may have yet.
///
/// One sync of the file system rather than one of each file: thousands of those take seconds.
pub(crate) fn publish_directory(finished: TempDir, name: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(finished.path())?)?;
    rustix::fs::renameat_with(CWD, finished.path(), CWD, name, RenameFlags::NOREPLACE)?;
    // The directory has moved: there is nothing left to remove at the old name.
    let _ = finished.keep();
    sync_directory(parent(name))
}
