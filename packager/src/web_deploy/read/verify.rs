//! A whole package verified.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;
use staith_model::{Digest, Entry};

use super::{PackageReader, ReadError};
use crate::web_deploy::{layout, write::Progress};

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
}
