//! Where the contents of files are that are not in the pool.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use git2::{ObjectType, OdbLookupFlags, Repository};
use staith_model::RelPath;

use super::{
    error::{SourceError, git},
    ignores::common_dir,
    lfs::Held,
    listing::{FileEntry, ObjectId},
    pack::{PackReader, Packs},
    pool::Pool,
    snapshot::read_again,
    tree::open,
};

/// Where contents come from that are not in the pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Repositories that may have them: the project's own, then those of its submodules.
    pub(super) repositories: Vec<Kept>,
    /// A working directory that may still have them.
    pub(super) root: Option<PathBuf>,
    /// What the repositories have given to git-lfs.
    pub(super) held: Vec<Held>,
}

impl Contents {
    /// The project's own repository, if it has one.
    pub(super) fn own_repository(&self) -> Option<&Path> {
        self.repositories.first().map(|kept| kept.git_dir.as_path())
    }
}

/// A repository, and whether it is a mirror. What is in a mirror was verified when it came. What is in a repository of
/// somebody else may have another id than it says, and would be taken for another project's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) git_dir: PathBuf,
    pub(super) is_mirror: bool,
}

/// The packs of all repositories, to be shared by the threads of a checkout.
pub(super) struct Opened<'a> {
    contents: &'a Contents,
    packs: Vec<Option<Arc<Packs>>>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(contents: &'a Contents) -> Self {
        let packs = |kept: &Kept| Packs::open(&object_directory(&kept.git_dir)).ok().map(Arc::new);
        Self { contents, packs: contents.repositories.iter().map(packs).collect() }
    }
}

/// Where a repository keeps its objects; a linked working directory shares them with others.
fn object_directory(git_dir: &Path) -> PathBuf {
    common_dir(git_dir).join("objects")
}

/// Reads contents, for one thread. Git's library is asked only for what is not found in packs.
pub(super) struct Reading<'a> {
    contents: &'a Contents,
    pool: &'a Pool,
    packs: Vec<Option<PackReader>>,
    opened: Vec<Repository>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(opened: &Opened<'a>, pool: &'a Pool) -> Self {
        let packs = opened.packs.iter().map(|packs| packs.clone().map(PackReader::new)).collect();
        Self { contents: opened.contents, pool, packs, opened: Vec::new() }
    }

    /// A content, from wherever it still is.
    pub(super) fn content(&mut self, path: &RelPath, entry: &FileEntry) -> Result<Vec<u8>, SourceError> {
        let root = self.contents.root.as_deref();
        if let Some(content) = root.and_then(|_| self.pool.read(entry.blob)) {
            return Ok(content);
        }
        if let Some(content) = self.in_packs(entry.blob) {
            return Ok(content);
        }
        if let Some(content) = self.in_repositories(entry.blob)? {
            return Ok(content);
        }
        root.and_then(|root| read_again(root, path, entry))
            .or_else(|| self.pool.read(entry.blob))
            .ok_or_else(|| SourceError::Changed(path.to_string()))
    }

    fn in_packs(&mut self, blob: ObjectId) -> Option<Vec<u8>> {
        let mut readers = self.packs.iter_mut().zip(&self.contents.repositories);
        readers.find_map(|(reader, kept)| {
            let content = reader.as_mut()?.blob(blob)?;
            let is_it = || ObjectId::of(ObjectType::Blob, &content).is_ok_and(|id| id == blob);
            (kept.is_mirror || is_it()).then_some(content)
        })
    }

    fn in_repositories(&mut self, blob: ObjectId) -> Result<Option<Vec<u8>>, SourceError> {
        if self.opened.is_empty() {
            let all = self.contents.repositories.iter();
            self.opened = all.map(|kept| open(&kept.git_dir)).collect::<Result<_, _>>()?;
        }
        let one = self.opened.len() == 1;
        for (repository, kept) in self.opened.iter().zip(&self.contents.repositories) {
            let odb = repository.odb().map_err(git("opening the objects", &kept.git_dir))?;
            let Ok(id) = blob.oid() else { continue };
            // A miss is looked into thoroughly, which is dear where one of several repositories is meant.
            let may_have = one || odb.exists_ext(id, OdbLookupFlags::NO_REFRESH);
            if let Some(object) = may_have.then(|| odb.read(id).ok()).flatten() {
                return Ok(Some(object.data().to_vec()));
            }
        }
        Ok(None)
    }
}
