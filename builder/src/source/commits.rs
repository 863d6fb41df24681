//! What was committed to a project between two states of it, and when a commit was made.

use std::path::Path;

use git2::{Commit, ErrorCode, Oid, Repository, Sort};
use staith_model::RelPath;

use super::{
    Resolved, SourceError, Sources,
    error::git,
    origin::{Origin, WorkTree, local},
    tree::open,
};

/// Commits that are told at most; nobody reads more.
const MOST: usize = 5_000;

/// A commit. All of it but the id was written by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFact {
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// The name of who wrote it.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// The rest of its message.
    pub body: String,
    /// When it was made, in milliseconds since 1970.
    pub at: u64,
}

/// The commits between two states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitsBetween {
    /// Those that the later state has and the earlier has not, the newest first; no merges, and none that leave the project's folder
    /// as it is.
    pub new: Vec<CommitFact>,
    /// Whether there are more than are told.
    pub more: bool,
    /// How many the earlier state has and the later has not: what they did is taken back, or was never there.
    pub gone: usize,
}

/// The repository that a project's folder is in, and where in it.
fn repository_of(folder: &Path) -> Result<(Repository, WorkTree), SourceError> {
    match local(folder)? {
        Origin::Directory { repository: Some(tree), .. } => Ok((open(&tree.git_dir)?, tree)),
        _ => Err(SourceError::NotARepository(folder.to_owned())),
    }
}

/// The commit that a branch, a tag, `HEAD` or any other name of git's stands for in the repository of the project in `folder`: its id in
/// hexadecimal digits; `None` if nothing is called so. Reads the repository, nothing else; blocks on the disk.
///
/// # Errors
/// There is no repository, or it can't be read.
pub fn commit_called(folder: &Path, name: &str) -> Result<Option<String>, SourceError> {
    let (repository, tree) = repository_of(folder)?;
    let found = repository.revparse_single(name).and_then(|object| object.peel_to_commit());
    match found {
        Ok(commit) => Ok(Some(commit.id().to_string())),
        Err(error)
            if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec | ErrorCode::Peel) =>
        {
            Ok(None)
        }
        Err(error) => Err(git("reading a commit", &tree.git_dir)(error)),
    }
}

/// When a commit of the repository of the project in `folder` was made, in milliseconds since 1970; `None` if there is no such commit.
/// Reads the repository, nothing else; blocks on the disk.
///
/// # Errors
/// There is no repository, or it can't be read.
pub fn committed_at(folder: &Path, commit: &str) -> Result<Option<u64>, SourceError> {
    let (repository, tree) = repository_of(folder)?;
    time_of(&repository, &tree.git_dir, commit)
}

fn time_of(repository: &Repository, git_dir: &Path, commit: &str) -> Result<Option<u64>, SourceError> {
    let Ok(id) = Oid::from_str(commit) else { return Ok(None) };
    match repository.find_commit(id) {
        Ok(commit) => Ok(Some(millis(&commit))),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(git("reading a commit", git_dir)(error)),
    }
}

/// The commits to the project in `folder` that `to` has and `from` has not; all of `to` where `from` is `None`. Both are whole ids.
/// Reads the repository, nothing else; blocks on the disk.
///
/// # Errors
/// There is no repository, it lacks one of the two, or it can't be read.
pub fn commits_between(folder: &Path, from: Option<&str>, to: &str) -> Result<CommitsBetween, SourceError> {
    let (repository, tree) = repository_of(folder)?;
    between(
        &Place { repository, git_dir: &tree.git_dir, folder: tree.folder.as_ref(), called: &tree.top },
        from,
        to,
    )
}

