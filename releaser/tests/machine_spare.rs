//! The tree of the release that was removed last, of which the next one is made.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod machine_support;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use machine_support::{Here, Tree, order, release_of, stage};
use staith_model::{Entry, RelPath};
use staith_releaser::{
    fleet::{
        machine::{Inspection, Load, Machine as _, MachineError},
        remote::RemoteMachine,
    },
    host::{Files, Staged},
};

/// A hundred files that stay, one that is of the version, and what trees have beside files.
fn version(name: &str) -> Tree {
    let mut tree = Tree::of(&[("version", name.as_bytes()), ("d/deep/version", name.as_bytes())]);
    for nth in 0..100 {
        tree.add(&format!("d{}/{nth}", nth % 7), 0o644, format!("{nth}").as_bytes());
    }
    tree.add("run", 0o755, b"#!/bin/sh\n");
    // A name, and a content that is in several places.
    tree.add(&format!("of {name}/\"odd\"\n\u{e4}"), 0o644, b"same");
    tree.add("d/same", 0o644, b"same");
    tree.entry("empty", Entry::Directory);
    tree.entry("link", Entry::Symlink { target: "d/deep".into() });
    tree
}

/// Stages, switches, and removes what is neither current nor the one before. When the next question is answered, the spare tree is there.
async fn deploy(machine: &RemoteMachine, load: &Load, tree: &Tree) -> Result<Staged, MachineError> {
    let staged = stage(machine, &order(1), load, tree).await?;
    machine.switch(&order(1), Some(&load.release)).await?;
    machine.retain(&order(1), &BTreeSet::new()).await?;
    machine.observe().await?;
    Ok(staged)
}

async fn deployed(here: &Here, names: &[&str]) {
    let machine = here.machine();
    for name in names {
        let tree = version(name);
        deploy(&machine, &tree.load(name), &tree).await.unwrap();
    }
}

fn spare(here: &Here) -> PathBuf {
    here.folder().join("releases/.spare")
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// Every path below a folder.
fn paths(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(
                paths(&path).into_iter().map(|below| Path::new(path.file_name().unwrap()).join(below)),
            );
        }
        found.insert(PathBuf::from(path.file_name().unwrap()));
    }
    found
}

/// What a release has is what its manifest says, every byte of it, and nothing else.
async fn is_exactly(here: &Here, name: &str, tree: &Tree) {
    let files = here.machine().inspect(&release_of(name), Inspection::EveryByte).await.unwrap();
    assert_eq!(files, Files::Complete);
    let mut expected = BTreeSet::new();
    for path in tree.manifest.entries.keys() {
        expected.extend(Path::new(path.as_str()).ancestors().map(Path::to_owned));
    }
    expected.remove(Path::new(""));
    assert_eq!(paths(&here.release(name)), expected);
    for path in expected {
        let metadata = fs::symlink_metadata(here.release(name).join(&path)).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let good = if metadata.is_dir() { mode == 0o755 } else { metadata.is_symlink() || mode & 0o222 == 0 };
        assert!(good, "{} has mode {mode:o}", path.display());
    }
}

#[tokio::test]
async fn the_next_release_is_made_of_it_and_is_what_its_manifest_says() {
    let here = Here::new();
    deployed(&here, &["a", "b", "c"]).await;
    let (root, folder) = (inode(&spare(&here)), inode(&spare(&here).join("d3")));
    // Nothing of what only the removed release had is on the disk.
    assert!(!spare(&here).join("version").exists() && !spare(&here).join("d/deep/version").exists());
    let tree = version("d");
    let staged = deploy(&here.machine(), &tree.load("d"), &tree).await.unwrap();
    assert_eq!((staged.already, staged.files), (false, 1));
    assert_eq!(tree.asked().len(), 1);
    assert_eq!((inode(&here.release("d")), inode(&here.release("d").join("d3"))), (root, folder));
    for same in ["d3/3", "d/same", "of d/\"odd\"\n\u{e4}"] {
        let there = if same.starts_with("of") { "d/same" } else { same };
        assert_eq!(inode(&here.release("d").join(same)), inode(&here.release("c").join(there)));
    }
    is_exactly(&here, "d", &tree).await;
    is_exactly(&here, "c", &version("c")).await;
    // Known to be verified without being read again.
    let machine = here.machine();
    assert_eq!(machine.inspect(&release_of("d"), Inspection::Touched).await.unwrap(), Files::Complete);
    assert!(stage(&machine, &order(1), &tree.load("d"), &tree).await.unwrap().already);
}

