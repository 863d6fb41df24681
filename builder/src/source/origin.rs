//! What people may name as a source. Pure but for looking at the path.

use std::{
    fs,
    path::{Path, PathBuf},
};

use staith_model::RelPath;

use super::{
    error::{SourceError, at},
    remote::{RemoteRepository, percent_decoded, without_credentials},
};

/// A place with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A directory with a project's files.
    Directory {
        /// The directory, absolute and without links.
        root: PathBuf,
        /// The repository whose working directory it is or is in.
        repository: Option<WorkTree>,
    },
    /// A repository without a working directory, on this machine.
    Repository {
        /// The repository's own directory, absolute and without links.
        git_dir: PathBuf,
    },
    /// A repository on another machine.
    Remote(RemoteRepository),
}

/// The repository around a project's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkTree {
    /// The top of the working directory.
    pub top: PathBuf,
    /// Where git keeps this working directory's state; usually `.git` in `top`.
    pub git_dir: PathBuf,
    /// The project's folder below the top; `None` is the top itself.
    pub folder: Option<RelPath>,
}

impl Origin {
    /// Understands what a person wrote: a path, relative to `cwd`, or an address. A path to a repository, or `file://`, is
    /// read in place, with or without a working directory. `https://`, `ssh://` and `[user@]host:path` name another
    /// machine; `http://` and `git://` are taken for this machine only. What is there as a path is a path. Nothing is
    /// fetched yet.
    ///
    /// # Errors
    /// The path is not there, is no directory or can't be read; or the address is malformed, or of a scheme that is not
    /// known.
    pub fn parse(text: &str, cwd: &Path) -> Result<Self, SourceError> {
        if text.is_empty() || text.starts_with('-') || text.contains('\0') {
            return Err(unsupported(
                text,
                "it is not a path",
                "Write `./` before a path that begins with `-`.",
            ));
        }
        // Before all else: what it hands to a helper may look like a URL or a path.
        if is_remote_helper(text) {
            return Err(unsupported(
                text,
                "it names one of git's remote helpers, which run programs",
                "Name the repository itself: https://host/path, ssh://user@host/path, or a path.",
            ));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return by_scheme(text, &scheme.to_ascii_lowercase(), rest);
        }
        let path = cwd.join(text);
        match text.split_once(':') {
            Some((host, _)) if !host.contains('/') && !path.exists() => {
                Ok(Self::Remote(RemoteRepository::parse(text)?))
            }
            _ => local(&path),
        }
    }

    /// Where it is, for people.
    pub fn place(&self) -> &Path {
        match self {
            Self::Directory { root, .. } => root,
            Self::Repository { git_dir } => git_dir,
            Self::Remote(remote) => remote.place(),
        }
    }
}

fn unsupported(text: &str, why: &str, remedy: &str) -> SourceError {
    SourceError::UnsupportedScheme {
        text: without_credentials(text),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    }
}

/// `ext::sh -c ...` and the like.
fn is_remote_helper(text: &str) -> bool {
    text.split_once("::").is_some_and(|(helper, _)| {
        !helper.is_empty() && helper.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

fn by_scheme(text: &str, scheme: &str, rest: &str) -> Result<Origin, SourceError> {
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            match percent_decoded(path) {
                Some(path) if path.starts_with('/') => local(Path::new(&path)),
                _ => Err(unsupported(
                    text,
                    "a file URL names an absolute path",
                    "Write file:///absolute/path.",
                )),
            }
        }
        _ => Ok(Origin::Remote(RemoteRepository::parse(text)?)),
    }
}

pub(super) fn local(path: &Path) -> Result<Origin, SourceError> {
    let root = match fs::canonicalize(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SourceError::NotThere(path.to_owned()));
        }
        found => found.map_err(at("looking at", path))?,
    };
    if !root.is_dir() {
        return Err(SourceError::NotADirectory(root));
    }
    for top in root.ancestors() {
        if let Some(git_dir) = git_dir_of(top)? {
            let folder = root.strip_prefix(top).ok().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.map(|folder| {
                let text = folder.to_str().and_then(|text| RelPath::try_from(text).ok());
                text.ok_or_else(|| SourceError::NotUtf8(folder.to_string_lossy().into_owned()))
            });
            let folder = folder.transpose()?;
            let repository = Some(WorkTree { top: top.to_owned(), git_dir, folder });
            return Ok(Origin::Directory { root, repository });
        }
        if is_repository(top) {
            return Ok(Origin::Repository { git_dir: top.to_owned() });
        }
    }
    Ok(Origin::Directory { root, repository: None })
}

