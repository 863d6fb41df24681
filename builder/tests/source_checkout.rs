//! Directories made of listings: exact, shared, and safe against processes that are killed.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use staith_builder::{
    layers::merged,
    source::{Origin, Resolved, Selection, Sources},
};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(place.root()).unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources::open(&self.store(), None).unwrap()
    }

    fn resolve(&self, sources: &Sources) -> Resolved {
        let origin = Origin::parse(".", &self.root()).unwrap();
        sources.resolve(&origin, &Selection::AsItIs, &mut |_| {}).unwrap()
    }
}

fn globs(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(ToString::to_string).collect()
}

fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(all_below(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn a_checkout_holds_exactly_the_files() {
    let place = Place::new();
    place.write("src/a/x.rs", "x");
    place.write("src/run", "run");
    place.write("docs/y.md", "y");
    place.write("empty", "");
    fs::set_permissions(place.root().join("src/run"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("../docs/y.md", place.root().join("src/link")).unwrap();
    let sources = place.sources();
    let resolved = place.resolve(&sources);
    let dir = sources.checkout(&resolved, &[]).unwrap();
    let (expected, _) = merged(&[place.root()]).unwrap();
    let (found, _) = merged(std::slice::from_ref(&dir)).unwrap();
    assert_eq!(found.entries.keys().collect::<Vec<_>>(), expected.entries.keys().collect::<Vec<_>>());
    let mode = |path: &str| fs::symlink_metadata(dir.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("src/run"), mode("src/a/x.rs"), mode("src"), mode("")), (0o755, 0o644, 0o755, 0o755));
    assert_eq!(fs::read_link(dir.join("src/link")).unwrap(), Path::new("../docs/y.md"));

    let part = sources.checkout(&resolved, &globs(&["src/**/*.rs", "docs"])).unwrap();
    let (found, _) = merged(std::slice::from_ref(&part)).unwrap();
    let paths: Vec<_> = found.entries.keys().map(ToString::to_string).collect();
    assert_eq!(paths, ["docs", "docs/y.md", "src", "src/a", "src/a/x.rs"]);
    assert_eq!(
        sources.checkout(&resolved, &globs(&["docs", "src/a"])).unwrap(),
        part,
        "the same files, one directory"
    );
    let inode = |dir: &Path| fs::metadata(dir.join("docs/y.md")).unwrap().ino();
    assert_eq!(inode(&dir), inode(&part), "contents are shared");
}

#[test]
fn equal_files_of_one_checkout_are_not_one_file() {
    let place = Place::new();
    (0..5).for_each(|n| place.write(&format!("p{n}/__init__.py"), ""));
    let sources = place.sources();
    let dir = sources.checkout(&place.resolve(&sources), &[]).unwrap();
    let inodes = (0..5).map(|n| fs::metadata(dir.join(format!("p{n}/__init__.py"))).unwrap().ino());
    assert_eq!(inodes.collect::<std::collections::HashSet<_>>().len(), 5);
}

#[test]
fn times_follow_the_content() {
    let place = Place::new();
    place.write("a", "1");
    place.write("d/b", "2");
    symlink("a", place.root().join("l")).unwrap();
    let sources = place.sources();
    let time = |dir: &Path, path: &str| fs::symlink_metadata(dir.join(path)).unwrap().mtime();
    let first = sources.checkout(&place.resolve(&sources), &[]).unwrap();
    place.write("a", "3");
    let second = sources.checkout(&place.resolve(&sources), &[]).unwrap();
    assert_ne!(first, second);
    assert_eq!(time(&first, "d/b"), time(&second, "d/b"));
    assert_ne!(time(&first, "a"), time(&second, "a"));
    for path in all_below(&first).iter().chain(&all_below(&second)) {
        let time = fs::symlink_metadata(path).unwrap();
        assert!((978_307_200..1_262_304_000).contains(&time.mtime()), "{}", path.display());
        assert_eq!(time.mtime_nsec(), 0);
    }
    assert_eq!([time(&first, "d"), time(&first, "l"), time(&first, "")], [978_307_200; 3]);
}

#[test]
fn half_made_checkouts_are_never_used() {
    let place = Place::new();
    place.write("a", "content");
    place.write("b/c", "content");
    let sources = place.sources();
    let resolved = place.resolve(&sources);
    let dir = sources.checkout(&resolved, &[]).unwrap();
    let mark = dir.with_extension("seen");
    // Killed while writing: what is there is in a place of its own, and the next process removes it.
    fs::create_dir_all(place.store().join("tmp/dead/0/b")).unwrap();
    fs::write(place.store().join("tmp/dead.lock"), "").unwrap();
    // The machine lost power: another start of it, and a file without its bytes.
    fs::write(&mark, "another boot").unwrap();
    fs::remove_file(dir.join("a")).unwrap();
    fs::write(dir.join("a"), "").unwrap();
    let other = place.sources();
    assert!(!place.store().join("tmp/dead").exists());
    assert_eq!(other.checkout(&resolved, &[]).unwrap(), dir);
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "content");
    fs::write(&mark, "another boot").unwrap();
    let inode = fs::metadata(dir.join("a")).unwrap().ino();
    other.checkout(&resolved, &[]).unwrap();
    assert_eq!(fs::metadata(dir.join("a")).unwrap().ino(), inode, "what is whole stays");
}

#[test]
fn contents_of_another_start_of_the_machine_are_not_used() {
    let place = Place::new();
    place.write("a", "content");
    let sources = place.sources();
    let resolved = place.resolve(&sources);
    let pool = fs::read_dir(place.store().join("blobs")).unwrap().next().unwrap().unwrap().path();
    drop(sources);
    fs::rename(&pool, place.store().join("blobs/another-boot-0-0")).unwrap();
    let sources = place.sources();
    assert!(!place.store().join("blobs/another-boot-0-0").exists());
    assert_eq!(place.resolve(&sources), resolved);
    let dir = sources.checkout(&resolved, &[]).unwrap();
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "content");
}

#[test]
fn many_processes_may_make_one_checkout() {
    let place = Place::new();
    (0..200).for_each(|n| place.write(&format!("d{}/f{n}", n % 7), &(n / 2).to_string()));
    let resolved = place.resolve(&place.sources());
    let dirs: Vec<PathBuf> = std::thread::scope(|scope| {
        let make = |_| scope.spawn(|| place.sources().checkout(&resolved, &[]).unwrap());
        let threads: Vec<_> = (0..6).map(make).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(dirs.iter().all(|dir| *dir == dirs[0]));
    let (found, _) = merged(&[dirs[0].clone()]).unwrap();
    assert_eq!(found.files(), 200);
}

#[test]
fn inputs_decide_the_digest() {
    let place = Place::new();
    place.write("src/a", "1");
    place.write("docs/b", "2");
    let sources = place.sources();
    let digest =
        |patterns: &[&str]| sources.input_digest(&place.resolve(&sources), &globs(patterns)).unwrap();
    let (src, all) = (digest(&["src"]), digest(&[]));
    place.write("docs/b", "3");
    assert_eq!(digest(&["src"]), src);
    assert_ne!(digest(&[]), all);
    assert_eq!(digest(&[]), digest(&["**"]));
    let resolved = place.resolve(&sources);
    assert!(sources.input_digest(&resolved, &globs(&["../x"])).is_err());
    assert!(sources.checkout(&resolved, &globs(&["/x"])).is_err());
}

#[test]
fn files_belong_to_the_owner() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give files away; for others an owner is never asked for.
        return;
    }
    let place = Place::new();
    place.write("d/a", "1");
    symlink("a", place.root().join("d/l")).unwrap();
    let sources = Sources::open(&place.store(), Some((65534, 65534))).unwrap();
    let dir = sources.checkout(&place.resolve(&sources), &[]).unwrap();
    for path in ["", "d", "d/a", "d/l"] {
        let stat = fs::symlink_metadata(dir.join(path)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (65534, 65534), "{path}");
    }
    let own = place.sources();
    let other = own.checkout(&place.resolve(&own), &[]).unwrap();
    assert_ne!(other, dir);
    assert_eq!(fs::metadata(other.join("d/a")).unwrap().uid(), 0);
}
