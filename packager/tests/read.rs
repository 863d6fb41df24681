//! Packages that were written here, or by Web Deploy, are read; those that lie or would do harm are refused.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use common::{
    Raw, What, any_tree, file, fixed_tree, noise, on_disk, packed, raw_entries, stored, tree, zip_of,
};
use proptest::prelude::*;
use staith_model::{Digest, Entry, Manifest, RelPath};
use staith_packager::web_deploy::{Dialect, Flaw, PackageReader, ReadError, portable::NameFlaw};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// The tree at `root`, as a manifest.
fn listed(root: &Path) -> Manifest {
    fn walk(root: &Path, at: &Path, into: &mut Manifest) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let found = path.symlink_metadata().unwrap();
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap();
            let entry = if found.is_dir() {
                assert_eq!(found.mode() & 0o7777, 0o755);
                walk(root, &path, into);
                Entry::Directory
            } else if found.is_symlink() {
                Entry::Symlink { target: fs::read_link(&path).unwrap().to_str().unwrap().into() }
            } else {
                let mode = found.mode() & 0o7777;
                // Only root reads what nobody may read.
                fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o400)).unwrap();
                let bytes = fs::read(&path).unwrap();
                fs::set_permissions(&path, found.permissions()).unwrap();
                Entry::File { mode, size: bytes.len() as u64, digest: Digest::of(&bytes) }
            };
            into.entries.insert(relative.try_into().unwrap(), entry);
        }
    }
    let mut manifest = Manifest::default();
    walk(root, root, &mut manifest);
    manifest
}

/// The manifest with all directories that its paths imply.
fn with_directories(manifest: &Manifest) -> Manifest {
    let mut whole = manifest.clone();
    for path in manifest.entries.keys() {
        let mut above = path.parent();
        while let Some(path) = above {
            above = path.parent();
            whole.entries.entry(path).or_insert(Entry::Directory);
        }
    }
    whole
}

fn round_trip(tree: &BTreeMap<String, What>) -> Result<(), TestCaseError> {
    let (zip, manifest) = packed(tree);
    let (directory, path) = on_disk(&zip);
    let package = PackageReader::open(&path).unwrap();
    prop_assert_eq!(package.manifest(), Some(&manifest));
    prop_assert_eq!(package.verify().unwrap().content, Some(manifest.digest()));
    let to = directory.path().join("extracted");
    package.extract(&to).unwrap();
    prop_assert_eq!(listed(&to), with_directories(&manifest));
    prop_assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "something was left beside the tree");
    for (path, what) in tree {
        if let What::File(_, bytes) = what {
            let mut extracted = Vec::new();
            package.extract_file(&path.as_str().try_into().unwrap(), &mut extracted).unwrap();
            prop_assert_eq!(&extracted, bytes);
        }
    }
    Ok(())
}

