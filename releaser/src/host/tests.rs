//! Staging and retention on a real disk.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use proptest::prelude::*;
use staith_model::{Entry, Release};
use tokio_util::sync::CancellationToken;

use super::{samples::Tree, *};

fn quiet() -> Progress {
    Arc::new(|_| {})
}

fn stage(root: &Path, tree: &Tree) -> (Release, Result<Staged, HostError>) {
    let release = tree.release("1.0.0");
    let staged = staging::stage(&Layout::new(root), &release, tree, &quiet(), &CancellationToken::new());
    (release, staged)
}

fn inspect(root: &Path, release: &Release) -> Files {
    staging::inspect(&Layout::new(root), release, Depth::Content, &CancellationToken::new()).unwrap()
}

fn sample() -> Tree {
    Tree::of(&[("bin/run*", b"#!/bin/sh\n"), ("a.txt", b"text"), ("b.txt", b"text"), ("empty", b"")])
        .with("logs", Entry::Directory)
        .with("link", Entry::Symlink { target: "bin/run".into() })
}

/// Nothing but whole releases and blobs that they use.
fn assert_tidy(root: &Path) {
    for folder in ["releases", "blobs"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{folder}/{name} was left behind");
            if folder == "blobs" {
                assert!(entry.metadata().unwrap().nlink() > 1, "blob {name} belongs to no release");
            }
        }
    }
}

#[test]
fn a_release_is_staged_whole_read_only_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let tree = sample();
    let (release, staged) = stage(dir.path(), &tree);
    // Two files have the same text: it is taken from the package once or, when two threads meet, twice.
    let staged = staged.unwrap();
    assert!(!staged.already && (3..=4).contains(&staged.files), "{staged:?}");
    let home = Layout::new(dir.path()).release(&release.digest());
    assert_eq!(fs::read(home.join("a.txt")).unwrap(), b"text");
    assert_eq!(fs::read_link(home.join("link")).unwrap(), Path::new("bin/run"));
    assert!(home.join("logs").is_dir());
    let mode = |path: &str| fs::metadata(home.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("bin/run"), mode("a.txt")), (0o555, 0o444));
    assert_tidy(dir.path());

    let asked = tree.asked.load(Ordering::Relaxed);
    let (_, again) = stage(dir.path(), &tree);
    assert_eq!(again.unwrap(), Staged { already: true, files: 0, bytes: 0 });
    assert_eq!(tree.asked.load(Ordering::Relaxed), asked);
}

#[test]
fn only_contents_that_the_host_lacks_are_asked_of_a_package() {
    let dir = tempfile::tempdir().unwrap();
    stage(dir.path(), &Tree::of(&[("a", b"same"), ("b", b"old")])).1.unwrap();
    let next = Tree::of(&[("a", b"same"), ("b", b"new"), ("moved/c", b"old"), ("x*", b"same")]);
    let (_, staged) = stage(dir.path(), &next);
    // The same content with an executable bit is another file: hard links share their mode.
    assert_eq!(staged.unwrap(), Staged { already: false, files: 2, bytes: 7 });
}

#[test]
fn damage_is_found_and_the_release_is_built_anew() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 7] = [
        ("content", |home| overwrite(&home.join("a.txt"), b"TEXT")),
        ("length", |home| overwrite(&home.join("a.txt"), b"longer text")),
        ("missing", |home| fs::remove_file(home.join("empty")).unwrap()),
        ("mode", |home| {
            fs::remove_file(home.join("bin/run")).unwrap();
            fs::write(home.join("bin/run"), b"#!/bin/sh\n").unwrap();
        }),
        ("link", |home| {
            fs::remove_file(home.join("link")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", home.join("link")).unwrap();
        }),
        ("folder", |home| {
            fs::remove_dir(home.join("logs")).unwrap();
            fs::write(home.join("logs"), b"").unwrap();
        }),
        ("manifest", |home| fs::write(home.with_extension("json"), b"{}").unwrap()),
    ];
    for (what, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let tree = sample();
        let release = stage(dir.path(), &tree).0;
        assert_eq!(inspect(dir.path(), &release), Files::Complete);
        harm(&Layout::new(dir.path()).release(&release.digest()));
        assert!(matches!(inspect(dir.path(), &release), Files::Damaged(_)), "{what}");
        let staged = stage(dir.path(), &tree).1.unwrap();
        assert!(!staged.already, "{what}");
        assert_eq!(inspect(dir.path(), &release), Files::Complete, "{what}");
        assert_tidy(dir.path());
    }
}

