//! A working directory as it is: the tree that `git add -A && git write-tree` would make, found without touching it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use proptest::prelude::*;
use staith_builder::source::{Origin, Progress, Resolved, Selection, SourceError, Sources};

/// A repository, a store beside it, and the real git to compare with.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(place.root()).unwrap();
        place.git(&["init", "-q", "-b", "main"]);
        place
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.root(), arguments, &[])
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    }

    fn sources(&self) -> Sources {
        Sources::open(&self.dir.path().join("store"), None).unwrap()
    }

    fn resolve_at(&self, folder: &str) -> Result<Resolved, SourceError> {
        let origin = Origin::parse(folder, &self.root())?;
        self.sources().resolve(&origin, &Selection::AsItIs, &mut |_| {})
    }

    fn resolve(&self) -> Resolved {
        self.resolve_at(".").unwrap()
    }

    /// What git itself would commit, found with an index of our own and a copy of the repository's state.
    fn tree_by_git(&self) -> String {
        let copy = tempfile::tempdir().unwrap();
        let git_dir = copy.path().join("git");
        let copied =
            Command::new("cp").arg("-a").arg(self.root().join(".git")).arg(&git_dir).status().unwrap();
        assert!(copied.success());
        let place = [("GIT_DIR", git_dir.as_os_str()), ("GIT_WORK_TREE", OsStr::new("."))];
        git(&self.root(), &["add", "-A"], &place);
        git(&self.root(), &["write-tree"], &place)
    }

    fn paths(&self) -> Vec<String> {
        self.resolve().files.iter().map(|(path, _)| path.to_string()).collect()
    }
}

fn git(at: &Path, arguments: &[&str], environment: &[(&str, &OsStr)]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(at)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Everything below a directory with content and times, to see that nothing was written.
fn state(dir: &Path) -> Vec<(PathBuf, SystemTime, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let seen = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), seen.modified().unwrap(), seen.len()));
        if seen.is_dir() {
            found.extend(state(&path));
        }
    }
    found.sort();
    found
}

/// Takes snapshots until one reads nothing: files that were written just now are read again each time.
fn settle(place: &Place) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while to_read(place) > 0 {
        assert!(Instant::now() < deadline, "files are never remembered");
    }
}

fn to_read(place: &Place) -> usize {
    let origin = Origin::parse(".", &place.root()).unwrap();
    let mut files = None;
    let mut progress = |told: Progress| files = Some(told.files_to_read);
    place.sources().resolve(&origin, &Selection::AsItIs, &mut progress).unwrap();
    files.unwrap()
}

#[test]
fn the_tree_is_the_one_that_git_would_write() {
    let place = Place::new();
    place.write("README", "hello");
    place.write("src/main.rs", "fn main() {}");
    place.write("src/a-b", "1");
    place.write("src/a/b", "2");
    place.write("src/a0", "3");
    place.write("empty", "");
    place.write("run.sh", "#!/bin/sh");
    fs::set_permissions(place.root().join("run.sh"), fs::Permissions::from_mode(0o775)).unwrap();
    symlink("../outside", place.root().join("link")).unwrap();
    symlink("/etc", place.root().join("absolute")).unwrap();
    fs::create_dir_all(place.root().join("nothing/in/here")).unwrap();
    let fresh = place.resolve();
    assert_eq!(fresh.source.tree, place.tree_by_git());
    assert_eq!((fresh.source.commit.as_deref(), fresh.source.dirty), (None, true));

    place.commit();
    let clean = place.resolve();
    assert_eq!(clean.source.tree, fresh.source.tree);
    assert_eq!(clean.source.commit, Some(place.git(&["rev-parse", "HEAD"])));
    assert!(!clean.source.dirty);

    place.write("README", "changed");
    fs::remove_file(place.root().join("empty")).unwrap();
    let dirty = place.resolve();
    assert!(dirty.source.dirty);
    assert_eq!(dirty.source.tree, place.tree_by_git());
}

