//! A project's tree as a list, and the ids that git gives it.

use std::{collections::HashMap, fmt};

use git2::{ObjectType, Oid};
use staith_model::{Digest, DigestStream, RelPath};

use super::{Globs, error::SourceError, record::Link};

/// Git's id of a file's content or of a tree (SHA-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub(super) [u8; 20]);

impl ObjectId {
    pub(super) fn of(kind: ObjectType, bytes: &[u8]) -> Result<Self, git2::Error> {
        // Git's own hash function, which notices the known ways of making collisions.
        Ok(Self::from(Oid::hash_object(kind, bytes)?))
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The id with these 20 bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    pub(super) fn oid(self) -> Result<Oid, git2::Error> {
        Oid::from_bytes(&self.0)
    }
}

impl From<Oid> for ObjectId {
    fn from(oid: Oid) -> Self {
        let mut bytes = [0; 20];
        bytes.iter_mut().zip(oid.as_bytes()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What git knows of a file's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileMode {
    /// 0644.
    Regular,
    /// 0755.
    Executable,
    /// A symbolic link; its content is what it says.
    Symlink,
}

impl FileMode {
    const fn in_tree(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }
}

/// One file of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEntry {
    /// Its content.
    pub blob: ObjectId,
    /// Its mode.
    pub mode: FileMode,
    /// Its length in bytes.
    pub size: u64,
    /// Whether git-lfs keeps the content. `blob` is then the id of the pointer that git-lfs writes in its place, which stands
    /// for the content in git's trees; `size` is that of the content.
    pub lfs: bool,
}

impl FileEntry {
    /// One letter, stable: part of digests and file names. What git-lfs keeps has another one, because the same id stands
    /// for the pointer itself where it is a plain file.
    pub(crate) const fn letter(&self) -> char {
        match (self.mode, self.lfs) {
            (FileMode::Regular, false) => 'r',
            (FileMode::Regular, true) => 'R',
            (FileMode::Executable, false) => 'x',
            (FileMode::Executable, true) => 'X',
            (FileMode::Symlink, _) => 'l',
        }
    }
}

/// A project's files, sorted by path, without duplicates; no file's path leads through another file.
pub type Listing = Vec<(RelPath, FileEntry)>;

/// The most files that are taken: a tree that refers to itself over and over holds millions in a few objects.
pub(super) const MOST_FILES: usize = 1_000_000;
/// Longer paths can't be created in one system call once the store's own path is before them.
pub(super) const LONGEST_PATH: usize = 3500;
/// Every level costs stack while a tree is read.
pub(super) const DEEPEST: usize = 200;

/// Sorts, and refuses what no file system can hold: two things of one name, a file that is also a directory.
pub(super) fn checked(mut files: Listing) -> Result<Listing, SourceError> {
    files.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    let all: std::collections::HashSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let refuse = |path: &RelPath, why| Err(SourceError::Hostile { path: path.to_string(), why });
    for pair in files.windows(2) {
        if pair[0].0 == pair[1].0 {
            return refuse(&pair[0].0, "two entries have this name");
        }
    }
    for (path, _) in &files {
        let leads_through_a_file = parents(path.as_str()).any(|parent| all.contains(parent));
        if leads_through_a_file {
            return refuse(path, "a file and a folder have the same name");
        }
    }
    Ok(files)
}

/// The folders above a path, nearest first.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent)).skip(1)
}

/// Sentences about paths that differ in case only: fine here, one file on Windows.
pub(super) fn case_clashes(files: &Listing) -> Vec<String> {
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(files.len());
    let mut notices = Vec::new();
    for (path, _) in files {
        if let Some(other) = seen.insert(path.as_str().to_lowercase(), path.as_str()) {
            notices.push(format!("`{other}` and `{path}` differ in case only: on Windows they are one file"));
        }
    }
    notices
}

/// Git's id of the tree that holds these files and submodules.
pub(super) fn tree_id(files: &Listing, links: &[Link]) -> Result<ObjectId, git2::Error> {
    let mut entries: Vec<_> =
        files.iter().map(|(path, entry)| (path.as_str(), entry.mode.in_tree(), entry.blob)).collect();
    entries.extend(links.iter().map(|link| (link.path.as_str(), "160000", link.commit)));
    // Sorted by path, all that a folder holds is in one run: `a/` comes before `a0`, and nothing else begins with it.
    entries.sort_unstable_by_key(|(path, ..)| *path);
    folder_id(&entries)
}

/// The id of a folder with these, whose paths are relative to it and sorted, but not in git's order, in which a folder's
/// name sorts as if it ended in a slash.
fn folder_id(files: &[(&str, &'static str, ObjectId)]) -> Result<ObjectId, git2::Error> {
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut rest = files;
    while let Some((path, mode, id)) = rest.first() {
        let (name, mode, id, taken) = match path.split_once('/') {
            None => (*path, *mode, *id, 1),
            Some((folder, _)) => {
                let below =
                    |path: &str| path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).is_some();
                let taken = rest.iter().take_while(|(path, ..)| below(path)).count();
                let inner: Vec<_> = rest[..taken]
                    .iter()
                    .map(|(path, mode, id)| (&path[folder.len() + 1..], *mode, *id))
                    .collect();
                (folder, "40000", folder_id(&inner)?, taken)
            }
        };
        let mut sort_key = name.as_bytes().to_vec();
        if mode == "40000" {
            sort_key.push(b'/');
        }
        let line = [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &id.0].concat();
        entries.push((sort_key, line));
        rest = &rest[taken..];
    }
    entries.sort_unstable();
    let bytes: Vec<u8> = entries.into_iter().flat_map(|(_, line)| line).collect();
    ObjectId::of(ObjectType::Tree, &bytes)
}

/// The digest of the files that globs match: paths, modes and contents.
pub(super) fn input_digest(files: &Listing, globs: &Globs) -> Digest {
    let mut stream = DigestStream::new();
    stream.update(b"staith.inputs.v1\n");
    for (path, entry) in files.iter().filter(|(path, _)| globs.matches(path.as_str())) {
        // No path holds a NUL and the rest has a fixed length, so two lists never give the same bytes.
        stream.update(path.as_str().as_bytes());
        stream.update(&[0, entry.letter() as u8]);
        stream.update(&entry.blob.0);
    }
    stream.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> (RelPath, FileEntry) {
        let blob = ObjectId::of(ObjectType::Blob, path.as_bytes()).unwrap();
        (
            path.try_into().unwrap(),
            FileEntry { blob, mode: FileMode::Regular, size: path.len() as u64, lfs: false },
        )
    }

    #[test]
    fn trees_that_no_file_system_can_hold_are_refused() {
        for bad in [vec!["a", "a"], vec!["a", "a/b"], vec!["x/a/b/c", "x/a", "x/a-b"]] {
            let refusal = checked(bad.iter().map(|path| file(path)).collect()).unwrap_err();
            assert!(matches!(refusal, SourceError::Hostile { .. }), "{bad:?}: {refusal}");
        }
        assert_eq!(checked(vec![file("b"), file("a-b"), file("a/b")]).unwrap()[0].0.as_str(), "a-b");
    }

    #[test]
    fn clashes_of_case_are_noted() {
        let clashes = case_clashes(&vec![file("README"), file("a"), file("readme")]);
        assert_eq!(clashes.len(), 1);
        assert!(clashes[0].contains("README") && clashes[0].contains("readme"));
    }

    #[test]
    fn the_input_digest_sees_only_what_matches() {
        let globs = Globs::new(&["src".to_owned()]).unwrap();
        let digest = |files: &[&str]| input_digest(&files.iter().map(|path| file(path)).collect(), &globs);
        assert_eq!(digest(&["a", "src/x"]), digest(&["b", "src/x"]));
        assert_ne!(digest(&["src/x"]), digest(&["src/x", "src/y"]));
    }
}