/// As a process with the right to do so would: in place, through the read-only mode. All names of the content change.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_blob_does_not_get_into_the_next_release() {
    let dir = tempfile::tempdir().unwrap();
    let first = stage(dir.path(), &Tree::of(&[("a", b"same")])).0;
    overwrite(&Layout::new(dir.path()).release(&first.digest()).join("a"), b"EVIL");
    let next = Tree::of(&[("a", b"same"), ("b", b"new")]);
    let (release, staged) = stage(dir.path(), &next);
    assert_eq!(staged.unwrap().files, 2);
    assert_eq!(inspect(dir.path(), &release), Files::Complete);
}

#[test]
fn what_an_application_writes_beside_its_files_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let release = stage(dir.path(), &sample()).0;
    fs::write(Layout::new(dir.path()).release(&release.digest()).join("logs/today"), b"x").unwrap();
    assert_eq!(inspect(dir.path(), &release), Files::Complete);
}

#[test]
fn a_package_that_would_leave_its_folder_is_refused_by_name_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for (target, entry) in [("/etc", "evil"), ("../../blobs", "evil"), ("a/../../x", "evil")] {
        let tree = Tree::of(&[("a", b"x")]).with(entry, Entry::Symlink { target: target.into() });
        let error = stage(dir.path(), &tree).1.unwrap_err();
        assert!(matches!(&error, HostError::Unsafe { entry, .. } if entry == "evil"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_package_that_lies_leaves_nothing() {
    for lie in [&b"other"[..], b"short", b"much longer than it said"] {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::of(&[("a", b"promised"), ("b", b"good")]).lying("a", lie);
        let (release, staged) = stage(dir.path(), &tree);
        let error = staged.unwrap_err();
        assert!(matches!(&error, HostError::NotAsPromised { what } if what.contains("`a`")), "{error}");
        assert_eq!(inspect(dir.path(), &release), Files::Absent);
        assert_tidy(dir.path());
    }
}

#[test]
fn another_packages_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let release = sample().release("1.0.0");
    let (layout, other) = (Layout::new(dir.path()), Tree::of(&[("a", b"x")]));
    let error = staging::stage(&layout, &release, &other, &quiet(), &CancellationToken::new()).unwrap_err();
    assert!(matches!(error, HostError::NotAsPromised { .. }), "{error}");
}

#[test]
fn a_cancelled_staging_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Tree::of(&[("a", b"one"), ("b", b"two"), ("c", b"three")]);
    let cancel = CancellationToken::new();
    let inner = cancel.clone();
    let progress: Progress = Arc::new(move |_| inner.cancel());
    let release = tree.release("1.0.0");
    let error = staging::stage(&Layout::new(dir.path()), &release, &tree, &progress, &cancel).unwrap_err();
    assert!(matches!(error, HostError::Cancelled), "{error}");
    assert_eq!(inspect(dir.path(), &release), Files::Absent);
    assert_tidy(dir.path());
}

#[test]
fn what_killed_stagings_and_removals_left_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let releases = dir.path().join("releases");
    fs::create_dir_all(releases.join(".tmp-abc/tree/x")).unwrap();
    fs::create_dir_all(releases.join(".old-abc/x")).unwrap();
    fs::create_dir_all(dir.path().join("blobs")).unwrap();
    fs::write(dir.path().join("blobs/.tmp-half"), b"half").unwrap();
    let release = stage(dir.path(), &sample()).0;
    let keep = BTreeSet::from([release.digest()]);
    fs::create_dir_all(releases.join(".old-def/x")).unwrap();
    assert!(retention::retain(&Layout::new(dir.path()), &keep).unwrap().is_empty());
    assert_tidy(dir.path());
}

#[test]
fn releases_beyond_retention_go_with_the_contents_that_only_they_used() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let old = stage(dir.path(), &Tree::of(&[("a", b"shared"), ("b", b"only old")])).0;
    let new = stage(dir.path(), &Tree::of(&[("a", b"shared"), ("b", b"only new")])).0;
    let gone = retention::retain(&layout, &BTreeSet::from([new.digest()])).unwrap();
    assert_eq!(gone, BTreeSet::from([old.digest()]));
    assert_eq!(inspect(dir.path(), &old), Files::Absent);
    assert_eq!(inspect(dir.path(), &new), Files::Complete);
    assert_eq!(fs::read_dir(layout.blobs()).unwrap().count(), 2);
    assert_tidy(dir.path());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_tree_comes_out_as_it_went_in(files in prop::collection::btree_map("[a-c]{1,3}(/[x-z]{1,2}){0,2}\\*?", prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let listed: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        let tree = Tree::of(&listed);
        let dir = tempfile::tempdir().unwrap();
        let (release, staged) = stage(dir.path(), &tree);
        match staged {
            Ok(_) => prop_assert_eq!(inspect(dir.path(), &release), Files::Complete),
            // One entry's path runs through another that is a file.
            Err(error) => prop_assert!(matches!(error, HostError::Unsafe { .. }), "{error}"),
        }
        assert_tidy(dir.path());
    }
}