#[test]
fn ignored_files_are_left_out_unless_git_tracks_them() {
    let place = Place::new();
    place.write("sub/tracked.log", "kept although ignored");
    place.write("target/kept/deep.o", "kept too");
    place.commit();
    place.write(".gitignore", "*.log\n/target\n!important.log\nbuild/\n# comment\n\\#odd\ndoc/**/*.html\n");
    place.write("sub/.gitignore", "!yes.log\n/only-here\n");
    place.write(".git/info/exclude", "excluded\n");
    for path in [
        "a.log",
        "important.log",
        "sub/yes.log",
        "sub/no.log",
        "sub/only-here",
        "sub/x/only-here",
        "target/new.o",
        "target/kept/new.o",
        "build/x",
        "sub/build/y",
        "buildings/z",
        "#odd",
        "doc/a.html",
        "doc/x/y/b.html",
        "doc/x/y/b.md",
        "excluded",
        "sub/excluded",
    ] {
        place.write(path, path);
    }
    assert_eq!(place.resolve().source.tree, place.tree_by_git());
    let paths = place.paths();
    for kept in ["sub/tracked.log", "target/kept/deep.o", "important.log", "sub/yes.log", "sub/x/only-here"] {
        assert!(paths.iter().any(|path| path == kept), "{kept} in {paths:?}");
    }
    for left_out in ["a.log", "target/new.o", "sub/build/y", "excluded", "sub/excluded", "doc/x/y/b.html"] {
        assert!(!paths.iter().any(|path| path == left_out), "{left_out} in {paths:?}");
    }
}

#[test]
fn nothing_is_written_to_the_users_repository() {
    let place = Place::new();
    place.write("a", "1");
    place.commit();
    place.write("a", "2");
    place.write("b", "3");
    // Makes the index stale, which git would refresh.
    fs::File::open(place.root().join("a")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let before = state(&place.root());
    let resolved = place.resolve();
    let sources = place.sources();
    sources.checkout(&resolved, &[]).unwrap();
    let origin = Origin::parse(".", &place.root()).unwrap();
    let clean = sources.resolve(&origin, &Selection::Head, &mut |_| {}).unwrap();
    sources.checkout(&clean, &[]).unwrap();
    assert_eq!(state(&place.root()), before);
}

#[test]
fn a_folder_of_a_repository_is_a_project() {
    let place = Place::new();
    place.write(".gitignore", "*.tmp\n");
    place.write("examples/.gitignore", "*.bak\n");
    place.write("examples/one/main.py", "1");
    place.write("examples/two/main.py", "2");
    place.commit();
    place.write("examples/one/x.tmp", "");
    place.write("examples/one/x.bak", "");
    place.write("other/new", "a change elsewhere");
    let one = place.resolve_at("examples/one").unwrap();
    assert_eq!(one.source.tree, place.git(&["rev-parse", "HEAD:examples/one"]));
    assert!(!one.source.dirty, "changes elsewhere do not count");
    let paths: Vec<_> = one.files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["main.py"]);

    place.write("examples/three/main.py", "3");
    let three = place.resolve_at("examples/three").unwrap();
    assert!(three.source.dirty && three.source.commit.is_some());

    place.write(".gitignore", "three\n");
    let ignored = place.resolve_at("examples/three").unwrap();
    assert_eq!(ignored.files.len(), 0);
    assert!(ignored.notices[0].contains(".gitignore"), "{:?}", ignored.notices);
}

#[test]
fn a_directory_without_git_is_a_project() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("plain");
    fs::create_dir_all(root.join("clone/.git")).unwrap();
    fs::write(root.join("clone/.git/HEAD"), "x").unwrap();
    fs::write(root.join("clone/file"), "x").unwrap();
    fs::write(root.join(".gitignore"), "*.o\n").unwrap();
    fs::write(root.join("a.o"), "x").unwrap();
    let sources = Sources::open(&root.join("store-inside"), None).unwrap();
    let origin = Origin::parse(root.to_str().unwrap(), Path::new("/")).unwrap();
    let resolved = sources.resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
    let paths: Vec<_> = resolved.files.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, [".gitignore", "clone/file"]);
    assert_eq!((resolved.source.commit, resolved.source.dirty), (None, true));
    let refusal = sources.resolve(&origin, &Selection::Head, &mut |_| {}).unwrap_err();
    assert!(matches!(refusal, SourceError::NotARepository(_)));
}

#[test]
fn a_linked_working_directory_is_a_project() {
    let place = Place::new();
    place.write(".gitignore", "*.log\n");
    place.write("a", "1");
    place.commit();
    place.git(&["worktree", "add", "-q", "../linked", "-b", "side"]);
    let linked = place.dir.path().join("linked");
    fs::write(linked.join("b"), "2").unwrap();
    fs::write(linked.join("x.log"), "").unwrap();
    place.write(".git/info/exclude", "b\n");
    let origin = Origin::parse(linked.to_str().unwrap(), Path::new("/")).unwrap();
    let resolved = place.sources().resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
    assert_eq!(resolved.source.tree, place.git(&["rev-parse", "HEAD^{tree}"]));
    assert!(!resolved.source.dirty);
}

