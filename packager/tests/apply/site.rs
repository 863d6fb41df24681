//! A destination, and what was done to it before a sync.

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use staith_model::{Digest, RelPath};
use staith_packager::apply::{self, FileFacts, InMemory, Node};

use crate::series::Listing;

/// A directory that packages are applied to.
pub(crate) struct Site {
    _scratch: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("site");
        fs::create_dir(&path).unwrap();
        Self { _scratch: scratch, path }
    }

    pub(crate) fn clear(&self) {
        fs::remove_dir_all(&self.path).unwrap();
        fs::create_dir(&self.path).unwrap();
    }

    /// Everything there, in the form of the samples.
    pub(crate) fn listing(&self) -> Listing {
        let mut listing = Listing::new();
        list(&self.path, "", &mut listing);
        listing
    }

    pub(crate) fn times(&self) -> BTreeMap<String, u64> {
        let files = self.listing().into_keys().filter(|path| !path.ends_with('/'));
        files.map(|path| (path.clone(), seconds(&self.path.join(&path)))).collect()
    }

    pub(crate) fn set_time(&self, path: &str, seconds: u64) {
        let file = File::options().write(true).open(self.path.join(path)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    /// Writes a file, and gives it the time that it had.
    pub(crate) fn write_quietly(&self, path: &str, bytes: &[u8]) {
        let time = seconds(&self.path.join(path));
        fs::write(self.path.join(path), bytes).unwrap();
        self.set_time(path, time);
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path.join(path)).unwrap()
    }
}

pub(crate) fn seconds(path: &Path) -> u64 {
    fs::metadata(path).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn list(directory: &Path, above: &str, into: &mut Listing) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{above}{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            into.insert(format!("{path}/"), "- -".to_owned());
            list(&entry.path(), &format!("{path}/"), into);
        } else if kind.is_symlink() {
            into.insert(path, format!("-> {}", fs::read_link(entry.path()).unwrap().display()));
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            into.insert(path, format!("{} {}", bytes.len(), Digest::of(&bytes).hex()));
        }
    }
}

/// Files by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, Vec<u8>>);

impl<const N: usize> From<[(&str, &str); N]> for Tree {
    fn from(files: [(&str, &str); N]) -> Self {
        Self(files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes.into())).collect())
    }
}

impl Tree {
    pub(crate) fn get(&self, path: &str) -> Option<&Vec<u8>> {
        self.0.get(path)
    }

    pub(crate) fn into_files(self) -> BTreeMap<String, Vec<u8>> {
        self.0
    }
}

/// A source with these files, each with a time of its content.
pub(crate) fn source_of(tree: &Tree) -> InMemory {
    let mut source = InMemory { tree: apply::Tree::new("app"), ..InMemory::default() };
    for (path, bytes) in &tree.0 {
        let path = RelPath::try_from(path.as_str()).unwrap();
        let time = i64::from(crc32fast::hash(bytes) & !1);
        let facts = FileFacts { size: bytes.len() as u64, time, ..FileFacts::default() };
        source.tree.insert(path.clone(), Node::File(facts));
        source.bytes.insert(path, bytes.clone());
    }
    source
}

impl Site {
    /// A place beside the destination.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap().join(name)
    }

    pub(crate) fn times_of(&self, paths: &[&str]) -> Vec<u64> {
        paths.iter().map(|path| seconds(&self.path.join(path))).collect()
    }

    /// All files with their bytes.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.listing().into_keys().filter(|path| !path.ends_with('/'));
        files.map(|path| (path.clone(), self.read(&path))).collect()
    }
}
