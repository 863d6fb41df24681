//! A file's bytes as they lie in the package, for those who hand them on and verify them elsewhere.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use staith_model::{Entry, RelPath};

use super::{PackageReader, ReadError, flaw::Flaw};
use crate::web_deploy::layout;

/// Bytes of an entry's own header before its name.
const HEADER: usize = 30;

/// A file's bytes as they lie in the package. Nothing of them has been verified.
#[derive(Debug)]
pub struct PackedFile<'p> {
    file: &'p File,
    at: u64,
    left: u64,
    /// Whether they are one stream of raw Deflate; else they are as they are.
    pub deflated: bool,
}

impl PackedFile<'_> {
    /// Bytes that have not been read yet.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl io::Read for PackedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl PackageReader {
    /// A file's bytes as they lie in the package.
    ///
    /// # Errors
    /// There is no such file, or its entry has no header where it should.
    pub fn packed_file(&self, path: &RelPath) -> Result<PackedFile<'_>, ReadError> {
        let manifest = self.manifest().ok_or_else(|| ReadError::NotOurs { path: self.path.clone() })?;
        let absent = || ReadError::Absent { path: self.path.clone(), file: path.to_string() };
        let Some(Entry::File { .. }) = manifest.entries.get(path) else { return Err(absent()) };
        let nth = *self.by_name.get(&layout::name_of(path)).ok_or_else(absent)?;
        let damaged = |why: String| self.refuse(nth, Flaw::Damaged(why));
        let begin = self.places[nth].0.header_start();
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, begin).map_err(|error| damaged(error.to_string()))?;
        if header[..4] != *b"PK\x03\x04" {
            return Err(damaged("it has no header of its own".into()));
        }
        let length = |at: usize| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let at = begin + HEADER as u64 + length(26) + length(28);
        let listed = &self.listed[nth];
        Ok(PackedFile { file: &self.file, at, left: listed.packed, deflated: listed.compressed })
    }
}