#[test]
fn modes_links_and_empty_directories_survive() {
    round_trip(&fixed_tree()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_tree_comes_back_as_it_was(tree in any_tree()) {
        round_trip(&tree)?;
    }
}

#[test]
fn extraction_does_not_touch_what_is_there() {
    let (directory, path) = on_disk(&packed(&fixed_tree()).0);
    let to = directory.path().join("taken");
    fs::write(&to, "precious").unwrap();
    let refused = PackageReader::open(&path).unwrap().extract(&to).unwrap_err();
    assert!(matches!(refused, ReadError::Output { .. }), "{refused}");
    assert_eq!(fs::read(&to).unwrap(), b"precious");
    // An empty directory would let itself be replaced.
    fs::remove_file(&to).unwrap();
    fs::create_dir(&to).unwrap();
    PackageReader::open(&path).unwrap().extract(&to).unwrap_err();
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn genuine_packages_are_listed_as_they_are() {
    for name in [
        "contentpath",
        "contentpath-v2",
        "dbfullsql",
        "dirpath",
        "filepath",
        "gallery",
        "iisapp",
        "parameter-cases",
        "runcommand",
        "sdk",
        "setacl",
        "timezone",
    ] {
        let package = PackageReader::open(&samples().join(format!("{name}.zip"))).unwrap();
        let expected: Vec<String> = fs::read_to_string(samples().join(format!("{name}.files.txt")))
            .unwrap()
            .lines()
            .skip(1)
            .map(|line| {
                let field: Vec<_> = line.split('\t').collect();
                [field[0], field[1], field[2], field[3], field[4], field[7], field[8]].join("\t")
            })
            .collect();
        let found: Vec<String> = package
            .entries()
            .iter()
            .map(|entry| {
                let method = if entry.compressed { "deflate" } else { "stored" };
                let (crc, attributes) = (entry.crc, entry.attributes);
                format!(
                    "{}\t{method}\t{}\t{}\t{crc:08x}\t{}\t{attributes:#010x}",
                    entry.name, entry.packed, entry.size, entry.time
                )
            })
            .collect();
        assert_eq!(found, expected, "{name}");
        let dialect = if name == "gallery" { Dialect::Gallery } else { Dialect::Archive };
        assert_eq!((package.dialect(), package.manifest()), (dialect, None));
        assert_eq!(package.verify().unwrap().content, None);
        let anything = RelPath::try_from("web.config").unwrap();
        assert!(matches!(package.extract_file(&anything, &mut Vec::new()), Err(ReadError::NotOurs { .. })));
    }
}

fn refusal(path: &Path) -> (String, Flaw) {
    match PackageReader::open(path).and_then(|package| package.verify().map(drop)) {
        Err(ReadError::Refused { entry, flaw, .. }) => (entry, flaw),
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn broken_packages_are_refused_by_the_entry_that_is_wrong() {
    let refused = |name: &str| refusal(&samples().join("errors").join(name));
    let (entry, flaw) = refused("02-no-directory-entries.zip");
    assert_eq!((entry.as_str(), flaw), ("Content/kiosk/", Flaw::NoDirectoryEntry));
    let (entry, flaw) = refused("03-bad-crc.zip");
    assert!(entry.ends_with("index.html") && matches!(flaw, Flaw::Damaged(_)), "{entry} {flaw}");
    let (entry, flaw) = refused("04-traversal-backslash.zip");
    assert!(entry.contains("evil-") && matches!(flaw, Flaw::Name(NameFlaw::Character)), "{entry} {flaw}");
    let (entry, flaw) = refused("05-traversal-slash.zip");
    assert!(entry.contains("evil-") && flaw == Flaw::NameEscapes, "{entry} {flaw}");
    let (entry, flaw) = refused("06-absolute-names.zip");
    assert!(entry.contains("evil-"), "{entry} {flaw}");
    let (entry, flaw) = refused("07-drive-letter-names.zip");
    assert!(entry.contains("evil-") && matches!(flaw, Flaw::Name(NameFlaw::Character)), "{entry} {flaw}");
    let (entry, flaw) = refused("08-duplicate-names.zip");
    assert!(matches!(flaw, Flaw::Duplicate(_)), "{entry} {flaw}");
    let (entry, flaw) = refused("09-unsupported-method.zip");
    assert_eq!(entry, "Content/kiosk/index.html");
    assert!(matches!(&flaw, Flaw::Method(method) if method == "Bzip2"), "{flaw}");
    let (entry, flaw) = refused("13-malformed-parameters.zip");
    assert!(entry == "parameters.xml" && matches!(flaw, Flaw::Xml { line: 5, .. }), "{flaw}");
    let (entry, flaw) = refused("14-broken-archive.zip");
    assert!(entry == "archive.xml" && matches!(flaw, Flaw::Xml { line: 9, column: 1, .. }), "{flaw}");
    let (entry, flaw) = refused("15-stream-name.zip");
    assert_eq!((entry.as_str(), flaw), ("Content/kiosk/index.html:stream", Flaw::Name(NameFlaw::Character)));
    let open = |name: &str| PackageReader::open(&samples().join("errors").join(name));
    assert!(matches!(
        open("01-no-systeminfo.zip"),
        Err(ReadError::NotAPackage { lacks: "systemInfo.xml", .. })
    ));
    assert!(matches!(open("10-truncated.zip"), Err(ReadError::NotZip { .. })));
    // What parameters mean is not looked at when a package is opened.
    open("12-bad-xpath.zip").unwrap().verify().unwrap();
}

/// Opens and verifies a package made of the fixed tree's entries after `change`.
fn changed(change: impl FnOnce(&mut Vec<Raw>)) -> Result<(), ReadError> {
    let mut entries = raw_entries(&packed(&fixed_tree()).0);
    change(&mut entries);
    let (_directory, path) = on_disk(&zip_of(&entries));
    PackageReader::open(&path)?.verify().map(drop)
}

fn flaw_of(change: impl FnOnce(&mut Vec<Raw>)) -> Flaw {
    match changed(change) {
        Err(ReadError::Refused { flaw, .. }) => flaw,
        other => panic!("{other:?}"),
    }
}

fn named<'a>(entries: &'a mut [Raw], name: &str) -> &'a mut Raw {
    entries.iter_mut().find(|raw| raw.name.ends_with(name)).unwrap()
}

#[test]
fn what_the_hostile_packages_are_made_from_is_fine() {
    changed(|_| ()).unwrap();
    // Stray files in the root do no harm: neither Web Deploy nor Staith looks at them.
    changed(|entries| entries.push(stored("stray.txt", b"x"))).unwrap();
}

#[test]
fn hostile_names_are_refused_also_where_the_result_would_stay_inside() {
    for name in ["../evil", "/evil", "Content/app/../evil", "Content/app/./evil", "Content//evil", "a/", ""] {
        let (name, bytes) = if name == "a/" { ("a//", &b""[..]) } else { (name, &b"x"[..]) };
        assert_eq!(flaw_of(|entries| entries.push(stored(name, bytes))), Flaw::NameEscapes, "{name:?}");
    }
    for name in ["a\\b", "C:/evil", "C:evil", "\\\\host\\share", "a\nb", "a\0b", "x:stream"] {
        let flaw = flaw_of(|entries| entries.push(stored(name, b"x")));
        assert!(matches!(flaw, Flaw::Name(NameFlaw::Character) | Flaw::NameEscapes), "{name:?}: {flaw}");
    }
    assert_eq!(flaw_of(|entries| entries.push(stored("NUL", b"x"))), Flaw::Name(NameFlaw::Device));
    let long = vec!["x".repeat(100); 41].join("/");
    assert_eq!(flaw_of(|entries| entries.push(stored(&long, b"x"))), Flaw::NameTooLong(4140));
    // Not UTF-8.
    let mut zip = zip_of(&[stored("NAME", b"x")]);
    let at: Vec<_> =
        zip.windows(4).enumerate().filter(|(_, bytes)| bytes == b"NAME").map(|(at, _)| at).collect();
    at.into_iter().for_each(|at| zip[at] = 0xff);
    assert_eq!(refusal(&on_disk(&zip).1.clone()).1, Flaw::NameEncoding);
}

#[test]
fn duplicates_are_refused_whatever_their_case() {
    let twice = flaw_of(|entries| entries.push(stored("Content/app/noise", b"x")));
    assert_eq!(twice, Flaw::Duplicate("Content/app/noise".into()));
    let in_capitals = flaw_of(|entries| entries.push(stored("content/APP/Noise", b"x")));
    assert_eq!(in_capitals, Flaw::Duplicate("Content/app/noise".into()));
    let file_and_directory = flaw_of(|entries| entries.push(stored("Content/app/noise/", b"")));
    assert_eq!(file_and_directory, Flaw::Duplicate("Content/app/noise".into()));
    let below = flaw_of(|entries| entries.push(stored("Content/app/NOISE/x", b"x")));
    assert_eq!(below, Flaw::BelowFile("Content/app/NOISE/x".into()));
}

#[test]
fn links_devices_and_directories_with_bytes_are_refused() {
    for mode in [0o120_777_u32, 0o020_666, 0o060_666, 0o010_644, 0o140_755] {
        let flaw = flaw_of(|entries| named(entries, "noise").attributes = mode << 16);
        assert_eq!(flaw, Flaw::Special(mode << 16));
    }
    assert_eq!(flaw_of(|entries| named(entries, "noise").attributes = 0x400), Flaw::Special(0x400));
    changed(|entries| named(entries, "noise").attributes = 0o100_644 << 16).unwrap();
    assert_eq!(flaw_of(|entries| entries.push(stored("d/", b"xx"))), Flaw::DirectoryWithBytes(2));
}

#[test]
fn lying_sizes_checksums_and_methods_are_refused() {
    let flaw = flaw_of(|entries| named(entries, "catalogue.txt").size += 1);
    assert!(matches!(flaw, Flaw::OtherSize { .. }), "{flaw}");
    // In an entry that no manifest lists, the bytes themselves tell.
    let deflated = |size| {
        let text =
            raw_entries(&packed(&fixed_tree()).0).into_iter().find(|raw| raw.name.ends_with("catalogue.txt"));
        Raw { name: "stray".into(), size, ..text.unwrap() }
    };
    let honest = deflated(0).crc;
    assert_ne!(honest, 0);
    let (more, less) = (flaw_of(|e| e.push(deflated(100_000))), flaw_of(|e| e.push(deflated(5))));
    assert!(matches!(more, Flaw::Size { said: 100_000, .. }), "{more}");
    assert!(matches!(less, Flaw::Damaged(_) | Flaw::Size { said: 5, .. }), "{less}");
    let flaw = flaw_of(|entries| named(entries, "catalogue.txt").crc ^= 1);
    assert!(matches!(flaw, Flaw::Damaged(_)), "{flaw}");
    let flaw = flaw_of(|entries| named(entries, "noise").data[17] ^= 1);
    assert!(matches!(flaw, Flaw::Damaged(_)), "{flaw}");
    assert_eq!(
        flaw_of(|e| e.push(Raw { packed: 1, ..stored("stray", b"x") }.clone_with_size(2))),
        Flaw::Size { said: 2, found: 1 }
    );
    assert!(matches!(flaw_of(|entries| named(entries, "noise").method = 93), Flaw::Method(_)));
    assert_eq!(flaw_of(|entries| named(entries, "noise").flags |= 1), Flaw::Encrypted);
}

trait CloneWithSize {
    fn clone_with_size(self, size: u32) -> Self;
}

impl CloneWithSize for Raw {
    fn clone_with_size(self, size: u32) -> Self {
        Raw { size, ..self }
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let flaw = flaw_of(|entries| named(entries, "catalogue.txt").size = 1 << 30);
    assert!(matches!(flaw, Flaw::Bomb { .. }), "{flaw}");
    assert!(matches!(flaw_of(|entries| named(entries, "catalogue.txt").size = 1 << 31), Flaw::TooLarge(_)));
    // Many that are each below suspicion.
    let many = changed(|entries| {
        let some = Raw { size: 30 << 20, ..named(entries, "catalogue.txt").clone() };
        entries.extend((0..140).map(|n| Raw { name: format!("stray/{n}"), ..some.clone() }));
    });
    assert!(matches!(&many, Err(ReadError::OutOfBounds { why, .. }) if why.contains("4 GiB")), "{many:?}");
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let mut zip = zip_of(&[stored("a", &noise(100)), stored("b", &noise(100))]);
    // The second central header points at the first entry's place, whose name is another; then the name as well.
    let directory = common::u32_at(&zip, zip.len() - 6) as usize;
    let second = directory + 47;
    zip[second + 42..second + 46].copy_from_slice(&[0; 4]);
    let flaw = refusal(&on_disk(&zip).1.clone());
    assert_eq!(flaw, ("b".into(), Flaw::HeadersDiffer("its name")));
    // An entry inside another's bytes: a stored zip in a zip, listed from outside as well.
    let inner = zip_of(&[stored("b", b"x")]);
    let mut zip = zip_of(&[stored("a", &inner), stored("b", b"x")]);
    let directory = common::u32_at(&zip, zip.len() - 6) as usize;
    let second = directory + 47;
    zip[second + 42..second + 46].copy_from_slice(&31u32.to_le_bytes());
    assert_eq!(refusal(&on_disk(&zip).1.clone()), ("b".into(), Flaw::Overlap("`a`".into())));
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let base = zip_of(&raw_entries(&packed(&fixed_tree()).0));
    // The first entry is archive.xml: its local header is at 0.
    for (at, byte, what) in [
        (30, b'X', "its name"),
        (8, 9, "its compression"),
        (14, 1, "its checksum or its lengths"),
        (0, 1, "where it lies"),
    ] {
        let mut zip = base.clone();
        zip[at] ^= byte;
        let (entry, flaw) = refusal(&on_disk(&zip).1.clone());
        assert_eq!((entry.as_str(), flaw), ("archive.xml", Flaw::HeadersDiffer(what)));
    }
}

#[test]
fn content_that_is_not_the_manifests_is_refused() {
    let flaw = flaw_of(|entries| {
        let raw = named(entries, "noise");
        *raw = Raw { name: raw.name.clone(), ..stored("", &noise(5001)[1..]) };
    });
    assert!(matches!(flaw, Flaw::Digest { .. }), "{flaw}");
    assert_eq!(flaw_of(|entries| entries.retain(|raw| !raw.name.ends_with("noise"))), Flaw::Missing);
    assert_eq!(flaw_of(|entries| entries.push(stored("Content/app/stray", b"x"))), Flaw::Unlisted);
    assert_eq!(flaw_of(|entries| entries.push(stored("Content/other/", b""))), Flaw::Unlisted);
}

/// Packs the fixed tree with another text for a manifest.
fn with_manifest(change: impl FnOnce(String) -> String) -> Result<(), ReadError> {
    let (directory, path) = on_disk(&packed(&fixed_tree()).0);
    let mut text = Vec::new();
    let zip = fs::read(&path).unwrap();
    let raw = raw_entries(&zip).into_iter().find(|raw| raw.name == "staith.manifest.json").unwrap();
    std::io::Read::read_to_end(
        &mut zip::ZipArchive::new(std::io::Cursor::new(&zip)).unwrap().by_name(&raw.name).unwrap(),
        &mut text,
    )
    .unwrap();
    drop(directory);
    let text = change(String::from_utf8(text).unwrap());
    changed(|entries| {
        *named(entries, "staith.manifest.json") = stored("staith.manifest.json", text.as_bytes())
    })
}

#[test]
fn a_manifest_that_was_touched_is_refused() {
    with_manifest(|text| text).unwrap();
    let other_mode = with_manifest(|text| text.replace("493", "511")).unwrap_err().to_string();
    assert!(other_mode.contains("it says its digest is sha256:"), "{other_mode}");
    let touched: [fn(String) -> String; 6] = [
        |text| text.replace("493", "511"),
        |text| text.replace("\"format\":1", "\"format\":2"),
        |text| text.replace("\"kind\":\"directory\"", "\"kind\":\"directory\" "),
        |text| text.replace("{\"format\"", "{\"more\":1,\"format\""),
        |text| text[..text.len() / 2].to_owned(),
        |_| String::new(),
    ];
    for (nth, touch) in touched.into_iter().enumerate() {
        let refused = with_manifest(touch);
        assert!(
            matches!(refused, Err(ReadError::Refused { flaw: Flaw::Manifest(_), .. })),
            "{nth}: {refused:?}"
        );
    }
}

/// A manifest that is sound in itself, but describes what must never be extracted.
#[test]
fn a_manifest_that_leads_out_is_refused() {
    let entry = |target: &str| Entry::Symlink { target: target.into() };
    let held = Entry::File { mode: 0o644, size: 0, digest: Digest::of(b"") };
    let trees: [Vec<(&str, Entry)>; 4] = [
        vec![("link", entry("/etc"))],
        vec![("link", entry("../.."))],
        vec![("link", entry("d")), ("link/passwd", held)],
        vec![("f", Entry::File { mode: 0o4755, size: 0, digest: Digest::of(b"") })],
    ];
    for entries in trees {
        let manifest = Manifest {
            entries: entries.into_iter().map(|(path, entry)| (path.try_into().unwrap(), entry)).collect(),
        };
        let (digest, json) = (manifest.digest(), serde_json::to_string(&manifest.entries).unwrap());
        let refused =
            with_manifest(|_| format!("{{\"format\":1,\"digest\":\"{digest}\",\"entries\":{json}}}\n"));
        assert!(matches!(refused, Err(ReadError::Refused { flaw: Flaw::Manifest(_), .. })), "{refused:?}");
    }
}

#[test]
fn files_that_are_no_packages_are_told_apart() {
    for bytes in [&b""[..], b"PK", b"<html>not found</html>", &noise(100_000)] {
        let (_directory, path) = on_disk(bytes);
        assert!(matches!(PackageReader::open(&path), Err(ReadError::NotZip { .. })));
    }
    let (_directory, path) = on_disk(&zip_of(&[stored("index.html", b"x")]));
    assert!(matches!(PackageReader::open(&path), Err(ReadError::NotAPackage { .. })));
    assert!(matches!(PackageReader::open(Path::new("/nonexistent.zip")), Err(ReadError::Open { .. })));
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe.zip");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    for path in [pipe.as_path(), directory.path()] {
        let refused = PackageReader::open(path).unwrap_err();
        assert!(refused.to_string().contains("no regular file"), "{refused}");
    }
}

#[test]
fn a_directory_that_web_deploy_would_skip_is_named() {
    let archive =
        br#"<sitemanifest><dirPath path="x"/><MSDeploy.dirPath path="C:\build\shop\" /></sitemanifest>"#;
    let with = |names: &[&str]| {
        let mut entries = vec![stored("archive.xml", archive), stored("systemInfo.xml", b"<systemInfo />")];
        entries.extend(names.iter().map(|name| stored(name, b"")));
        let (_directory, path) = on_disk(&zip_of(&entries));
        match PackageReader::open(&path) {
            Ok(_) => None,
            Err(ReadError::Refused { entry, flaw: Flaw::NoDirectoryEntry, .. }) => Some(entry),
            Err(other) => panic!("{other}"),
        }
    };
    let top = "Content/C_C/build/shop/";
    assert_eq!(with(&[top]), None);
    assert_eq!(with(&["Content/c_c/BUILD/shop/", "Content/C_C/build/shop/a"]), None);
    assert_eq!(with(&[]).as_deref(), Some(top));
    assert_eq!(with(&[top, "Content/C_C/build/shop/a/b"]).as_deref(), Some("Content/C_C/build/shop/a/"));
    assert_eq!(with(&[top, "Content/C_C/build/shop/a/b/"]).as_deref(), Some("Content/C_C/build/shop/a/"));
    // Elsewhere Web Deploy does not ask for them.
    assert_eq!(with(&[top, "Content/C_C/build/shop-2/a", "Content/z/a"]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_damage_is_found_or_harmless(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut zip = packed(&fixed_tree()).0;
        for (at, byte) in changes {
            let at = at.index(zip.len());
            zip[at] = byte;
        }
        if let Some(cut) = cut {
            zip.truncate(cut.index(zip.len()));
        }
        let (directory, path) = on_disk(&zip);
        let to = directory.path().join("in").join("extracted");
        fs::create_dir(directory.path().join("in")).unwrap();
        if let Ok(package) = PackageReader::open(&path) {
            let _ = package.verify();
            if package.extract(&to).is_ok() {
                // Whatever was changed, it was none of the content.
                let (_, manifest) = packed(&fixed_tree());
                prop_assert_eq!(listed(&to), with_directories(&manifest));
            } else {
                prop_assert!(!to.exists());
            }
        }
        let outside: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        prop_assert_eq!(outside.len(), 2, "{:?}", outside);
        prop_assert!(fs::read_dir(directory.path().join("in")).unwrap().count() <= 1);
    }
}

#[test]
fn an_extracted_file_is_not_readable_by_others_before_its_mode_says_so() {
    let (directory, path) = on_disk(
        &packed(&tree([
            ("secret", What::File(0o600, b"s".to_vec())),
            ("run", What::File(0o755, b"r".to_vec())),
        ]))
        .0,
    );
    let to = directory.path().join("x");
    PackageReader::open(&path).unwrap().extract(&to).unwrap();
    let mode = |name: &str| to.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("secret"), mode("run")), (0o600, 0o755));
    let _ = file("");
}
