//! A whole package verified.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rayon::prelude::*;
use staith_model::{Digest, Entry};

use super::{PackageReader, ReadError};
use crate::{
    stopping::{Stopped, Watch, unwatched},
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

/// Bytes of a file after which whoever hears of the progress is asked whether to go on, however large the file is.
const BETWEEN: u64 = 4 << 20;

/// Counts what is done, tells of it, and knows whether somebody asked to stop.
pub(super) struct Count<'p> {
    tell: &'p Watch<'p>,
    files: AtomicU64,
    bytes: AtomicU64,
    of_files: u64,
    of_bytes: u64,
    is_stopped: AtomicBool,
}

impl<'p> Count<'p> {
    pub(super) fn new(tell: &'p Watch<'p>, of_files: u64, of_bytes: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self { tell, files: zero(), bytes: zero(), of_files, of_bytes, is_stopped: AtomicBool::new(false) }
    }

    /// Hands the bytes of a file on to `to`, until somebody asks to stop.
    pub(super) fn file<W>(&self, to: W) -> Counted<'_, W> {
        Counted { count: self, to, untold: 0 }
    }

    /// What came of it all, unless somebody asked to stop: then nothing else matters.
    pub(super) fn ended(&self, read: Vec<Result<(), ReadError>>) -> Result<(), ReadError> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return Err(ReadError::Stopped);
        }
        read.into_iter().collect()
    }

    fn passed(&self, files: u64, bytes: u64) {
        let files = self.files.fetch_add(files, Ordering::Relaxed) + files;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let told = Progress { files, of_files: self.of_files, bytes, of_bytes: self.of_bytes };
        if (self.tell)(told).is_break() {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
    }
}

/// A file that is being counted.
pub(super) struct Counted<'c, W> {
    count: &'c Count<'c>,
    to: W,
    untold: u64,
}

impl<W> Counted<'_, W> {
    /// All of the file was read. Where its bytes went.
    pub(super) fn done(self) -> W {
        self.count.passed(1, self.untold);
        self.to
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.count.is_stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other(Stopped));
        }
        let taken = self.to.write(bytes)?;
        self.untold += taken as u64;
        if self.untold >= BETWEEN {
            self.count.passed(0, std::mem::take(&mut self.untold));
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl PackageReader {
    /// Reads every entry and holds it against its checksum, its length and, where Staith wrote the package, its digest in the
    /// manifest. Works on all cores of the caller's rayon pool.
    ///
    /// # Errors
    /// The first entry, in the package's order, that is not what it says.
    pub fn verify(&self) -> Result<Verified, ReadError> {
        self.verify_with(&unwatched)
    }

    /// As [`PackageReader::verify`]; `progress` is told of every entry that was read, from any thread, of which two may come
    /// out of order, and ends it by [`ReadError::Stopped`].
    ///
    /// # Errors
    /// As [`PackageReader::verify`].
    pub fn verify_with(&self, progress: &Watch<'_>) -> Result<Verified, ReadError> {
        let digests = self.digests();
        let bytes = self.listed.iter().map(|entry| entry.size).sum();
        let count = Count::new(progress, self.listed.len() as u64, bytes);
        let read: Vec<_> = digests
            .par_iter()
            .enumerate()
            .map(|(nth, digest)| {
                let mut counted = count.file(io::sink());
                self.inflate(nth, &mut counted, *digest)?;
                counted.done();
                Ok(())
            })
            .collect();
        count.ended(read)?;
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
