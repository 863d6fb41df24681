//! The way into a package.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use staith_model::{Digest, DigestStream, Manifest, RelPath};

use crate::{
    parameters::{Declarations, Leaks},
    stopping::Watch,
};

use super::{layout, pack, reuse::Earlier, rules::Refusals};

/// The number of the writer's profile. Equal content and equal profile give equal bytes; whoever changes a single byte of what
/// is written changes this number, and the golden digest in the tests.
pub const PROFILE: u32 = 3;

/// What is to be packed.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// The tree: what will be in the package.
    pub manifest: Manifest,
    /// Where each regular file's bytes are on this host. Paths that the manifest does not list as files are not looked at.
    pub files: BTreeMap<RelPath, PathBuf>,
    /// What is set when the package is applied, beside `IIS Web Application Name`, which every package declares.
    pub parameters: Declarations,
}

impl Content {
    /// Digest of all that makes the package: the manifest's, unless parameters are declared.
    pub fn digest(&self) -> Digest {
        let manifest = self.manifest.digest();
        if self.parameters.is_empty() {
            return manifest;
        }
        let mut both = DigestStream::new();
        both.update(format!("{manifest}\n{}", self.parameters.to_xml()).as_bytes());
        both.finish()
    }
}

/// How far packing is. Both ends count regular files only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Files that are in the package.
    pub files: u64,
    /// Files that will be.
    pub of_files: u64,
    /// Bytes of those files, uncompressed.
    pub bytes: u64,
    /// Bytes that will be.
    pub of_bytes: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Digest of the package file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The tree can't be a package. Nothing was written.
    #[error("this tree can't become a Web Deploy package:\n{0}")]
    Refused(#[from] Refusals),
    /// Its parameters would give secrets away. Nothing was written.
    #[error("this tree can't become a Web Deploy package:\n{0}")]
    Secrets(#[from] Leaks),
    /// Nobody said where a file's bytes are. Nothing was written.
    #[error(
        "`{0}` is in the manifest as a file, but it is not said where its bytes are; this is a mistake in Staith, please report it"
    )]
    NoSource(RelPath),
    /// A file is no longer what the manifest says.
    #[error(
        "`{path}` changed while it was being packed ({how}); see that nothing writes to {} after the last step, and run again",
        host.display()
    )]
    Changed {
        /// The file in the tree.
        path: RelPath,
        /// The file on this host.
        host: PathBuf,
        /// What is different.
        how: String,
    },
    /// A file can't be read.
    #[error("can't read `{path}` for the package, from {}: {source}; see to its permissions and its disk", host.display())]
    Unreadable {
        /// The file in the tree.
        path: RelPath,
        /// The file on this host.
        host: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The package that entries are copied from can't be read any more.
    #[error(
        "can't read the earlier package that unchanged files are copied from: {0}; see to the store's disk, and run again"
    )]
    Earlier(#[source] io::Error),
    /// Whoever hears of the progress asked to stop.
    #[error("stopped as asked; no package was written")]
    Stopped,
    /// The package can't be written.
    #[error("can't write the package: {0}; see that its disk has room")]
    Output(#[source] io::Error),
}

/// Writes the package of `content` to `to`, which is empty, and can be read and written.
///
/// The bytes depend on the content and on [`PROFILE`] alone: not on the number of threads, the clock, the host, the order or
/// the times, owners and umask of the files. Compresses on the rayon pool of the caller. Holds some 100 MB at most, whatever
/// the size of the tree. `progress` is called from one thread at a time, with growing numbers, and ends it by [`WriteError::Stopped`].
///
/// # Errors
/// See [`WriteError`]. What has been written until then is no package and must be thrown away, as it must when the process is
/// stopped in between.
pub fn write(
    content: &Content,
    to: &mut (impl Read + Write + Seek + Send),
    progress: &Watch<'_>,
) -> Result<Written, WriteError> {
    write_after(content, None, to, progress)
}

/// As [`write`], and gives the same bytes; but files whose content is in the earlier package are copied from there, as they lie
/// compressed, and not read or compressed again.
///
/// # Errors
/// As [`write`].
pub fn write_after(
    content: &Content,
    earlier: Option<&Earlier>,
    to: &mut (impl Read + Write + Seek + Send),
    progress: &Watch<'_>,
) -> Result<Written, WriteError> {
    content.parameters.check_secrets()?;
    let slots = layout::plan(&content.manifest, &content.parameters)?;
    pack::pack(content, earlier, &slots, to, progress)
}
