//! Packages in a directory: published once and for good, by many processes, some of which die.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use common::{What, content, file, fixed_tree, tree};
use staith_model::{Digest, Name, Package, Passed, Plan, RunId, Source, TestReport, Trigger, Version};
use staith_packager::{
    seal::{SealError, Sealed, seal},
    store::{Origin, Store, StoreError},
    web_deploy::{PROFILE, PackageReader, WriteError},
};

fn passed() -> Passed {
    let source = Source { tree: "0".repeat(40), commit: None, dirty: false };
    let plan = Plan {
        project: name("demo"),
        version: "1.0.0".into(),
        source,
        trigger: Trigger::default(),
        tools: Vec::new(),
        steps: Vec::new(),
        left_out: Vec::new(),
        services: Vec::new(),
        packages: vec![],
    };
    let report = TestReport { run: RunId::new(0, [0; 10]), plan: plan.digest(), steps: BTreeMap::new() };
    report.into_passed(&plan).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn seal_tree(root: &Path, tree: &BTreeMap<String, What>, as_version: &str) -> Result<Sealed, SealError> {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(root)?;
    seal(
        &passed(),
        &name("demo"),
        &version(as_version),
        &content(scratch.path(), tree),
        &store,
        &staith_packager::stopping::unwatched,
    )
}

fn origin() -> Origin {
    let passed = passed();
    Origin { run: passed.report().run.clone(), plan: passed.report().plan }
}

/// Publishes bytes that need not be a package: the store does not look inside.
fn publish(store: &Store, as_version: &str, bytes: &[u8]) -> Result<Package, StoreError> {
    let mut staged = store.stage()?;
    staged.file().write_all(bytes).unwrap();
    let digest = Digest::of(bytes);
    let (size, content) = (bytes.len() as u64, digest);
    let package = Package { name: name("demo"), version: version(as_version), digest, content, size };
    store.publish(staged, &package, PROFILE, origin()).map(|published| published.package)
}

fn files_in(path: PathBuf) -> usize {
    fs::read_dir(path).unwrap().count()
}

#[test]
fn a_sealed_package_is_found_and_is_what_was_packed() {
    let root = tempfile::tempdir().unwrap();
    let sealed = seal_tree(root.path(), &fixed_tree(), "1.4.0").unwrap();
    let content = PackageReader::open(&sealed.path).unwrap().verify().unwrap().content;
    assert_eq!((content, sealed.cached), (Some(sealed.published.package.content), false));
    assert_eq!(
        sealed.published.package.version,
        version("1.4.0").of_content(&sealed.published.package.content)
    );
    let store = Store::open(root.path()).unwrap();
    let found =
        store.find(&sealed.published.package.name, &sealed.published.package.version).unwrap().unwrap();
    assert_eq!((&found.package, &found.origin), (&sealed.published.package, &Some(origin())));
    let blob = store.get(&sealed.published.package.digest).unwrap();
    assert_eq!((blob.path.as_path(), blob.size), (sealed.path.as_path(), sealed.published.package.size));
    PackageReader::of_file(blob.file, &blob.path).unwrap();
    assert_eq!(files_in(root.path().join("staging")), 0);
}

#[test]
fn what_is_known_is_not_packed_again() {
    let root = tempfile::tempdir().unwrap();
    let first = seal_tree(root.path(), &fixed_tree(), "1.0").unwrap();
    // The files are gone: only the manifest is looked at.
    let scratch = tempfile::tempdir().unwrap();
    let content = content(scratch.path(), &fixed_tree());
    scratch.close().unwrap();
    let store = Store::open(root.path()).unwrap();
    let again = seal(
        &passed(),
        &name("demo"),
        &version("1.0"),
        &content,
        &store,
        &staith_packager::stopping::unwatched,
    )
    .unwrap();
    assert_eq!(again, Sealed { cached: true, ..first.clone() });
    // Other content, other version.
    let other = seal_tree(root.path(), &tree([("a", file("x"))]), "1.0").unwrap();
    assert!(!other.cached && other.published.package.version != first.published.package.version);
    let other_name = seal(
        &passed(),
        &name("other"),
        &version("1.0"),
        &content,
        &store,
        &staith_packager::stopping::unwatched,
    );
    assert!(matches!(other_name, Err(SealError::Write { source: WriteError::Changed { .. }, .. })));
    assert_eq!(files_in(root.path().join("staging")), 0, "a failed one leaves nothing");
}

#[test]
fn a_lost_blob_is_made_again_the_same() {
    let root = tempfile::tempdir().unwrap();
    let first = seal_tree(root.path(), &fixed_tree(), "1.0").unwrap();
    fs::remove_file(&first.path).unwrap();
    let again = seal_tree(root.path(), &fixed_tree(), "1.0").unwrap();
    assert_eq!(again, first);
    Store::open(root.path()).unwrap().get(&again.published.package.digest).unwrap();
}

#[test]
fn nothing_of_a_damaged_package_gets_into_the_next_one() {
    let after = tree([("a", file("the same")), ("b", file("new")), ("c/d", file("long ".repeat(9000)))]);
    let before = tree([("a", file("the same")), ("b", file("old")), ("c/d", file("long ".repeat(9000)))]);
    let fresh = tempfile::tempdir().unwrap();
    let wanted = seal_tree(fresh.path(), &after, "1.0").unwrap().published.package;
    let length = fs::metadata(seal_tree(fresh.path(), &before, "1.0").unwrap().path).unwrap().len();
    for place in (0..length).step_by(61) {
        let root = tempfile::tempdir().unwrap();
        let earlier = seal_tree(root.path(), &before, "1.0").unwrap().path;
        let mut bytes = fs::read(&earlier).unwrap();
        bytes[usize::try_from(place).unwrap()] ^= 0x10;
        fs::remove_file(&earlier).unwrap();
        fs::write(&earlier, &bytes).unwrap();
        assert_eq!(seal_tree(root.path(), &after, "1.0").unwrap().published.package, wanted, "{place}");
        assert_eq!(files_in(root.path().join("staging")), 0);
    }
}

#[test]
fn a_version_without_room_for_the_digest_is_told() {
    let root = tempfile::tempdir().unwrap();
    let long = "1".repeat(90);
    assert!(matches!(seal_tree(root.path(), &fixed_tree(), &long), Err(SealError::Version(_))));
}

#[test]
fn a_flipped_bit_is_found_and_named() {
    let root = tempfile::tempdir().unwrap();
    let sealed = seal_tree(root.path(), &fixed_tree(), "1.0").unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut bytes = fs::read(&sealed.path).unwrap();
    for bit in [0, bytes.len() * 4, bytes.len() * 8 - 1] {
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::remove_file(&sealed.path).unwrap();
        fs::write(&sealed.path, &bytes).unwrap();
        let refused = store.get(&sealed.published.package.digest).unwrap_err();
        assert!(matches!(&refused, StoreError::Damaged { path, .. } if *path == sealed.path), "{refused}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    fs::write(&sealed.path, &bytes[1..]).unwrap();
    let short = store.find_blob(&sealed.published.package.digest, sealed.published.package.size);
    assert!(matches!(short, Err(StoreError::Damaged { .. })));
    // Packing it again heals it.
    assert!(!seal_tree(root.path(), &fixed_tree(), "1.0").unwrap().cached);
    store.get(&sealed.published.package.digest).unwrap();
    assert!(matches!(store.get(&Digest::of(b"other")), Err(StoreError::Missing { .. })));
}

#[test]
fn a_name_and_version_never_change_their_meaning() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let first = publish(&store, "1.0", b"one").unwrap();
    assert_eq!(publish(&store, "1.0", b"one").unwrap(), first);
    let refused = publish(&store, "1.0", b"two").unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    let text = refused.to_string();
    assert!(text.contains(&Digest::of(b"one").to_string()) && text.contains(&Digest::of(b"two").to_string()));
    assert_eq!(store.find(&name("demo"), &version("1.0")).unwrap().unwrap().package, first);
    // The package, its manifest and the empty configuration.
    assert_eq!(files_in(root.path().join("blobs/sha256")), 3, "the refused one was kept");
    publish(&store, "1.1", b"two").unwrap();
}

#[test]
fn a_package_of_another_length_than_it_is_said_to_have_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let mut staged = store.stage().unwrap();
    staged.file().write_all(b"half").unwrap();
    let digest = Digest::of(b"whole");
    let package = Package { name: name("demo"), version: version("1"), digest, content: digest, size: 5 };
    let refused = store.publish(staged, &package, PROFILE, origin());
    assert!(matches!(refused, Err(StoreError::NotAsSaid { said: 5, found: 4 })));
    assert_eq!((files_in(root.path().join("blobs/sha256")), files_in(root.path().join("staging"))), (0, 0));
}

#[test]
fn packages_are_listed_from_the_lowest_version_to_the_latest() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    assert!(store.latest(&name("demo")).unwrap().is_none());
    for text in ["1.10.0", "1.9.0", "2.0.0-rc.1", "1.10.0-rc.1"] {
        publish(&store, text, text.as_bytes()).unwrap();
    }
    let versions: Vec<_> =
        store.list(&name("demo")).unwrap().into_iter().map(|there| there.package.version).collect();
    assert_eq!(versions, ["1.9.0", "1.10.0-rc.1", "1.10.0", "2.0.0-rc.1"].map(version));
    assert_eq!(store.latest(&name("demo")).unwrap().unwrap().package.version, version("2.0.0-rc.1"));
    assert!(store.list(&name("other")).unwrap().is_empty());
}

