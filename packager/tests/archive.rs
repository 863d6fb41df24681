//! `archive.xml` that can't be right is refused with its place, and nothing in it is executed to find out.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{on_disk, stored, zip_of};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use staith_packager::web_deploy::{
    Flaw, PackageReader, ReadError,
    archive::{Archive, Mistake, Wrong},
};

/// A text as .NET's binary format has it.
fn text(text: &str) -> Vec<u8> {
    let mut length = text.len();
    let mut bytes = Vec::new();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(text.as_bytes());
    bytes
}

fn number(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

/// Provider options as .NET's binary formatter writes them.
fn record(provider: &str, path: &str, settings: &[(&str, &str)]) -> Vec<u8> {
    let mut id = 3;
    let mut string = |value: &str| {
        id += 1;
        [vec![6], number(id - 1).to_vec(), text(value)].concat()
    };
    let mut bytes = vec![0];
    for field in [1, u32::MAX, 1, 0] {
        bytes.extend(number(field));
    }
    bytes.extend([vec![12], number(2).to_vec()].concat());
    bytes.extend(text(
        "Microsoft.Web.Deployment, Version=9.0.0.0, Culture=neutral, PublicKeyToken=31bf3856ad364e35",
    ));
    bytes.extend([vec![5], number(1).to_vec()].concat());
    bytes.extend(text("Microsoft.Web.Deployment.DeploymentProviderOptions"));
    bytes.extend(number(4));
    for member in ["providerName", "path", "names", "values"] {
        bytes.extend(text(member));
    }
    bytes.extend([1, 1, 6, 6]);
    bytes.extend(number(2));
    bytes.extend(string(provider));
    bytes.extend(string(path));
    for reference in [100u32, 101] {
        bytes.extend([vec![9], number(reference).to_vec()].concat());
    }
    let names: Vec<u8> = settings.iter().flat_map(|(name, _)| string(name)).collect();
    let values: Vec<u8> = settings.iter().flat_map(|(_, value)| string(value)).collect();
    for (reference, strings) in [(100, names), (101, values)] {
        bytes.extend([vec![17], number(reference).to_vec(), number(settings.len() as u32).to_vec()].concat());
        bytes.extend(strings);
    }
    bytes.push(11);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn blob(bytes: &[u8]) -> String {
    STANDARD.encode(gzip(bytes))
}

fn with_blob(path: &str, blob: &str) -> Result<Archive, Mistake> {
    let archive = format!(
        "<sitemanifest>\n  <iisApp path=\"{path}\" MSDeploy.MSDeployProviderOptions=\"{blob}\" />\n</sitemanifest>"
    );
    Archive::of_archive_xml(archive.as_bytes())
}

#[test]
fn options_are_read_as_data() {
    let settings = [("managedRuntimeVersion", "v4.0"), ("x", "")];
    let archive =
        with_blob("C:\\Build\\app\\", &blob(&record("iisapp", "c:\\build\\app", &settings))).unwrap();
    let options = archive.providers[0].options.as_ref().unwrap();
    let found: Vec<_> =
        options.settings.iter().map(|one| (one.name.as_str(), one.value.as_deref().unwrap())).collect();
    assert_eq!(found, settings);
}

#[test]
fn options_that_redirect_are_refused() {
    let mistake = with_blob("app", &blob(&record("iisApp", "C:\\src", &[]))).unwrap_err();
    let Mistake { line: 2, column: 3, wrong: Wrong::Redirects { what: "path", hidden, visible, .. } } =
        mistake
    else {
        panic!("{mistake:?}")
    };
    assert_eq!((hidden.as_str(), visible.as_str()), ("C:\\src", "app"));
    let mistake = with_blob("app", &blob(&record("runCommand", "app", &[]))).unwrap_err();
    assert!(matches!(mistake.wrong, Wrong::Redirects { what: "name", .. }), "{mistake}");
    // The same for a package of one provider, whose root has the options.
    let one = |path: &str| {
        let blob = blob(&record("contentPath", path, &[]));
        Archive::of_archive_xml(
            format!(
                "<MSDeploy.contentPath MSDeploy.MSDeployProviderOptions=\"{blob}\"><contentPath path=\"app\"/></MSDeploy.contentPath>"
            )
            .as_bytes(),
        )
    };
    assert_eq!(one("app").unwrap().options.unwrap().path.as_deref(), Some("app"));
    assert!(matches!(one("C:\\src").unwrap_err().wrong, Wrong::Redirects { .. }));
}

#[test]
fn options_of_any_other_shape_are_refused() {
    let good = record("iisApp", "app", &[("a", "b")]);
    let changed = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        blob(&[&good[..at], to, &good[at + from.len()..]].concat())
    };
    let cases = [
        ("not base64", "?".to_owned()),
        ("not gzip", STANDARD.encode(b"plain")),
        ("cut off", blob(&good[..good.len() - 3])),
        ("longer", blob(&[good.as_slice(), &[11]].concat())),
        ("followed by more", STANDARD.encode([gzip(&good), b"x".to_vec()].concat())),
        ("more than 1 MiB", blob(&vec![0; (1 << 20) + 1])),
        ("another class", changed(b"DeploymentProviderOptions", b"DeploymentProviderOptionz")),
        ("another library", changed(b"Microsoft.Web.Deployment, ", b"Microsoft.Web.Deployments,")),
        ("another member", changed(b"values", b"valueS")),
        ("members of other types", changed(&[1, 1, 6, 6], &[1, 2, 6, 6])),
        ("another version", changed(&[1, 0, 0, 0, 0, 0, 0, 0, 12], &[2, 0, 0, 0, 0, 0, 0, 0, 12])),
        ("another object", changed(&[11], &[7])),
        ("fewer values", changed(&[17, 101, 0, 0, 0, 1, 0, 0, 0], &[17, 101, 0, 0, 0, 0, 0, 0, 0])),
        ("many settings", changed(&[17, 100, 0, 0, 0, 1, 0, 0, 0], &[17, 100, 0, 0, 0, 255, 255, 255, 127])),
    ];
    for (what, blob) in cases {
        let mistake = with_blob("app", &blob).unwrap_err();
        assert!(matches!(mistake.wrong, Wrong::Options { .. }), "{what}: {mistake}");
        assert_eq!((mistake.line, mistake.column), (2, 22), "{what}");
    }
}

#[test]
fn what_can_not_be_right_is_refused_with_its_place() {
    let refused = |archive: &str| Archive::of_archive_xml(archive.as_bytes()).unwrap_err();
    let mistake = refused("<packages/>");
    assert!(matches!(mistake.wrong, Wrong::Root(ref name) if name == "packages"));
    let boolean = "Microsoft.Web.Deployment.DeploymentObjectBooleanAttributeValue";
    let mistake = refused(&format!(
        "<sitemanifest>\n<a\n isDest='no' MSDeploy.isDest.Type='{boolean}'/></sitemanifest>"
    ));
    assert!(matches!(mistake, Mistake { line: 3, column: 2, wrong: Wrong::Value { .. } }), "{mistake}");
    let mistake = refused("<sitemanifest><a b='' MSDeploy.b='two'/></sitemanifest>");
    assert!(matches!(mistake.wrong, Wrong::Flags(ref name) if name == "b"));
    let many = "<MSDeploy.dirPath path='a'/>".repeat(1001);
    assert_eq!(refused(&format!("<sitemanifest>{many}</sitemanifest>")).wrong, Wrong::TooManyRoots);
    let mistake = refused("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><sitemanifest/>");
    assert!(mistake.to_string().contains("document type"), "{mistake}");
}

#[test]
fn what_archive_xml_names_must_be_there() {
    let with =
        |provider: &str| {
            let archive = format!("<sitemanifest>\n {provider}</sitemanifest>");
            let entries = [
                stored("archive.xml", archive.as_bytes()),
                stored("systemInfo.xml", b"<systemInfo />"),
                stored("Content/C_C/a.txt", b"a"),
                stored("script", b"s"),
            ];
            let (_directory, path) = on_disk(&zip_of(&entries));
            match PackageReader::open(&path) {
                Ok(_) => None,
                Err(ReadError::Refused {
                    entry, flaw: Flaw::Absent { line: 2, column: 2, name }, ..
                }) if entry == "archive.xml" => Some(name),
                Err(other) => panic!("{other}"),
            }
        };
    assert_eq!(with("<MSDeploy.filePath path='c:\\A.TXT'/>"), None);
    assert_eq!(with("<MSDeploy.filePath path='c:\\b.txt'/>").as_deref(), Some("Content/c_C/b.txt"));
    assert_eq!(with("<runCommand path='x' MSDeploy.MSDeployStreamRelativeFilePath='Script'/>"), None);
    let absent = with("<runCommand path='x' MSDeploy.MSDeployStreamRelativeFilePath='scripts'/>");
    assert_eq!(absent.as_deref(), Some("scripts"));
}

#[test]
fn content_that_is_named_over_and_over_is_refused() {
    // Four hundred directories in each other, all of them named, and three thousand files in the innermost.
    let names: Vec<String> = (1..=400).map(|depth| vec!["a"; depth].join("/")).collect();
    let providers: String = names.iter().map(|name| format!("<MSDeploy.dirPath path='{name}'/>")).collect();
    let mut entries = vec![
        stored("archive.xml", format!("<sitemanifest>{providers}</sitemanifest>").as_bytes()),
        stored("systemInfo.xml", b"<systemInfo />"),
    ];
    entries.extend(names.iter().map(|name| stored(&format!("Content/{name}/"), b"")));
    entries.extend((0..3000).map(|nth| stored(&format!("Content/{}/{nth}", names[399]), b"")));
    let (_directory, path) = on_disk(&zip_of(&entries));
    let refused = PackageReader::open(&path).unwrap_err();
    assert!(
        matches!(refused, ReadError::OutOfBounds { ref why, .. } if why.contains("many times")),
        "{refused}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_options_make_it_panic(at in 0usize..400, with in prop::collection::vec(any::<u8>(), 0..6), cut in 0usize..6) {
        let good = record("iisApp", "app", &[("managedRuntimeVersion", "v4.0"), ("x", "y")]);
        let at = at.min(good.len());
        let end = (at + cut).min(good.len());
        let mutated = [&good[..at], with.as_slice(), &good[end..]].concat();
        match with_blob("app", &blob(&mutated)) {
            // What was changed was an id, a name or a value.
            Ok(archive) => prop_assert!(archive.providers[0].options.is_some()),
            Err(mistake) => prop_assert!(
                matches!(mistake.wrong, Wrong::Options { .. } | Wrong::Redirects { .. }), "{}", mistake
            ),
        }
    }

    #[test]
    fn no_change_of_a_genuine_archive_makes_it_panic(
        name in prop::sample::select(vec!["iisapp", "dbfullsql", "runcommand", "contentpath", "filepath"]),
        at in any::<prop::sample::Index>(), with in "[<>/='\"&;! a-zA-Z.\n]{0,4}", cut in 0usize..6,
    ) {
        let genuine = genuine(name);
        let at = at.index(genuine.len());
        let end = (at + cut).min(genuine.len());
        let changed = [&genuine[..at], with.as_bytes(), &genuine[end..]].concat();
        match Archive::of_archive_xml(&changed) {
            Ok(archive) => prop_assert!(!archive.root.is_empty()),
            Err(mistake) => prop_assert!(mistake.line > 0 && mistake.column > 0),
        }
        let _ = Archive::of_gallery_manifest(&changed);
    }
}

/// The `archive.xml` of a sample.
fn genuine(name: &str) -> Vec<u8> {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let package = PackageReader::open(&samples.join(format!("{name}.zip"))).unwrap();
    package.read_text(package.find("archive.xml").unwrap(), 1 << 20).unwrap()
}
