//! Git's packs, read on all cores at once. Git's library reads them too, but inflates twice as slowly, verifies what has been
//! verified when it came, and takes a lock for each object.
//!
//! 1. `entry`: what an object looks like in a pack. 2. `delta`: objects that are written as changes to others.
//! 3. [`Packs`]: objects by their ids. 4. [`receive`]: packs that come, with `unfold` for the changes in them.
//! 5. [`join()`]: many packs become one.
//!
//! What is here reads packs as they usually are. Whatever is unusual (a loose object, an object in another repository, a
//! index of many packs, a damaged file) is not found, and whoever asks then asks git's library, which says what is wrong.

mod delta;
mod entry;
mod index;
mod join;
mod receive;
mod unfold;

use std::{collections::HashMap, fs, io, path::Path, sync::Arc};

use libdeflater::Decompressor;

use self::{
    entry::{Base, Entry},
    index::Pack,
};
pub(super) use self::{
    join::{join, worth_joining},
    receive::receive,
};
use super::listing::ObjectId;

/// Longer chains of changes than any tool makes are not followed.
const LONGEST_CHAIN: usize = 4096;
/// What a reader keeps of objects that others are changes to, in bytes.
const KEPT: usize = 16 << 20;

/// The packs of one repository, as they were when it was looked at. To be shared by threads.
#[derive(Debug)]
pub(super) struct Packs(Vec<Pack>);

impl Packs {
    /// The packs in a repository's directory of objects.
    pub(super) fn open(objects: &Path) -> io::Result<Self> {
        let mut packs = Vec::new();
        for found in fs::read_dir(objects.join("pack"))? {
            let path = found?.path();
            if path.extension().is_some_and(|end| end == "idx")
                && let Some(pack) = Pack::open(&path)?
            {
                packs.push(pack);
            }
        }
        // Most objects are in the largest.
        packs.sort_by_key(|pack| std::cmp::Reverse(pack.objects()));
        Ok(Self(packs))
    }

