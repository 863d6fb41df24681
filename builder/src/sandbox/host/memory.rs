//! Answers that took long to find, remembered under what they depend on.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Tells that a file is as it was, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp {
    path: PathBuf,
    /// Size, inode, device, modification and change time in seconds and nanoseconds; none where there is no file.
    file: Option<[i64; 7]>,
}

impl Stamp {
    /// Of what is at `path`, through links.
    pub(crate) fn of(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let file = fs::metadata(&path).ok().map(|file| Self::numbers(&file));
        Self { path, file }
    }

    fn numbers(file: &fs::Metadata) -> [i64; 7] {
        let size = file.size().cast_signed();
        let (inode, device) = (file.ino().cast_signed(), file.dev().cast_signed());
        [size, inode, device, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()]
    }

    /// Of what is at `path`, not through a link there.
    pub(crate) fn of_itself(path: PathBuf) -> Self {
        let found = fs::symlink_metadata(&path).ok();
        Self { file: found.map(|file| Self::numbers(&file)), path }
    }

    /// A file that changed just now could change again within the clock's resolution and keep its stamp.
    pub(crate) fn is_settled(&self) -> bool {
        const SETTLED: Duration = Duration::from_secs(2);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Some([.., modified, _, changed, _]) = self.file else { return true };
        let latest = u64::try_from(modified.max(changed)).unwrap_or(0);
        Duration::from_secs(latest) + SETTLED < now
    }
}

/// What an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// Files that were looked at.
    pub(super) stamps: Vec<Stamp>,
    /// Variables and the like.
    pub(super) texts: Vec<Option<String>>,
}

#[derive(Serialize, Deserialize)]
struct Remembered<T> {
    key: Key,
    answer: T,
}

/// A directory with one small file for each question.
#[derive(Debug)]
pub(super) struct Memory(PathBuf);

impl Memory {
    pub(super) fn below(state: &Path) -> Self {
        Self(state.join("host"))
    }

    /// The answer to `question`, remembered or found.
    ///
    /// # Errors
    /// Those of `find`. A memory that can't be read or written is no error: it only makes things slow.
    pub(super) fn recall<T: Serialize + DeserializeOwned, E>(
        &self,
        question: &str,
        key: Key,
        find: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let file = self.0.join(format!("{question}.json"));
        let remembered = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(Remembered { key: known, answer }) = remembered
            && known == key
        {
            return Ok(answer);
        }
        let answer = find()?;
        if key.stamps.iter().all(Stamp::is_settled) {
            let remembered = Remembered { key, answer };
            if let Err(error) = self.write(&file, &remembered) {
                tracing::debug!(%error, file = %file.display(), "an answer could not be remembered");
            }
            return Ok(remembered.answer);
        }
        Ok(answer)
    }

    fn write<T: Serialize>(&self, file: &Path, remembered: &Remembered<T>) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let mut scratch = tempfile::NamedTempFile::new_in(&self.0)?;
        scratch.write_all(&serde_json::to_vec(remembered)?)?;
        scratch.as_file().sync_all()?;
        scratch.persist(file)?;
        fs::File::open(&self.0)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old_file(place: &Path, content: &str) -> Stamp {
        let path = place.join("file");
        fs::write(&path, content).unwrap();
        Stamp::of(path)
    }

    fn key(stamp: Stamp) -> Key {
        Key { stamps: vec![stamp], texts: vec![None] }
    }

    fn ask(memory: &Memory, key: Key, answer: &str) -> String {
        memory.recall("question", key, || Ok::<_, ()>(answer.to_owned())).unwrap()
    }

    #[test]
    fn the_same_question_is_not_asked_twice_until_something_changes() {
        let place = tempfile::tempdir().unwrap();
        let memory = Memory::below(place.path());
        let absent = key(Stamp::of(place.path().join("absent")));
        assert_eq!(ask(&memory, absent.clone(), "first"), "first");
        assert_eq!(ask(&memory, absent.clone(), "second"), "first");
        let other = Key { texts: vec![Some("nightly".to_owned())], ..absent };
        assert_eq!(ask(&memory, other, "third"), "third");
    }

    #[test]
    fn a_file_that_just_changed_is_not_trusted_to_stay() {
        let place = tempfile::tempdir().unwrap();
        let memory = Memory::below(place.path());
        let fresh = key(old_file(place.path(), "x"));
        assert_eq!(ask(&memory, fresh.clone(), "first"), "first");
        assert_eq!(ask(&memory, fresh, "second"), "second");
    }

    #[test]
    fn a_damaged_memory_is_asked_again() {
        let place = tempfile::tempdir().unwrap();
        let memory = Memory::below(place.path());
        fs::create_dir(place.path().join("host")).unwrap();
        fs::write(place.path().join("host/question.json"), "{").unwrap();
        assert_eq!(ask(&memory, Key { stamps: vec![], texts: vec![] }, "found"), "found");
    }
}
