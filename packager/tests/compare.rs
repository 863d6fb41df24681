//! What is said of one package, of two, and what comes out of any of them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use common::{What as Kind, file, fixed_tree, on_disk, packed, raw_entries, stored, tree, zip_of};
use proptest::prelude::*;
use staith_packager::web_deploy::{
    Change, Difference, Extract, FileFact, Flaw, PackageReader, ReadError, Warning, What, Writer, diff,
    inspect,
};

fn sample(name: &str) -> PackageReader {
    PackageReader::open(&sample_path(name)).unwrap()
}

fn sample_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(format!("{name}.zip"))
}

fn changes(difference: &Difference) -> Vec<(&str, What)> {
    difference.files.iter().map(|change| (change.name.as_str(), change.what)).collect()
}

#[test]
fn a_newer_version_differs_as_it_was_changed() {
    let difference = diff(&sample("contentpath"), &sample("contentpath-v2")).unwrap();
    let expected = [
        ("DATA2", What::Added),
        ("DATA2/zero.bin", What::Added),
        // Of the same length and the same time; `default.htm` is the other way around.
        ("data/rand.bin", What::Changed),
        ("data/zero.bin", What::Removed),
        ("news/2024/april.css", What::Removed),
        ("news/2024/april.htm", What::Changed),
        ("news/2024/june", What::Added),
        ("news/2024/june/plan.htm", What::Added),
        ("news/2024/may.htm", What::Added),
        ("private", What::Removed),
    ];
    assert_eq!(changes(&difference), expected);
    assert_eq!(difference.files[2].facts, [FileFact::Bytes { old: Some(900), new: Some(900) }]);
    assert_eq!(difference.files[5].facts, [FileFact::Bytes { old: Some(432), new: Some(135) }]);
    assert!(difference.parameters.is_empty() && difference.providers.is_empty());
    let back = diff(&sample("contentpath-v2"), &sample("contentpath")).unwrap();
    assert_eq!(back.files.len(), expected.len());
}

#[test]
fn packages_of_one_content_have_the_same_files_whatever_made_them() {
    let content = sample("contentpath");
    for other in ["dirpath", "timezone"] {
        let difference = diff(&content, &sample(other)).unwrap();
        assert_eq!(changes(&difference), [], "{other}");
    }
    assert!(!diff(&content, &sample("dirpath")).unwrap().providers.is_empty());
    // Without declarations, its parameters are gone.
    let difference = diff(&content, &sample("timezone")).unwrap();
    assert!(
        difference.providers.is_empty() && difference.parameters.iter().all(|one| one.what == What::Removed)
    );
    assert!(diff(&content, &content).unwrap().is_empty());
}

#[test]
fn providers_and_parameters_are_told_apart() {
    let difference = diff(&sample("setacl"), &sample("dbfullsql")).unwrap();
    let providers: Vec<_> = difference.providers.iter().map(|one| (one.name.as_str(), one.what)).collect();
    let expected = [
        ("dbFullSql", What::Added),
        ("dbFullSql/sqlScript", What::Added),
        ("iisApp", What::Changed),
        ("iisApp/createApp", What::Changed),
        ("setAcl", What::Removed),
        ("setAcl[2]", What::Removed),
    ];
    assert_eq!(providers, expected);
    let runtime = &difference.providers[2].facts;
    assert_eq!((runtime.len(), runtime[0].property.as_str()), (1, "option managedRuntimeVersion"));
    assert_eq!((runtime[0].old.as_deref(), runtime[0].new.as_deref()), (Some("v4.0"), None));
    let said = format!("{difference:?}");
    assert!(said.contains("(hidden)") && !said.to_lowercase().contains("password="), "{said}");
    // The same files in both.
    assert_eq!(changes(&difference), []);
    let gallery = diff(&sample("setacl"), &sample("gallery")).unwrap();
    assert_eq!(changes(&gallery), [], "a gallery package can't tell of directories");
}