#[test]
fn a_record_that_was_touched_is_told() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    publish(&store, "1.0", b"one").unwrap();
    let names = root.path().join("names/demo");
    let record = fs::read_to_string(names.join("1.0.json")).unwrap();
    for touched in
        ["", "{}", &record.replace("\"format\": 2", "\"format\": 9"), &record.replace("\"1.0\"", "\"1.1\"")]
    {
        fs::remove_file(names.join("1.0.json")).unwrap();
        fs::write(names.join("1.0.json"), touched).unwrap();
        let refused = store.find(&name("demo"), &version("1.0"));
        assert!(matches!(refused, Err(StoreError::Record { .. })), "{touched}: {refused:?}");
    }
}

/// This test in a process of its own; `CHILD` says what it is to do there.
#[test]
fn what_is_forgotten_is_gone_and_can_be_published_again() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    assert_eq!(store.published().unwrap(), []);
    let blobs = || files_in(root.path().join("blobs/sha256"));
    publish(&store, "1.0", b"one").unwrap();
    let same = publish(&store, "1.1", b"one").unwrap();
    publish(&store, "2.0", b"two").unwrap();
    let find = |as_version: &str| store.find(&name("demo"), &version(as_version)).unwrap();
    store.forget(&find("1.0").unwrap()).unwrap();
    assert_eq!((find("1.0"), blobs()), (None, 5), "another name stands for the same bytes");
    store.forget(&find("1.1").unwrap()).unwrap();
    assert_eq!((store.published().unwrap().len(), blobs()), (1, 3));
    assert_eq!(publish(&store, "1.1", b"one").unwrap(), same);
    // As if a removal had been killed in the middle.
    fs::remove_file(root.path().join("names/demo/2.0.json")).unwrap();
    let nameless = store.nameless().unwrap();
    assert!(nameless.len() == 2 && nameless.contains(&store.blob_path(&Digest::of(b"two"))), "{nameless:?}");
}

