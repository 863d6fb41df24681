//! Trees to pack, and a zip parser that owes nothing to the one under test.

#![allow(dead_code, unreachable_pub, reason = "every test crate uses its own part")]

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use staith_model::{Digest, Entry, Manifest, RelPath};
use staith_packager::web_deploy::{Content, WriteError, Written, write};

/// What a tree holds at a path.
#[derive(Debug, Clone)]
pub enum What {
    Directory,
    File(u32, Vec<u8>),
    Link(String),
}

pub fn file(bytes: impl Into<Vec<u8>>) -> What {
    What::File(0o644, bytes.into())
}

/// Content whose files lie in `root`, under names that tell nothing.
pub fn content(root: &Path, tree: &BTreeMap<String, What>) -> Content {
    let mut content = Content::default();
    for (nth, (path, what)) in tree.iter().enumerate() {
        let path = RelPath::try_from(path.as_str()).unwrap();
        let entry = match what {
            What::Directory => Entry::Directory,
            What::Link(target) => Entry::Symlink { target: target.clone() },
            What::File(mode, bytes) => {
                let host = root.join(format!("{nth}"));
                fs::write(&host, bytes).unwrap();
                content.files.insert(path.clone(), host);
                Entry::File { mode: *mode, size: bytes.len() as u64, digest: Digest::of(bytes) }
            }
        };
        content.manifest.entries.insert(path, entry);
    }
    content
}

