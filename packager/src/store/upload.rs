//! Files that come in pieces, over hours and restarts, until they are blobs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use staith_model::{Digest, Name};

use super::{Staged, Store, StoreError, announce::random, make_directories, staging::is_at};

/// An upload that nobody else can open until this is dropped.
#[derive(Debug)]
pub struct Upload {
    id: String,
    file: Locked,
    path: PathBuf,
    size: u64,
}

/// A file that is locked until this is dropped, and not a moment longer: a process that is started meanwhile has the lock, too, until it has
/// become its program, and whoever opens the upload next would be told that somebody has it.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Store {
    /// Begins an upload under a name. It lies on this machine, and is found again by its id after a restart.
    ///
    /// # Errors
    /// The place can't be written.
    pub fn begin_upload(&self, name: &Name) -> Result<Upload, StoreError> {
        let id = random()?;
        let path = self.upload_path(name, &id);
        make_directories(crate::durable::parent(&path))?;
        File::create_new(&path).map_err(StoreError::io("make", &path))?;
        self.open_upload(name, &id)?.ok_or(StoreError::NoUpload(id))
    }

    /// Opens an upload at its end; `None` if there is none of this id under this name.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while somebody has it open.
    pub fn open_upload(&self, name: &Name, id: &str) -> Result<Option<Upload>, StoreError> {
        if id.is_empty() || !id.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let path = self.upload_path(name, id);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(StoreError::Busy { what: format!("the upload {id}") }),
            locked => locked.map_err(|refused| StoreError::io("lock", &path)(refused.into()))?,
        }
        let mut file = Locked(file);
        if !is_at(&file.0, &path).map_err(StoreError::io("look at", &path))? {
            return Ok(None);
        }
        let size = file.0.seek(SeekFrom::End(0)).map_err(StoreError::io("read", &path))?;
        Ok(Some(Upload { id: id.to_owned(), file, path, size }))
    }

    /// How many bytes of an upload are here, without opening it.
    ///
    /// # Errors
    /// The place can't be read.
    pub fn uploaded(&self, name: &Name, id: &str) -> Result<Option<u64>, StoreError> {
        if id.is_empty() || !id.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let path = self.upload_path(name, id);
        match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => Ok(Some(found.map_err(StoreError::io("look at", &path))?.len())),
        }
    }

    /// Makes an upload a blob, after all of it has been held against `digest`, and admits it under the name. Its length.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`]: the upload is gone then, because no byte of it can be trusted.
    pub fn finish_upload(&self, name: &Name, upload: Upload, digest: &Digest) -> Result<u64, StoreError> {
        let _announced = self.announce(&[digest.to_string()])?;
        let Upload { file, path, .. } = upload;
        let adopted = file.0.try_clone().map_err(StoreError::io("open", &path))?;
        let size = self.put(Staged::adopt(adopted, path), digest)?;
        self.admit(name, digest)?;
        Ok(size)
    }

    fn upload_path(&self, name: &Name, id: &str) -> PathBuf {
        self.uploads.join(name.as_str()).join(id)
    }
}

impl Upload {
    /// What it is found by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many bytes are here.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The disk is full, or refuses. What came before stays.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.0.write_all(bytes).map_err(StoreError::io("write", &self.path))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Takes all that comes. How many bytes are here then.
    ///
    /// # Errors
    /// As [`Upload::append`], or the source ended with an error. What came before that stays.
    pub fn take(&mut self, from: &mut dyn Read) -> Result<u64, StoreError> {
        let copied = io::copy(from, &mut self.file.0);
        self.size = self.file.0.stream_position().map_err(StoreError::io("write", &self.path))?;
        copied.map_err(StoreError::io("receive what becomes", &self.path))?;
        Ok(self.size)
    }

    /// Makes what was taken survive a loss of power, and lets go of the upload. How many bytes are here.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep(self) -> Result<u64, StoreError> {
        self.file.0.sync_data().map_err(StoreError::io("sync", &self.path))?;
        Ok(self.size)
    }

    /// Ends it and forgets its bytes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn cancel(self) -> Result<(), StoreError> {
        fs::remove_file(&self.path).map_err(StoreError::io("remove", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_has_an_upload_until_it_is_let_go_of_whoever_was_started_meanwhile() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let name = "shop".parse().unwrap();
        let mut upload = store.begin_upload(&name).unwrap();
        let (id, of_a_child) = (upload.id().to_owned(), upload.file.0.try_clone().unwrap());
        assert!(matches!(store.open_upload(&name, &id), Err(StoreError::Busy { .. })));
        upload.append(b"the half").unwrap();
        assert_eq!(upload.keep().unwrap(), 8);
        let again = store.open_upload(&name, &id).unwrap().unwrap();
        assert_eq!(again.size(), 8);
        drop(of_a_child);
        assert!(matches!(store.open_upload(&name, &id), Err(StoreError::Busy { .. })));
    }
}
