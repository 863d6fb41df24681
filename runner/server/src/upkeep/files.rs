//! Files on their way.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use staith_model::{Digest, DigestStream};

use crate::store::StoreError;

/// Why a directory can't be checked, backed up or restored.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refuses.
    #[error("{}: {source}", .at.display())]
    System {
        /// Where.
        at: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something where something new is to be.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// It is no backup, or not as it was made.
    #[error("{} is no whole backup: {why}", .at.display())]
    NotWhole {
        /// Where.
        at: PathBuf,
        /// What is wrong.
        why: String,
    },
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> UpkeepError {
    let at = path.to_owned();
    move |source| UpkeepError::System { at, source }
}

/// A directory that is new, for its owner only.
pub(super) fn new_directory(path: &Path) -> Result<(), UpkeepError> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(UpkeepError::NotEmpty(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
        }
        Err(error) => Err(at(path)(error)),
    }
}

/// Copies the first `length` bytes, or all if none is said, into a new file that is durable afterwards. Its length and digest.
pub(super) fn copy(from: &Path, to: &Path, length: Option<u64>) -> Result<(u64, Digest), UpkeepError> {
    if let Some(directory) = to.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
    }
    let source = open(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(at(to))?;
    let mut digest = DigestStream::new();
    let mut copied = 0;
    each_piece(source.take(length.unwrap_or(u64::MAX)), |piece| {
        digest.update(piece);
        copied += piece.len() as u64;
        target.write_all(piece)
    })
    .map_err(at(to))?;
    target.sync_all().map_err(at(to))?;
    Ok((copied, digest.finish()))
}

/// The length and digest of the first `length` bytes of a file.
pub(super) fn digest(path: &Path, length: Option<u64>) -> Result<(u64, Digest), UpkeepError> {
    let mut digest = DigestStream::new();
    let mut read = 0;
    each_piece(open(path)?.take(length.unwrap_or(u64::MAX)), |piece| {
        digest.update(piece);
        read += piece.len() as u64;
        Ok(())
    })
    .map_err(at(path))?;
    Ok((read, digest.finish()))
}

/// Only files: a link in a server's directory would be somebody else's idea.
fn open(path: &Path) -> Result<File, UpkeepError> {
    let no_links = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(no_links).open(path).map_err(at(path))
}

fn each_piece(mut from: impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = vec![0; 1 << 16];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            read => take(&piece[..read])?,
        }
    }
}

/// All files below a directory, as paths from there; none if it is not there.
pub(super) fn files_below(directory: &Path) -> Result<Vec<PathBuf>, UpkeepError> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(inside) = waiting.pop() {
        let place = directory.join(&inside);
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at(&place)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(at(&place))?;
            let kind = entry.file_type().map_err(at(&place))?;
            if kind.is_dir() {
                waiting.push(inside.join(entry.file_name()));
            } else if kind.is_file() {
                found.push(inside.join(entry.file_name()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Makes what was created in a directory durable.
pub(super) fn sync(directory: &Path) -> Result<(), UpkeepError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(at(directory))
}