#[test]
fn ours_differ_by_bytes_modes_targets_and_kinds() {
    let with = |entries: [(&'static str, Kind); 5]| {
        let (directory, path) = on_disk(&packed(&tree(entries)).0);
        (directory, PackageReader::open(&path).unwrap())
    };
    let (_old_kept, old) = with([
        ("same", file("1")),
        ("bytes", file("aa")),
        ("mode", Kind::File(0o644, b"x".to_vec())),
        ("link", Kind::Link("same".into())),
        ("kind", file("k")),
    ]);
    let (_new_kept, new) = with([
        ("same", file("1")),
        ("bytes", file("bb")),
        ("mode", Kind::File(0o755, b"x".to_vec())),
        ("link", Kind::Link("bytes".into())),
        ("kind", Kind::Link("same".into())),
    ]);
    let change =
        |name: &str, fact: FileFact| Change { name: name.to_owned(), what: What::Changed, facts: vec![fact] };
    let expected = [
        change("bytes", FileFact::Bytes { old: Some(2), new: Some(2) }),
        change("kind", FileFact::Kind { old: Some("file"), new: Some("link") }),
        change("link", FileFact::Target { old: Some("same".into()), new: Some("bytes".into()) }),
        change("mode", FileFact::Mode { old: 0o644, new: 0o755 }),
    ];
    assert_eq!(diff(&old, &new).unwrap().files, expected);
}

/// Two texts with one CRC-32.
#[test]
fn a_checksum_that_is_the_same_by_chance_does_not_deceive() {
    let (a, b) = (b"plumless".as_slice(), b"buckeroo".as_slice());
    assert_eq!(crc32fast::hash(a), crc32fast::hash(b));
    let with = |bytes: &[u8]| {
        let archive = b"<sitemanifest><MSDeploy.dirPath path='app'/></sitemanifest>";
        let entries = [
            stored("archive.xml", archive),
            stored("systemInfo.xml", b"<systemInfo />"),
            stored("Content/app/", b""),
            stored("Content/app/a", bytes),
        ];
        let (directory, path) = on_disk(&zip_of(&entries));
        (directory, PackageReader::open(&path).unwrap())
    };
    let ((_kept_a, a), (_kept_b, b)) = (with(a), with(b));
    assert_eq!(changes(&diff(&a, &b).unwrap()), [("a", What::Changed)]);
}

#[test]
fn inspection_tells_what_a_package_is() {
    let (directory, path) = on_disk(&packed(&fixed_tree()).0);
    let ours = inspect(&PackageReader::open(&path).unwrap()).unwrap();
    assert!(ours.writer == Writer::Staith && ours.warnings.is_empty(), "{:?}", ours.warnings);
    assert_eq!(ours.size, path.metadata().unwrap().len());
    assert_eq!(ours.digest, staith_model::Digest::of(&fs::read(&path).unwrap()));
    assert_eq!(ours.files, fixed_tree().values().filter(|what| matches!(what, Kind::File(..))).count());
    drop(directory);

    let theirs = inspect(&sample("iisapp")).unwrap();
    assert_eq!((theirs.writer, theirs.content), (Writer::WebDeploy, None));
    let path =
        |warning: &Warning| matches!(warning, Warning::BuildPath { path, .. } if path == "C:\\build\\shop");
    assert_eq!(theirs.warnings.iter().filter(|one| path(one)).count(), 1, "{:?}", theirs.warnings);
    assert!(
        theirs
            .warnings
            .contains(&Warning::OptionsBlobs { providers: vec!["contentPath".into(), "iisApp".into()] })
    );
    let gallery = inspect(&sample("gallery")).unwrap();
    assert!(gallery.warnings.contains(&Warning::NotForPipelines { file: "systemInfo.xml" }));
    assert!(gallery.warnings.iter().any(|one| matches!(one, Warning::NoDirectoryEntries { .. })));
    let bare = inspect(&sample("timezone")).unwrap();
    assert!(bare.warnings.contains(&Warning::NoApplicationName));
}

#[test]
fn declarations_that_are_wrong_are_shown_with_a_warning() {
    let bad = sample("errors/12-bad-xpath");
    let inspection = inspect(&bad).unwrap();
    let warned = inspection.warnings.iter().find_map(|one| match one {
        Warning::BadDeclaration { line, column, .. } => Some((*line, *column)),
        _ => None,
    });
    assert_eq!(warned, Some((6, 64)));
    assert!(!inspection.parameters.is_empty(), "the sound ones are shown");
    let refused = bad.declarations().unwrap_err();
    assert_eq!(refused.place(), Some(("parameters.xml", Some(6), Some(64))));

    assert!(diff(&bad, &bad).unwrap().is_empty());
    let difference = diff(&bad, &sample("timezone")).unwrap();
    let facts = difference.parameters.iter().flat_map(|one| &one.facts);
    assert!(
        facts.into_iter().any(|fact| fact.property == "mistake 1" && fact.new.is_none()),
        "{difference:?}"
    );
}

#[test]
fn secrets_are_warned_of_and_never_shown() {
    let parameters = br#"<parameters>
  <parameter name="Db" defaultValue="Server=x;Password=Lamp42" />
  <parameter name="Plain" defaultValue="Lamp43" tags="Password, New" />
  <parameter name="Referred" defaultValue="{Plain}" tags="Password" />
  <parameter name="Tagged" value="Server=x;Integrated Security=SSPI" tags="SqlConnectionString"/>
</parameters>"#;
    let archive =
        br#"<sitemanifest><dbFullSql path="Server=x;pwd=Lamp44" setPassword="Lamp45"/></sitemanifest>"#;
    let entries = [
        stored("archive.xml", archive),
        stored("parameters.xml", parameters),
        stored("systemInfo.xml", br#"<systemInfo machineName="BUILD7" />"#),
    ];
    let (_directory, path) = on_disk(&zip_of(&entries));
    let package = PackageReader::open(&path).unwrap();
    let inspection = inspect(&package).unwrap();
    let secret = |parameter: &str| Warning::SecretInDefault { parameter: parameter.into() };
    let property = |property: &str| Warning::SecretInProvider {
        provider: "dbFullSql".into(),
        property: property.into(),
    };
    for warning in [
        secret("Db"),
        secret("Plain"),
        property("path"),
        property("setPassword"),
        Warning::HostName { machine: "BUILD7".into() },
    ] {
        assert!(inspection.warnings.contains(&warning), "{warning:?} {:?}", inspection.warnings);
    }
    assert!(
        !inspection.warnings.contains(&secret("Referred"))
            && !inspection.warnings.contains(&secret("Tagged"))
    );
    let shown = format!("{inspection:?}{:?}", diff(&package, &sample("gallery")).unwrap());
    assert!(!shown.contains("Lamp4") && !shown.contains("SSPI"), "{shown}");
}

fn listed(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    fn walk(root: &Path, at: &Path, into: &mut BTreeMap<String, Option<Vec<u8>>>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                into.insert(name, None);
                walk(root, &path, into);
            } else {
                assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o644);
                into.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

fn extracted(name: &str, what: &Extract) -> BTreeMap<String, Option<Vec<u8>>> {
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("out");
    let told = std::sync::Mutex::new(Vec::new());
    let heard = |progress| {
        told.lock().unwrap().push(progress);
        std::ops::ControlFlow::Continue(())
    };
    let done = sample(name).extract_with(&to, what, &heard).unwrap();
    let all = listed(&to);
    assert_eq!(all.values().flatten().count(), done.files);
    assert_eq!(all.values().flatten().map(|bytes| bytes.len() as u64).sum::<u64>(), done.bytes);
    let told = told.into_inner().unwrap();
    assert_eq!(told.iter().map(|one| one.files).max(), Some(done.files as u64));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "something was left beside");
    all
}

#[test]
fn content_of_any_package_comes_out() {
    let expected = [
        ("App_Data", true),
        ("App_Data/cache", true),
        ("App_Data/visits.csv", false),
        ("Web.config", false),
        ("bin", true),
        ("bin/Kiosk.dll", false),
        ("kiosk.html", false),
        ("lamp.gif", false),
    ];
    for name in ["setacl", "gallery", "dbfullsql", "runcommand"] {
        let all = extracted(name, &Extract::default());
        let found: Vec<_> = all.iter().map(|(path, bytes)| (path.as_str(), bytes.is_none())).collect();
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(extracted("filepath", &Extract::default()).into_keys().collect::<Vec<_>>(), ["price-tag.txt"]);
    let raw = extracted("gallery", &Extract { as_zip: true, only: Vec::new() });
    assert!(raw.contains_key("manifest.xml") && raw.contains_key("LanternKiosk/bin/Kiosk.dll"));
    let only = vec!["bin".try_into().unwrap(), "kiosk.html".try_into().unwrap()];
    let some = extracted("setacl", &Extract { as_zip: false, only });
    assert_eq!(some.into_keys().collect::<Vec<_>>(), ["bin", "bin/Kiosk.dll", "kiosk.html"]);
    let absent = Extract { as_zip: false, only: vec!["bi".try_into().unwrap()] };
    let scratch = tempfile::tempdir().unwrap();
    let refused = sample("setacl")
        .extract_with(&scratch.path().join("out"), &absent, &staith_packager::stopping::unwatched)
        .unwrap_err();
    assert!(matches!(refused, ReadError::Absent { ref file, .. } if file == "bi"), "{refused}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// Several places, of which each keeps its own.
#[test]
fn content_of_several_places_is_kept_apart() {
    let archive =
        b"<sitemanifest><MSDeploy.dirPath path='C:\\a'/><MSDeploy.filePath path='b\\c.txt'/></sitemanifest>";
    let entries = [
        stored("archive.xml", archive),
        stored("systemInfo.xml", b"<systemInfo />"),
        stored("Content/C_C/a/", b""),
        stored("Content/C_C/a/x", b"1"),
        stored("Content/b/c.txt", b"2"),
        stored("Content/elsewhere", b"3"),
    ];
    let (directory, path) = on_disk(&zip_of(&entries));
    let to = directory.path().join("out");
    PackageReader::open(&path)
        .unwrap()
        .extract_with(&to, &Extract::default(), &staith_packager::stopping::unwatched)
        .unwrap();
    let expected = ["C_C", "C_C/a", "C_C/a/x", "b", "b/c.txt"];
    assert_eq!(listed(&to).into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn a_damaged_file_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let package = PackageReader::open(&sample_path("errors/03-bad-crc")).unwrap();
    let refused = package
        .extract_with(&scratch.path().join("out"), &Extract::default(), &staith_packager::stopping::unwatched)
        .unwrap_err();
    assert!(matches!(refused, ReadError::Refused { flaw: Flaw::Damaged(_), .. }), "{refused}");
    assert_eq!(refused.place().map(|(entry, ..)| entry), Some("Content/kiosk/index.html"));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// Two hundred million zeros in 200 KB, as other tools' packages may have them.
#[test]
fn a_bomb_is_refused_by_its_name_before_it_is_inflated() {
    let mut entries = raw_entries(&fs::read(sample_path("sdk")).unwrap());
    let nth = entries.iter().position(|entry| entry.name.ends_with("LanternLane.Api.dll")).unwrap();
    let mut bomb = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let (zeros, mut crc) = (vec![0; 1_000_000], crc32fast::Hasher::new());
    for _ in 0..200 {
        std::io::Write::write_all(&mut bomb, &zeros).unwrap();
        crc.update(&zeros);
    }
    let data = bomb.finish().unwrap();
    let entry = &mut entries[nth];
    (entry.method, entry.crc, entry.size, entry.packed) = (8, crc.finalize(), 200_000_000, data.len() as u32);
    entry.data = data;
    let open = |entries: &[common::Raw]| {
        let (_directory, path) = on_disk(&zip_of(entries));
        PackageReader::open(&path).and_then(|package| package.verify().map(drop))
    };
    let refused = open(&entries).unwrap_err();
    assert!(
        matches!(refused, ReadError::Refused { ref entry, flaw: Flaw::Bomb { .. }, .. } if entry.ends_with("Api.dll")),
        "{refused}"
    );
    // One that lies about its length is stopped where it lied.
    entries[nth].size = 1000;
    let refused = open(&entries).unwrap_err();
    assert!(matches!(refused, ReadError::Refused { flaw: Flaw::Damaged(_), .. }), "{refused}");
}

/// What is left of a sample when some of its bytes are others, or are gone.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["setacl", "gallery", "filepath", "runcommand"]);
    let bytes = name.prop_map(|name| fs::read(sample_path(name)).unwrap());
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..3), 1..5);
    (bytes, edits).prop_map(|(mut bytes, edits)| {
        for (at, byte, what) in edits {
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_damage_panics_or_writes_beside_the_target(bytes in damaged()) {
        let (directory, path) = on_disk(&bytes);
        if let Ok(package) = PackageReader::open(&path) {
            let is_sound = package.verify().is_ok();
            let _ = inspect(&package);
            if let Ok(difference) = diff(&package, &package) {
                prop_assert!(difference.is_empty());
            }
            for as_zip in [false, true] {
                let to = directory.path().join(format!("{as_zip}"));
                let extracted = package.extract_with(&to, &Extract { as_zip, only: Vec::new() }, &staith_packager::stopping::unwatched);
                prop_assert!(extracted.is_ok() || !is_sound);
                prop_assert_eq!(to.exists(), extracted.is_ok());
            }
        }
        let allowed = |name: &str| ["package.zip", "true", "false"].contains(&name);
        for entry in fs::read_dir(directory.path()).unwrap() {
            prop_assert!(allowed(entry.unwrap().file_name().to_str().unwrap()));
        }
    }
}
