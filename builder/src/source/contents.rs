//! Where the contents of files are that are not in the pool.

use std::path::PathBuf;

use git2::{Odb, OdbLookupFlags, Repository};
use staith_model::RelPath;

use super::{
    error::{SourceError, git},
    listing::{FileEntry, ObjectId},
    pool::Pool,
    snapshot::read_again,
    tree::open,
};

/// Where contents come from that are not in the pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Repositories that may have them: the project's own, then those of its submodules.
    pub(super) repositories: Vec<PathBuf>,
    /// A working directory that may still have them.
    pub(super) root: Option<PathBuf>,
}

/// Reads contents, for one thread. Opens repositories only when the pool does not have what is asked for.
pub(super) struct Reading<'a> {
    contents: &'a Contents,
    pool: &'a Pool,
    opened: Vec<Repository>,
}

impl<'a> Reading<'a> {
    pub(super) const fn new(contents: &'a Contents, pool: &'a Pool) -> Self {
        Self { contents, pool, opened: Vec::new() }
    }

    /// A content, from wherever it still is.
    pub(super) fn content(&mut self, path: &RelPath, entry: &FileEntry) -> Result<Vec<u8>, SourceError> {
        let root = self.contents.root.as_deref();
        if let Some(content) = root.and_then(|_| self.pool.read(entry.blob)) {
            return Ok(content);
        }
        if let Some(content) = self.in_repositories(entry.blob)? {
            return Ok(content);
        }
        root.and_then(|root| read_again(root, path, entry))
            .or_else(|| self.pool.read(entry.blob))
            .ok_or_else(|| SourceError::Changed(path.to_string()))
    }

    fn in_repositories(&mut self, blob: ObjectId) -> Result<Option<Vec<u8>>, SourceError> {
        if self.opened.is_empty() {
            let opened: Result<_, _> =
                self.contents.repositories.iter().map(|git_dir| open(git_dir)).collect();
            self.opened = opened?;
        }
        let one = self.opened.len() == 1;
        for (repository, git_dir) in self.opened.iter().zip(&self.contents.repositories) {
            let odb = repository.odb().map_err(git("opening the objects", git_dir))?;
            // A miss is looked into thoroughly, which is dear where one of several repositories is meant.
            let may_have = |odb: &Odb<'_>| {
                blob.oid().is_ok_and(|id| one || odb.exists_ext(id, OdbLookupFlags::NO_REFRESH))
            };
            if !may_have(&odb) {
                continue;
            }
            if let Ok(object) = blob.oid().and_then(|id| odb.read(id)) {
                return Ok(Some(object.data().to_vec()));
            }
        }
        Ok(None)
    }
}
