//! Files whose contents git-lfs keeps, in repositories on this machine and in working directories.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use staith_builder::source::{LfsFailure, Origin, Resolved, Selection, SourceError, Sources};
use staith_model::Digest;

const ATTRIBUTES: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\n";

struct Place {
    dir: tempfile::TempDir,
}

fn pointer(content: &[u8]) -> String {
    let oid = Digest::of(content);
    format!("version https://git-lfs.github.com/spec/v1\noid {oid}\nsize {}\n", content.len())
}

impl Place {
    /// A project that git-lfs is at work in, as far as the repository shows: here there is no git-lfs.
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(place.root()).unwrap();
        place.git(&["init", "-q", "-b", "main"]);
        place.write(".gitattributes", ATTRIBUTES);
        place
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let who = ["-c", "user.name=x", "-c", "user.email=x@x"];
        let output = Command::new("git").args(who).args(arguments).current_dir(self.root()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn commit(&self) -> String {
        self.git(&["-c", "filter.lfs.clean=cat", "add", "-A"]);
        self.git(&["commit", "-q", "-m", "x"]);
        self.git(&["rev-parse", "HEAD^{tree}"])
    }

    /// Commits pointers, and puts the contents in their place, as git-lfs does.
    fn commit_large(&self, files: &[(&str, &[u8])]) -> String {
        files.iter().for_each(|(path, content)| self.write(path, pointer(content)));
        let tree = self.commit();
        files.iter().for_each(|(path, content)| self.write(path, content));
        tree
    }

    fn sources(&self) -> Sources {
        Sources::open(&self.dir.path().join("store"), None).unwrap()
    }

    fn resolve(&self, at: &str, selection: &Selection) -> Result<Resolved, SourceError> {
        let origin = Origin::parse(at, &self.root())?;
        self.sources().resolve(&origin, selection, &mut |_| {})
    }

    fn on_screen(&self) -> Resolved {
        self.resolve(".", &Selection::AsItIs).unwrap()
    }

    fn checkout(&self, resolved: &Resolved) -> Result<PathBuf, SourceError> {
        self.sources().checkout(resolved, &[])
    }
}

/// Puts an object where git-lfs keeps it.
fn keep(git_dir: &Path, content: &[u8]) -> PathBuf {
    let hex = Digest::of(content).hex();
    let object = git_dir.join("lfs/objects").join(&hex[..2]).join(&hex[2..4]).join(hex);
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::write(&object, content).unwrap();
    object
}

#[test]
fn what_is_on_the_screen_has_the_commits_tree() {
    let place = Place::new();
    let large = vec![1_u8; 2 << 20];
    place.write("empty.bin", "");
    place.write("text", pointer(b"not handed over"));
    let tree = place.commit_large(&[("a.bin", &large), ("sub/b.bin", b"small")]);
    for _ in 0..2 {
        let seen = place.on_screen();
        assert_eq!((seen.source.tree.as_str(), seen.source.dirty), (tree.as_str(), false));
        assert_eq!(seen.notices, Vec::<String>::new());
        let files = place.checkout(&seen).unwrap();
        assert_eq!(fs::read(files.join("a.bin")).unwrap(), large);
        assert_eq!(fs::read(files.join("sub/b.bin")).unwrap(), b"small");
        assert_eq!(fs::read(files.join("empty.bin")).unwrap(), b"");
        assert_eq!(fs::read_to_string(files.join("text")).unwrap(), pointer(b"not handed over"));
    }
    // On paper as well.
    let written = place.on_screen();
    let again = place.sources().recall(&written.to_bytes().unwrap()).unwrap();
    assert_eq!(again.files, written.files);
    assert_eq!(place.checkout(&again).unwrap(), place.checkout(&written).unwrap());
    // The same inputs, whether they come from the screen or from the commit.
    let seen = place.on_screen();
    keep(&place.root().join(".git"), &large);
    keep(&place.root().join(".git"), b"small");
    let committed = place.resolve(".", &Selection::Head).unwrap();
    assert_eq!(committed.source.tree, tree);
    let digest = |resolved: &Resolved| place.sources().input_digest(resolved, &[]).unwrap();
    assert_eq!(digest(&seen), digest(&committed));
    assert_eq!(place.checkout(&committed).unwrap(), place.checkout(&seen).unwrap());
    // A change of a large file is one.
    place.write("sub/b.bin", "other");
    let changed = place.on_screen();
    assert!(changed.source.dirty && digest(&changed) != digest(&seen));
    assert_eq!(fs::read(place.checkout(&changed).unwrap().join("sub/b.bin")).unwrap(), b"other");
}

#[test]
fn attributes_that_change_are_noticed() {
    let place = Place::new();
    place.commit_large(&[("a.bin", b"content")]);
    let handed =
        |resolved: &Resolved| resolved.files.iter().any(|(path, file)| path.as_str() == "a.bin" && file.lfs);
    assert!(handed(&place.on_screen()));
    place.write(".gitattributes", "");
    assert!(!handed(&place.on_screen()));
    place.write(".git/info/attributes", ATTRIBUTES);
    assert!(handed(&place.on_screen()));
    // Of a project's folder, those above it count.
    fs::remove_file(place.root().join(".git/info/attributes")).unwrap();
    place.write(".gitattributes", ATTRIBUTES);
    let tree = place.commit_large(&[("app/b.bin", b"b")]);
    let seen = place.resolve("app", &Selection::AsItIs).unwrap();
    assert!(!seen.source.dirty && seen.files[0].1.lfs);
    assert_eq!(seen.source.tree, place.git(&["rev-parse", &format!("{tree}:app")]));
    keep(&place.root().join(".git"), b"b");
    let committed = place.resolve("app", &Selection::Head).unwrap();
    assert_eq!(fs::read(place.checkout(&committed).unwrap().join("b.bin")).unwrap(), b"b");
    place.write("app/.gitattributes", "b.bin -filter\n");
    assert!(!place.resolve("app", &Selection::AsItIs).unwrap().files.iter().any(|(_, file)| file.lfs));
}

#[test]
fn a_commit_on_this_machine_has_its_objects_beside_it() {
    let place = Place::new();
    place.commit_large(&[("a.bin", b"content"), ("run.bin", b"content")]);
    fs::set_permissions(place.root().join("run.bin"), fs::Permissions::from_mode(0o755)).unwrap();
    place.write("run.bin", pointer(b"content"));
    place.write("a.bin", pointer(b"content"));
    place.commit();
    let head = || place.resolve(".", &Selection::Head).unwrap();
    let refused = place.checkout(&head()).unwrap_err();
    assert!(
        matches!(&refused, SourceError::Lfs { why, .. } if matches!(**why, LfsFailure::NoServer)),
        "{refused}"
    );
    let text = format!("{refused} {}", refused.remedy().unwrap());
    for part in ["a.bin", "git lfs fetch", &Digest::of(b"content").hex()] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // One that is not what it says is not used.
    let object = keep(&place.root().join(".git"), b"content");
    fs::write(&object, b"CONTENT").unwrap();
    assert!(place.checkout(&head()).is_err());
    fs::write(&object, b"content").unwrap();
    let recalled = place.sources().recall(&head().to_bytes().unwrap()).unwrap();
    assert_eq!(recalled.files, head().files);
    let files = place.checkout(&recalled).unwrap();
    let mode = |name: &str| fs::metadata(files.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(fs::read(files.join("a.bin")).unwrap(), b"content");
    assert_eq!((mode("a.bin"), mode("run.bin")), (0o644, 0o755));
    // What was checked out for one is not there for a repository that does not have it.
    let other = place.dir.path().join("other");
    place.git(&["clone", "-q", "--bare", ".", other.to_str().unwrap()]);
    let mut clone = Command::new("git");
    assert!(clone.arg("-C").arg(&other).args(["remote", "remove", "origin"]).status().unwrap().success());
    let url = format!("file://{}", other.display());
    let refused = place.resolve(&url, &Selection::Head).and_then(|found| place.checkout(&found)).unwrap_err();
    assert!(matches!(refused, SourceError::Lfs { .. }), "{refused}");
}

#[test]
fn a_bare_repository_and_a_clone_of_one_have_its_objects() {
    let place = Place::new();
    place.commit_large(&[("a.bin", b"content")]);
    let bare = place.dir.path().join("bare.git");
    place.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    keep(&bare, b"content");
    let url = format!("file://{}", bare.display());
    let found = place.resolve(&url, &Selection::Head).unwrap();
    assert_eq!(fs::read(place.checkout(&found).unwrap().join("a.bin")).unwrap(), b"content");
    // The same by way of a clone, which git-lfs has not fetched anything for.
    place.git(&["remote", "add", "origin", &url]);
    let found = place.resolve(".", &Selection::Head).unwrap();
    assert_eq!(fs::read(place.checkout(&found).unwrap().join("a.bin")).unwrap(), b"content");
    // And where the working directory has pointers still.
    place.write("a.bin", pointer(b"content"));
    let seen = place.on_screen();
    assert!(!seen.source.dirty);
    assert!(seen.notices[0].contains("1 file is a pointer"), "{:?}", seen.notices);
    assert_eq!(fs::read(place.checkout(&seen).unwrap().join("a.bin")).unwrap(), b"content");
}

#[test]
fn links_and_extensions_are_no_way_in() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::write(&outside, "secret").unwrap();
    place.commit_large(&[("a.bin", b"secret")]);
    place.write("a.bin", pointer(b"secret"));
    let object = keep(&place.root().join(".git"), b"secret");
    fs::remove_file(&object).unwrap();
    std::os::unix::fs::symlink(&outside, &object).unwrap();
    let found = place.resolve(".", &Selection::Head).unwrap();
    assert!(place.checkout(&found).is_err());
    let oid = Digest::of(b"x");
    let extended = pointer(b"x").replace("oid ", &format!("ext-0-crypt {oid}\noid "));
    place.write("b.bin", extended);
    place.commit();
    let refused = place.resolve(".", &Selection::Head).unwrap_err();
    assert!(matches!(&refused, SourceError::LfsExtension(path) if path == "b.bin"), "{refused}");
}

#[test]
fn a_merge_has_the_large_files_of_both_sides() {
    let place = Place::new();
    place.commit_large(&[("a.bin", b"a")]);
    place.write("a.bin", pointer(b"a"));
    place.git(&["checkout", "-q", "-b", "topic"]);
    place.commit_large(&[("b.bin", b"b")]);
    place.write("b.bin", pointer(b"b"));
    place.git(&["checkout", "-q", "main"]);
    place.commit_large(&[("c.bin", b"c")]);
    for content in [b"a", b"b", b"c"] {
        keep(&place.root().join(".git"), content);
    }
    let merge = Selection::Merge { head: "topic".into(), base: "main".into() };
    let files = place.checkout(&place.resolve(".", &merge).unwrap()).unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(fs::read_to_string(files.join(format!("{name}.bin"))).unwrap(), name);
    }
}

#[test]
fn large_files_take_little_memory() {
    let place = Place::new();
    let large = place.root().join("large.bin");
    // Sparse, so that it costs time and no disk here; the pool's copies cost disk.
    let length = 192 << 20;
    fs::File::create(&large).unwrap().set_len(length).unwrap();
    let before = peak();
    let seen = place.on_screen();
    let files = place.checkout(&seen).unwrap();
    assert_eq!(fs::metadata(files.join("large.bin")).unwrap().len(), length);
    assert!(peak() - before < 100 << 20, "{} MiB more", (peak() - before) >> 20);
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
