//! Looks at a release's tree and says whether it is, byte by byte, what its manifest says.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use rayon::prelude::*;
use staith_model::{Digest, DigestStream, Entry, Manifest, RelPath};
use tokio_util::sync::CancellationToken;

use super::HostError;

/// Large enough to keep a disk busy, small enough to notice a cancellation soon.
pub(super) const CHUNK: usize = 128 * 1024;

/// Entries of the tree at `root` that are missing or different, with what is wrong, in the manifest's order.
///
/// What is there beside the manifest is not damage: applications write byte-code and logs beside their files.
pub(super) fn damage(
    root: &Path,
    manifest: &Manifest,
    cancel: &CancellationToken,
) -> Result<Vec<(RelPath, String)>, HostError> {
    let looked: Vec<_> = manifest
        .entries
        .par_iter()
        .map(|(path, entry)| {
            let at = root.join(path.as_str());
            let found = look(&at, entry, cancel).or_else(|error| as_damage(error, &at))?;
            Ok(found.map(|what| (path.clone(), what)))
        })
        .collect::<Result<_, HostError>>()?;
    Ok(looked.into_iter().flatten().collect())
}

fn as_damage(error: Looking, at: &Path) -> Result<Option<String>, HostError> {
    match error {
        Looking::Cancelled => Err(HostError::Cancelled),
        Looking::Io(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(Some("it is missing".into())),
            io::ErrorKind::NotADirectory => Ok(Some("it is something else".into())),
            // A sector that can't be read is damage like any other; the rest is about us, not about the file.
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Ok(Some("it can't be read".into()))
            }
            _ => Err(HostError::Io { what: "verify", path: at.to_owned(), source: error }),
        },
    }
}

enum Looking {
    Io(io::Error),
    Cancelled,
}

impl From<io::Error> for Looking {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn look(at: &Path, entry: &Entry, cancel: &CancellationToken) -> Result<Option<String>, Looking> {
    if cancel.is_cancelled() {
        return Err(Looking::Cancelled);
    }
    let metadata = fs::symlink_metadata(at)?;
    let wrong = match entry {
        Entry::Directory => (!metadata.is_dir()).then(|| "it is no directory".to_owned()),
        Entry::Symlink { target } => {
            let same = metadata.is_symlink() && fs::read_link(at)?.as_os_str() == target.as_str();
            (!same).then(|| format!("it is no link to `{target}`"))
        }
        Entry::File { .. } if !metadata.is_file() => Some("it is no file".into()),
        Entry::File { size, .. } if metadata.len() != *size => {
            Some(format!("it has {} bytes instead of {size}", metadata.len()))
        }
        Entry::File { mode, .. } if is_executable(metadata.mode()) != is_executable(*mode) => {
            Some("its executable bit differs".into())
        }
        Entry::File { digest, .. } => {
            (hash(at, cancel)? != *digest).then(|| "its content differs".to_owned())
        }
    };
    Ok(wrong)
}

/// Whether a mode lets anybody execute.
pub(super) const fn is_executable(mode: u32) -> bool {
    mode & 0o111 != 0
}

fn hash(path: &Path, cancel: &CancellationToken) -> Result<Digest, Looking> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file: File = fs::OpenOptions::new().read(true).custom_flags(nofollow).open(path)?;
    let (mut stream, mut chunk) = (DigestStream::new(), vec![0; CHUNK]);
    loop {
        if cancel.is_cancelled() {
            return Err(Looking::Cancelled);
        }
        match file.read(&mut chunk)? {
            0 => return Ok(stream.finish()),
            length => stream.update(&chunk[..length]),
        }
    }
}
