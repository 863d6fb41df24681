//! A file's bytes as they lie in the package, for those who hand them on and verify them elsewhere.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// A file's bytes as they lie in the package. Nothing of them has been verified.
#[derive(Debug)]
pub struct PackedFile<'p> {
    pub(super) file: &'p File,
    pub(super) at: u64,
    pub(super) left: u64,
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
