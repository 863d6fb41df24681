//! What a source goes by in its repository, and in which files it differs from an earlier one.

use git2::{Oid, Reference, Repository};
use staith_model::RelPath;

use super::{Listing, Origin, Resolved, Selection, SourceError, Sources, error::git, reference, tree::open};

const BRANCHES: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// What a source goes by in its repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Called {
    /// The branch that was asked for, or that is checked out.
    pub branch: Option<String>,
    /// The tag that was asked for, or one that points to the commit; none where there are changes beside the commit.
    pub tag: Option<String>,
}

impl Sources {
    /// What a source goes by in its repository; nothing where there is none. Reads references, nothing else.
    ///
    /// # Errors
    /// The repository can't be read.
    pub fn called(&self, resolved: &Resolved, selection: &Selection) -> Result<Called, SourceError> {
        let Some(git_dir) = resolved.contents.own_repository() else { return Ok(Called::default()) };
        let repository = open(git_dir)?;
        let (branch, named_tag) = match selection {
            Selection::Reference(name) => (branch_of(&repository, name), tag_of(&repository, name)),
            // A request to merge goes by the branch that it comes from.
            Selection::Merge { head, .. } => (branch_of(&repository, head), None),
            Selection::AsItIs | Selection::Head => (current_branch(&repository), None),
        };
        let commit = resolved.source.commit.as_deref().filter(|_| !resolved.source.dirty);
        let tag = match (named_tag, commit.and_then(|id| Oid::from_str(id).ok())) {
            (None, Some(commit)) => tag_at(&repository, commit).map_err(git("reading the tags", git_dir))?,
            (named, _) => named,
        };
        Ok(Called { branch, tag })
    }

    /// The files that differ from where this source and `base` (a branch, a tag or a commit) parted: changed, new and gone
    /// ones, sorted. What is not committed counts as well.
    ///
    /// # Errors
    /// There is no repository, `base` names nothing in it, or what it names can't be read.
    pub fn changed_since(
        &self,
        origin: &Origin,
        resolved: &Resolved,
        base: &str,
    ) -> Result<Vec<RelPath>, SourceError> {
        let place = origin.place();
        let Some(git_dir) = resolved.contents.own_repository() else {
            return Err(SourceError::NotARepository(place.to_owned()));
        };
        let parted = {
            let repository = open(git_dir)?;
            let base = reference::commit(&repository, base, place)?.id();
            let own = resolved.source.commit.as_deref().and_then(|id| Oid::from_str(id).ok());
            // What the base has got since is not this source's doing. Without a common ancestor, the base itself counts.
            own.and_then(|own| repository.merge_base(base, own).ok()).unwrap_or(base)
        };
        match self.resolve(origin, &Selection::Reference(parted.to_string()), &mut |_| {}) {
            Ok(before) => Ok(differing(&before.files, &resolved.files)),
            // The whole folder is new.
            Err(SourceError::FolderNotInCommit { .. }) => Ok(differing(&Listing::new(), &resolved.files)),
            Err(error) => Err(error),
        }
    }
}

/// HEAD's branch, also one that has no commit yet.
fn current_branch(repository: &Repository) -> Option<String> {
    let head = repository.find_reference("HEAD").ok()?;
    head.symbolic_target().ok()??.strip_prefix(BRANCHES).map(str::to_owned)
}

/// The branch that a name stands for, by git's order: a tag of the same name comes first.
fn branch_of(repository: &Repository, name: &str) -> Option<String> {
    let short = match name.strip_prefix(BRANCHES) {
        Some(short) => short,
        None if tag_of(repository, name).is_some() => return None,
        None => name,
    };
    let is_there = |prefix: &str| {
        let whole = format!("{prefix}{short}");
        Reference::is_valid_name(&whole) && repository.find_reference(&whole).is_ok()
    };
    (is_there(BRANCHES) || is_there("refs/remotes/origin/")).then(|| short.to_owned())
}

fn tag_of(repository: &Repository, name: &str) -> Option<String> {
    let short = name.strip_prefix(TAGS).unwrap_or(name);
    let whole = format!("{TAGS}{short}");
    let is_there = Reference::is_valid_name(&whole) && repository.find_reference(&whole).is_ok();
    is_there.then(|| short.to_owned())
}

/// The last by name of the tags that point to a commit: one and the same on every machine.
fn tag_at(repository: &Repository, commit: Oid) -> Result<Option<String>, git2::Error> {
    let mut found: Option<String> = None;
    for tag in repository.references_glob("refs/tags/*")? {
        let tag = tag?;
        // Packed references know what annotated tags point to; only loose ones have to be looked at.
        let names_it = tag.target_peel().or(tag.target()) == Some(commit)
            || (tag.target_peel().is_none() && tag.peel_to_commit().is_ok_and(|it| it.id() == commit));
        let name = tag.name().ok().and_then(|name| name.strip_prefix(TAGS)).filter(|_| names_it);
        if let Some(name) = name
            && found.as_deref().is_none_or(|found| found < name)
        {
            found = Some(name.to_owned());
        }
    }
    Ok(found)
}

/// Paths that one of two sorted listings has and the other has not, or has otherwise.
fn differing(before: &Listing, now: &Listing) -> Vec<RelPath> {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    let mut paths = Vec::new();
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => return paths,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { now.next() } else { None };
        let is_same = old.map(|(_, file)| (file.blob, file.letter()))
            == new.map(|(_, file)| (file.blob, file.letter()));
        if !is_same {
            paths.extend(old.or(new).map(|(path, _)| path.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use git2::ObjectType;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::source::{FileEntry, FileMode, ObjectId};

    fn listing(files: &BTreeMap<String, u8>) -> Listing {
        let entry = |content: &u8| FileEntry {
            blob: ObjectId::of(ObjectType::Blob, &[*content]).unwrap(),
            mode: FileMode::Regular,
            size: 1,
            lfs: false,
        };
        files.iter().map(|(path, content)| (path.as_str().try_into().unwrap(), entry(content))).collect()
    }

    proptest! {
        #[test]
        fn exactly_what_differs_is_named(
            one in prop::collection::btree_map("[a-c]{1,2}", 0..3u8, 0..8),
            other in prop::collection::btree_map("[a-c]{1,2}", 0..3u8, 0..8),
        ) {
            let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let expected: Vec<&str> =
                paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).map(String::as_str).collect();
            let found = differing(&listing(&one), &listing(&other));
            prop_assert_eq!(found.iter().map(RelPath::as_str).collect::<Vec<_>>(), expected);
        }
    }
}