impl Sources {
    /// As [`commits_between`], of the repository that a source was found in: also one of another machine, or without a working
    /// directory. Reads what is there; fetches nothing.
    ///
    /// # Errors
    /// The source is of no repository, the repository lacks one of the two, or it can't be read.
    pub fn commits_between(
        &self,
        origin: &Origin,
        resolved: &Resolved,
        from: Option<&str>,
        to: &str,
    ) -> Result<CommitsBetween, SourceError> {
        let git_dir = repository_with(origin, resolved)?;
        let folder = match origin {
            Origin::Directory { repository: Some(tree), .. } => tree.folder.as_ref(),
            _ => None,
        };
        let place = Place { repository: open(git_dir)?, git_dir, folder, called: origin.place() };
        between(&place, from, to)
    }

    /// As [`committed_at`], of the repository that a source was found in.
    ///
    /// # Errors
    /// The source is of no repository, or it can't be read.
    pub fn committed_at(
        &self,
        origin: &Origin,
        resolved: &Resolved,
        commit: &str,
    ) -> Result<Option<u64>, SourceError> {
        let git_dir = repository_with(origin, resolved)?;
        time_of(&open(git_dir)?, git_dir, commit)
    }
}

fn repository_with<'a>(origin: &Origin, resolved: &'a Resolved) -> Result<&'a Path, SourceError> {
    let none = || SourceError::NotARepository(origin.place().to_owned());
    resolved.contents.own_repository().ok_or_else(none)
}

/// A project in a repository.
struct Place<'a> {
    repository: Repository,
    git_dir: &'a Path,
    /// The project's folder in it; `None` is all of it.
    folder: Option<&'a RelPath>,
    /// What people call it.
    called: &'a Path,
}

fn between(place: &Place<'_>, from: Option<&str>, to: &str) -> Result<CommitsBetween, SourceError> {
    let Place { repository, git_dir, folder, called } = place;
    let found = |text: &str| {
        let id = Oid::from_str(text).ok().filter(|id| repository.find_commit(*id).is_ok());
        id.ok_or_else(|| SourceError::NoSuchCommit {
            commit: text.to_owned(),
            repository: called.to_path_buf(),
        })
    };
    let (from, to) = (from.map(found).transpose()?, found(to)?);
    let failed = git("reading commits", git_dir);
    let read = || -> Result<CommitsBetween, git2::Error> {
        let mut between = CommitsBetween::default();
        for id in walk(repository, to, from)? {
            let commit = repository.find_commit(id?)?;
            if !concerns(&commit, *folder)? {
                continue;
            }
            between.more = between.new.len() >= MOST;
            if between.more {
                break;
            }
            between.new.push(fact(&commit));
        }
        if let Some(from) = from {
            for id in walk(repository, from, Some(to))?.take(MOST) {
                let commit = repository.find_commit(id?)?;
                between.gone += usize::from(concerns(&commit, *folder)?);
            }
        }
        Ok(between)
    };
    read().map_err(failed)
}

fn walk(repository: &Repository, from: Oid, without: Option<Oid>) -> Result<git2::Revwalk<'_>, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(from)?;
    if let Some(without) = without {
        walk.hide(without)?;
    }
    Ok(walk)
}

