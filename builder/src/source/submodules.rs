//! Submodules: other repositories whose files belong to a project's tree, each at the commit that the tree records.
//!
//! Where they come from is written by whoever wrote the commit, so it is judged: a submodule comes from another machine,
//! never from a path of this one, and from a special address ([`crate::addresses`]) only where the repository around it came
//! from there. What a repository on this
//! machine has fetched of its submodules already is read where it is.

mod declared;

use std::path::{Path, PathBuf};

use git2::Repository;
use staith_model::RelPath;

use self::declared::{Declared, declared, is_safe_name};
pub(super) use self::declared::{joined_lines, unquoted};
use crate::addresses::Caution;

use super::{
    error::{SourceError, git},
    ignores::common_dir,
    origin::is_repository,
    record::Link,
    remote::{RemoteRepository, without_credentials},
    tree::open,
};

/// Submodules may have submodules; no honest project goes deeper.
pub(super) const DEEPEST: usize = 8;
/// The most that one project may have, all levels together.
pub(super) const MOST: usize = 200;

/// Where a submodule's objects are to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whence {
    /// In a repository on this machine that has the commit.
    Here(PathBuf),
    /// On another machine.
    There(RemoteRepository),
}

/// A repository with submodules.
pub(super) struct Parent<'a> {
    /// Where its objects are.
    pub(super) git_dir: &'a Path,
    /// Where it comes from, if that is another machine.
    pub(super) remote: Option<&'a RemoteRepository>,
    /// The .gitmodules file at the top of the tree that is read.
    pub(super) declarations: &'a [u8],
    /// What of this machine it may name.
    pub(super) caution: &'a Caution,
}

impl Parent<'_> {
    /// Where the submodule at `path`, below the top of the repository, is to be had.
    pub(super) fn whence(&self, path: &str, link: &Link) -> Result<Whence, SourceError> {
        let all = declared(self.declarations);
        let Some(found) = all.into_iter().find(|one| one.path.trim_end_matches('/') == path) else {
            return Err(refused(
                path,
                "no .gitmodules says where it comes from",
                "Declare it: `git submodule add` does.",
            ));
        };
        if self.remote.is_none()
            && let Some(here) = self.fetched_already(&found, link)
        {
            return Ok(Whence::Here(here));
        }
        self.address(path, &found.url).map(Whence::There)
    }

    /// The submodule's repository that git keeps beside a repository on this machine, if it has the commit.
    fn fetched_already(&self, found: &Declared, link: &Link) -> Option<PathBuf> {
        let git_dir = common_dir(self.git_dir).join("modules").join(&found.name);
        let usable = is_safe_name(&found.name) && is_repository(&git_dir);
        let repository = usable.then(|| open(&git_dir).ok()).flatten()?;
        let has = link.commit.oid().is_ok_and(|id| repository.find_commit(id).is_ok());
        has.then_some(git_dir)
    }

    fn address(&self, path: &str, url: &str) -> Result<RemoteRepository, SourceError> {
        let shown = without_credentials(url).escape_debug().to_string();
        let refuse = |why: &str, remedy: &str| refused(path, &format!("its address `{shown}` {why}"), remedy);
        let is_relative = url.starts_with("./") || url.starts_with("../");
        let own = if self.remote.is_none() { own_remote(self.git_dir) } else { None };
        let found = match self.remote.or(own.as_ref()) {
            Some(parent) if is_relative => parent.beside(url).ok_or_else(|| {
                refuse("leads out of the server's paths", "Write the whole address into .gitmodules.")
            })?,
            _ if names_a_path(url) => {
                return Err(refuse(
                    "names a path of this machine, where a commit must not reach",
                    "Run `git submodule update --init` there first, or write an https:// or ssh:// address into .gitmodules.",
                ));
            }
            _ => RemoteRepository::parse(url).map_err(|error| match error {
                SourceError::UnsupportedScheme { why, remedy, .. } => {
                    refuse(&format!("can't be fetched from: {why}"), &remedy)
                }
                error => error,
            })?,
        };
        let found = found.named_by_commit_of(self.remote.or(own.as_ref()));
        found
            .judge_name(self.caution)
            .map_err(|refused| refuse(&format!("is not followed: {refused}"), &refused.remedy()))?;
        Ok(found)
    }
}

/// What the user's own clone calls `origin`: relative addresses begin there.
pub(super) fn own_remote(git_dir: &Path) -> Option<RemoteRepository> {
    let repository = open(git_dir).ok()?;
    let origin = repository.find_remote("origin").ok()?;
    RemoteRepository::parse(origin.url().ok()?).ok()
}

/// Whether git would look for this on this machine, or run a program for it.
fn names_a_path(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some(scheme) => scheme == "file",
        // `host:path`, as long as no slash comes before the colon.
        None => url.split_once(':').is_none_or(|(host, path)| host.contains('/') || path.starts_with(':')),
    }
}