#[tokio::test]
async fn files_that_were_touched_by_hand_are_never_taken_over() {
    let here = Here::new();
    deployed(&here, &["a", "b", "c"]).await;
    let write = |path: &Path, content: &str, mode: u32| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, content).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(modified).unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
    };
    // Of one node in all releases, of the same length and with the old time; and one whose content is as it was.
    write(&here.release("c").join("d1/1"), "X", 0o444);
    write(&spare(&here).join("d2/2"), "2", 0o444);
    fs::set_permissions(here.release("c").join("d3/3"), fs::Permissions::from_mode(0o400)).unwrap();
    let root = inode(&spare(&here));
    let tree = version("d");
    let staged = deploy(&here.machine(), &tree.load("d"), &tree).await.unwrap();
    assert_eq!(inode(&here.release("d")), root);
    assert_eq!(tree.asked(), ["d/deep/version", "d1/1", "d3/3"].map(str::to_owned).into());
    assert_eq!(staged.files, 3);
    is_exactly(&here, "d", &tree).await;
    let damaged = here.machine().inspect(&release_of("c"), Inspection::Touched).await.unwrap();
    assert!(matches!(damaged, Files::Damaged(_)));
}

#[tokio::test]
async fn what_others_put_there_goes_and_nothing_behind_links() {
    let here = Here::new();
    deployed(&here, &["a", "b", "c"]).await;
    let outside = here.dir.path().join("outside");
    fs::create_dir_all(outside.join("d2")).unwrap();
    fs::write(outside.join("2"), "2").unwrap();
    let spare = spare(&here);
    let root = inode(&spare);
    for name in [&b"\xff\xfe"[..], b"$(reboot)\n", b"-rf"] {
        let name = OsStr::from_bytes(name);
        fs::create_dir_all(spare.join("d4").join(name).join("below")).unwrap();
        fs::write(spare.join("d5").join(name), "x").unwrap();
        symlink(&outside, spare.join("d6").join(name)).unwrap();
    }
    // A link for a folder, a folder for a file, a file for a folder, and a link to a file that is right.
    fs::remove_dir_all(spare.join("d2")).unwrap();
    symlink(&outside, spare.join("d2")).unwrap();
    fs::create_dir_all(spare.join("version/below")).unwrap();
    fs::remove_dir_all(spare.join("d0")).unwrap();
    fs::write(spare.join("d0"), "x").unwrap();
    fs::remove_file(spare.join("d1/1")).unwrap();
    symlink(here.release("c").join("d1/1"), spare.join("d1/1")).unwrap();
    fs::create_dir(spare.join("link")).unwrap();
    symlink(&outside, spare.join("empty")).unwrap_err();
    let tree = version("d");
    deploy(&here.machine(), &tree.load("d"), &tree).await.unwrap();
    assert_eq!(inode(&here.release("d")), root);
    is_exactly(&here, "d", &tree).await;
    assert_eq!(paths(&outside), ["2", "d2"].map(PathBuf::from).into());
}

