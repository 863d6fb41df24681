//! What can go wrong with a source.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{BadGlob, FetchFailure, LfsFailure};
use crate::upkeep::{NoRoom, is_over_budget};

/// Why a source could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The text names a kind of place that can't be built from.
    #[error("`{}` can't be built from: {why}", .text.escape_debug())]
    UnsupportedScheme {
        /// What was asked for.
        text: String,
        /// Why not.
        why: String,
        /// What to do instead.
        remedy: String,
    },
    /// A repository on another machine could not be fetched.
    #[error("`{url}` could not be fetched: {why}")]
    Fetch {
        /// Its address, without credentials.
        url: String,
        /// Why.
        why: FetchFailure,
    },
    /// There is nothing at this path.
    #[error("there is nothing at `{}`", .0.display())]
    NotThere(PathBuf),
    /// The path names a file.
    #[error("`{}` is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// A commit was asked for where there is no repository.
    #[error("`{}` is not in a git repository, so it has no commit to build", .0.display())]
    NotARepository(PathBuf),
    /// The repository has no commit yet.
    #[error("the repository `{}` has no commit yet", .0.display())]
    NoCommit(PathBuf),
    /// The reference names nothing.
    #[error("`{}` is no branch, tag or commit of `{}`", .reference.escape_debug(), .repository.display())]
    NoSuchReference {
        /// What was asked for.
        reference: String,
        /// Where.
        repository: PathBuf,
        /// Branches and tags with similar names, or, failing that, some that are there.
        near: Vec<String>,
    },
    /// A commit that is known by its id is not in the repository.
    #[error("the commit {} is not in the repository `{}`", .commit.escape_debug(), .repository.display())]
    NoSuchCommit {
        /// The commit.
        commit: String,
        /// Where it should be.
        repository: PathBuf,
    },
    /// The short commit id fits several commits.
    #[error("the short id `{reference}` fits several commits of `{}`", .repository.display())]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// Where.
        repository: PathBuf,
    },
    /// The project's folder does not exist in that commit.
    #[error("the commit {commit} has no folder `{folder}`")]
    FolderNotInCommit {
        /// The folder, below the top of the repository.
        folder: String,
        /// The full commit id.
        commit: String,
    },
    /// Two commits that were to be merged change the same lines.
    #[error("`{}` can't be merged into `{}`: both change {}", .head.escape_debug(), .base.escape_debug(), some_of(.paths))]
    Conflict {
        /// What was to be merged.
        head: String,
        /// Into what.
        base: String,
        /// The files that both sides change, each in its own way.
        paths: Vec<String>,
    },
    /// A repository inside of the working directory that is no submodule of it.
    #[error("`{0}` is a repository of its own, and no submodule of the one around it")]
    OtherRepository(String),
    /// A submodule that can't be had.
    #[error("the submodule `{path}` can't be had: {why}")]
    Submodule {
        /// Where it is in the repository.
        path: String,
        /// Why not.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// A submodule that was looked for and could not be had.
    #[error("the submodule `{path}` can't be had: {source}")]
    InSubmodule {
        /// Where it is in the repository.
        path: String,
        /// Why not.
        source: Box<SourceError>,
    },
    /// The content of a file that git-lfs keeps can't be had.
    #[error("`{}` is kept by git-lfs as the object {oid}, which can't be had: {why}", .path.escape_debug())]
    Lfs {
        /// The file.
        path: String,
        /// The object, as 64 hexadecimal digits.
        oid: String,
        /// Why not.
        why: Box<LfsFailure>,
    },
    /// A file that a program of the project's own has changed before git-lfs stored it.
    #[error("`{}` is kept by git-lfs with an extension, which would be a program to run", .0.escape_debug())]
    LfsExtension(String),
    /// A name that is not UTF-8.
    #[error("the name `{0}` is not UTF-8")]
    NotUtf8(String),
    /// Something that no honest tool makes.
    #[error("the tree is refused because of `{}`: {why}", .path.escape_debug())]
    Hostile {
        /// Where.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A file that is larger than any source file.
    #[error("`{path}` holds {bytes} bytes; a source file holds at most {limit}")]
    TooLarge {
        /// Where.
        path: String,
        /// What was found.
        bytes: u64,
        /// What is taken.
        limit: u64,
    },
    /// More files than any source has.
    #[error("`{}` holds more than {limit} files", .at.display())]
    TooMany {
        /// Where.
        at: PathBuf,
        /// What is taken.
        limit: usize,
    },
    /// A file's content was seen before and can't be had any more.
    #[error("`{0}` changed or vanished while it was being read")]
    Changed(String),
    /// Git's library refused.
    #[error("{doing} in the repository `{}` failed: {}", .repository.display(), .source.message())]
    Git {
        /// What was being done.
        doing: &'static str,
        /// Where.
        repository: PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// The file system refused.
    #[error("{doing} `{}` failed: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A glob is no glob.
    #[error(transparent)]
    BadGlob(#[from] BadGlob),
}

impl SourceError {
    /// What to do about it, in a sentence for people.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::UnsupportedScheme { remedy, .. } => remedy.clone(),
            Self::Fetch { why, .. } => why.remedy(),
            Self::NotThere(_) => "Check the path, or leave it out to build the current directory.".into(),
            Self::NotADirectory(path) => {
                let parent = path.parent().unwrap_or(Path::new("."));
                format!("Name the directory that holds it: `{}`.", parent.display())
            }
            Self::NotARepository(_) => {
                "Leave out --ref and --clean to build the directory as it is, or run `git init` and commit."
                    .into()
            }
            Self::NoCommit(_) => {
                "Commit something, name a branch with --ref, or leave out --clean to build the working directory as \
                 it is."
                    .into()
            }
            Self::NoSuchReference { near, .. } if near.is_empty() => {
                "The repository has no branches and no tags; name a commit by its id.".into()
            }
            Self::NoSuchReference { near, .. } => {
                format!(
                    "Did you mean {}?",
                    near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
                )
            }
            Self::NoSuchCommit { .. } => {
                "Bring it there with `git fetch --all`, and `git fetch --unshallow` where the history was cut off."
                    .into()
            }
            Self::Ambiguous { .. } => "Write more digits of the commit's id.".into(),
            Self::FolderNotInCommit { .. } => {
                "Choose a commit in which the folder exists, or give the path of the folder that it had then."
                    .into()
            }
            Self::Conflict { base, .. } => {
                format!("Merge `{base}` into the branch, resolve the conflicts, and commit.")
            }
            Self::OtherRepository(path) => format!(
                "Make it a submodule (`git submodule add`), take its files into the repository itself, or, if the \
                 build does not need them, list `{path}` in .gitignore."
            ),
            Self::Submodule { remedy, .. } => remedy.clone(),
            Self::InSubmodule { source, .. } => return source.remedy(),
            Self::Lfs { why, .. } => why.remedy(),
            Self::LfsExtension(_) => {
                "Run `git lfs pull` and build the working directory as it is, without --ref or --clean."
                    .into()
            }
            Self::NotUtf8(_) => "Rename it, or list it in .gitignore.".into(),
            Self::TooLarge { .. } | Self::TooMany { .. } => {
                "List what the build does not need in .gitignore.".into()
            }
            Self::Changed(_) => "Run again when nothing writes there.".into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "Give the user who runs Staith permission to read there, or run it as the owner.".into()
            }
            Self::Io { source, .. } if is_over_budget(source) => NoRoom::REMEDY.into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "Free some space on that file system.".into()
            }
            Self::Git { source, .. } if source.message().contains("object format") => {
                "Repositories with SHA-256 ids are not supported; export the files and build the directory."
                    .into()
            }
            Self::Hostile { .. } | Self::Git { .. } | Self::Io { .. } | Self::BadGlob(_) => return None,
        };
        Some(text)
    }
}

/// The first few of many, as words.
fn some_of(all: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = all.iter().take(SHOWN).map(|one| format!("`{}`", one.escape_debug())).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Says what was being done when the file system refused.
pub(super) fn at<'a, E: Into<io::Error>>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> SourceError + 'a {
    move |error| SourceError::Io { doing, path: path.to_owned(), source: error.into() }
}

/// Says what was being done when git's library refused.
pub(super) fn git<'a>(
    doing: &'static str,
    repository: &'a Path,
) -> impl FnOnce(git2::Error) -> SourceError + 'a {
    move |source| SourceError::Git { doing, repository: repository.to_owned(), source }
}