pub(super) fn refused(path: &str, why: &str, remedy: &str) -> SourceError {
    SourceError::Submodule { path: path.to_owned(), why: why.to_owned(), remedy: remedy.to_owned() }
}

/// A file of git's own, such as .gitmodules, at the top of a tree; empty where there is none.
pub(super) fn file_at_the_top(
    repository: &Repository,
    top: &git2::Tree<'_>,
    git_dir: &Path,
    name: &str,
) -> Result<Vec<u8>, SourceError> {
    let Some(entry) = top.get_name(name) else { return Ok(Vec::new()) };
    // A link could name any file of this machine.
    if entry.filemode_raw() & 0o170_000 != 0o100_000 {
        return Err(SourceError::Hostile { path: name.to_owned(), why: "it is no file" });
    }
    let blob = repository.find_blob(entry.id()).map_err(git("reading a file of git's own", git_dir))?;
    Ok(blob.content().to_vec())
}

/// A path below the folder `above`.
pub(super) fn below(above: Option<&RelPath>, path: &RelPath) -> String {
    above.map_or_else(|| path.to_string(), |above| format!("{above}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ObjectId;

    fn whence(remote: Option<&str>, url: &str) -> Result<Whence, SourceError> {
        let caution = Caution::default();
        let remote = remote.map(|url| RemoteRepository::parse(url).unwrap());
        let text = format!(
            "[submodule \"lib\"]\npath = lib\nurl = \"{}\"\n",
            url.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
        );
        let parent = Parent {
            git_dir: Path::new("/not/on/this/machine"),
            remote: remote.as_ref(),
            declarations: text.as_bytes(),
            caution: &caution,
        };
        parent.whence("lib", &Link { path: "lib".try_into().unwrap(), commit: ObjectId([1; 20]) })
    }

    #[test]
    fn addresses_are_relative_to_the_repository_around() {
        for (parent, url, expected) in [
            ("https://h/org/app.git", "../lib.git", "https://h/org/lib.git"),
            ("https://h/org/app.git", "./lib", "https://h/org/app.git/lib"),
            ("https://h/org/app.git", "../../other/lib.git/", "https://h/other/lib.git"),
            ("ssh://git@h/org/app.git", "../lib.git", "ssh://git@h/org/lib.git"),
            ("git@h:org/app.git", "../lib.git", "git@h:org/lib.git"),
            ("git@h:app.git", "../lib.git", "git@h:lib.git"),
            ("https://h/app", "https://other/lib", "https://other/lib"),
            ("https://h/app", "git@other:lib", "git@other:lib"),
        ] {
            let Whence::There(found) = whence(Some(parent), url).unwrap() else { panic!("{url}") };
            assert_eq!(found.to_string(), expected, "{parent} {url}");
        }
    }

    #[test]
    fn git_hostile_urls() {
        for url in [
            "",
            "-x",
            "--upload-pack=touch made",
            "-oProxyCommand=id:x",
            "ext::sh -c id",
            "ext::sh",
            "fd::3",
            "file:///etc",
            "FILE:///etc",
            "/etc",
            "lib",
            "../../../../etc",
            "../..",
            "..",
            "../lib/../../x",
            "./-x/../../y",
            "ssh://-oProxyCommand=id/x",
            "git@-oProxyCommand=id:x",
            "https://h/$(id) x",
            "https://h/x\ny",
            "https://127.0.0.1/x",
            "http://localhost:80/x",
            "git://[::1]/x",
            "ssh://localhost/x",
            "localhost:x",
            "http://elsewhere/x",
        ] {
            let refusal = whence(Some("https://h/app.git"), url).unwrap_err();
            assert!(matches!(refusal, SourceError::Submodule { .. }), "{url}: {refusal}");
            assert!(refusal.remedy().is_some(), "{url}");
        }
        for url in ["/etc", "file:///etc", "../lib", "./lib", "lib", "ext::sh", "http://127.0.0.1:80/x"] {
            assert!(whence(None, url).is_err(), "{url}");
        }
        for url in [
            "https://2130706433/x",
            "ssh://git@169.254.169.254/x",
            "git@127.0.0.1:x",
            "https://a.localhost/x",
        ] {
            let refusal = whence(Some("https://h/app.git"), url).unwrap_err();
            assert!(refusal.remedy().unwrap().contains("STAITH_ALLOW_HOSTS"), "{url}: {refusal}");
        }
        // What came from this machine may lead there again, and not to its other ports.
        assert!(whence(Some("http://127.0.0.1:8080/app"), "../lib").is_ok());
        assert!(whence(Some("http://127.0.0.1:8080/app"), "http://127.0.0.1:8080/lib").is_ok());
        assert!(whence(Some("http://127.0.0.1:8080/app"), "http://127.0.0.1:2375/lib").is_err());
    }

    #[test]
    fn credentials_are_not_shown() {
        let refusal = whence(Some("https://h/app"), "https://me:hunter2@h/a b").unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains("hunter2"), "{refusal:?}");
    }
}
