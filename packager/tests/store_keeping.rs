//! What a store keeps, for how long, and what it refuses to serve.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::prelude::*;
use staith_model::{Digest, Name, Package, Version};
use staith_packager::store::{
    Blobs, Collected, Collecting, Companion, Directory, Expected, Listed, Policy, Publication, Published,
    Reading, Reference, Staged, Store, StoreError, Tag,
    oci::{self, Descriptor},
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn package(named: &str, as_version: &str, bytes: &[u8]) -> Package {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    Package { name: name(named), version: version(as_version), digest, content: digest, size }
}

fn publish(store: &Store, named: &str, as_version: &str, bytes: &[u8]) -> Result<Published, StoreError> {
    let mut staged = store.stage().unwrap();
    staged.file().write_all(bytes).unwrap();
    store.publish(staged, &package(named, as_version, bytes), 1, None)
}

fn with(versions: &[&str]) -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    versions.iter().for_each(|version| drop(publish(&store, "shop", version, version.as_bytes()).unwrap()));
    (root, store)
}

fn resolve(store: &Store, text: &str) -> Result<String, String> {
    let found = store.resolve(&text.parse::<Reference>().unwrap());
    found.map(|found| found.package.version.to_string()).map_err(|error| error.to_string())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

/// The entries of `index.json` that have a tag.
fn tags_in_index(root: &Path) -> Vec<String> {
    let index: oci::Index = serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap();
    index.manifests.iter().filter_map(|entry| entry.annotations.get(oci::REF_NAME).cloned()).collect()
}

/// A directory that counts the records that are read.
#[derive(Debug)]
struct Counted {
    inner: Directory,
    records: Arc<AtomicUsize>,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Blobs for Counted {
    fn read(&self, key: &str, part: Option<std::ops::Range<u64>>) -> Result<Option<Reading>, StoreError> {
        if key.starts_with("names/") || key.starts_with("referrers/") {
            self.records.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.read(key, part)
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.inner.put_new(key, bytes)
    }

    fn put_file(&self, key: &str, file: Staged) -> Result<(), StoreError> {
        self.inner.put_file(key, file)
    }

    fn replace(&self, key: &str, bytes: &[u8], expected: Option<&Tag>) -> Result<bool, StoreError> {
        self.inner.replace(key, bytes, expected)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.inner.list(prefix)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.inner.local_path(key)
    }
}

#[test]
fn whether_a_name_has_a_blob_costs_no_record_twice() {
    let (root, records) = (tempfile::tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
    let inner = Directory::open(root.path()).unwrap();
    let store = Store::over(Arc::new(Counted { inner, records: Arc::clone(&records) })).unwrap();
    let published = ["1.0.0", "1.1.0", "2.0.0"]
        .map(|version| publish(&store, "shop", version, version.as_bytes()).unwrap());
    let shop = name("shop");
    let statement = store.put_bytes(b"signed").unwrap();
    let file = vec![Descriptor::new("application/json", statement, 6)];
    store.attach(&shop, published[0].manifest(), "application/vnd.in-toto+json", file).unwrap();
    let has = |digest: &Digest| store.size_under(&shop, digest).unwrap().is_some();
    let blobs = published.each_ref().map(|it| it.package.digest);
    records.store(0, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(blobs.iter().all(has) && has(&statement) && has(&published[1].manifest().digest));
    }
    assert_eq!(records.load(Ordering::SeqCst), 4, "three packages and what speaks of one");

    // What another process changes is seen at once.
    let other = Store::open(root.path()).unwrap();
    let later = publish(&other, "shop", "3.0.0", b"later").unwrap();
    assert!(has(&later.package.digest));
    publish(&other, "till", "1.0.0", b"1.0.0").unwrap();
    other.forget(&published[0]).unwrap();
    assert!(other.blob_size(&blobs[0]).unwrap().is_some(), "another name has it still");
    assert!(!has(&blobs[0]) && !has(&statement), "this name has it no more");
    assert!(has(&blobs[1]));
}

#[test]
fn references_mean_what_people_expect() {
    let (_root, store) = with(&["1.4.2", "1.4.10", "1.5.0-rc.1", "1.40.0", "2.0.0-rc.1", "1.3"]);
    for (text, expected) in [
        ("shop", "1.40.0"),
        ("shop@latest", "1.40.0"),
        ("shop@1.4", "1.4.10"),
        ("shop@1.4.2", "1.4.2"),
        ("shop@1.5", "1.5.0-rc.1"),
        ("shop@1", "1.40.0"),
        ("shop@2", "2.0.0-rc.1"),
        ("shop@1.3", "1.3"),
    ] {
        assert_eq!(resolve(&store, text).as_deref(), Ok(expected), "{text}");
    }
    publish(&store, "shop", "1.4", b"exactly").unwrap();
    assert_eq!(resolve(&store, "shop@1.4").as_deref(), Ok("1.4"), "what is meant exactly comes first");
    for build in ["3.0.0+c.ff", "3.0.0+c.aa"] {
        publish(&store, "shop", build, build.as_bytes()).unwrap();
        assert_eq!(resolve(&store, "shop@3.0").as_deref(), Ok(build), "the build that was published last");
        let published = store.find(&name("shop"), &version(build)).unwrap().unwrap().at;
        while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64 <= published {
            thread::yield_now();
        }
    }
    publish(&store, "early", "0.1.0-rc.1+c.ab", b"candidate").unwrap();
    assert_eq!(
        resolve(&store, "early@0.1.0-rc.1").as_deref(),
        Ok("0.1.0-rc.1+c.ab"),
        "it has no other build"
    );
    publish(&store, "early", "0.1.0-rc.2", b"early").unwrap();
    publish(&store, "early", "0.1.0-rc.10", b"later").unwrap();
    assert_eq!(resolve(&store, "early").as_deref(), Ok("0.1.0-rc.10"), "there is no release yet");
    let there = store.find(&name("shop"), &version("1.4.2")).unwrap().unwrap();
    for digest in [there.package.digest, there.manifest().digest] {
        assert_eq!(resolve(&store, &format!("shop@{digest}")).as_deref(), Ok("1.4.2"));
    }
    for (text, says) in [
        ("shpo", "did you mean `shop`"),
        ("shop@1.4.3", "`1.4.2`"),
        ("shop@stabel", "has no version or channel `stabel`"),
        ("shop@4", "has no version or channel `4`"),
        ("unheard", "nothing is published as `unheard`"),
    ] {
        let refused = resolve(&store, text).unwrap_err();
        assert!(refused.contains(says), "{text}: {refused}");
    }
    for bad in ["", "@", "shop@", "Shop", "shop@a b", "shop@sha256:12", "shop@md5:00", "../x", "shop@../x"] {
        assert!(bad.parse::<Reference>().is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_reference_is_read_as_it_is_written(text in "[a-z0-9.@:+_-]{1,30}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn versions_and_tags_stand_for_each_other(text in "[0-9a-zA-Z][0-9a-zA-Z.+-]{0,40}") {
        let version: Version = text.parse().unwrap();
        let tag = oci::tag_of(&version);
        prop_assert!(!tag.contains('+'));
        prop_assert_eq!(oci::version_of(&tag), Some(version));
    }
}

#[test]
fn channels_move_in_one_step_and_know_where_they_were() {
    let (_root, store) = with(&["1.0", "1.1", "2.0"]);
    let go = |to: &str, expected: &Expected, by: &str| {
        store.move_channel(&name("shop"), &version(to), &name("stable"), expected, by)
    };
    go("1.0", &Expected::Nothing, "ada").unwrap();
    assert!(matches!(go("1.1", &Expected::Nothing, "eve"), Err(StoreError::Kept { .. })));
    assert!(matches!(go("1.1", &Expected::Version(version("2.0")), "eve"), Err(StoreError::Kept { .. })));
    go("1.1", &Expected::Version(version("1.0")), "bob").unwrap();
    let stands = go("1.1", &Expected::Anything, "eve").unwrap();
    let history: Vec<_> =
        stands.history.iter().map(|it| (it.by.as_str(), it.from.clone(), it.to.clone())).collect();
    assert_eq!(history, [("ada", None, version("1.0")), ("bob", Some(version("1.0")), version("1.1"))]);
    assert_eq!(resolve(&store, "shop@stable").as_deref(), Ok("1.1"));
    assert!(matches!(go("9.9", &Expected::Anything, "eve"), Err(StoreError::Unknown { .. })));
    for reserved in ["latest", "1.4", "v2"] {
        let refused =
            store.move_channel(&name("shop"), &version("1.0"), &name(reserved), &Expected::Anything, "eve");
        assert!(matches!(refused, Err(StoreError::Kept { .. })), "{reserved}");
    }
    // Of many who expect the same, one moves it.
    let moved = thread::scope(|scope| {
        let movers: Vec<_> = (0..6)
            .map(|nth| {
                scope.spawn({
                    let go = &go;
                    move || go(["1.0", "2.0"][nth % 2], &Expected::Version(version("1.1")), "many").is_ok()
                })
            })
            .collect();
        movers.into_iter().map(|it| it.join().unwrap()).filter(|moved| *moved).count()
    });
    let stands = store.channel(&name("shop"), &name("stable")).unwrap().unwrap();
    assert!(moved >= 1 && stands.history.len() == 3, "{stands:?}");
}

#[test]
fn an_earlier_store_becomes_an_image_layout_and_loses_nothing() {
    let (root, store) = with(&["1.0", "1.1+c.0123456789ab"]);
    let before: Vec<Published> = ["1.0", "1.1+c.0123456789ab"]
        .map(|it| store.find(&name("shop"), &version(it)).unwrap().unwrap())
        .into();
    // As an earlier Staith left it: packages and bare records, nothing else.
    for file in files_below(root.path()) {
        let is_package = before.iter().any(|it| file.ends_with(it.package.digest.hex()));
        if file.starts_with(root.path().join("names")) {
            let record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            let bare = serde_json::json!({
                "format": 1, "package": record["package"], "profile": record["profile"], "at": record["at"],
                "origin": { "run": "00000000000000000000000000", "plan": Digest::of(b"plan") },
            });
            fs::remove_file(&file).unwrap();
            fs::write(&file, bare.to_string()).unwrap();
        } else if !is_package {
            fs::remove_file(&file).unwrap();
        }
    }
    let store = Store::open(root.path()).unwrap();
    for published in &before {
        let package = &published.package;
        let found = store.find(&package.name, &package.version).unwrap().unwrap();
        assert_eq!((&found.package, found.at), (package, published.at));
        store.get(&package.digest).unwrap();
        // The manifest is the same as if it had been published now.
        assert_eq!(found.manifest(), published.manifest());
        assert!(store.manifest(&found.manifest().digest).unwrap().is_some());
    }
    assert_eq!(tags_in_index(root.path()), ["shop:1.0", "shop:1.1_c.0123456789ab"]);
    assert_eq!(store.nameless().unwrap(), [""; 0].map(PathBuf::from));
    // Publishing the same again, and other bytes.
    assert!(publish(&store, "shop", "1.0", b"1.0").is_ok());
    assert!(matches!(publish(&store, "shop", "1.0", b"other"), Err(StoreError::Conflict { .. })));
}

/// Everything that can be asked of a store, as text; damage makes it an error, never another answer.
fn everything(root: &Path, digests: &[Digest]) -> Result<String, StoreError> {
    let store = Store::open(root)?;
    let shop = name("shop");
    let mut all = format!("{:?} {:?} {:?}", store.list(&shop)?, store.channels(&shop)?, store.pins()?);
    for digest in digests {
        all.push_str(&format!("{:?} {:?}", store.get_bytes(digest)?, store.referrers(digest)?));
    }
    Ok(all)
}

#[test]
fn a_bit_that_is_flipped_anywhere_is_refused() {
    let (root, store) = with(&["1.0"]);
    let shop = name("shop");
    let published = store.find(&shop, &version("1.0")).unwrap().unwrap();
    store.move_channel(&shop, &version("1.0"), &name("stable"), &Expected::Anything, "ada").unwrap();
    store.pin(&shop, &version("1.0"), "ada", "in the field").unwrap();
    let statement = store.put_bytes(b"{\"signed\": true}").unwrap();
    let file = Descriptor::new("application/json", statement, 16);
    let referrer =
        store.attach(&shop, published.manifest(), "application/vnd.in-toto+json", vec![file]).unwrap();
    let empty = Digest::of(oci::EMPTY_BYTES);
    let digests = [published.package.digest, published.manifest().digest, statement, referrer, empty];
    let whole = everything(root.path(), &digests).unwrap();
    // What follows from the rest is never asked: it is made again.
    let derived = ["index.json", "oci-layout", ".lock"].map(|it| root.path().join(it));
    for file in files_below(root.path()).iter().filter(|file| !derived.contains(file)) {
        if file.starts_with(root.path().join("collection")) {
            continue;
        }
        let bytes = fs::read(file).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        let bits = bytes.len() * 8;
        for bit in (0..bits).step_by((bits / 150).max(1)) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(file, &flipped).unwrap();
            match everything(root.path(), &digests) {
                Err(StoreError::Damaged { .. } | StoreError::Record { .. }) => {}
                told => panic!("bit {bit} of {}: {told:?}", file.display()),
            }
        }
        fs::write(file, &bytes).unwrap();
    }
    assert_eq!(everything(root.path(), &digests).unwrap(), whole);
}

#[test]
fn what_comes_with_a_package_is_in_its_manifest_and_what_differs_speaks_of_it() {
    let (root, store) = with(&[]);
    let parameters = store.put_bytes(b"<parameters />").unwrap();
    let companion = Companion {
        title: "shop.SetParameters.xml".into(),
        media_type: "application/xml".into(),
        digest: parameters,
        size: 14,
    };
    let package = package("shop", "1.0+c.ab", b"zip");
    let publish = |companions: Vec<Companion>| {
        let mut staged = store.stage().unwrap();
        staged.file().write_all(b"zip").unwrap();
        store.publish_with(staged, Publication { package: &package, profile: 3, origin: None, companions })
    };
    let published = publish(vec![companion.clone()]).unwrap();
    assert_eq!(publish(vec![companion.clone()]).unwrap(), published);
    assert!(
        matches!(publish(vec![]), Err(StoreError::Conflict { .. })),
        "a version never changes its meaning"
    );
    let lost = Companion { digest: Digest::of(b"nowhere"), ..companion.clone() };
    assert!(publish(vec![lost]).is_err());
    let shop = name("shop");
    let digest = store.tagged(&shop, "1.0_c.ab").unwrap().unwrap();
    let manifest = store.manifest(&digest).unwrap().unwrap();
    let told: oci::Artifact = serde_json::from_slice(&manifest.bytes).unwrap();
    assert_eq!((told.kind(), told.layers.len()), (oci::PACKAGE, 2));
    assert_eq!(told.layers[0].annotations[oci::TITLE], package.file_name());
    assert_eq!(told.layers[1].annotations[oci::TITLE], companion.title);
    let statement = store.put_bytes(b"signed").unwrap();
    let file = || vec![Descriptor::new("application/json", statement, 6)];
    let first = store.attach(&shop, published.manifest(), "application/vnd.in-toto+json", file()).unwrap();
    store.attach(&shop, published.manifest(), "application/vnd.cyclonedx+json", file()).unwrap();
    let referrers = store.referrers(&digest).unwrap();
    assert!(referrers.len() == 2 && referrers.iter().any(|it| it.manifest.digest == first));
    assert_eq!(store.size_under(&shop, &statement).unwrap(), Some(6));
    assert_eq!(store.size_under(&name("other"), &statement).unwrap(), None);
    store.admit(&name("other"), &statement).unwrap();
    assert_eq!(store.size_under(&name("other"), &statement).unwrap(), Some(6));
    // All of it goes with the package, but for what was uploaded elsewhere today.
    store.forget(&published).unwrap();
    assert_eq!(store.nameless().unwrap(), [""; 0].map(PathBuf::from));
    assert!(files_below(&root.path().join("blobs")).is_empty());
    // What a version meant, it means for good.
    assert!(matches!(self::publish(&store, "shop", "1.0+c.ab", b"other"), Err(StoreError::Conflict { .. })));
}

#[test]
fn a_package_that_another_registry_made_a_manifest_for_can_be_pushed() {
    let (_root, store) = with(&[]);
    let shop = name("shop");
    let mut upload = store.begin_upload(&shop).unwrap();
    upload.append(b"zip of").unwrap();
    let id = upload.id().to_owned();
    assert!(matches!(store.open_upload(&shop, &id), Err(StoreError::Busy { .. })));
    upload.keep().unwrap();
    assert_eq!(store.uploaded(&shop, &id).unwrap(), Some(6));
    for other in ["../../x", "", "00000000000000000000000000000000"] {
        assert!(store.open_upload(&shop, other).unwrap().is_none());
    }
    let mut upload = store.open_upload(&shop, &id).unwrap().unwrap();
    assert_eq!(upload.take(&mut &b" shop"[..]).unwrap(), 11);
    let digest = Digest::of(b"zip of shop");
    assert_eq!(store.finish_upload(&shop, upload, &digest).unwrap(), 11);
    assert!(store.open_upload(&shop, &id).unwrap().is_none());
    let mut wrong = store.begin_upload(&shop).unwrap();
    wrong.append(b"other").unwrap();
    assert!(matches!(store.finish_upload(&shop, wrong, &digest), Err(StoreError::Mismatch { .. })));
    let package =
        Package { name: shop.clone(), version: version("1.0"), digest, content: Digest::of(b"c"), size: 11 };
    let mut told = oci::Artifact::of_package(&package, 1, &[]);
    told.annotations.insert("org.opencontainers.image.created".into(), "2026-11-21T00:00:00Z".into());
    let manifest = store.put_manifest(&shop, &told.to_bytes(), &[version("1.0")]).unwrap();
    let published = store.find(&shop, &version("1.0")).unwrap().unwrap();
    assert_eq!((&published.package, published.manifest().digest), (&package, manifest));
    assert_eq!(store.put_manifest(&shop, &told.to_bytes(), &[version("1.0")]).unwrap(), manifest);
    told.layers[0].digest = Digest::of(b"not here");
    for version_of_it in ["1.0", "1.1"] {
        assert!(store.put_manifest(&shop, &told.to_bytes(), &[version(version_of_it)]).is_err());
    }
    assert!(matches!(store.put_manifest(&shop, b"{}", &[]), Err(StoreError::Manifest { .. })));
}

fn collect(store: &Store, newest: usize, grace: Duration, used: &str) -> Collected {
    let is_used = |package: &Package| Ok(package.version.as_str() == used);
    let policy = Policy { newest: Some(newest), younger: None };
    store.collect(&Collecting { policy, grace, is_used: &is_used, is_dry: false }).unwrap()
}

fn versions(store: &Store) -> Vec<String> {
    store.versions_of(&name("shop")).unwrap().iter().map(Version::to_string).collect()
}

#[test]
fn what_goes_has_been_free_for_its_time_of_grace() {
    let (root, store) = with(&["1.0", "1.1", "1.2", "1.3", "1.4"]);
    let shop = name("shop");
    store.pin(&shop, &version("1.0"), "ada", "").unwrap();
    store.move_channel(&shop, &version("1.1"), &name("stable"), &Expected::Anything, "ada").unwrap();
    let hour = Duration::from_secs(3600);
    let first = collect(&store, 1, hour, "1.2");
    assert_eq!(
        (first.versions.len(), first.blobs, first.candidates),
        (0, 0, vec![(shop.clone(), version("1.3"))])
    );
    assert_eq!(versions(&store).len(), 5);
    let gone = collect(&store, 1, Duration::ZERO, "1.2");
    assert_eq!((gone.versions, gone.blobs), (vec![(shop.clone(), version("1.3"))], 2));
    assert_eq!(versions(&store), ["1.0", "1.1", "1.2", "1.4"]);
    assert_eq!(tags_in_index(root.path()), ["shop:1.0", "shop:1.1", "shop:1.2", "shop:1.4"]);
    let there = |text: &str| store.find(&shop, &version(text)).unwrap().unwrap();
    for kept in ["1.0", "1.1"] {
        assert!(matches!(store.forget(&there(kept)), Err(StoreError::Kept { .. })), "{kept}");
        store.get(&there(kept).package.digest).unwrap();
    }
    assert!(store.unpin(&shop, &version("1.0")).unwrap() && !store.unpin(&shop, &version("1.0")).unwrap());
    assert_eq!(collect(&store, 1, Duration::ZERO, "1.2").versions, [(shop, version("1.0"))]);
    // A blob that nothing needs goes as well, and what can't be read stops everything.
    let loose = store.put_bytes(b"nobody needs this").unwrap();
    assert_eq!(collect(&store, 9, Duration::ZERO, "").blobs, 1);
    assert_eq!(store.blob_size(&loose).unwrap(), None);
    let record = root.path().join("names/shop/1.4.json");
    fs::remove_file(&record).unwrap();
    fs::write(&record, "{").unwrap();
    let (policy, grace) = (Policy { newest: Some(0), younger: None }, Duration::ZERO);
    let refused = store.collect(&Collecting { policy, grace, is_used: &|_| Ok(false), is_dry: false });
    assert!(matches!(refused, Err(StoreError::Record { .. })));
    assert_eq!(versions(&store), ["1.1", "1.2", "1.4"]);
}

#[test]
fn what_comes_into_use_between_the_phases_stays() {
    let (_root, store) = with(&["1.0", "1.1"]);
    assert_eq!(collect(&store, 1, Duration::from_secs(3600), "").candidates.len(), 1);
    assert!(collect(&store, 1, Duration::ZERO, "1.0").versions.is_empty());
    // It has been in use, so its time begins anew.
    let asked = AtomicBool::new(false);
    // Nobody uses it when it is planned, and somebody does when it is about to go.
    let is_used =
        |package: &Package| Ok(package.version.as_str() == "1.0" && asked.swap(true, Ordering::SeqCst));
    let how = Collecting {
        policy: Policy { newest: Some(1), younger: None },
        grace: Duration::ZERO,
        is_used: &is_used,
        is_dry: false,
    };
    assert!(store.collect(&how).unwrap().versions.is_empty());
    assert_eq!(versions(&store), ["1.0", "1.1"]);
}

#[test]
fn collections_take_nothing_from_those_who_publish() {
    let (root, store) = with(&["9.0"]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..3)
            .map(|nth| {
                let root = root.path();
                scope.spawn(move || {
                    let store = Store::open(root).unwrap();
                    for round in 0..8 {
                        // The same bytes again and again: what one has removed, another is about to use.
                        let text = format!("{nth}.{round}");
                        let bytes = format!("bytes {}", round % 3);
                        let published = publish(&store, "shop", &text, bytes.as_bytes()).unwrap();
                        store.pin(&name("shop"), &version(&text), "test", "").map_or_else(
                            |gone| assert!(matches!(gone, StoreError::Unknown { .. }), "{gone}"),
                            |_| {
                                assert_eq!(
                                    store.get_bytes(&published.package.digest).unwrap(),
                                    bytes.as_bytes()
                                );
                                store.manifest(&published.manifest().digest).unwrap().unwrap();
                            },
                        );
                        store.unpin(&name("shop"), &version(&text)).unwrap();
                    }
                })
            })
            .collect();
        let collector = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                collect(&store, 1, Duration::ZERO, "");
            }
        });
        let ended: Vec<_> = publishers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        collector.join().unwrap();
        ended.into_iter().for_each(Result::unwrap);
    });
    let store = Store::open(root.path()).unwrap();
    let published = store.published().unwrap();
    assert!(!published.is_empty());
    for published in &published {
        store.get(&published.package.digest).unwrap();
        store.get(&published.manifest().digest).unwrap();
    }
    let tags: BTreeSet<String> = tags_in_index(root.path()).into_iter().collect();
    let there: BTreeSet<String> =
        published.iter().map(|it| oci::layout_tag(&it.package.name, &it.package.version)).collect();
    assert_eq!(tags, there);
}