    /// Whether all packs in a repository's directory of objects are there in full, with their indexes: what a power failure or a
    /// full disk leaves is not. A pack without an index counts as none.
    pub(super) fn are_whole(objects: &Path) -> io::Result<bool> {
        for found in fs::read_dir(objects.join("pack"))? {
            let path = found?.path();
            let is_index = path.extension().is_some_and(|end| end == "idx");
            if is_index && !Pack::open(&path)?.is_some_and(|pack| pack.is_whole()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As [`are_whole`](Self::are_whole), with all bytes read.
    pub(super) fn are_intact(objects: &Path) -> io::Result<bool> {
        let mut intact = Self::are_whole(objects)?;
        for found in fs::read_dir(objects.join("pack"))? {
            let path = found?.path();
            intact = intact && (path.extension().is_none_or(|end| end != "pack") || join::is_intact(&path));
        }
        Ok(intact)
    }

    fn find(&self, id: ObjectId) -> Option<Place> {
        let find = |(number, pack): (usize, &Pack)| Some(Place { pack: number, offset: pack.offset_of(id)? });
        self.0.iter().enumerate().find_map(find)
    }
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    pack: usize,
    offset: u64,
}

/// What reads objects, for one thread.
pub(super) struct PackReader {
    packs: Arc<Packs>,
    inflate: Decompressor,
    compressed: Vec<u8>,
    kept: HashMap<Place, Arc<Vec<u8>>>,
    kept_bytes: usize,
}

impl PackReader {
    pub(super) fn new(packs: Arc<Packs>) -> Self {
        let (inflate, compressed) = (Decompressor::new(), Vec::new());
        Self { packs, inflate, compressed, kept: HashMap::new(), kept_bytes: 0 }
    }

    /// The content of a file. `None` where it is not in these packs, or they are not as they usually are.
    pub(super) fn blob(&mut self, id: ObjectId) -> Option<Vec<u8>> {
        let place = self.packs.find(id)?;
        let (kind, content) = self.object(place)?;
        (kind == entry::Kind::Blob).then_some(content)
    }

    fn object(&mut self, place: Place) -> Option<(entry::Kind, Vec<u8>)> {
        let (mut changes, mut at) = (Vec::new(), place);
        let (kind, mut content) = loop {
            if changes.len() > LONGEST_CHAIN {
                return None;
            }
            let entry = self.entry(at)?;
            match entry.base {
                Base::None(kind) => {
                    let content = match self.kept.get(&at) {
                        Some(kept) => kept.to_vec(),
                        None => self.inflated(at, &entry)?,
                    };
                    break (kind, content);
                }
                Base::Before(distance) => {
                    changes.push(self.inflated(at, &entry)?);
                    at = Place { offset: at.offset.checked_sub(distance)?, ..at };
                }
                Base::Object(id) => {
                    changes.push(self.inflated(at, &entry)?);
                    at = Place { pack: at.pack, offset: self.packs.0.get(at.pack)?.offset_of(id)? };
                }
            }
        };
        if !changes.is_empty() {
            self.keep(at, &content);
        }
        while let Some(change) = changes.pop() {
            content = delta::applied(&change, &content)?;
        }
        Some((kind, content))
    }

    fn keep(&mut self, at: Place, content: &[u8]) {
        if content.len() > KEPT / 4 || self.kept.contains_key(&at) {
            return;
        }
        if self.kept_bytes + content.len() > KEPT {
            self.kept.clear();
            self.kept_bytes = 0;
        }
        self.kept_bytes += content.len();
        self.kept.insert(at, Arc::new(content.to_vec()));
    }

    /// Reads the start of an entry, and usually all of it, into `compressed`.
    fn entry(&mut self, at: Place) -> Option<Entry> {
        self.packs.0.get(at.pack)?.read(at.offset, 4096, &mut self.compressed)?;
        Entry::parse(&self.compressed)
    }

    /// What is compressed in the entry that was read last.
    fn inflated(&mut self, at: Place, entry: &Entry) -> Option<Vec<u8>> {
        let most = entry.most_compressed();
        if self.compressed.len() < entry.head + most {
            self.packs.0.get(at.pack)?.read(at.offset, entry.head + most, &mut self.compressed)?;
        }
        let mut content = vec![0; entry.size];
        let length = self.inflate.zlib_decompress(self.compressed.get(entry.head..)?, &mut content).ok()?;
        (length == entry.size).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use git2::{ObjectType, Repository};

    use super::*;

    fn git(at: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "gc.auto=0"];
        let ended = Command::new("git").args(identity).args(arguments).current_dir(at).status().unwrap();
        assert!(ended.success(), "git {arguments:?}");
    }

    /// Versions of two files that are mostly alike, so that git packs most as changes to others.
    fn repository(at: &Path) -> Repository {
        git(at, &["init", "-q"]);
        for version in 0..12 {
            let line = |n: u32| format!("line {n} of {}\n", if n % 12 == version { version } else { 7 });
            let text: String = (0..400).map(line).collect();
            fs::write(at.join("file"), &text).unwrap();
            fs::write(at.join("large"), text.repeat(30)).unwrap();
            git(at, &["add", "-A"]);
            git(at, &["commit", "-q", "-m", "x"]);
        }
        Repository::open(at).unwrap()
    }

    #[test]
    fn every_file_is_what_gits_library_reads() {
        let dir = tempfile::tempdir().unwrap();
        let repository = repository(dir.path());
        for by_offset in ["true", "false"] {
            git(dir.path(), &["config", "repack.usedeltabaseoffset", by_offset]);
            git(dir.path(), &["repack", "-adfq", "--depth=30", "--window=50"]);
            let packs = Arc::new(Packs::open(&dir.path().join(".git/objects")).unwrap());
            let odb = repository.odb().unwrap();
            odb.refresh().unwrap();
            let (mut reader, mut blobs) = (PackReader::new(packs), 0);
            odb.foreach(|id| {
                let object = odb.read(*id).unwrap();
                let expected = (object.kind() == ObjectType::Blob).then(|| object.data().to_vec());
                blobs += usize::from(expected.is_some());
                assert_eq!(reader.blob((*id).into()), expected, "{id}");
                true
            })
            .unwrap();
            assert!(blobs >= 24);
            assert_eq!(reader.blob(ObjectId([7; 20])), None);
        }
    }

    /// The only pack of a repository, with its index.
    fn pack_of(at: &Path) -> (Vec<u8>, Vec<u8>) {
        let found = fs::read_dir(at.join(".git/objects/pack")).unwrap().map(|found| found.unwrap().path());
        let pack: Vec<_> = found.filter(|path| path.extension().unwrap() == "pack").collect();
        assert_eq!(pack.len(), 1);
        (fs::read(&pack[0]).unwrap(), fs::read(pack[0].with_extension("idx")).unwrap())
    }

    fn received(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let to = tempfile::tempdir().unwrap();
        let mut told = (0, 0, 0);
        receive(&mut &bytes[..], to.path(), &mut |objects, of, bytes| told = (objects, of, bytes))?;
        assert!(told.0 == told.1 && told.2 > 0, "{told:?}");
        let files = fs::read_dir(to.path()).unwrap().map(|found| found.unwrap().path());
        let read = |path: std::path::PathBuf| {
            (path.extension().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        };
        let mut files: Vec<_> = files.map(read).collect();
        files.sort();
        Ok(files)
    }

    #[test]
    fn what_is_received_is_what_git_would_write() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path());
        git(dir.path(), &["tag", "-a", "v1", "-m", "x"]);
        for by_offset in ["true", "false"] {
            git(dir.path(), &["config", "repack.usedeltabaseoffset", by_offset]);
            git(dir.path(), &["repack", "-adfq", "--depth=30", "--window=50"]);
            let (pack, index) = pack_of(dir.path());
            let expected = vec![("idx".to_owned(), index), ("pack".to_owned(), pack.clone())];
            assert!(received(&pack).unwrap() == expected, "by offset: {by_offset}");
        }
        let (pack, _) = pack_of(dir.path());
        for cut in [0, 4, 12, 13, 40, pack.len() / 2, pack.len() - 21, pack.len() - 1] {
            assert!(received(&pack[..cut]).is_err(), "{cut}");
        }
        for flipped in (0..pack.len()).step_by(pack.len() / 60) {
            let mut pack = pack.clone();
            pack[flipped] ^= 0x10;
            assert!(received(&pack).is_err(), "{flipped}");
        }
    }

    #[test]
    fn joined_packs_hold_what_each_of_them_held() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        let packs = dir.path().join(".git/objects/pack");
        for version in 0..30 {
            let text: String =
                (0..300).map(|n| format!("line {n} {}\n", if n % 30 == version { n } else { 1 })).collect();
            fs::write(dir.path().join("file"), text).unwrap();
            git(dir.path(), &["add", "-A"]);
            git(dir.path(), &["commit", "-q", "-m", "x"]);
            // Some of what is there already comes again, as it does where two fetches overlap.
            let all = if version % 7 == 0 { "-aq" } else { "-q" };
            git(dir.path(), &["repack", all]);
        }
        let indexes = || -> Vec<_> {
            let found = fs::read_dir(&packs).unwrap().map(|found| found.unwrap().path());
            found.filter(|path| path.extension().unwrap() == "idx").collect()
        };
        let odb = || Repository::open(dir.path()).unwrap();
        let mut expected = HashMap::new();
        let before = odb();
        let odb_before = before.odb().unwrap();
        odb_before
            .foreach(|id| {
                expected.insert(*id, odb_before.read(*id).unwrap().data().to_vec());
                true
            })
            .unwrap();
        let reading = Arc::new(Packs::open(packs.parent().unwrap()).unwrap());
        assert!(worth_joining(&packs).unwrap().0.is_empty() == (indexes().len() <= 24));
        let old = indexes();
        assert!(old.len() > 24, "{}", old.len());
        join(&packs, &old).unwrap();
        assert_eq!(indexes().len(), 1);
        assert!(Packs::are_whole(packs.parent().unwrap()).unwrap());
        git(dir.path(), &["fsck", "--full", "--strict"]);
        let after = odb();
        let mut new = PackReader::new(Arc::new(Packs::open(packs.parent().unwrap()).unwrap()));
        let mut old = PackReader::new(reading);
        assert!(expected.len() > 80);
        for (id, content) in &expected {
            let odb = after.odb().unwrap();
            let object = odb.read(*id).unwrap();
            assert_eq!(object.data(), content, "{id}");
            if object.kind() == ObjectType::Blob {
                assert_eq!(new.blob((*id).into()).as_ref(), Some(content), "{id}");
                assert_eq!(old.blob((*id).into()).as_ref(), Some(content), "who had them open goes on: {id}");
            }
        }
    }

    #[test]
    fn damaged_packs_are_not_joined_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path());
        git(dir.path(), &["repack", "-adfq"]);
        let packs = dir.path().join(".git/objects/pack");
        let index = fs::read_dir(&packs).unwrap().map(|found| found.unwrap().path());
        let index = index.into_iter().find(|path| path.extension().unwrap() == "idx").unwrap();
        let pack = index.with_extension("pack");
        for (file, at) in [(&pack, 40), (&pack, usize::MAX), (&index, 1100)] {
            let bytes = fs::read(file).unwrap();
            let mut damaged = bytes.clone();
            match at {
                usize::MAX => damaged.truncate(bytes.len() - 9),
                at => damaged[at] ^= 1,
            }
            fs::remove_file(file).unwrap();
            fs::write(file, damaged).unwrap();
            assert!(join(&packs, std::slice::from_ref(&index)).is_err());
            assert!(pack.is_file() && index.is_file());
            fs::write(file, bytes).unwrap();
        }
    }

    #[test]
    fn damaged_packs_give_nothing_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let repository = repository(dir.path());
        git(dir.path(), &["repack", "-adfq"]);
        let packs = dir.path().join(".git/objects/pack");
        let pack = fs::read_dir(&packs).unwrap().map(|found| found.unwrap().path());
        let pack = pack.into_iter().find(|path| path.extension().unwrap() == "pack").unwrap();
        let mut bytes = fs::read(&pack).unwrap();
        bytes.iter_mut().skip(12).step_by(97).for_each(|byte| *byte ^= 0x55);
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, &bytes[..bytes.len() - 2000]).unwrap();
        let mut reader = PackReader::new(Arc::new(Packs::open(packs.parent().unwrap()).unwrap()));
        let mut ids = Vec::new();
        repository
            .odb()
            .unwrap()
            .foreach(|id| {
                ids.push(*id);
                true
            })
            .unwrap();
        let mut lost = 0;
        for id in ids {
            match reader.blob(id.into()) {
                Some(content) => assert_eq!(git2::Oid::hash_object(ObjectType::Blob, &content).unwrap(), id),
                None => lost += 1,
            }
        }
        assert!(lost > 0);
    }
}