#[test]
fn what_can_not_be_built_is_refused_with_its_path() {
    let place = Place::new();
    place.write("a", "1");
    place.commit();
    place.write("vendor/lib/x", "1");
    git(&place.root().join("vendor/lib"), &["init", "-q"], &[]);
    let refusal = place.resolve_at(".").unwrap_err();
    assert!(matches!(&refusal, SourceError::OtherRepository(path) if path == "vendor/lib"), "{refusal}");
    assert!(refusal.remedy().unwrap().contains("vendor/lib"));
    place.write(".gitignore", "vendor\n");
    place.resolve();

    let odd = place.root().join("sub").join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(place.root().join("sub")).unwrap();
    fs::write(&odd, "").unwrap();
    let refusal = place.resolve_at(".").unwrap_err();
    assert!(refusal.to_string().contains(r"sub/caf\xe9"), "{refusal}");
    fs::remove_file(&odd).unwrap();

    let huge = fs::File::create(place.root().join("huge")).unwrap();
    huge.set_len(2 << 30).unwrap();
    assert!(matches!(place.resolve_at("."), Err(SourceError::TooLarge { .. })));
}

#[test]
fn odd_things_are_noted() {
    let place = Place::new();
    place.write("README", "1");
    place.write("readme", "2");
    assert!(Command::new("mkfifo").arg(place.root().join("pipe")).status().unwrap().success());
    let resolved = place.resolve();
    assert_eq!(resolved.notices.len(), 2, "{:?}", resolved.notices);
    fs::remove_file(place.root().join("pipe")).unwrap();
    assert_eq!(place.resolve().notices.len(), 1);
}

#[test]
fn every_change_is_seen_however_quick() {
    let place = Place::new();
    place.write("a", "one");
    place.commit();
    for text in ["two", "six", "ten", "one"] {
        // The same length, within the same tick of the clock, and with a time of modification that is put back.
        let path = place.root().join("a");
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, text).unwrap();
        fs::File::open(&path).unwrap().set_modified(before).unwrap();
        assert_eq!(place.resolve().source.tree, place.tree_by_git(), "{text}");
    }
}

#[test]
fn what_is_remembered_is_not_read_again_and_never_wrong() {
    let place = Place::new();
    place.write("a", "one");
    place.write("b", "two");
    place.commit();
    assert_eq!(to_read(&place), 2);
    settle(&place);
    let first = place.resolve();
    let notes = notes(&place);
    let written = fs::metadata(&notes).unwrap().modified().unwrap();
    assert_eq!(place.resolve(), first);
    assert_eq!(
        fs::metadata(&notes).unwrap().modified().unwrap(),
        written,
        "nothing changed, nothing is written"
    );

    let path = place.root().join("a");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "six").unwrap();
    fs::File::open(&path).unwrap().set_modified(before).unwrap();
    assert_eq!(place.resolve().source.tree, place.tree_by_git());
    fs::set_permissions(place.root().join("b"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.resolve().source.tree, place.tree_by_git());
    fs::write(&notes, b"torn").unwrap();
    assert_eq!(place.resolve().source.tree, place.tree_by_git());
}

fn notes(place: &Place) -> PathBuf {
    let pools = fs::read_dir(place.dir.path().join("store/blobs")).unwrap();
    let files = pools.flat_map(|pool| fs::read_dir(pool.unwrap().path()).unwrap());
    let is_notes = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("notes-");
    files.map(|file| file.unwrap().path()).find(is_notes).unwrap()
}

#[test]
fn later_changes_do_not_reach_a_checkout() {
    let place = Place::new();
    place.write("a", "as it was");
    let sources = place.sources();
    let origin = Origin::parse(".", &place.root()).unwrap();
    let resolved = sources.resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap();
    place.write("a", "changed");
    let dir = sources.checkout(&resolved, &[]).unwrap();
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "as it was");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_directories_and_rules_give_gits_tree(
        tracked in prop::collection::vec("[ab]{1,2}(/[ab.]x){0,2}", 0..5),
        files in prop::collection::vec("[ab]{1,2}(/[ab.]x){0,2}", 0..10),
        rules in prop::collection::vec("!?/?([ab*?]{1,2}|\\*\\*|[ab]x)(/[abx*]{1,2})?/?", 0..5),
        nested in prop::collection::vec("!?/?[abx*]{1,2}/?", 0..3),
    ) {
        let place = Place::new();
        let put = |path: &String| {
            let path = place.root().join(path);
            let _ = fs::create_dir_all(path.parent().unwrap()).and_then(|()| fs::write(&path, b"x"));
        };
        tracked.iter().for_each(put);
        place.commit();
        files.iter().for_each(put);
        fs::write(place.root().join(".gitignore"), rules.join("\n")).unwrap();
        if place.root().join("a").is_dir() {
            fs::write(place.root().join("a/.gitignore"), nested.join("\n")).unwrap();
        }
        prop_assert_eq!(place.resolve().source.tree, place.tree_by_git(), "{:?} {:?}", rules, nested);
    }
}
