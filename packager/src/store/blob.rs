//! Finished files by their digest.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use staith_model::Digest;

use super::{Staged, Store, StoreError, blobs::place};
use crate::hashing;

/// A blob whose bytes have been held against its digest.
#[derive(Debug)]
pub struct Blob {
    /// The file, from its start. Read on from this handle rather than from the path: it is what was verified.
    pub file: File,
    /// Where it lies; of a bucket's, only what it is called there.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

pub(super) fn key(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Store {
    /// Where the blob of `digest` lies, if it is there; of a bucket's, what it is called.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        place(&*self.blobs, &key(digest))
    }

    /// Opens a blob, and reads all of it to see that it is what it should be. One of a bucket is fetched for that, into a file
    /// that goes when the handle is closed.
    ///
    /// # Errors
    /// It is missing, damaged (a flipped bit is enough), or can't be read.
    pub fn get(&self, digest: &Digest) -> Result<Blob, StoreError> {
        let path = self.blob_path(digest);
        let (mut file, found, size) = match self.blobs.local_path(&key(digest)) {
            Some(_) => {
                let mut file = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(StoreError::Missing { digest: *digest, path });
                    }
                    opened => opened.map_err(StoreError::io("open", &path))?,
                };
                let (found, size) = hashing::digest_of(&mut file).map_err(StoreError::io("read", &path))?;
                (file, found, size)
            }
            None => self.fetch(digest)?,
        };
        if found != *digest {
            return Err(StoreError::Damaged { path, found: format!("its content is {found}") });
        }
        file.rewind().map_err(StoreError::io("read", &path))?;
        Ok(Blob { file, path, size })
    }

    /// A blob's file, which nobody has held against its digest yet: whoever opens it does that before anything that came of it counts.
    /// One that lies elsewhere is fetched, and verified meanwhile.
    pub(crate) fn open_unverified(&self, digest: &Digest) -> Result<File, StoreError> {
        match self.blobs.local_path(&key(digest)) {
            Some(path) => File::open(&path).map_err(StoreError::io("open", &path)),
            None => Ok(self.get(digest)?.file),
        }
    }

    fn fetch(&self, digest: &Digest) -> Result<(File, Digest, u64), StoreError> {
        let path = self.blob_path(digest);
        let Some(mut reading) = self.blobs.read(&key(digest), None)? else {
            return Err(StoreError::Missing { digest: *digest, path });
        };
        let mut staged = self.stage()?;
        let (found, size) =
            hashing::copy(&mut reading.bytes, staged.file()).map_err(StoreError::io("fetch", &path))?;
        let file = staged.file().try_clone().map_err(StoreError::io("fetch", &path))?;
        Ok((file, found, size))
    }

    /// All bytes of a small blob, verified.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut blob = self.get(digest)?;
        let mut bytes = Vec::new();
        blob.file.read_to_end(&mut bytes).map_err(StoreError::io("read", &blob.path))?;
        Ok(bytes)
    }

    /// The length of a blob, if it is there. Looks at its length only.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.blobs.read(&key(digest), Some(0..0))?.map(|found| found.size))
    }

    /// Where a blob of `size` bytes lies, going by its length alone: microseconds, where [`Store::get`] reads all of it. For
    /// telling that work is done, never for handing the bytes on.
    ///
    /// # Errors
    /// It is missing, or of another length.
    pub fn find_blob(&self, digest: &Digest, size: u64) -> Result<PathBuf, StoreError> {
        let path = self.blob_path(digest);
        let found = match self.blobs.local_path(&key(digest)) {
            Some(path) => match path.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                found => Some(found.map_err(StoreError::io("look at", &path))?.len()),
            },
            None => self.blob_size(digest)?,
        };
        match found {
            Some(found) if found == size => Ok(path),
            Some(found) => Err(StoreError::Damaged {
                path,
                found: format!("it is {found} bytes long instead of {size}"),
            }),
            None => Err(StoreError::Missing { digest: *digest, path }),
        }
    }

    /// Makes a staged file a blob, after all of it has been held against `digest`. Its length in bytes.
    ///
    /// Nothing refers to it yet: unless something does within a day, a collection takes it away.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`], or it can't be kept.
    pub fn put(&self, mut staged: Staged, digest: &Digest) -> Result<u64, StoreError> {
        let path = self.blob_path(digest);
        let file = staged.file();
        let (found, size) = file
            .rewind()
            .and_then(|()| hashing::digest_of(file))
            .map_err(StoreError::io("read what becomes", &path))?;
        if found != *digest {
            return Err(StoreError::Mismatch { said: *digest, found });
        }
        self.keep(staged, digest)?;
        Ok(size)
    }

    /// Makes bytes a blob, if they are not one yet.
    ///
    /// # Errors
    /// They can't be kept.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(&digest);
        if let Some(there) = self.blobs.read(&key(&digest), None)?
            && there.size == bytes.len() as u64
            && there.whole().is_ok_and(|(there, _)| there == bytes)
        {
            return Ok(digest);
        }
        let mut staged = self.stage()?;
        staged.file().write_all(bytes).map_err(StoreError::io("write what becomes", &path))?;
        self.keep(staged, &digest)?;
        Ok(digest)
    }

    /// Makes a staged file a blob. What lies at its place is replaced: it is the same, or damaged.
    pub(super) fn keep(&self, staged: Staged, digest: &Digest) -> Result<(), StoreError> {
        self.blobs.put_file(&key(digest), staged)
    }
}
