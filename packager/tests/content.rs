//! What packages say they are made of, and their content by provider, is what Web Deploy itself says of them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{fs, path::Path};

use common::{What, file, fixed_tree, on_disk, packed, tree};
use roxmltree::{Document, Node};
use staith_model::Digest;
use staith_packager::web_deploy::{
    ItemKind, PackageReader, RootKind,
    archive::{Provider, Value},
};

const SAMPLES: [&str; 12] = [
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
];

fn sample(name: &str) -> PackageReader {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    PackageReader::open(&samples.join(format!("{name}.zip"))).unwrap()
}

fn dump(name: &str) -> String {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    fs::read_to_string(samples.join(format!("{name}.dump.xml"))).unwrap()
}

fn is_content(node: Node<'_, '_>) -> bool {
    node.has_tag_name("dirPath") || node.has_tag_name("filePath")
}

/// Roots in Web Deploy's listing, with a line for each thing in them.
fn listed(dump: &Document<'_>) -> Vec<(String, Vec<String>)> {
    fn walk(node: Node<'_, '_>, above: &str, into: &mut Vec<String>) {
        for node in node.children().filter(Node::is_element) {
            let path = format!("{above}{}", node.attribute("path").unwrap());
            into.push(line(node, &path));
            walk(node, &format!("{path}/"), into);
        }
    }
    let roots = dump.descendants().filter(|node| is_content(*node) && !is_content(node.parent().unwrap()));
    roots
        .map(|root| {
            let (path, mut items) = (root.attribute("path").unwrap(), Vec::new());
            if root.has_tag_name("filePath") {
                items.push(line(root, path.rsplit('\\').next().unwrap()));
            }
            walk(root, "", &mut items);
            (path.trim_end_matches('\\').to_owned(), items)
        })
        .collect()
}

fn line(node: Node<'_, '_>, path: &str) -> String {
    if node.has_tag_name("dirPath") {
        return format!("{path}/");
    }
    // 02/29/2024 12:30:30
    let time = node.attribute("lastWriteTime").unwrap();
    let (date, clock) = time.split_once(' ').unwrap();
    let date: Vec<_> = date.split('/').collect();
    let size = node.attribute("size").unwrap();
    format!("{path} {size} {}-{}-{}T{clock}", date[2], date[0], date[1])
}

#[test]
fn content_is_what_web_deploy_lists() {
    for name in SAMPLES {
        let dump = dump(name);
        let expected = listed(&Document::parse(&dump).unwrap());
        let package = sample(name);
        let roots = package.content_roots();
        let found: Vec<(String, Vec<String>)> = roots
            .iter()
            .map(|root| {
                let items = package.items(root).map(|item| match item.kind {
                    ItemKind::Directory => format!("{}/", item.path),
                    ItemKind::File { entry, size, crc, time, mode, digest } => {
                        let mut bytes = Vec::new();
                        package.read_entry(entry, &mut bytes).unwrap();
                        assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (size, crc));
                        assert_eq!((mode, digest), (None, None));
                        format!("{} {size} {time}", item.path)
                    }
                    ItemKind::Symlink { .. } => panic!("{}", item.path),
                });
                (root.path.to_owned(), items.collect())
            })
            .collect();
        // Web Deploy makes up the directories of gallery packages, which have no entries.
        let made_up = |line: &String| name == "gallery" && ["App_Data/", "bin/"].contains(&line.as_str());
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(path, mut items)| {
                items.retain(|line| !made_up(line));
                (path, items)
            })
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// A provider as Web Deploy lists it.
fn shown(provider: &Provider) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::Time(time) => {
            let time = time.to_string();
            let (date, clock) = time.trim_end_matches('Z').split_once('T').unwrap();
            format!("{}/{}/{} {clock}", &date[5..7], &date[8..], &date[..4])
        }
        value => value.to_string(),
    };
    let path = provider.path.iter().map(|path| ("path".to_owned(), path.clone()));
    path.chain(provider.attributes.iter().map(|one| (one.name.clone(), text(&one.value)))).collect()
}

#[test]
fn providers_are_those_that_web_deploy_lists() {
    fn compare(name: &str, node: Node<'_, '_>, providers: &[Provider]) {
        let nodes: Vec<_> = node.children().filter(Node::is_element).collect();
        assert_eq!(nodes.len(), providers.len(), "{name}: {node:?}");
        for (node, provider) in nodes.into_iter().zip(providers) {
            assert!(provider.is(node.tag_name().name()), "{name}: {} {node:?}", provider.name);
            if is_content(node) {
                // Web Deploy adds what the zip has of it.
                assert_eq!(node.attribute("path"), provider.path.as_deref(), "{name}");
                continue;
            }
            let expected: Vec<_> =
                node.attributes().map(|one| (one.name().to_owned(), one.value().to_owned())).collect();
            assert_eq!(shown(provider), expected, "{name}");
            compare(name, node, &provider.children);
        }
    }
    // Of a gallery package, Web Deploy shows what providers make of themselves.
    for name in SAMPLES.into_iter().filter(|name| *name != "gallery") {
        let dump = dump(name);
        let dump = Document::parse(&dump).unwrap();
        let root = dump.root_element().first_element_child().unwrap();
        let package = sample(name);
        let archive = package.archive();
        assert_eq!(archive.root, root.tag_name().name(), "{name}");
        compare(name, root, &archive.providers);
    }
}

