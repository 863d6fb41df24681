//! Merges and submodules in repositories on this machine, compared with what the git program makes of them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use staith_builder::source::{Origin, Resolved, Selection, SourceError, Sources};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.repository("app");
        place
    }

    fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn repository(&self, name: &str) {
        fs::create_dir(self.at(name)).unwrap();
        self.git(name, &["init", "-q", "-b", "main"]);
    }

    fn git(&self, at: &str, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]);
        let output = git
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(self.at(at))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes files and commits everything.
    fn commit(&self, at: &str, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.at(at).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(at, &["add", "-A"]);
        self.git(at, &["commit", "-q", "--allow-empty", "-m", "x"]);
        self.git(at, &["rev-parse", "HEAD"])
    }

    fn sources(&self) -> Sources {
        Sources::open(&self.at("store"), None).unwrap()
    }

    fn resolve(&self, at: &str, selection: &Selection) -> Result<Resolved, SourceError> {
        let origin = Origin::parse(at, self.dir.path())?;
        self.sources().resolve(&origin, selection, &mut |_| {})
    }

    fn merge(&self, at: &str, head: &str, base: &str) -> Result<Resolved, SourceError> {
        self.resolve(at, &Selection::Merge { head: head.into(), base: base.into() })
    }

    /// A submodule `lib` of `app`, at the commit that its repository has now.
    fn with_submodule(&self) -> String {
        self.repository("lib");
        let commit =
            self.commit("lib", &[("code", "one"), ("build.log", "ignored"), (".gitignore", "*.log\n")]);
        self.git("app", &["submodule", "add", "-q", "../lib", "vendor/lib"]);
        self.commit("app", &[("main", "app")]);
        commit
    }
}

fn paths(resolved: &Resolved) -> Vec<&str> {
    resolved.files.iter().map(|(path, _)| path.as_str()).collect()
}

/// Names and times of everything below, to see that nothing was touched.
fn state(dir: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let seen = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), seen.modified().unwrap()));
        if seen.is_dir() {
            found.extend(state(&path));
        }
    }
    found.sort();
    found
}

