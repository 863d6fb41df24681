//! Finished files by their digest.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Seek},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use staith_model::{Digest, DigestStream};

use super::{Staged, Store, StoreError};
use crate::durable;

/// A blob whose bytes have been held against its digest.
#[derive(Debug)]
pub struct Blob {
    /// The file, from its start. Read on from this handle rather than from the path: it is what was verified.
    pub file: File,
    /// Where it lies.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

impl Store {
    /// Where the blob of `digest` lies, if it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Opens a blob, and reads all of it to see that it is what it should be.
    ///
    /// # Errors
    /// It is missing, damaged (a flipped bit is enough), or can't be read.
    pub fn get(&self, digest: &Digest) -> Result<Blob, StoreError> {
        let path = self.blob_path(digest);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { digest: *digest, path });
            }
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let (found, size) = hash(&mut file).map_err(StoreError::io("read", &path))?;
        if found != *digest {
            return Err(StoreError::Damaged { path, found: format!("its content is {found}") });
        }
        Ok(Blob { file, path, size })
    }

    /// Where a blob of `size` bytes lies, going by its length alone: microseconds, where [`Store::get`] reads all of it. For
    /// telling that work is done, never for handing the bytes on.
    ///
    /// # Errors
    /// It is missing, or of another length.
    pub fn find_blob(&self, digest: &Digest, size: u64) -> Result<PathBuf, StoreError> {
        let path = self.blob_path(digest);
        match path.metadata() {
            Ok(found) if found.len() == size => Ok(path),
            Ok(found) => {
                let found = format!("it is {} bytes long instead of {size}", found.len());
                Err(StoreError::Damaged { path, found })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { digest: *digest, path })
            }
            Err(error) => Err(StoreError::io("look at", &path)(error)),
        }
    }

    /// Makes a staged file a blob. What lies at its place is replaced: it is the same, or damaged.
    pub(super) fn keep(&self, staged: Staged, digest: &Digest) -> Result<(), StoreError> {
        let (path, blobs) = (self.blob_path(digest), self.blobs());
        let file = staged.opened();
        file.set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| file.sync_all())
            .map_err(StoreError::io("sync the new package that becomes", &path))?;
        staged.rename(&path).map_err(StoreError::io("make", &path))?;
        durable::sync_directory(&blobs).map_err(StoreError::io("sync the directory", &blobs))
    }
}

fn hash(file: &mut File) -> io::Result<(Digest, u64)> {
    let (mut hash, mut size, mut buffer) = (DigestStream::new(), 0, vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.rewind()?;
    Ok((hash.finish(), size))
}