#[test]
fn a_publication_that_is_killed_has_happened_or_not() {
    let root = tempfile::tempdir().unwrap();
    Store::open(root.path()).unwrap();
    for round in 0..6 {
        let mut child = child(root.path());
        // Killed when it has published something, wherever it is with the next.
        let (mut published, mut byte) = (0, [0]);
        while published <= round {
            child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            published += usize::from(byte == *b".");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(root.path()).unwrap();
        let published = store.list(&name("shop")).unwrap();
        for published in &published {
            store.get(&published.package.digest).unwrap();
            store.get(&published.manifest().digest).unwrap();
        }
        let tags: BTreeSet<String> = tags_in_index(root.path()).into_iter().collect();
        assert_eq!(
            tags.len(),
            published.len(),
            "the index is brought up to date by whoever opens the store next"
        );
    }
}

fn child(root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_the_child_does", "--nocapture", "--quiet"])
        .env("STAITH_TEST_ROOT", root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_the_child_does() {
    let Ok(root) = std::env::var("STAITH_TEST_ROOT") else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    for nth in 0..100_000 {
        publish(&store, "shop", &format!("{}.{nth}", std::process::id()), format!("{nth}").as_bytes())
            .unwrap();
        print!(".");
        std::io::stdout().flush().unwrap();
    }
}
