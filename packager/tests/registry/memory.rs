//! A shelf in memory, which keeps to the contract and can be damaged.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::{Arc, Mutex, MutexGuard},
};

use staith_model::{Digest, Name};
use staith_packager::registry::{
    manifest::Manifest,
    names::{Reference, Tag, UploadId},
    shelf::{Append, OpenBlob, Shelf, ShelfError, StoredManifest},
};

#[derive(Debug, Default)]
struct Repository {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<Digest, StoredManifest>,
    tags: BTreeMap<Tag, Digest>,
}

#[derive(Debug, Default)]
struct Upload {
    bytes: Vec<u8>,
    is_open: bool,
}

#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<Name, Repository>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    uploads: BTreeMap<(Name, UploadId), Upload>,
    begun: u128,
}

#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Flips a bit of a blob.
    pub fn damage(&self, digest: &Digest) {
        self.state().blobs.get_mut(digest).unwrap()[0] ^= 1;
    }

    /// How many uploads there are, finished ones aside.
    pub fn uploads(&self) -> usize {
        self.state().uploads.len()
    }
}

struct Open {
    shelf: Memory,
    key: (Name, UploadId),
    at: u64,
}

impl Append for Open {
    fn offset(&self) -> u64 {
        self.at
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ShelfError> {
        self.shelf.state().uploads.get_mut(&self.key).unwrap().bytes.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn keep(self: Box<Self>) -> Result<u64, ShelfError> {
        Ok(self.at)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shelf.state().uploads.get_mut(&self.key).unwrap().is_open = false;
    }
}

impl Shelf for Memory {
    fn knows(&self, name: &Name) -> Result<bool, ShelfError> {
        Ok(self.state().repositories.contains_key(name))
    }

    fn manifest(&self, name: &Name, reference: &Reference) -> Result<Option<StoredManifest>, ShelfError> {
        let state = self.state();
        let Some(repository) = state.repositories.get(name) else { return Ok(None) };
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => repository.tags.get(tag).copied(),
        };
        Ok(digest.and_then(|digest| repository.manifests.get(&digest).cloned()))
    }

    fn put_manifest(&self, name: &Name, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), ShelfError> {
        let mut state = self.state();
        let repository = state.repositories.entry(name.clone()).or_default();
        for tag in tags {
            match repository.tags.get(tag) {
                Some(published) if *published != manifest.digest && tag.reads_as_version() => {
                    return Err(ShelfError::Conflict(format!("{name}:{tag} is {published} for good")));
                }
                _ => {}
            }
        }
        repository.manifests.insert(manifest.digest, manifest.clone());
        repository.tags.extend(tags.iter().map(|tag| (tag.clone(), manifest.digest)));
        Ok(())
    }

    fn tags(&self, name: &Name) -> Result<Option<Vec<Tag>>, ShelfError> {
        Ok(self.state().repositories.get(name).map(|repository| repository.tags.keys().cloned().collect()))
    }

    fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<StoredManifest>, ShelfError> {
        let state = self.state();
        let Some(repository) = state.repositories.get(name) else { return Ok(Vec::new()) };
        let is_about = |stored: &&StoredManifest| {
            let (manifest, _) = Manifest::parse(&stored.bytes, Some(&stored.media_type)).unwrap();
            manifest.subject.is_some_and(|about| about.digest == *subject)
        };
        Ok(repository.manifests.values().filter(is_about).cloned().collect())
    }

    fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, ShelfError> {
        let state = self.state();
        let has = state.repositories.get(name).is_some_and(|repository| repository.blobs.contains(digest));
        Ok(has.then(|| state.blobs[digest].len() as u64))
    }

    fn blob(&self, name: &Name, digest: &Digest, from: u64) -> Result<Option<OpenBlob>, ShelfError> {
        let Some(size) = self.blob_size(name, digest)? else { return Ok(None) };
        let bytes = self.state().blobs[digest].clone();
        if Digest::of(&bytes) != *digest {
            return Err(ShelfError::Damaged(format!("the blob {digest} is damaged")));
        }
        let mut bytes = std::io::Cursor::new(bytes);
        bytes.set_position(from);
        Ok(Some(OpenBlob { size, bytes: Box::new(bytes) as Box<dyn Read + Send> }))
    }

    fn mount(&self, name: &Name, digest: &Digest, from: Option<&Name>) -> Result<bool, ShelfError> {
        if self.blob_size(from.unwrap_or(name), digest)?.is_none() {
            return Ok(false);
        }
        self.state().repositories.entry(name.clone()).or_default().blobs.insert(*digest);
        Ok(true)
    }

    fn begin(&self, name: &Name) -> Result<UploadId, ShelfError> {
        let mut state = self.state();
        state.begun += 1;
        let id = UploadId::of(state.begun.to_be_bytes());
        state.uploads.insert((name.clone(), id.clone()), Upload::default());
        Ok(id)
    }

    fn uploaded(&self, name: &Name, upload: &UploadId) -> Result<Option<u64>, ShelfError> {
        let key = (name.clone(), upload.clone());
        Ok(self.state().uploads.get(&key).map(|upload| upload.bytes.len() as u64))
    }

    fn append(&self, name: &Name, upload: &UploadId) -> Result<Box<dyn Append>, ShelfError> {
        let key = (name.clone(), upload.clone());
        let mut state = self.state();
        let found = state.uploads.get_mut(&key).ok_or(ShelfError::Unknown("no upload".to_owned()))?;
        if found.is_open {
            return Err(ShelfError::Busy("it is open".to_owned()));
        }
        found.is_open = true;
        Ok(Box::new(Open { shelf: self.clone(), key, at: found.bytes.len() as u64 }))
    }

    fn finish(&self, name: &Name, upload: &UploadId, digest: &Digest) -> Result<(), ShelfError> {
        let mut state = self.state();
        let key = (name.clone(), upload.clone());
        let found = state.uploads.remove(&key).ok_or(ShelfError::Unknown("no upload".to_owned()))?;
        let has = Digest::of(&found.bytes);
        if has != *digest {
            return Err(ShelfError::Mismatch { said: *digest, found: has });
        }
        state.blobs.insert(*digest, found.bytes);
        state.repositories.entry(name.clone()).or_default().blobs.insert(*digest);
        Ok(())
    }

    fn cancel(&self, name: &Name, upload: &UploadId) -> Result<bool, ShelfError> {
        Ok(self.state().uploads.remove(&(name.clone(), upload.clone())).is_some())
    }

    fn remove(&self, name: &Name, reference: &Reference) -> Result<bool, ShelfError> {
        let mut state = self.state();
        let Some(repository) = state.repositories.get_mut(name) else { return Ok(false) };
        match reference {
            Reference::Tag(tag) => Ok(repository.tags.remove(tag).is_some()),
            Reference::Digest(digest) => {
                repository.tags.retain(|_, of| of != digest);
                Ok(repository.manifests.remove(digest).is_some())
            }
        }
    }
}
