//! The places of a store, and what the things in each of them weigh.

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde::Deserialize;

use super::super::{Inode, Item, Kind, whole_blocks};
use crate::layers::{LayerManifest, size_on_disk, weight_of_left};

/// Things of one kind, side by side in a directory.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: &'static str,
    kind: Kind,
    /// How the name of a thing ends.
    end: &'static str,
    /// Extensions of the files beside a thing that belong to it.
    beside: &'static [&'static str],
}

/// Every place but the pool of contents.
pub(super) const SHELVES: [Shelf; 9] = [
    Shelf { folder: "layers", kind: Kind::Layer, end: "", beside: &["json", "seen"] },
    Shelf { folder: "left", kind: Kind::LeftWorkspace, end: "", beside: &[] },
    Shelf { folder: "checkouts", kind: Kind::Checkout, end: "", beside: &["seen", "lfs"] },
    // Its lock stays: whoever waits for it must not wait for another file than the next one.
    Shelf { folder: "mirrors", kind: Kind::Mirror, end: ".git", beside: &["seen"] },
    Shelf { folder: "lfs", kind: Kind::LargeFile, end: "", beside: &[] },
    Shelf { folder: "trees", kind: Kind::Listing, end: "", beside: &[] },
    Shelf { folder: "known", kind: Kind::ImageRecord, end: ".json", beside: &[] },
    Shelf { folder: "tags", kind: Kind::ImageRecord, end: ".json", beside: &[] },
    Shelf { folder: "partial", kind: Kind::ImageRecord, end: "", beside: &[] },
];

/// The shelf that a thing is on.
pub(super) fn of_item(item: &Item) -> Option<&'static Shelf> {
    let (folder, _) = item.name.split_once('/')?;
    const { &SHELVES }.iter().find(|shelf| shelf.folder == folder)
}

impl Shelf {
    pub(super) fn beside(&self) -> &'static [&'static str] {
        self.beside
    }

    /// The things on this shelf of the store below `root`. `known` says what some of them weigh.
    pub(super) fn list(
        &self,
        root: &Path,
        known: &BTreeMap<String, u64>,
        items: &mut Vec<Item>,
    ) -> io::Result<()> {
        for entry in entries(&root.join(self.folder))? {
            let file_name = entry.file_name().to_string_lossy().into_owned();
            let Ok(found) = entry.metadata() else { continue };
            let is_thing = file_name.ends_with(self.end) && (found.is_dir() || self.beside.is_empty());
            if !is_thing {
                continue;
            }
            let name = format!("{}/{file_name}", self.folder);
            let mark = fs::metadata(entry.path().with_extension("seen")).ok();
            // Whoever uses a thing touches its mark; one without a mark was never used since it was made.
            let used = mark.as_ref().map_or_else(|| modified(&found), modified);
            let bytes = known.get(&name).copied().map_or_else(|| self.weigh(&entry.path(), &found), Ok)?;
            let kind =
                if self.kind == Kind::Layer && is_of_images(root) { Kind::ImageLayer } else { self.kind };
            items.push(Item { kind, name, bytes, used, inode: None });
        }
        Ok(())
    }

    fn weigh(&self, path: &Path, found: &Metadata) -> io::Result<u64> {
        match self.kind {
            Kind::Layer => Ok(layer(path)),
            Kind::LeftWorkspace => Ok(weight_of_left(path)),
            Kind::Checkout => Ok(whole_blocks(1) * (directories(path)? + 1)),
            _ if found.is_dir() => tree(path),
            _ => Ok(whole_blocks(found.len())),
        }
    }
}

/// A store of images has no checkouts.
fn is_of_images(root: &Path) -> bool {
    root.join("known").is_dir()
}

/// What is in a directory, which may not be there.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

/// A file with one name.
pub(super) fn file(name: String, found: &Metadata) -> Item {
    Item {
        kind: Kind::StepResult,
        name,
        bytes: whole_blocks(found.len()),
        used: modified(found),
        inode: None,
    }
}

/// A content: its own times say what is in it; the inode's tells when a checkout last came or went.
pub(super) fn content(name: String, found: &Metadata) -> Item {
    let changed = found.ctime().saturating_mul(1_000_000_000).saturating_add(found.ctime_nsec());
    let inode = Inode { number: found.ino(), links: found.nlink().saturating_sub(1) };
    Item { kind: Kind::Content, inode: Some(inode), used: changed, ..file(name, found) }
}

/// The git id of a content, from its name.
pub(super) fn blob_of(name: &str) -> Option<[u8; 20]> {
    let mut parts = name.rsplit('/');
    let (rest, folder) = (parts.next()?, parts.next()?);
    let hex = format!("{folder}{}", rest.get(..38)?);
    let mut blob = [0; 20];
    for (byte, place) in blob.iter_mut().zip((0..40).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(place..place + 2)?, 16).ok()?;
    }
    Some(blob)
}

fn modified(found: &Metadata) -> i64 {
    found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec())
}

/// What the store of images says of a layer.
#[derive(Deserialize)]
struct Whole {
    entries: u64,
    bytes: u64,
}

/// By its record: what steps leave may be deeper than paths can be long.
fn layer(path: &Path) -> u64 {
    let json = fs::read(path.with_extension("json")).unwrap_or_default();
    let of_step = serde_json::from_slice::<LayerManifest>(&json).map(|manifest| size_on_disk(&manifest));
    let of_image =
        || serde_json::from_slice::<Whole>(&json).map(|whole| whole.bytes + whole.entries * whole_blocks(1));
    of_step.or_else(|_| of_image()).unwrap_or_default() + whole_blocks(json.len() as u64)
}

fn directories(path: &Path) -> io::Result<u64> {
    let (mut count, mut open) = (0, vec![path.to_owned()]);
    while let Some(directory) = open.pop() {
        count += 1;
        open.extend(entries(&directory)?.iter().filter(|entry| is_directory(entry)).map(DirEntry::path));
    }
    Ok(count)
}

/// A tree that Staith made itself, so that it is not deep.
fn tree(path: &Path) -> io::Result<u64> {
    let (mut bytes, mut open) = (0, vec![path.to_owned()]);
    while let Some(directory) = open.pop() {
        bytes += whole_blocks(1);
        for entry in entries(&directory)? {
            if is_directory(&entry) {
                open.push(entry.path());
            } else {
                // It may be gone by now.
                bytes += entry.metadata().map_or(0, |found| whole_blocks(found.len()));
            }
        }
    }
    Ok(bytes)
}

fn is_directory(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}
