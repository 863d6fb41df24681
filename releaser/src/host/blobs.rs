//! File contents, each kept once per host under its digest.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use staith_model::{Digest, DigestStream, RelPath};
use tokio_util::sync::CancellationToken;

use super::{HostError, Layout, PackageFiles, layout::UNFINISHED, tree};

/// One file's content as a manifest promises it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) path: &'a RelPath,
    pub(super) size: u64,
    pub(super) digest: Digest,
    pub(super) executable: bool,
}

/// Takes a content from the package into the blobs, replacing what may be there under its name.
pub(super) fn fetch(
    layout: &Layout,
    wanted: Wanted<'_>,
    files: &dyn PackageFiles,
    cancel: &CancellationToken,
) -> Result<(), HostError> {
    let folder = layout.blobs();
    let failed = |what, source| HostError::Io { what, path: folder.join(wanted.path.as_str()), source };
    let temporary = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(&folder)
        .map_err(|error| failed("create a file for", error))?;
    let mut writer = Checked {
        to: temporary.as_file(),
        left: wanted.size,
        hash: DigestStream::new(),
        failed: None,
        cancel,
    };
    let copied = files.copy_file(wanted.path, &mut writer);
    let Checked { left, hash, failed: refusal, .. } = writer;
    match refusal {
        Some(Refusal::Cancelled) => return Err(HostError::Cancelled),
        Some(Refusal::TooLong) => return Err(differs(wanted, "longer than promised")),
        Some(Refusal::Io(error)) => return Err(failed("write", error)),
        None => {}
    }
    copied.map_err(|error| HostError::NotAsPromised { what: format!("`{}`: {error}", wanted.path) })?;
    if left > 0 {
        return Err(differs(wanted, "shorter than promised"));
    }
    if hash.finish() != wanted.digest {
        return Err(differs(wanted, "different from what was promised"));
    }
    // Read-only, because many releases share it.
    let mode = if wanted.executable { 0o555 } else { 0o444 };
    temporary
        .as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .map_err(|error| failed("make read-only", error))?;
    // Not synchronised here: the whole file system is, once, before the release gets its name. A blob that a loss of
    // power spoiled before that is found when the tree that links it is verified.
    temporary
        .persist(layout.blob(&wanted.digest, wanted.executable))
        .map_err(|error| failed("name", error.error))?;
    Ok(())
}

fn differs(wanted: Wanted<'_>, how: &str) -> HostError {
    HostError::NotAsPromised { what: format!("the content of `{}` is {how}", wanted.path) }
}

/// How often a blob may be replaced by an equal one just when it is linked. Each thread that takes the same content does so
/// once; more than this at the same instant is not believed.
const REPLACED: usize = 64;

/// Hard-links a blob to `at`; says `false` if the host has no such blob.
///
/// Where a package has a content twice, two threads may take it. The blob of the first has no name any more when that of the
/// second has replaced it, and the kernel then says of the first, found a moment ago, that it is not there: it is tried again.
pub(super) fn link(layout: &Layout, wanted: Wanted<'_>, at: &Path) -> Result<bool, HostError> {
    let blob = layout.blob(&wanted.digest, wanted.executable);
    for _ in 0..REPLACED {
        match fs::hard_link(&blob, at) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !blob.exists() {
                    return Ok(false);
                }
            }
            // A content that very many files share (an empty one, say) has as many names as a file may have.
            Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {
                return fs::copy(&blob, at).map(|_| true).map_err(HostError::io("copy a content to", at));
            }
            Err(error) => {
                return Err(HostError::Io { what: "link a content to", path: at.to_owned(), source: error });
            }
        }
    }
    Ok(false)
}

/// Removes the blobs that no release links any more, and those that were never finished. A blob's own count of names
/// tells, so there is no list that could be wrong.
pub(super) fn sweep(layout: &Layout) -> Result<(), HostError> {
    let folder = layout.blobs();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(HostError::Io { what: "list", path: folder, source: error }),
    };
    for entry in entries {
        let entry = entry.map_err(HostError::io("list", &folder))?;
        let metadata = entry.metadata().map_err(HostError::io("look at", entry.path()))?;
        if metadata.is_file() && metadata.nlink() == 1 {
            fs::remove_file(entry.path()).map_err(HostError::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

enum Refusal {
    Io(io::Error),
    TooLong,
    Cancelled,
}

/// Hashes what it writes, and stops at the promised length: a hostile package can't fill the disk.
struct Checked<'a> {
    to: &'a File,
    left: u64,
    hash: DigestStream,
    failed: Option<Refusal>,
    cancel: &'a CancellationToken,
}

impl Checked<'_> {
    fn refuse(&mut self, refusal: Refusal) -> io::Error {
        let error = match &refusal {
            Refusal::Io(error) => io::Error::new(error.kind(), error.to_string()),
            Refusal::TooLong => io::Error::other("longer than promised"),
            Refusal::Cancelled => io::Error::other("cancelled"),
        };
        self.failed = Some(refusal);
        error
    }
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(self.refuse(Refusal::Cancelled));
        }
        if bytes.len() as u64 > self.left {
            return Err(self.refuse(Refusal::TooLong));
        }
        let chunk = &bytes[..bytes.len().min(tree::CHUNK)];
        let written = match self.to.write(chunk) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.refuse(Refusal::Io(error))),
        };
        self.hash.update(&chunk[..written]);
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
