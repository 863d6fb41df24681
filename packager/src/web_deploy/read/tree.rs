//! A whole tree verified, or extracted.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;
use staith_model::{Digest, Entry, Manifest};

use super::{PackageReader, ReadError};
use crate::{
    durable,
    web_deploy::{layout, write::Progress},
};

/// What was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Digest of the tree, where Staith wrote the package. `None` says that checksums and lengths were all there was to
    /// verify: those find accidents, not intent.
    pub content: Option<Digest>,
    /// Entries that were read.
    pub entries: usize,
    /// Bytes that came out.
    pub bytes: u64,
}

/// Counts what is done, and tells of it.
pub(super) struct Count<'p> {
    tell: &'p (dyn Fn(Progress) + Sync),
    files: AtomicU64,
    bytes: AtomicU64,
    of_files: u64,
    of_bytes: u64,
}

impl<'p> Count<'p> {
    pub(super) fn new(tell: &'p (dyn Fn(Progress) + Sync), of_files: u64, of_bytes: u64) -> Self {
        Self { tell, files: AtomicU64::new(0), bytes: AtomicU64::new(0), of_files, of_bytes }
    }

    pub(super) fn add(&self, size: u64) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed) + size;
        (self.tell)(Progress { files, of_files: self.of_files, bytes, of_bytes: self.of_bytes });
    }
}

impl PackageReader {
    /// Reads every entry and holds it against its checksum, its length and, where Staith wrote the package, its digest in the
    /// manifest. Works on all cores of the caller's rayon pool.
    ///
    /// # Errors
    /// The first entry, in the package's order, that is not what it says.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.verify_with(&|_| ())
    }

    /// As [`PackageReader::verify`]; `progress` is told of every entry that was read, from any thread, of which two may come
    /// out of order.
    ///
    /// # Errors
    /// As [`PackageReader::verify`].
    pub fn verify_with(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<Verified, ReadError> {
        let digests = self.digests();
        let bytes = self.listed.iter().map(|entry| entry.size).sum();
        let count = Count::new(progress, self.listed.len() as u64, bytes);
        let read: Vec<_> = digests
            .par_iter()
            .enumerate()
            .map(|(nth, digest)| {
                self.inflate(nth, &mut io::sink(), *digest)?;
                count.add(self.listed[nth].size);
                Ok(())
            })
            .collect();
        read.into_iter().collect::<Result<(), _>>()?;
        Ok(Verified { content: self.content(), entries: self.listed.len(), bytes })
    }

    fn digests(&self) -> Vec<Option<Digest>> {
        let mut digests = vec![None; self.listed.len()];
        for (path, entry) in self.manifest().into_iter().flat_map(|manifest| &manifest.entries) {
            if let Entry::File { digest, .. } = entry
                && let Some(&nth) = self.by_name.get(&layout::name_of(path))
            {
                digests[nth] = Some(*digest);
            }
        }
        digests
    }

    /// Extracts the whole tree to `to`, which must not exist: modes, symbolic links and empty directories included, every
    /// byte verified.
    ///
    /// `to` appears complete and synced to disk, or not at all. A process that is killed meanwhile leaves a directory beside
    /// it whose name begins with a dot and ends in `.partial`. Directories get mode 0755, whatever the umask.
    ///
    /// # Errors
    /// The package is not Staith's or not what it says, or the system refuses.
    pub fn extract(&self, to: &Path) -> Result<(), ReadError> {
        let manifest = self.manifest().ok_or_else(|| ReadError::NotOurs { path: self.path.clone() })?;
        let refused = |source| ReadError::Output { to: to.to_owned(), source };
        let beside = durable::parent(to);
        let partial = tempfile::Builder::new()
            .prefix(".")
            .suffix(".partial")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(beside)
            .map_err(refused)?;
        self.fill(manifest, partial.path())?;
        fs::set_permissions(partial.path(), Permissions::from_mode(0o755)).map_err(refused)?;
        durable::publish_directory(partial, to).map_err(refused)
    }

    fn fill(&self, manifest: &Manifest, root: &Path) -> Result<(), ReadError> {
        let at = |path: &staith_model::RelPath| root.join(path.as_str());
        let refused = |to: &Path, source| ReadError::Output { to: to.to_owned(), source };
        for path in layout::directories(manifest) {
            make_directory(&at(&path)).map_err(|source| refused(&at(&path), source))?;
        }
        let files: Vec<_> = manifest
            .entries
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::File { mode, .. } => Some((path, *mode)),
                Entry::Directory | Entry::Symlink { .. } => None,
            })
            .collect();
        let extracted: Vec<_> = files
            .par_iter()
            .map(|(path, mode)| {
                let to = at(path);
                let file = create(&to).map_err(|source| refused(&to, source))?;
                let mut out = BufWriter::with_capacity(1 << 16, file);
                self.extract_file(path, &mut out)?;
                finish(out, *mode).map_err(|source| refused(&to, source))
            })
            .collect();
        extracted.into_iter().collect::<Result<(), _>>()?;
        // Links come last, so that nothing is ever written through one.
        for (path, entry) in &manifest.entries {
            if let Entry::Symlink { target } = entry {
                let to = at(path);
                symlink(target, &to).map_err(|source| refused(&to, source))?;
            }
        }
        Ok(())
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Creates a file that nobody else reads before it is complete.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn finish(mut out: BufWriter<File>, mode: u32) -> io::Result<()> {
    out.flush()?;
    out.get_ref().set_permissions(Permissions::from_mode(mode))
}
