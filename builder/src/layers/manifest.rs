//! What a layer is, by content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use staith_model::{Digest, RelPath};

/// One thing that a layer says about a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum LayerEntry {
    /// A directory. All directories of layers have mode 0755.
    Directory {
        /// Whether it hides what lower layers have at this path, instead of being merged with it.
        replaced: bool,
    },
    /// A regular file.
    File {
        /// Unix permission bits, `0o777` at most, always readable for the owner.
        mode: u32,
        /// Length in bytes.
        size: u64,
        /// Digest of the bytes.
        digest: Digest,
    },
    /// A symbolic link.
    Symlink {
        /// What the link says, not followed.
        target: String,
    },
    /// Whatever lower layers have at this path is gone.
    Removed,
}

/// The content of a layer: every path that it says something about, all parents included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerManifest {
    /// Entries by path; the map's order is the canonical order.
    pub entries: BTreeMap<RelPath, LayerEntry>,
}

impl LayerManifest {
    /// The identity of the layer.
    pub fn digest(&self) -> Digest {
        Digest::of_value("staith.layer.v1", self)
    }

    /// Number of regular files.
    pub fn files(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry, LayerEntry::File { .. })).count()
    }

    /// Sum of the regular files' lengths, in bytes.
    pub fn bytes(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| if let LayerEntry::File { size, .. } = entry { *size } else { 0 })
            .sum()
    }

    /// What the layer says about paths below `directory`.
    pub(super) fn below<'a>(
        &'a self,
        directory: &RelPath,
    ) -> impl Iterator<Item = (&'a RelPath, &'a LayerEntry)> + use<'a> {
        below(&self.entries, directory)
    }
}

/// The part of a map of paths that is below `directory`.
pub(super) fn below<'a, T>(
    entries: &'a BTreeMap<RelPath, T>,
    directory: &RelPath,
) -> impl Iterator<Item = (&'a RelPath, &'a T)> + use<'a, T> {
    // Everything below sorts between `directory/` and `directory0`, the next character after the slash.
    let prefix = format!("{directory}/");
    let from = entries.range(directory.clone()..);
    let is_near = {
        let end = format!("{directory}0");
        move |path: &RelPath| path.as_str() < end.as_str()
    };
    from.take_while(move |(path, _)| is_near(path))
        .filter(move |(path, _)| path.as_str().starts_with(&prefix))
}