/// Whether a commit did something to the project: merges only bring together what others did.
fn concerns(commit: &Commit<'_>, folder: Option<&RelPath>) -> Result<bool, git2::Error> {
    if commit.parent_count() > 1 {
        return Ok(false);
    }
    let Some(folder) = folder else { return Ok(true) };
    let there = |commit: &Commit<'_>| -> Result<Option<Oid>, git2::Error> {
        match commit.tree()?.get_path(Path::new(folder.as_str())) {
            Ok(entry) => Ok(Some(entry.id())),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    let before = match commit.parent_count() {
        0 => None,
        _ => there(&commit.parent(0)?)?,
    };
    Ok(there(commit)? != before)
}

fn fact(commit: &Commit<'_>) -> CommitFact {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let message = text(commit.message_bytes());
    let (subject, body) = message.trim_start().split_once('\n').unwrap_or((message.trim_start(), ""));
    CommitFact {
        id: commit.id().to_string(),
        author: text(commit.author().name_bytes()),
        subject: subject.trim_end().to_owned(),
        body: body.trim().to_owned(),
        at: millis(commit),
    }
}

fn millis(commit: &Commit<'_>) -> u64 {
    u64::try_from(commit.time().seconds()).unwrap_or_default().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use git2::{Signature, Time};

    use super::*;

    struct Project {
        place: tempfile::TempDir,
        repository: Repository,
    }

    impl Project {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let repository = Repository::init(place.path()).unwrap();
            Self { place, repository }
        }

        /// Commits a file on top of these commits.
        fn commit(&self, path: &str, message: &str, seconds: i64, parents: &[&str]) -> String {
            let at = self.place.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, message).unwrap();
            let mut index = self.repository.index().unwrap();
            index.add_path(Path::new(path)).unwrap();
            let tree = self.repository.find_tree(index.write_tree().unwrap()).unwrap();
            let who = Signature::new("Anna", "anna@example.org", &Time::new(seconds, 0)).unwrap();
            let parents: Vec<Commit<'_>> = parents
                .iter()
                .map(|id| self.repository.find_commit(Oid::from_str(id).unwrap()).unwrap())
                .collect();
            let parents: Vec<&Commit<'_>> = parents.iter().collect();
            self.repository.commit(None, &who, &who, message, &tree, &parents).unwrap().to_string()
        }

        fn between(&self, folder: &str, from: Option<&str>, to: &str) -> Vec<String> {
            let found = commits_between(&self.place.path().join(folder), from, to).unwrap();
            found.new.into_iter().map(|commit| commit.subject).collect()
        }
    }

    #[test]
    fn what_came_and_what_went_is_told_without_merges() {
        let project = Project::new();
        let first = project.commit("a", "first", 1_000, &[]);
        let left = project.commit("b", "left\n\nCloses #7\n", 2_000, &[&first]);
        let right = project.commit("c", "right", 3_000, &[&first]);
        let merged = project.commit("d", "Merge", 4_000, &[&left, &right]);
        let top = project.commit("e", "top", 5_000, &[&merged]);
        assert_eq!(project.between("", Some(&first), &top), ["top", "right", "left"]);
        assert_eq!(project.between("", None, &first), ["first"]);
        let back = commits_between(project.place.path(), Some(&right), &left).unwrap();
        assert_eq!((back.new.len(), back.gone, back.more), (1, 1, false));
        let told = &back.new[0];
        assert_eq!(
            (told.subject.as_str(), told.body.as_str(), told.author.as_str()),
            ("left", "Closes #7", "Anna")
        );
        assert_eq!(
            (told.at, committed_at(project.place.path(), &left).unwrap()),
            (2_000_000, Some(2_000_000))
        );
    }

    #[test]
    fn only_what_concerns_the_projects_folder_is_told() {
        let project = Project::new();
        let first = project.commit("shop/a", "first", 1_000, &[]);
        let other = project.commit("other/a", "elsewhere", 2_000, &[&first]);
        let mine = project.commit("shop/b", "mine", 3_000, &[&other]);
        assert_eq!(project.between("shop", Some(&first), &mine), ["mine"]);
        assert_eq!(project.between("other", None, &mine), ["elsewhere"]);
    }

    #[test]
    fn a_commit_that_is_not_there_is_told() {
        let project = Project::new();
        let first = project.commit("a", "first", 1_000, &[]);
        let gone = "0123456789012345678901234567890123456789";
        let folder = project.place.path();
        for bad in [gone, "no id", ""] {
            let refused = commits_between(folder, Some(bad), &first).unwrap_err();
            assert!(refused.remedy().unwrap().contains("git fetch"), "{refused}");
            assert_eq!(committed_at(folder, bad).unwrap(), None);
        }
        let nowhere = tempfile::tempdir().unwrap();
        assert!(committed_at(nowhere.path(), &first).is_err());
    }
}
