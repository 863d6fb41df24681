//! The branches and tags of an origin, and where in it a commit is. Somebody else may claim anything about a commit; this is what the
//! repository itself shows.

use std::path::PathBuf;

use git2::{Oid, Repository};

use super::{Origin, Progress, Selection, SourceError, Sources, error::git, remote::Mirror, tree::open};

const BRANCHES: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// A branch or a tag and the commit that it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Its whole name.
    pub name: String,
    /// The commit's full id; of an annotated tag, that of the commit that it points to.
    pub commit: String,
}

/// Where in a repository a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is what the reference names, or what a branch had before.
    There,
    /// Not there, but on another branch or tag.
    Elsewhere,
    /// On none.
    Nowhere,
}

impl Sources {
    /// The branches and tags of an origin as they are now, by name. A repository on another machine is fetched, what of it has not come
    /// before.
    ///
    /// # Errors
    /// It is no repository, or can't be reached or read.
    pub fn references(
        &self,
        origin: &Origin,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Named>, SourceError> {
        let (repository, git_dir) = self.repository(origin, Some(progress))?;
        let read = |error| git("reading the references", &git_dir)(error);
        let mut found = Vec::new();
        for reference in repository.references().map_err(read)? {
            let reference = reference.map_err(read)?;
            let Ok(name) = reference.name() else { continue };
            if !name.starts_with(BRANCHES) && !name.starts_with(TAGS) {
                continue;
            }
            // A tag may point to a file; that is nothing to build.
            if let Ok(commit) = reference.peel_to_commit() {
                found.push(Named { name: name.to_owned(), commit: commit.id().to_string() });
            }
        }
        found.sort();
        Ok(found)
    }

    /// Where a commit is that was found before: on the branch or tag of this whole name, elsewhere, or nowhere. Nothing is fetched.
    ///
    /// # Errors
    /// The repository can't be read.
    pub fn place_of(&self, origin: &Origin, commit: &str, name: Option<&str>) -> Result<Place, SourceError> {
        let (repository, git_dir) = self.repository(origin, None)?;
        let read = |error| git("reading the history", &git_dir)(error);
        let Ok(commit) = Oid::from_str(commit) else { return Ok(Place::Nowhere) };
        if let Some(name) = name
            && let Ok(tip) = repository.find_reference(name).and_then(|found| found.peel_to_commit())
            && (tip.id() == commit
                || (name.starts_with(BRANCHES) && is_before(&repository, commit, tip.id())?))
        {
            return Ok(Place::There);
        }
        for reference in repository.references().map_err(read)? {
            let reference = reference.map_err(read)?;
            let counts =
                reference.name().is_ok_and(|name| name.starts_with(BRANCHES) || name.starts_with(TAGS));
            if counts
                && let Ok(tip) = reference.peel_to_commit()
                && (tip.id() == commit || is_before(&repository, commit, tip.id())?)
            {
                return Ok(Place::Elsewhere);
            }
        }
        Ok(Place::Nowhere)
    }

    /// The repository of an origin, or its mirror; brought up to date if somebody hears of the progress.
    fn repository(
        &self,
        origin: &Origin,
        progress: Option<&mut dyn FnMut(Progress)>,
    ) -> Result<(Repository, PathBuf), SourceError> {
        let git_dir = match origin {
            Origin::Directory { root, repository: None } => {
                return Err(SourceError::NotARepository(root.clone()));
            }
            Origin::Directory { repository: Some(tree), .. } => tree.git_dir.clone(),
            Origin::Repository { git_dir } => git_dir.clone(),
            Origin::Remote(remote) => {
                let mirror =
                    Mirror::new(&self.store, &self.bench, &self.reach, remote).within(self.pool.allowance());
                match progress {
                    None => mirror.place().to_owned(),
                    Some(progress) => {
                        let place = mirror.with(&Selection::Head, &mut self.counted(progress))?;
                        self.pool.settle();
                        place
                    }
                }
            }
        };
        Ok((open(&git_dir)?, git_dir))
    }
}

/// Whether a commit came before another. One that is not there came before none.
fn is_before(repository: &Repository, commit: Oid, tip: Oid) -> Result<bool, SourceError> {
    if repository.find_commit(commit).is_err() {
        return Ok(false);
    }
    repository.graph_descendant_of(tip, commit).map_err(git("reading the history", repository.path()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use git2::Signature;

    use super::*;

    /// A repository with `main` at its second commit, a tag at its first, and a commit on nothing. Gives the three.
    fn repository(at: &Path) -> [Oid; 3] {
        let repository = Repository::init_bare(at).unwrap();
        let by = Signature::new("Test", "test@example.org", &git2::Time::new(0, 0)).unwrap();
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let commit = |reference, message, parents: &[&git2::Commit<'_>]| {
            repository.commit(reference, &by, &by, message, &tree, parents).unwrap()
        };
        let first = commit(Some("refs/heads/main"), "first", &[]);
        let first_commit = repository.find_commit(first).unwrap();
        let second = commit(Some("refs/heads/main"), "second", &[&first_commit]);
        repository.tag("v1", first_commit.as_object(), &by, "a tag", false).unwrap();
        let stray = commit(None, "stray", &[&first_commit]);
        [first, second, stray]
    }

    #[test]
    fn what_is_there_and_where_a_commit_is() {
        let place = tempfile::tempdir().unwrap();
        let [first, second, stray] = repository(&place.path().join("r.git"));
        let origin = Origin::parse("r.git", place.path()).unwrap();
        let sources = Sources::open(&place.path().join("store"), None).unwrap();
        let named = |name: &str, commit: Oid| Named { name: name.into(), commit: commit.to_string() };
        assert_eq!(
            sources.references(&origin, &mut |_| {}).unwrap(),
            [named("refs/heads/main", second), named("refs/tags/v1", first)]
        );
        for (commit, name, found) in [
            (second, Some("refs/heads/main"), Place::There),
            (first, Some("refs/heads/main"), Place::There),
            (first, Some("refs/tags/v1"), Place::There),
            (second, Some("refs/tags/v1"), Place::Elsewhere),
            (second, Some("refs/heads/none"), Place::Elsewhere),
            (first, None, Place::Elsewhere),
            (stray, Some("refs/heads/main"), Place::Nowhere),
            (Oid::ZERO_SHA1, None, Place::Nowhere),
        ] {
            assert_eq!(
                sources.place_of(&origin, &commit.to_string(), name).unwrap(),
                found,
                "{commit} {name:?}"
            );
        }
    }
}
