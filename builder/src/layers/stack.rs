//! Layers on top of each other: what the stack shows, and which steps contradict each other. Pure.

use std::collections::BTreeMap;

use staith_model::{Entry, Manifest, Name, RelPath};

use super::{
    error::LayerError,
    manifest::{LayerEntry, LayerManifest, below},
};

/// A stack of layers seen from above; `T` is where each layer's files are kept.
#[derive(Debug)]
pub(super) struct Stack<T> {
    shown: BTreeMap<RelPath, (Entry, T)>,
}

impl<T: Copy> Stack<T> {
    pub(super) const fn new() -> Self {
        Self { shown: BTreeMap::new() }
    }

    /// Puts a layer on top.
    pub(super) fn put(&mut self, layer: &LayerManifest, place: T) {
        for (path, entry) in &layer.entries {
            match entry {
                LayerEntry::Removed => self.clear(path),
                LayerEntry::Directory { replaced } => {
                    let was = self.shown.get(path).map(|(entry, _)| entry);
                    if *replaced || was.is_some_and(|entry| *entry != Entry::Directory) {
                        self.clear(path);
                    }
                    self.shown.insert(path.clone(), (Entry::Directory, place));
                }
                LayerEntry::File { mode, size, digest } => {
                    self.clear(path);
                    let file = Entry::File { mode: *mode, size: *size, digest: *digest };
                    self.shown.insert(path.clone(), (file, place));
                }
                LayerEntry::Symlink { target } => {
                    self.clear(path);
                    self.shown.insert(path.clone(), (Entry::Symlink { target: target.clone() }, place));
                }
            }
        }
    }

    /// What the stack shows, and for each regular file where it is kept.
    pub(super) fn shown(self) -> (Manifest, BTreeMap<RelPath, T>) {
        let is_file = |entry: &Entry| matches!(entry, Entry::File { .. });
        let places = self.shown.iter().filter(|(_, (entry, _))| is_file(entry));
        let places = places.map(|(path, (_, place))| (path.clone(), *place)).collect();
        let entries = self.shown.into_iter().map(|(path, (entry, _))| (path, entry)).collect();
        (Manifest { entries }, places)
    }

    fn clear(&mut self, path: &RelPath) {
        if let Some((Entry::Directory, _)) = self.shown.remove(path) {
            let gone: Vec<RelPath> = below(&self.shown, path).map(|(path, _)| path.clone()).collect();
            for path in gone {
                self.shown.remove(&path);
            }
        }
    }
}

/// The first path, in order, that two layers write in ways that depend on which is on top.
pub(super) fn collision(one: &LayerManifest, other: &LayerManifest) -> Option<RelPath> {
    let (few, many) = if one.entries.len() <= other.entries.len() { (one, other) } else { (other, one) };
    let same_path = few
        .entries
        .iter()
        .find(|(path, entry)| many.entries.get(*path).is_some_and(|theirs| !agree(entry, theirs)));
    let same_path = same_path.map(|(path, _)| path);
    [same_path, hidden(one, other), hidden(other, one)].into_iter().flatten().min().cloned()
}

/// Two directories are merged; all else has to be the same.
fn agree(one: &LayerEntry, other: &LayerEntry) -> bool {
    one == other || matches!((one, other), (LayerEntry::Directory { .. }, LayerEntry::Directory { .. }))
}

/// A path that `other` writes below a directory that `one` replaced, so that it would be hidden if `one` were on top.
fn hidden<'a>(one: &LayerManifest, other: &'a LayerManifest) -> Option<&'a RelPath> {
    let replaced = |(_, entry): &(&RelPath, &LayerEntry)| **entry == LayerEntry::Directory { replaced: true };
    one.entries.iter().filter(replaced).find_map(|(directory, _)| {
        other
            .below(directory)
            .find(|(path, entry)| one.entries.get(*path) != Some(*entry))
            .map(|(path, _)| path)
    })
}

/// Checks each pair of layers whose steps may run in either order.
pub(super) fn check_collisions(
    layers: &[(&Name, &LayerManifest)],
    ordered: impl Fn(&Name, &Name) -> bool,
) -> Result<(), LayerError> {
    for (at, (first, one)) in layers.iter().enumerate() {
        for (second, other) in &layers[at + 1..] {
            if ordered(first, second) || ordered(second, first) {
                continue;
            }
            if let Some(path) = collision(one, other) {
                return Err(LayerError::Collision {
                    path,
                    first: (*first).clone(),
                    second: (*second).clone(),
                });
            }
        }
    }
    Ok(())
}
