//! Manifests that machines were given, kept from one process to the next: the next release then travels as the difference.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use staith_model::{Digest, Manifest};

/// Bytes that are kept at most: some hundred manifests of 10,000 files each.
const MOST: u64 = 128 << 20;

/// A folder with manifests that machines were given. A hint: what is not there, or is damaged, is sent whole.
#[derive(Debug, Clone)]
pub struct Memory {
    folder: PathBuf,
}

impl Memory {
    /// Manifests are kept in this folder, which is made when there is something to keep.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The manifest with this digest, if it is here and whole.
    pub(super) fn find(&self, digest: Digest) -> Option<Manifest> {
        let mut file = File::open(self.place(digest)).ok()?;
        let mut json = Vec::new();
        file.read_to_end(&mut json).ok()?;
        let manifest = Manifest::of_json(&json, digest)?;
        // What is used stays.
        let _ = file.set_modified(SystemTime::now());
        Some(manifest)
    }

    /// Keeps a manifest, as canonical JSON. What can't be written is sent whole the next time, and nothing else.
    pub(super) fn keep(&self, digest: Digest, json: &[u8]) {
        let place = self.place(digest);
        if place.exists() {
            return;
        }
        if let Err(error) = self.write(&place, json) {
            tracing::debug!("the manifest is not kept in {}: {error}", self.folder.display());
        }
        self.make_room(&place);
    }

    fn write(&self, place: &Path, json: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // Several processes may keep the same one: each writes a file of its own, and one of them gets the name.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(json)?;
        file.persist(place)?;
        Ok(())
    }

    /// Those go that were used longest ago.
    fn make_room(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path() != newest)
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut bytes: u64 = kept.iter().map(|(_, length, _)| length).sum();
        kept.sort_unstable();
        for (_, length, path) in kept {
            if bytes <= MOST {
                return;
            }
            bytes -= length;
            let _ = fs::remove_file(path);
        }
    }

    fn place(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }
}

#[cfg(test)]
mod tests {
    use staith_model::Entry;

    use super::*;

    fn manifest(content: &str) -> Manifest {
        let (bytes, path) = (content.as_bytes(), "a/\"b\"\n".try_into().unwrap());
        let entry = Entry::File { mode: 0o644, size: bytes.len() as u64, digest: Digest::of(bytes) };
        Manifest { entries: [(path, entry)].into() }
    }

    fn json(manifest: &Manifest) -> Vec<u8> {
        serde_json::to_vec(manifest).unwrap()
    }

    #[test]
    fn what_was_kept_is_found_by_another_process_and_damage_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, one) = (dir.path().join("manifests"), manifest("one"));
        assert_eq!(Memory::new(&folder).find(one.digest()), None);
        Memory::new(&folder).keep(one.digest(), &json(&one));
        let memory = Memory::new(&folder);
        assert_eq!(memory.find(one.digest()), Some(one.clone()));
        let other = manifest("two");
        assert_eq!(memory.find(other.digest()), None);
        fs::copy(memory.place(one.digest()), memory.place(other.digest())).unwrap();
        assert_eq!(memory.find(other.digest()), None);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(dir.path());
        let old = |name: &str, seconds: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_len(MOST / 2 + 1).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        old("older", 1);
        old("newer", 2);
        let one = manifest("one");
        memory.keep(one.digest(), &json(&one));
        assert!(!dir.path().join("older").exists() && dir.path().join("newer").exists());
        assert_eq!(memory.find(one.digest()), Some(one));
    }
}