pub fn tree(entries: impl IntoIterator<Item = (&'static str, What)>) -> BTreeMap<String, What> {
    entries.into_iter().map(|(path, what)| (path.to_owned(), what)).collect()
}

/// A tree with everything that a package can hold. Its package's digest is committed in a test: don't change it.
pub fn fixed_tree() -> BTreeMap<String, What> {
    let text: Vec<u8> =
        (0..2000u32).flat_map(|n| format!("line {n} of the lantern catalogue\n").into_bytes()).collect();
    tree([
        ("App_Data", What::Directory),
        ("bin", What::Directory),
        ("bin/serve", What::File(0o755, b"#!/bin/sh\nexec true\n".to_vec())),
        ("bin/serve-link", What::Link("serve".into())),
        ("Bilder/été.txt", file("un\n")),
        ("Bilder/名前 x.txt", file("二\n")),
        ("catalogue.txt", file(text)),
        ("empty", file("")),
        ("empty folder/a", file("a")),
        ("_first", file("after letters")),
        ("noise", file(noise(5000))),
    ])
}

/// Bytes that can't be compressed.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

pub fn pack(content: &Content) -> Result<(Vec<u8>, Written), WriteError> {
    let mut bytes = Cursor::new(Vec::new());
    let written = write(content, &mut bytes, &staith_packager::stopping::unwatched)?;
    Ok((bytes.into_inner(), written))
}

/// Packs a tree that can be packed.
pub fn packed(tree: &BTreeMap<String, What>) -> (Vec<u8>, Manifest) {
    let scratch = tempfile::tempdir().unwrap();
    let content = content(scratch.path(), tree);
    (pack(&content).unwrap().0, content.manifest)
}

pub fn on_disk(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("package.zip");
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

/// Trees with names, modes, links and contents of many kinds.
pub fn any_tree() -> impl Strategy<Value = BTreeMap<String, What>> {
    let component = prop::sample::select(vec!["a", "b c", "Web.config", "été", "名", "_x", "z!", ".hidden"]);
    let path = prop::collection::vec(component, 1..4).prop_map(|parts| parts.join("/"));
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        (any::<u8>(), 0usize..5000).prop_map(|(byte, times)| vec![byte; times]),
    ];
    let what = prop_oneof![
        1 => Just(What::Directory),
        4 => (0u32..0o1000, bytes).prop_map(|(mode, bytes)| What::File(mode, bytes)),
        1 => prop::sample::select(vec!["a", "./b c", "a/.."]).prop_map(|to| What::Link(to.into())),
    ];
    prop::collection::btree_map(path, what, 0..14).prop_map(|tree| {
        let below_file = |path: &str| {
            path.match_indices('/')
                .any(|(at, _)| matches!(tree.get(&path[..at]), Some(What::File(..) | What::Link(_))))
        };
        tree.iter()
            .filter(|(path, _)| !below_file(path))
            .map(|(path, what)| (path.clone(), what.clone()))
            .collect()
    })
}

/// One entry, as its central header has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub name: String,
    pub made_by: u16,
    pub needed: u16,
    pub flags: u16,
    pub method: u16,
    pub time: u16,
    pub date: u16,
    pub crc: u32,
    pub packed: u32,
    pub size: u32,
    pub extra: u16,
    pub comment: u16,
    pub internal: u16,
    pub attributes: u32,
    pub offset: u32,
    /// The header before the data, from its signature to the end of its extra field.
    pub local: Vec<u8>,
    pub data: Vec<u8>,
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Parses a zip that has no comment and no ZIP64, by its central directory.
pub fn raw_entries(zip: &[u8]) -> Vec<Raw> {
    let end = zip.len() - 22;
    assert_eq!(u32_at(zip, end), 0x0605_4b50, "no end record at the very end");
    assert_eq!(zip[end + 4..end + 8], [0; 4]);
    assert_eq!(u16_at(zip, end + 8), u16_at(zip, end + 10));
    let (count, size, mut at) =
        (u16_at(zip, end + 10), u32_at(zip, end + 12), u32_at(zip, end + 16) as usize);
    assert_eq!(at + size as usize, end, "something lies between the central directory and its end");
    let entries = (0..count)
        .map(|_| {
            assert_eq!(u32_at(zip, at), 0x0201_4b50);
            let name_length = usize::from(u16_at(zip, at + 28));
            let (offset, packed) = (u32_at(zip, at + 42), u32_at(zip, at + 20));
            let start = offset as usize;
            assert_eq!(u32_at(zip, start), 0x0403_4b50);
            let data =
                start + 30 + usize::from(u16_at(zip, start + 26)) + usize::from(u16_at(zip, start + 28));
            let raw = Raw {
                name: String::from_utf8(zip[at + 46..at + 46 + name_length].to_vec()).unwrap(),
                made_by: u16_at(zip, at + 4),
                needed: u16_at(zip, at + 6),
                flags: u16_at(zip, at + 8),
                method: u16_at(zip, at + 10),
                time: u16_at(zip, at + 12),
                date: u16_at(zip, at + 14),
                crc: u32_at(zip, at + 16),
                packed,
                size: u32_at(zip, at + 24),
                extra: u16_at(zip, at + 30),
                comment: u16_at(zip, at + 32),
                internal: u16_at(zip, at + 36),
                attributes: u32_at(zip, at + 38),
                offset,
                local: zip[start..data].to_vec(),
                data: zip[data..data + packed as usize].to_vec(),
            };
            at += 46 + name_length + usize::from(raw.extra) + usize::from(raw.comment);
            raw
        })
        .collect();
    assert_eq!(at, end);
    entries
}

/// Writes a zip from raw entries, for packages that are wrong in one way. Local headers follow the central ones.
pub fn zip_of(entries: &[Raw]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for raw in entries {
        let offset = zip.len() as u32;
        let mut shared = Vec::new();
        for field in [raw.needed, raw.flags, raw.method, raw.time, raw.date] {
            shared.extend(field.to_le_bytes());
        }
        for field in [raw.crc, raw.packed, raw.size] {
            shared.extend(field.to_le_bytes());
        }
        shared.extend((raw.name.len() as u16).to_le_bytes());
        shared.extend([0; 2]);
        zip.extend(0x0403_4b50_u32.to_le_bytes());
        zip.extend(&shared);
        zip.extend(raw.name.as_bytes());
        zip.extend(&raw.data);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend(raw.made_by.to_le_bytes());
        directory.extend(shared);
        directory.extend([0; 6]);
        directory.extend(raw.attributes.to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(raw.name.as_bytes());
    }
    let (at, size, count) = (zip.len() as u32, directory.len() as u32, entries.len() as u16);
    zip.extend(directory);
    zip.extend(0x0605_4b50_u32.to_le_bytes());
    zip.extend([0; 4]);
    zip.extend(count.to_le_bytes());
    zip.extend(count.to_le_bytes());
    zip.extend(size.to_le_bytes());
    zip.extend(at.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

/// A stored entry.
pub fn stored(name: &str, bytes: &[u8]) -> Raw {
    Raw {
        name: name.to_owned(),
        made_by: 20,
        needed: 20,
        flags: 0,
        method: 0,
        time: 0,
        date: 33,
        crc: crc32fast::hash(bytes),
        packed: bytes.len() as u32,
        size: bytes.len() as u32,
        extra: 0,
        comment: 0,
        internal: 0,
        attributes: if name.ends_with('/') { 0x10 } else { 0x20 },
        offset: 0,
        local: Vec::new(),
        data: bytes.to_vec(),
    }
}
