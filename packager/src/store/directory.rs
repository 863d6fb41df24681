//! Keys as files of a directory.

use std::{
    fmt,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use rustix::fs::{FlockOperation, flock};

use super::{
    Blobs, Listed, Reading, Staged, StoreError, Tag, make_directories, remove,
    staging::{Scratch, is_at},
};
use crate::durable;

/// A directory of this machine. Any number of processes may use it at once; on a network file system, only if that knows
/// `flock` and hard links.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    scratch: Scratch,
}

impl Directory {
    /// The directory at `root`, which is made if it is not there. Unfinished files lie in `staging` below it; those of dead
    /// processes are removed.
    ///
    /// # Errors
    /// The directory can't be made, or not be written.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let scratch = Scratch(root.join("staging"));
        make_directories(&scratch.0)?;
        scratch.sweep()?;
        Ok(Self { root: root.to_owned(), scratch })
    }

    pub(super) const fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// A finished, synced file with these bytes that has no name yet.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<Staged, StoreError> {
        let mut staged = self.scratch.stage()?;
        let file = staged.file();
        file.write_all(bytes)
            .and_then(|()| file.set_permissions(Permissions::from_mode(0o444)))
            .and_then(|()| file.sync_all())
            .map_err(StoreError::io("write", path))?;
        Ok(staged)
    }

    /// Renames a synced file to a key, durably.
    fn place(&self, staged: Staged, path: &Path) -> Result<(), StoreError> {
        match staged.rename(path) {
            Ok(()) => {}
            Err((staged, error)) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copy(staged, path)?
                    .rename(path)
                    .map_err(|(_, error)| StoreError::io("make", path)(error))?;
            }
            Err((_, error)) => return Err(StoreError::io("make", path)(error)),
        }
        sync_above(path)
    }

    /// The same bytes on this disk.
    fn copy(&self, mut staged: Staged, path: &Path) -> Result<Staged, StoreError> {
        let mut here = self.scratch.stage()?;
        let copied = staged.file().rewind().and_then(|()| io::copy(staged.file(), here.file()));
        copied
            .and_then(|_| here.file().set_permissions(Permissions::from_mode(0o444)))
            .and_then(|()| here.file().sync_all())
            .map_err(StoreError::io("copy", path))?;
        Ok(here)
    }

    /// Holds off everybody else who replaces something, until dropped. The kernel lets go of it if this process dies.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join(".lock");
        loop {
            let opened = OpenOptions::new().create(true).append(true).open(&path);
            let file = opened.map_err(StoreError::io("open", &path))?;
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => continue,
                locked => locked.map_err(|refused| StoreError::io("lock", &path)(refused.into()))?,
            }
            // Somebody may have removed it while we waited; then others lock another file.
            if is_at(&file, &path).map_err(StoreError::io("look at", &path))? {
                return Ok(file);
            }
        }
    }

    fn walk(&self, key: &str, found: &mut Vec<Listed>) -> Result<(), StoreError> {
        let directory = self.path(key);
        let entries = match fs::read_dir(&directory) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            entries => entries.map_err(StoreError::io("list", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &directory))?;
            // What has no name in UTF-8 is none of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let key = format!("{key}/{name}");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.walk(&key, found)?,
                Ok(kind) if kind.is_file() => match entry.metadata() {
                    Ok(file) => found.push(Listed { key, size: file.len(), at: millis(&file) }),
                    // It is gone meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(StoreError::io("look at", &entry.path())(error)),
                },
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.root.display(), f)
    }
}

impl Blobs for Directory {
    fn read(&self, key: &str, part: Option<Range<u64>>) -> Result<Option<Reading>, StoreError> {
        let path = self.path(key);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let size = file.metadata().map_err(StoreError::io("look at", &path))?.len();
        let bytes: Box<dyn Read + Send> = match part {
            None => Box::new(file),
            Some(part) => {
                file.seek(SeekFrom::Start(part.start)).map_err(StoreError::io("read", &path))?;
                Box::new(file.take(part.end.saturating_sub(part.start)))
            }
        };
        Ok(Some(Reading { size, tag: None, bytes }))
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(key);
        make_directories(durable::parent(&path))?;
        let staged = self.write(&path, bytes)?;
        let first = staged.link(&path).map_err(StoreError::io("make", &path))?;
        sync_above(&path)?;
        Ok(first)
    }

    fn put_file(&self, key: &str, file: Staged) -> Result<(), StoreError> {
        let path = self.path(key);
        make_directories(durable::parent(&path))?;
        let opened = file.opened();
        opened
            .set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| opened.sync_all())
            .map_err(StoreError::io("sync the new file that becomes", &path))?;
        self.place(file, &path)
    }

    fn replace(&self, key: &str, bytes: &[u8], expected: Option<&Tag>) -> Result<bool, StoreError> {
        let path = self.path(key);
        make_directories(durable::parent(&path))?;
        // What takes long is done before anybody has to wait for it.
        let staged = self.write(&path, bytes)?;
        let _lock = self.lock()?;
        let there = self.read(key, None)?.map(|found| found.whole().map_err(StoreError::io("read", &path)));
        if there.transpose()?.map(|(_, tag)| tag).as_ref() != expected {
            return Ok(false);
        }
        self.place(staged, &path)?;
        Ok(true)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut found = Vec::new();
        self.walk(prefix, &mut found)?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key);
        if !durable::parent(&path).is_dir() {
            return Ok(());
        }
        remove(&path)?;
        sync_above(&path)
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        Some(self.path(key))
    }
}

fn sync_above(path: &Path) -> Result<(), StoreError> {
    let above = durable::parent(path);
    durable::sync_directory(above).map_err(StoreError::io("sync the directory", above))
}

fn millis(file: &fs::Metadata) -> u64 {
    let since = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_millis() as u64)
}
