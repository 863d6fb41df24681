//! A file's bytes on this host, held against what the manifest says of them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use staith_model::{Digest, DigestStream, RelPath};

use super::write::WriteError;

/// A regular file that is to be packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a RelPath,
    pub(super) host: &'a Path,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Source<'_> {
    /// All bytes, as promised.
    pub(super) fn read_all(&self) -> Result<Vec<u8>, WriteError> {
        let mut reader = self.open()?;
        let mut bytes = Vec::with_capacity(self.size as usize + 1);
        reader.read_to_end(&mut bytes).map_err(|source| self.unreadable(source))?;
        if bytes.len() as u64 != self.size {
            return Err(self.changed(format!("it was {} bytes long and is no longer", self.size)));
        }
        self.compare(Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// Opens the file, and only a file: a link or a pipe that has taken its place is not followed, nor waited for.
    fn open(&self) -> Result<io::Take<File>, WriteError> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
        let opened = OpenOptions::new().read(true).custom_flags(flags as i32).open(self.host);
        let file = match opened {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(self.changed("it was a file and is a symbolic link".to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.changed("it is gone".to_owned()));
            }
            opened => opened.map_err(|source| self.unreadable(source))?,
        };
        let found = file.metadata().map_err(|source| self.unreadable(source))?;
        if !found.is_file() {
            return Err(self.changed("it was a file and is none any more".to_owned()));
        }
        if found.len() != self.size {
            return Err(self.changed(format!("it was {} bytes long and is {}", self.size, found.len())));
        }
        // One byte more than promised is enough to see that it grows.
        Ok(file.take(self.size + 1))
    }

    fn compare(&self, found: Digest) -> Result<(), WriteError> {
        if found == self.digest {
            return Ok(());
        }
        Err(self.changed(format!("its content was {} and is {found}", self.digest)))
    }

    fn changed(&self, how: String) -> WriteError {
        WriteError::Changed { path: self.path.clone(), host: self.host.to_owned(), how }
    }

    fn unreadable(&self, source: io::Error) -> WriteError {
        WriteError::Unreadable { path: self.path.clone(), host: PathBuf::from(self.host), source }
    }
}

/// A large file, piece by piece. Its hash is known, and compared, at the end.
pub(super) struct Pieces<'a> {
    source: Source<'a>,
    reader: io::Take<File>,
    left: u64,
    hash: DigestStream,
}

impl<'a> Pieces<'a> {
    pub(super) fn open(source: Source<'a>) -> Result<Self, WriteError> {
        let reader = source.open()?;
        Ok(Self { source, reader, left: source.size, hash: DigestStream::new() })
    }

    /// The next piece, of `length` bytes or what is left.
    pub(super) fn next(&mut self, length: u64) -> Result<Vec<u8>, WriteError> {
        let length = length.min(self.left);
        let mut piece = vec![0; length as usize];
        self.reader.read_exact(&mut piece).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.source.changed("it became shorter".to_owned()),
            _ => self.source.unreadable(error),
        })?;
        self.left -= length;
        self.hash.update(&piece);
        Ok(piece)
    }

    /// Says that all was read, and was what was promised.
    pub(super) fn finish(mut self) -> Result<(), WriteError> {
        let longer = self.reader.read(&mut [0]).map_err(|error| self.source.unreadable(error))? > 0;
        if longer || self.left > 0 {
            return Err(self.source.changed("it became longer".to_owned()));
        }
        self.source.compare(self.hash.finish())
    }
}
