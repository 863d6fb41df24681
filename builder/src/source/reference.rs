//! From what people call a commit to the commit and the tree of a project's folder.

use std::path::Path;

use git2::{Commit, ErrorCode, Oid, Repository};
use staith_model::RelPath;

use super::{
    attributes::{self, AttributeFile},
    error::{SourceError, git},
};

/// A commit and the tree of a folder in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) commit: Oid,
    pub(super) tree: Oid,
    /// The .gitattributes files above the folder that may hand files to git-lfs.
    pub(super) attributes_above: Vec<AttributeFile>,
}

/// The commit that HEAD names, or `None` before the first commit.
pub(super) fn head<'a>(repository: &'a Repository, place: &Path) -> Result<Option<Commit<'a>>, SourceError> {
    match repository.head().and_then(|head| head.peel_to_commit()) {
        Ok(commit) => Ok(Some(commit)),
        Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => Ok(None),
        Err(error) => Err(git("finding HEAD", place)(error)),
    }
}

/// The commit that a branch, a tag, or a full or short id names. Where several do, git's own order decides: tags before
/// branches before branches of the remote.
pub(super) fn commit<'a>(
    repository: &'a Repository,
    reference: &str,
    place: &Path,
) -> Result<Commit<'a>, SourceError> {
    let near = || suggestions(repository, reference);
    let unknown = |near| SourceError::NoSuchReference {
        reference: reference.to_owned(),
        repository: place.to_owned(),
        near,
    };
    let has_nothing = repository.references().is_ok_and(|mut all| all.next().is_none());
    if has_nothing && repository.head_detached().is_ok_and(|detached| !detached) {
        return Err(SourceError::NoCommit(place.to_owned()));
    }
    if reference.is_empty() || reference.starts_with('-') {
        return Err(unknown(near()));
    }
    let found = repository
        .revparse_single(reference)
        .or_else(|error| match error.code() {
            ErrorCode::Ambiguous => Err(error),
            _ => repository.revparse_single(&format!("refs/remotes/origin/{reference}")).map_err(|_| error),
        })
        .and_then(|object| object.peel_to_commit());
    match found {
        Ok(commit) => Ok(commit),
        Err(error) if error.code() == ErrorCode::Ambiguous => {
            Err(SourceError::Ambiguous { reference: reference.to_owned(), repository: place.to_owned() })
        }
        Err(error)
            if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Peel) =>
        {
            Err(unknown(near()))
        }
        Err(error) => Err(git("finding the reference", place)(error)),
    }
}

/// Branches and tags, those most like `reference` first; if none is like it, some that are there.
fn suggestions(repository: &Repository, reference: &str) -> Vec<String> {
    let Ok(references) = repository.references() else { return Vec::new() };
    let short = |name: &str| {
        let kinds = ["refs/heads/", "refs/tags/", "refs/remotes/origin/"];
        kinds.iter().find_map(|kind| name.strip_prefix(kind)).map(str::to_owned)
    };
    let mut names: Vec<String> =
        references.flatten().filter_map(|found| found.name().ok().and_then(short)).collect();
    names.retain(|name| name != "HEAD");
    names.sort_unstable();
    names.dedup();
    let likeness = |name: &str| strsim::jaro_winkler(name, reference);
    names.sort_by(|left, right| likeness(right).total_cmp(&likeness(left)));
    let close = names.iter().take_while(|name| likeness(name) > 0.75).count();
    names.truncate(if close > 0 { close.min(3) } else { 5 });
    names
}

/// The tree of `folder` in a commit.
pub(super) fn folder_of(
    repository: &Repository,
    commit: &Commit<'_>,
    folder: Option<&RelPath>,
    place: &Path,
) -> Result<Found, SourceError> {
    let mut tree = commit.tree().map_err(git("reading the commit's tree", place))?;
    let (mut attributes_above, mut above) = (Vec::new(), String::new());
    for part in folder.map(RelPath::as_str).into_iter().flat_map(|folder| folder.split('/')) {
        let attributes =
            tree.get_name(".gitattributes").filter(|found| found.filemode_raw() & 0o170_000 == 0o100_000);
        if let Some(blob) = attributes.and_then(|found| repository.find_blob(found.id()).ok())
            && attributes::may_matter(blob.content())
        {
            attributes_above.push((above.clone(), blob.content().to_vec()));
        }
        above = if above.is_empty() { part.to_owned() } else { format!("{above}/{part}") };
        let inner = tree.get_name(part).and_then(|entry| repository.find_tree(entry.id()).ok());
        tree = inner.ok_or_else(|| SourceError::FolderNotInCommit {
            folder: folder.map(ToString::to_string).unwrap_or_default(),
            commit: commit.id().to_string(),
        })?;
    }
    Ok(Found { commit: commit.id(), tree: tree.id(), attributes_above })
}
