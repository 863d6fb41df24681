//! What a pull request would be once merged, found without writing into any repository.

use std::path::Path;

use git2::{Index, IndexConflict, OdbLookupFlags, Repository};
use staith_model::RelPath;

use super::{
    error::{SourceError, at, git},
    pool::{Item, Pool},
    record::Record,
    reference,
    tree::{self, open},
};

/// The result of a merge. It is no commit: it has no history, and nobody has it but this process.
pub(super) struct Merged {
    /// The commit that was merged.
    pub(super) head: git2::Oid,
    /// The files of the project's folder.
    pub(super) record: Record,
    /// Whether they are others than those of `head`.
    pub(super) differs: bool,
    /// What people should know.
    pub(super) notice: String,
    /// The .gitmodules file at the top.
    pub(super) declarations: Vec<u8>,
    /// The .lfsconfig file at the top.
    pub(super) lfs_config: Vec<u8>,
}

/// Merges `head` into `base`, as git's own merge does. Files that the merge writes anew go into the pool: no repository has
/// them.
///
/// No merge driver of the repository is run; git's library knows its own only.
pub(super) fn merged(
    git_dir: &Path,
    folder: Option<&RelPath>,
    (head, base): (&str, &str),
    place: &Path,
    pool: &Pool,
) -> Result<Merged, SourceError> {
    let repository = open(git_dir)?;
    // What the merge writes goes to the place of highest priority, which is memory.
    let odb = repository.odb().map_err(git("opening the objects", place))?;
    odb.add_new_mempack_backend(1000).map_err(git("opening the objects", place))?;
    let ours = reference::commit(&repository, base, place)?;
    let theirs = reference::commit(&repository, head, place)?;
    let index = repository.merge_commits(&ours, &theirs, None).map_err(git("merging", place))?;
    refuse_conflicts(&index, head, base)?;
    let record = tree::read_index(&repository, git_dir, &index, folder)?;
    let alone = reference::folder_of(&repository, &theirs, folder, place).ok();
    let record = record.ok_or_else(|| SourceError::FolderNotInCommit {
        folder: folder.map(ToString::to_string).unwrap_or_default(),
        commit: theirs.id().to_string(),
    })?;
    keep_new(&repository, git_dir, &record, pool)?;
    let at_the_top = |name: &str| {
        let entry = index.get_path(Path::new(name), 0).filter(|entry| entry.mode & 0o170_000 == 0o100_000);
        let blob = entry.and_then(|entry| repository.find_blob(entry.id).ok());
        blob.map(|blob| blob.content().to_vec()).unwrap_or_default()
    };
    let (theirs, ours) = (theirs.id(), ours.id());
    Ok(Merged {
        head: theirs,
        declarations: at_the_top(".gitmodules"),
        lfs_config: at_the_top(".lfsconfig"),
        differs: alone.is_none_or(|alone| record.tree != alone.tree.into()),
        record,
        notice: format!("what runs is `{head}` ({}) merged into `{base}` ({})", short(theirs), short(ours)),
    })
}

fn refuse_conflicts(index: &Index, head: &str, base: &str) -> Result<(), SourceError> {
    if !index.has_conflicts() {
        return Ok(());
    }
    let conflicts = index.conflicts().into_iter().flatten().flatten();
    let mut paths: Vec<String> = conflicts.filter_map(path_of).collect();
    paths.sort_unstable();
    paths.dedup();
    Err(SourceError::Conflict { head: head.to_owned(), base: base.to_owned(), paths })
}

fn path_of(conflict: IndexConflict) -> Option<String> {
    let side = conflict.our.or(conflict.their).or(conflict.ancestor)?;
    Some(String::from_utf8_lossy(&side.path).into_owned())
}

fn keep_new(merged: &Repository, git_dir: &Path, record: &Record, pool: &Pool) -> Result<(), SourceError> {
    let doing = "reading what the merge made";
    let on_disk = open(git_dir)?;
    let known = on_disk.odb().map_err(git(doing, git_dir))?;
    let made = merged.odb().map_err(git(doing, git_dir))?;
    // Of what git-lfs keeps, a merge makes pointers, which were read already.
    for file in record.files.iter().filter(|file| !file.entry.lfs) {
        let id = file.entry.blob.oid().map_err(git(doing, git_dir))?;
        let item = Item::first(&file.entry);
        if known.exists_ext(id, OdbLookupFlags::NO_REFRESH) || pool.has(item) {
            continue;
        }
        let content = made.read(id).map_err(git(doing, git_dir))?;
        let kept = pool.insert(item, content.data());
        kept.map_err(at("keeping the content of", Path::new(file.path.as_str())))?;
    }
    Ok(())
}

fn short(id: git2::Oid) -> String {
    id.to_string().chars().take(12).collect()
}
