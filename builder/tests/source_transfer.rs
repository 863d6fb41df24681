//! A source goes from the machine that has the repository to one that has not, and nothing else goes either way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as it should be"
)]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use staith_builder::source::{NotReceived, NotSent, ObjectId, Origin, Resolved, Selection, Sources};
use staith_model::Digest;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn at(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn git(&self, at: &str, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]);
        git.args(["-c", "protocol.file.allow=always", "-c", "filter.lfs.clean=cat"]);
        let output = git.args(arguments).current_dir(self.at(at)).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn repository(&self, name: &str, files: &[(&str, &[u8])]) {
        fs::create_dir(self.at(name)).unwrap();
        self.git(name, &["init", "-q", "-b", "main"]);
        for (path, content) in files {
            let path = self.at(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn commit(&self, name: &str) {
        self.git(name, &["add", "-A"]);
        self.git(name, &["commit", "-q", "-m", "x"]);
    }

    fn sources(&self, store: &str) -> Sources {
        Sources::open(&self.at(store), None).unwrap()
    }

    fn resolved(&self, repository: &str) -> Resolved {
        let origin = Origin::parse(".", &self.at(repository)).unwrap();
        self.sources("server").resolve(&origin, &Selection::Head, &mut |_| {}).unwrap()
    }

    /// A project with all that a source can have; git-lfs keeps `large`.
    fn project(&self, large: &[u8]) -> Resolved {
        self.repository("library", &[("lib.c", b"int x;\n")]);
        self.commit("library");
        let (oid, size) = (Digest::of(large), large.len());
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid {oid}\nsize {size}\n");
        let files: &[(&str, &[u8])] = &[
            (".gitattributes", b"*.bin filter=lfs -text\n"),
            ("big.bin", pointer.as_bytes()),
            // The same id as what git-lfs keeps, and here it is a plain file.
            ("pointer.txt", pointer.as_bytes()),
            ("empty", b""),
            ("src/a.c", b"one\n"),
            ("src/copy.c", b"one\n"),
            ("run.sh", b"#!/bin/sh\n"),
        ];
        self.repository("app", files);
        fs::set_permissions(self.at("app/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("src/a.c", self.at("app/link")).unwrap();
        self.git("app", &["submodule", "add", "-q", "../library", "vendor/library"]);
        self.commit("app");
        let hex = oid.hex();
        let object = self.at("app/.git/lfs/objects").join(&hex[..2]).join(&hex[2..4]).join(hex);
        fs::create_dir_all(object.parent().unwrap()).unwrap();
        fs::write(object, large).unwrap();
        self.resolved("app")
    }
}

fn sent(place: &Place, resolved: &Resolved, ids: &[ObjectId]) -> Vec<u8> {
    let sources = place.sources("server");
    sources.gather(resolved, &[], &mut |_| {}).unwrap();
    let mut bytes = Vec::new();
    sources.contents(resolved, ids, &mut bytes).unwrap();
    bytes
}

/// What a checkout holds, as another one of the same files must.
fn tree(of: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![of.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(of).unwrap().to_str().unwrap().to_owned();
            if found.is_dir() {
                open.push(path);
            } else if found.is_symlink() {
                all.push((name, 0, fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()));
            } else {
                all.push((name, found.permissions().mode(), fs::read(path).unwrap()));
            }
        }
    }
    all.sort();
    all
}

#[test]
fn a_source_with_submodules_and_large_files_goes_to_a_machine_that_has_no_way_to_the_repository() {
    let place = Place::new();
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let resolved = place.project(&large);
    let list = resolved.list_to_send().unwrap();
    let told = String::from_utf8_lossy(&list).into_owned();
    assert!(!told.contains(place.dir.path().to_str().unwrap()), "it says nothing of the server's own paths");

    let runner = place.sources("runner");
    let received = runner.received(&list).unwrap();
    assert_eq!((&received.source, &received.files), (&resolved.source, &resolved.files));
    let missing = runner.missing(&received);
    let contents = sent(&place, &resolved, &missing);
    let expected = tree(&place.sources("server").checkout(&resolved, &[]).unwrap());
    // From here on there is nothing but what came.
    fs::rename(place.at("app"), place.at("moved")).unwrap();
    fs::rename(place.at("server"), place.at("gone")).unwrap();
    // The pointer as a file and what it stands for have one id.
    assert_eq!(runner.take_contents(&received, &mut contents.as_slice()).unwrap(), missing.len() + 1);
    assert_eq!(runner.missing(&received), []);
    let found = tree(&runner.checkout(&received, &[]).unwrap());
    assert!(found == expected && found.iter().any(|(name, _, bytes)| name == "big.bin" && *bytes == large));
    assert!(found.iter().any(|(name, ..)| name == "vendor/library/lib.c"));
    assert_eq!(runner.take_contents(&received, &mut contents.as_slice()).unwrap(), missing.len() + 1);
}

#[test]
fn a_later_commit_costs_what_changed() {
    let place = Place::new();
    let first = place.project(b"large");
    let runner = place.sources("runner");
    let received = runner.received(&first.list_to_send().unwrap()).unwrap();
    let contents = sent(&place, &first, &runner.missing(&received));
    runner.take_contents(&received, &mut contents.as_slice()).unwrap();
    fs::write(place.at("app/src/a.c"), "two\n").unwrap();
    place.commit("app");
    let second = place.resolved("app");
    let received = runner.received(&second.list_to_send().unwrap()).unwrap();
    let missing = runner.missing(&received);
    assert_eq!(missing.len(), 1);
    assert_eq!(sent(&place, &second, &missing).len(), 20 + 8 + 4);
}

#[test]
fn a_source_gives_its_own_contents_only() {
    let place = Place::new();
    let resolved = place.project(b"large");
    place.repository("other", &[("secret", b"of somebody else")]);
    place.commit("other");
    let other = place.resolved("other");
    let sources = place.sources("server");
    sources.checkout(&other, &[]).unwrap();
    let theirs: Vec<ObjectId> = other.files.iter().map(|(_, entry)| entry.blob).collect();
    let own = resolved.files[0].1.blob;
    let mut written = Vec::new();
    let refused = sources.contents(&resolved, &[own, theirs[0]], &mut written);
    assert!(matches!(refused, Err(NotSent::NotOfTheSource(id)) if id == theirs[0].to_string()));
    assert!(written.is_empty(), "nothing was given before it was known that all may be");
}

#[test]
fn what_is_sent_wrong_is_refused_and_nothing_of_it_is_kept() {
    let place = Place::new();
    let resolved = place.project(b"large");
    let runner = place.sources("runner");
    let received = runner.received(&resolved.list_to_send().unwrap()).unwrap();
    let id = |path: &str| received.files.iter().find(|(name, _)| name.as_str() == path).unwrap().1.blob;
    let frame = |id: ObjectId, length: u64, bytes: &[u8]| {
        let mut frame = id.as_bytes().to_vec();
        frame.write_all(&length.to_le_bytes()).unwrap();
        frame.write_all(bytes).unwrap();
        frame
    };
    let (plain, large, is_large) = (id("src/a.c"), id("big.bin"), 1_u64 << 63);
    for (what, sent) in [
        ("another content", frame(plain, 4, b"two\n")),
        ("too long", frame(plain, 5, b"one\n\n")),
        ("an endless one", frame(plain, is_large - 1, b"one\n")),
        ("as if git-lfs kept it", frame(plain, 4 | is_large, b"one\n")),
        ("another large content", frame(large, 5 | is_large, b"LARGE")),
        ("a large one that is too long", frame(large, 6 | is_large, b"larger")),
        ("torn", frame(plain, 4, b"on")),
        ("a large one, torn", frame(large, 5 | is_large, b"lar")),
        ("torn in its length", plain.as_bytes().iter().copied().chain([4, 0]).collect()),
        ("what no file has", frame(ObjectId::from_bytes([7; 20]), 1, b"x")),
    ] {
        let refused = runner.take_contents(&received, &mut sent.as_slice());
        assert!(
            matches!(refused, Err(NotReceived::Damaged(_) | NotReceived::Content { .. })),
            "{what}: {refused:?}"
        );
    }
    let all: std::collections::BTreeSet<_> = received.files.iter().map(|(_, entry)| entry.blob).collect();
    assert_eq!(runner.missing(&received).len(), all.len());
}

#[test]
fn a_list_that_no_directory_can_hold_is_refused() {
    let place = Place::new();
    let resolved = place.project(b"large");
    let runner = place.sources("runner");
    let with = |change: &dyn Fn(&mut Resolved)| {
        let mut changed = resolved.clone();
        change(&mut changed);
        runner.received(&changed.list_to_send().unwrap())
    };
    assert!(with(&|_| {}).is_ok());
    let entry = resolved.files[0].1;
    let below = |files: &mut Resolved| {
        let inside = format!("{}/x", files.files[0].0);
        files.files.insert(1, (inside.as_str().try_into().unwrap(), entry));
    };
    let long = |files: &mut Resolved| {
        let deep = vec!["z"; 300].join("/");
        files.files.push((deep.as_str().try_into().unwrap(), entry));
    };
    let changes: [&dyn Fn(&mut Resolved); 4] =
        [&below, &long, &|it| it.files.reverse(), &|it| it.files.push(it.files.last().unwrap().clone())];
    for (number, change) in changes.iter().enumerate() {
        assert!(matches!(with(change), Err(NotReceived::List(_))), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_do_harm(noise: Vec<u8>, at: prop::sample::Index, flip: u8, keep: prop::sample::Index) {
        let place = Place::new();
        place.repository("app", &[("a", b"one"), ("b", b"two")]);
        place.commit("app");
        let resolved = place.resolved("app");
        let list = resolved.list_to_send().unwrap();
        let runner = place.sources("runner");
        let received = runner.received(&list).unwrap();
        let _ = runner.received(&noise);
        let _ = runner.take_contents(&received, &mut noise.as_slice());
        let mut contents = sent(&place, &resolved, &runner.missing(&received));
        let at = at.index(contents.len());
        contents[at] ^= flip;
        contents.truncate(keep.index(contents.len() + 1));
        let _ = runner.take_contents(&received, &mut contents.as_slice());
        // Whatever came: what is in the pool is what it is called.
        if runner.missing(&received).is_empty() {
            let checkout = runner.checkout(&received, &[]).unwrap();
            prop_assert_eq!(fs::read(checkout.join("a")).unwrap(), b"one");
            prop_assert_eq!(fs::read(checkout.join("b")).unwrap(), b"two");
        }
    }
}