/// Two branches that each work alone: `feature` calls what `main` has renamed.
fn semantic_conflict(place: &Place) {
    place.commit(
        "app",
        &[
            ("lib/old.sh", "hello() { echo hi; }\n"),
            ("use.sh", ". ./lib/old.sh\nhello\n"),
            ("far", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
        ],
    );
    place.git("app", &["checkout", "-q", "-b", "feature"]);
    place.commit("app", &[("more.sh", ". ./lib/old.sh\nhello\n"), ("far", "one\n2\n3\n4\n5\n6\n7\n8\n9\n")]);
    place.git("app", &["checkout", "-q", "main"]);
    place.git("app", &["mv", "lib/old.sh", "lib/new.sh"]);
    place.commit("app", &[("use.sh", ". ./lib/new.sh\nhello\n"), ("far", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n")]);
}

#[test]
fn a_merge_is_what_git_would_make_of_it() {
    let place = Place::new();
    semantic_conflict(&place);
    let before = state(&place.at("app"));
    let merged = place.merge("app", "feature", "main").unwrap();
    assert_eq!(state(&place.at("app")), before, "nothing in the repository is written");
    let expected = place.git("app", &["merge-tree", "--write-tree", "main", "feature"]);
    assert_eq!(merged.source.tree, expected);
    assert_eq!(merged.source.commit, Some(place.git("app", &["rev-parse", "feature"])));
    assert!(merged.source.dirty, "it is more than the commit");
    assert!(merged.notices.iter().any(|notice| notice.contains("`feature`") && notice.contains("`main`")));
    // Alone the branch works; what is checked out is what would be there afterwards.
    let works = |resolved: &Resolved| {
        let tree = place.sources().checkout(resolved, &[]).unwrap();
        Command::new("sh").arg("more.sh").current_dir(tree).output().unwrap().status.success()
    };
    assert!(works(&place.resolve("app", &Selection::Reference("feature".into())).unwrap()));
    assert!(!works(&merged));
    let tree = place.sources().checkout(&merged, &["far".to_owned()]).unwrap();
    assert_eq!(fs::read_to_string(tree.join("far")).unwrap(), "one\n2\n3\n4\n5\n6\n7\n8\nnine\n");
}

#[test]
fn a_merge_of_what_is_merged_is_the_commit_itself() {
    let place = Place::new();
    let first = place.commit("app", &[("a", "1")]);
    let second = place.commit("app", &[("a", "2")]);
    let forward = place.merge("app", &second, &first).unwrap();
    assert_eq!((forward.source.commit.as_deref(), forward.source.dirty), (Some(second.as_str()), false));
    assert_eq!(forward.source.tree, place.git("app", &["rev-parse", "HEAD^{tree}"]));
    // The other way round, the base has it all already.
    let behind = place.merge("app", &first, "main").unwrap();
    assert_eq!((behind.source.tree, behind.source.dirty), (forward.source.tree, true));
}

#[test]
fn a_conflict_names_the_files() {
    let place = Place::new();
    place.commit("app", &[("same", "0"), ("sub/deep", "0"), ("quiet", "0")]);
    place.git("app", &["checkout", "-q", "-b", "feature"]);
    place.commit("app", &[("same", "1"), ("sub/deep", "1"), ("new", "1")]);
    place.git("app", &["checkout", "-q", "main"]);
    place.commit("app", &[("same", "2"), ("sub/deep", "2"), ("quiet", "2")]);
    let refusal = place.merge("app", "feature", "main").unwrap_err();
    let SourceError::Conflict { paths, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!(paths, &["same", "sub/deep"]);
    assert!(refusal.to_string().contains("`sub/deep`") && refusal.remedy().unwrap().contains("`main`"));
    for odd in ["", "-x", "--upload-pack=x", "$(touch made)", "a\nb", "main:same", "nothing"] {
        for (head, base) in [(odd, "main"), ("main", odd)] {
            let refusal = place.merge("app", head, base).unwrap_err();
            assert!(matches!(refusal, SourceError::NoSuchReference { .. }), "{odd:?}: {refusal}");
        }
    }
}

#[test]
fn a_merge_is_seen_from_a_folder() {
    let place = Place::new();
    place.commit("app", &[("web/a", "0"), ("web/b", "0"), ("other", "0")]);
    place.git("app", &["checkout", "-q", "-b", "feature"]);
    place.commit("app", &[("web/a", "1")]);
    place.git("app", &["checkout", "-q", "main"]);
    place.commit("app", &[("web/b", "2"), ("other", "2")]);
    let merged = place.merge("app/web", "feature", "main").unwrap();
    assert_eq!(paths(&merged), ["a", "b"]);
    let whole = place.git("app", &["merge-tree", "--write-tree", "main", "feature"]);
    assert_eq!(merged.source.tree, place.git("app", &["rev-parse", &format!("{whole}:web")]));
    fs::create_dir(place.at("app/none")).unwrap();
    let refusal = place.merge("app/none", "feature", "main").unwrap_err();
    assert!(matches!(refusal, SourceError::FolderNotInCommit { .. }), "{refusal}");
}

#[test]
fn submodules_are_part_of_what_is_on_the_screen() {
    let place = Place::new();
    place.with_submodule();
    let clean = place.resolve("app", &Selection::AsItIs).unwrap();
    assert_eq!(paths(&clean), [".gitmodules", "main", "vendor/lib/.gitignore", "vendor/lib/code"]);
    assert_eq!(
        (clean.source.tree.clone(), clean.source.dirty),
        (place.git("app", &["rev-parse", "HEAD^{tree}"]), false)
    );
    let written = place.sources().checkout(&clean, &[]).unwrap();
    assert_eq!(fs::read_to_string(written.join("vendor/lib/code")).unwrap(), "one");
    // What git ignores there is what its own rules say.
    fs::write(place.at("app/vendor/lib/more.log"), "").unwrap();
    assert_eq!(place.resolve("app", &Selection::AsItIs).unwrap().source, clean.source);
    fs::write(place.at("app/vendor/lib/code"), "changed").unwrap();
    let changed = place.resolve("app", &Selection::AsItIs).unwrap();
    assert!(changed.source.dirty && changed.source.tree != clean.source.tree);
    let written = place.sources().checkout(&changed, &[]).unwrap();
    assert_eq!(fs::read_to_string(written.join("vendor/lib/code")).unwrap(), "changed");
    // The same files, committed there: another commit than the one that is recorded.
    place.commit("app/vendor/lib", &[]);
    let moved = place.resolve("app", &Selection::AsItIs).unwrap();
    assert!(moved.source.dirty);
    place.git("app", &["add", "-A"]);
    assert_eq!(moved.source.tree, place.git("app", &["write-tree"]));
}

#[test]
fn a_submodule_that_is_not_checked_out_is_refused() {
    let place = Place::new();
    place.with_submodule();
    place.git("app", &["submodule", "deinit", "-q", "--all"]);
    let refusal = place.resolve("app", &Selection::AsItIs).unwrap_err();
    assert!(refusal.to_string().contains("vendor/lib"), "{refusal}");
    assert!(refusal.remedy().unwrap().contains("git submodule update"), "{refusal}");
}

#[test]
fn a_commit_has_the_submodules_that_it_records() {
    let place = Place::new();
    let first = place.with_submodule();
    place.commit("lib", &[("code", "two")]);
    place.git("app/vendor/lib", &["pull", "-q"]);
    place.commit("app", &[]);
    let head = place.resolve("app", &Selection::Head).unwrap();
    assert_eq!(paths(&head), [".gitmodules", "main", "vendor/lib/.gitignore", "vendor/lib/code"]);
    let code = |resolved: &Resolved| {
        fs::read_to_string(place.sources().checkout(resolved, &[]).unwrap().join("vendor/lib/code")).unwrap()
    };
    assert_eq!(code(&head), "two");
    let before = place.resolve("app", &Selection::Reference("main~1".into()));
    assert_eq!(code(&before.unwrap()), "one");
    // Seen from the folder that holds it.
    let folder = place.resolve("app/vendor", &Selection::Head).unwrap();
    assert_eq!(paths(&folder), ["lib/.gitignore", "lib/code"]);
    // The working directory of that commit is the same source.
    let screen = place.resolve("app", &Selection::AsItIs).unwrap();
    assert_eq!((&screen.source, &screen.files), (&head.source, &head.files));
    // What is not there any more is not looked for on this machine.
    fs::remove_dir_all(place.at("app/.git/modules")).unwrap();
    let refusal = place.resolve("app", &Selection::Head).unwrap_err();
    assert!(refusal.to_string().contains("a path of this machine"), "{first} {refusal}");
}

#[test]
fn a_merge_has_the_submodules_of_the_result() {
    let place = Place::new();
    place.commit("app", &[("a", "0")]);
    place.git("app", &["checkout", "-q", "-b", "feature"]);
    place.commit("app", &[("a", "1")]);
    place.git("app", &["checkout", "-q", "main"]);
    place.with_submodule();
    let merged = place.merge("app", "feature", "main").unwrap();
    assert!(paths(&merged).contains(&"vendor/lib/code"));
    let written = place.sources().checkout(&merged, &[]).unwrap();
    assert_eq!(fs::read_to_string(written.join("a")).unwrap(), "1");
}

#[test]
fn tricks_with_gitmodules_are_refused() {
    let place = Place::new();
    let commit = place.with_submodule();
    let declared = |text: &str| {
        fs::write(place.at("app/.gitmodules"), text).unwrap();
        place.git("app", &["add", ".gitmodules"]);
        place.git("app", &["commit", "-q", "-m", "x"]);
        place.resolve("app", &Selection::Head).unwrap_err().to_string()
    };
    for (text, why) in [
        ("", "no .gitmodules says"),
        ("[include]\n\tpath = /not/on/this/machine\n", "no .gitmodules says"),
        ("[submodule \"../../lib/.git\"]\n\tpath = vendor/lib\n\turl = ../lib\n", "a path of this machine"),
        ("[submodule \"x\"]\n\tpath = vendor/lib\n\turl = ext::sh -c id\n", "a path of this machine"),
        ("[submodule \"x\"]\n\tpath = vendor/lib\n\turl = --upload-pack=id\n", "a path of this machine"),
        (
            "[submodule \"x\"]\n\tpath = vendor/lib\n\turl = ssh://-oProxyCommand=id/x\n",
            "can't be fetched from",
        ),
    ] {
        let refusal = declared(text);
        assert!(refusal.contains("vendor/lib") && refusal.contains(why), "{text}: {refusal}");
    }
    fs::remove_file(place.at("app/.gitmodules")).unwrap();
    std::os::unix::fs::symlink("/not/on/this/machine", place.at("app/.gitmodules")).unwrap();
    place.git("app", &["add", ".gitmodules"]);
    place.git("app", &["commit", "-q", "-m", "x"]);
    let refusal = place.resolve("app", &Selection::Head).unwrap_err();
    assert!(
        matches!(&refusal, SourceError::Hostile { path, .. } if path == ".gitmodules"),
        "{commit} {refusal}"
    );
}