#[tokio::test]
async fn a_tree_that_can_not_be_told_to_be_ours_is_not_used() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 3] = [
        ("a folder that others may write to", |spare| {
            fs::set_permissions(spare.join("d3"), fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("the folder itself", |spare| {
            fs::set_permissions(spare, fs::Permissions::from_mode(0o700)).unwrap();
        }),
        ("a link in its place", |spare| {
            let elsewhere = spare.with_file_name("elsewhere");
            fs::rename(spare, &elsewhere).unwrap();
            symlink(&elsewhere, spare).unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let here = Here::new();
        deployed(&here, &["a", "b", "c"]).await;
        let root = inode(&spare(&here));
        spoil(&spare(&here));
        let tree = version("d");
        let staged = deploy(&here.machine(), &tree.load("d"), &tree).await.unwrap();
        assert_eq!(staged.files, 1, "{what}");
        assert_ne!(inode(&here.release("d")), root, "{what}");
        is_exactly(&here, "d", &tree).await;
        is_exactly(&here, "c", &version("c")).await;
        let machine = here.machine();
        assert_eq!(machine.inspect(&release_of("d"), Inspection::Touched).await.unwrap(), Files::Complete);
    }
}

#[tokio::test]
async fn where_every_byte_is_to_be_read_nothing_of_it_is_believed() {
    let here = Here::new();
    deployed(&here, &["a", "b", "c"]).await;
    let root = inode(&spare(&here));
    let tree = version("d");
    let mut load = tree.load("d");
    load.every_byte = true;
    deploy(&here.machine(), &load, &tree).await.unwrap();
    assert_ne!(inode(&here.release("d")), root);
    is_exactly(&here, "d", &tree).await;
}

#[tokio::test]
async fn no_secret_and_nothing_that_was_written_there_stays_in_it() {
    let here = Here::new();
    let machine = here.machine();
    for name in ["a", "b", "c"] {
        let mut tree = version(name);
        tree.add("d/secret", 0o644, b"hidden").add("d/again", 0o755, b"hidden");
        let mut load = tree.load(name);
        load.private = ["d/secret", "d/again"].map(|path| RelPath::try_from(path).unwrap()).into();
        stage(&machine, &order(1), &load, &tree).await.unwrap();
        fs::write(here.release(name).join("d/log"), "written by the application").unwrap();
        fs::create_dir(here.release(name).join("d/cache")).unwrap();
        fs::write(here.release(name).join("d/cache/x"), "written by the application").unwrap();
        deploy(&machine, &load, &tree).await.unwrap();
    }
    let left = paths(&spare(&here));
    for gone in ["d/secret", "d/again", "d/log", "d/cache/x"] {
        assert!(!left.contains(Path::new(gone)), "{gone}");
    }
    let tree = version("d");
    deploy(&machine, &tree.load("d"), &tree).await.unwrap();
    is_exactly(&here, "d", &tree).await;
}

#[tokio::test]
async fn killed_anywhere_in_between_the_next_release_is_right_all_the_same() {
    for point in staith_machine::POINTS {
        let here = Here::tested();
        deployed(&here, &["a", "b", "c"]).await;
        let tree = version("d");
        let dying = here.machine_with(&[("STAITH_MACHINE_STOP_AT", point)]);
        let died = deploy(&dying, &tree.load("d"), &tree).await;
        let elsewhere = ["stage-unlisted", "stage-listed", "hook-noted", "hook-ended"].contains(point);
        // Nobody waits for what is swept, and who only looks begins again.
        let swept = point.starts_with("spare-");
        assert_eq!(died.is_err(), !elsewhere && !swept, "{point}: {died:?}");
        assert!(*point != "spare-shed" || !spare(&here).exists());
        let machine = here.machine();
        let current = machine.observe().await.unwrap().current.unwrap();
        let name = if current == release_of("d") { "d" } else { "c" };
        is_exactly(&here, name, &version(name)).await;
        deploy(&machine, &tree.load("d"), &tree).await.unwrap();
        is_exactly(&here, "d", &tree).await;
        let tree = version("e");
        assert_eq!(deploy(&machine, &tree.load("e"), &tree).await.unwrap().files, 1, "{point}");
        is_exactly(&here, "e", &tree).await;
        is_exactly(&here, "d", &version("d")).await;
        let names = fs::read_dir(here.folder().join("releases")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| !name.starts_with(".tmp-")), "{point}: {names:?}");
        assert!(names.iter().any(|name| name == ".spare"), "{point}: {names:?}");
    }
}