fn child(what: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_children_do", "--nocapture"])
        .env("STAITH_TEST_CHILD", what)
        .env("STAITH_TEST_ROOT", root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the child says `ready`.
fn ready(child: &mut Child) {
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !said.ends_with(b"ready") {
        assert_eq!(child.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "the child ended early");
        said.push(byte[0]);
    }
}

#[test]
fn what_children_do() {
    let (Ok(what), Ok(root)) = (std::env::var("STAITH_TEST_CHILD"), std::env::var("STAITH_TEST_ROOT")) else {
        return;
    };
    let root = PathBuf::from(root);
    let say_ready_and_wait = || {
        print!("ready");
        std::io::stdout().flush().unwrap();
        let _ = std::io::stdin().read(&mut [0]);
    };
    match what.as_str() {
        "stage" => {
            let store = Store::open(&root).unwrap();
            let mut staged = store.stage().unwrap();
            staged.file().write_all(b"half of a pack").unwrap();
            say_ready_and_wait();
        }
        "seal" => {
            say_ready_and_wait();
            seal_tree(&root, &fixed_tree(), "1.0").unwrap();
        }
        mine => {
            say_ready_and_wait();
            let store = Store::open(&root).unwrap();
            match publish(&store, "9.9", mine.as_bytes()) {
                Ok(_) => print!("published"),
                Err(StoreError::Conflict { .. }) => print!("refused"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn what_a_killed_process_leaves_is_not_taken_for_complete_and_is_swept() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = child("stage", root.path());
    ready(&mut writer);
    let staging = root.path().join("staging");
    // As long as the writer lives, its file is left alone.
    Store::open(root.path()).unwrap();
    assert_eq!(files_in(staging.clone()), 1);
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(files_in(staging.clone()), 1);
    let store = Store::open(root.path()).unwrap();
    assert_eq!(files_in(staging), 0);
    assert!(store.list(&name("demo")).unwrap().is_empty());
    assert_eq!(files_in(root.path().join("blobs/sha256")), 0);
}

#[test]
fn many_processes_seal_one_package_at_once() {
    let root = tempfile::tempdir().unwrap();
    let mut children: Vec<_> = (0..4).map(|_| child("seal", root.path())).collect();
    children.iter_mut().for_each(ready);
    children.iter_mut().for_each(|child| drop(child.stdin.take()));
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(Store::open(root.path()).unwrap().list(&name("demo")).unwrap().len(), 1);
    let counts = ["blobs/sha256", "names/demo", "staging"].map(|place| files_in(root.path().join(place)));
    // The package, its manifest, the empty configuration, and the two files that come with it.
    assert_eq!(counts, [5, 1, 0]);
}

#[test]
fn of_many_processes_with_one_name_and_other_bytes_one_wins() {
    let root = tempfile::tempdir().unwrap();
    let mut children: Vec<_> = (0..4).map(|nth| child(&format!("bytes {nth}"), root.path())).collect();
    children.iter_mut().for_each(ready);
    children.iter_mut().for_each(|child| drop(child.stdin.take()));
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    let won = outputs.iter().filter(|output| String::from_utf8_lossy(&output.stdout).contains("published"));
    assert_eq!(won.count(), 1);
    let store = Store::open(root.path()).unwrap();
    let there = store.latest(&name("demo")).unwrap().unwrap();
    store.get(&there.package.digest).unwrap();
}