#[test]
fn a_gallery_manifest_is_read_as_it_stands() {
    let package = sample("gallery");
    let archive = package.archive();
    let names: Vec<_> =
        archive.providers.iter().map(|one| (one.name.as_str(), one.path.as_deref().unwrap())).collect();
    let expected =
        [("iisApp", "LanternKiosk"), ("setAcl", "LanternKiosk/App_Data"), ("dbfullsql", "install.sql")];
    assert_eq!((archive.root.as_str(), names.as_slice()), ("MSDeploy.iisApp", expected.as_slice()));
    let first = &archive.providers[0];
    assert_eq!((first.line, first.column), (3, 3));
    assert_eq!(shown(first)[1], ("managedRuntimeVersion".to_owned(), "v4.0".to_owned()));
    assert_eq!(shown(&archive.providers[2])[1], ("transacted".to_owned(), "false".to_owned()));
}

#[test]
fn options_streams_and_links_are_known() {
    let package = sample("runcommand");
    let [content, script, inline] = package.archive().providers.as_slice() else { panic!() };
    assert_eq!((content.link.as_deref(), content.key.as_deref()), (Some("Child1"), Some("path")));
    let settings = |provider: &Provider| -> Vec<(String, Option<String>)> {
        let settings = &provider.options.as_ref().unwrap().settings;
        settings.iter().map(|one| (one.name.clone(), one.value.clone())).collect()
    };
    let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let expected = [set("waitAttempts", "3"), set("waitInterval", "5000"), set("successReturnCodes", "0;3")];
    assert_eq!(settings(script), expected);
    assert_eq!(settings(inline), [set("waitInterval", "1000")]);
    assert_eq!(inline.path.as_deref(), Some("echo Lamps are on & exit /b 0"));
    let stream = package.find(script.stream.as_deref().unwrap()).unwrap();
    assert!(String::from_utf8(package.read_text(stream, 1 << 10).unwrap()).unwrap().contains("echo"));
    let package = sample("iisapp");
    assert_eq!(settings(&package.archive().providers[0]), [set("managedRuntimeVersion", "v4.0")]);
    let flags: Vec<_> =
        package.archive().providers[0].children[0].attributes.iter().map(|one| one.flags).collect();
    assert_eq!(flags, [None, Some(2), Some(2), Some(2), Some(1), Some(1)]);
}

#[test]
fn content_of_ours_comes_with_modes_digests_and_links() {
    let (directory, path) = on_disk(&packed(&fixed_tree()).0);
    let package = PackageReader::open(&path).unwrap();
    let [root] = package.content_roots().try_into().unwrap();
    assert_eq!((root.path, root.kind, root.entry.as_str()), ("app", RootKind::Directory, "Content/app"));
    let chain: Vec<_> = root.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(chain, ["iisApp", "contentPath", "dirPath"]);
    let below = "bin/serve".try_into().unwrap();
    assert_eq!(root.source_path(&below), "app\\bin\\serve");
    let mut files = 0;
    for item in package.items(&root) {
        match (item.kind, fixed_tree().get(item.path.as_str())) {
            (ItemKind::Directory, what) => assert!(matches!(what, None | Some(What::Directory))),
            (ItemKind::Symlink { target }, what) => {
                assert!(matches!(what, Some(What::Link(to)) if *to == target));
            }
            (ItemKind::File { mode, digest, .. }, Some(What::File(expected, bytes))) => {
                assert_eq!((mode, digest), (Some(*expected), Some(Digest::of(bytes))));
                files += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(files, fixed_tree().values().filter(|what| matches!(what, What::File(..))).count());
    drop(directory);
}

#[test]
fn a_root_does_not_reach_beyond_its_name() {
    // `app.txt` and `app-2` sort beside `app/`.
    let (_directory, path) =
        on_disk(&packed(&tree([("a/b", file("1")), ("a.txt", file("2")), ("a-c", file("3"))])).0);
    let package = PackageReader::open(&path).unwrap();
    let paths: Vec<_> =
        package.items(&package.content_roots()[0]).map(|item| item.path.to_string()).collect();
    assert_eq!(paths, ["a", "a/b", "a-c", "a.txt"]);
    assert_eq!(package.find("CONTENT/APP/A.TXT"), package.find("Content/app/a.txt"));
    assert_eq!(package.find("Content/app/absent"), None);
}