/// Where the state of the working directory `top` is, if it is one. Looked up here and not by git's library, so that
/// neither the environment nor a configuration file leads elsewhere.
pub(super) fn git_dir_of(top: &Path) -> Result<Option<PathBuf>, SourceError> {
    let dot_git = top.join(".git");
    let Ok(found) = fs::metadata(&dot_git) else { return Ok(None) };
    if found.is_dir() {
        return Ok(is_repository(&dot_git).then_some(dot_git));
    }
    let text = fs::read_to_string(&dot_git).map_err(at("reading", &dot_git))?;
    let Some(target) = text.strip_prefix("gitdir:") else { return Ok(None) };
    let git_dir = top.join(target.trim_start().trim_end_matches(['\n', '\r']));
    Ok(Some(fs::canonicalize(&git_dir).map_err(at("looking at", &git_dir))?))
}

pub(super) fn is_repository(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).exists();
    has("HEAD") && ((has("objects") && has("refs")) || has("commondir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = Origin::parse(text, Path::new("/")).unwrap_err();
        format!("{error} {}", error.remedy().unwrap_or_default())
    }

    #[test]
    fn what_runs_programs_or_is_not_built_in_is_refused() {
        for bad in
            ["", "-x", "--upload-pack=x", "ext::sh -c id", "fd::7", "git://h/x", "ftp://h/x", "file://h/x"]
        {
            assert!(refused(bad).contains("can't be built from"), "{bad}");
        }
    }

    #[test]
    fn a_helper_that_runs_programs_is_called_so_whatever_it_is_given() {
        for bad in
            ["ext::sh -c id", "ext::sh -c 'x' https://h/x", "ext::echo%20x://y", "fd::7", "Ext::/bin/sh"]
        {
            assert!(refused(bad).contains("remote helpers, which run programs"), "{bad}");
        }
        assert!(matches!(Origin::parse("https://[::1]/x", Path::new("/")).unwrap(), Origin::Remote(_)));
    }

    #[test]
    fn other_machines_are_understood() {
        for remote in ["https://host/x.git", "ssh://git@host/x", "git@host:a/b.git", "host:x", "SSH://h/x"] {
            let origin = Origin::parse(remote, Path::new("/")).unwrap();
            assert!(matches!(origin, Origin::Remote(_)), "{remote}");
        }
        assert_eq!(
            Origin::parse("https://me:pw@host/x", Path::new("/")).unwrap().place(),
            Path::new("https://host/x")
        );
        for changeable in ["http://h/x", "git://h/x"] {
            assert!(refused(changeable).contains("instead"), "{changeable}");
        }
    }

    #[test]
    fn paths_are_looked_at() {
        let home = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(home.path()).unwrap();
        fs::create_dir_all(root.join("a:b/sub")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let plain = Origin::Directory { root: root.join("a:b"), repository: None };
        assert_eq!(Origin::parse("a:b", &root).unwrap(), plain);
        assert_eq!(Origin::parse(&format!("file://{}/a%3Ab", root.display()), &root).unwrap(), plain);
        assert!(matches!(Origin::parse("none", &root), Err(SourceError::NotThere(_))));
        assert!(matches!(Origin::parse("file", &root), Err(SourceError::NotADirectory(_))));
        git2::Repository::init(root.join("a:b")).unwrap();
        let Origin::Directory { repository: Some(tree), .. } = Origin::parse("a:b/sub", &root).unwrap()
        else {
            panic!("a working directory")
        };
        assert_eq!(tree.folder.unwrap().as_str(), "sub");
        git2::Repository::init_bare(root.join("bare.git")).unwrap();
        let bare = Origin::Repository { git_dir: root.join("bare.git") };
        assert_eq!(Origin::parse("bare.git", &root).unwrap(), bare);
    }
}
