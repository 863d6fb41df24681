//! What the two sides of an apply hold: facts that were observed, without any I/O.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::{Digest, RelPath};

use crate::web_deploy::portable;

/// One side of an apply: the package's content, or what lies at the destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Everything in it. A directory is listed before it is relied on: what lies below a path has all its parents here.
    pub nodes: BTreeMap<RelPath, Node>,
    /// How skip rules spell the root of this side: `C:\build\shop`, or `/srv/shop`.
    pub spelled: String,
    /// Whether the root is there at all.
    pub exists: bool,
    /// Directories (the root is `None`) that hold something whose name is not UTF-8. No package can mean it, so it stays,
    /// and so does the directory.
    pub unnamable: BTreeSet<Option<RelPath>>,
}

/// One thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file.
    File(FileFacts),
    /// A symbolic link.
    Link {
        /// What the link says, not followed.
        target: String,
    },
    /// A socket, a device, a pipe, or a link whose target is not UTF-8. Only at a destination.
    Special,
}

/// What is known of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Length in bytes; of a source file, after parameters were applied.
    pub size: u64,
    /// Last change, in seconds since 1970. A source's is a zip's time, which has no zone and is taken for UTC.
    pub time: i64,
    /// Unix permission bits. `None` at a source whose writer knew none: then modes are no difference.
    pub mode: Option<u32>,
    /// Digest of the bytes, where it is known.
    pub digest: Option<Digest>,
    /// Whether its bytes count beside its length and its time: those of a file in the scope of a parameter do.
    pub by_content: bool,
}

impl Tree {
    /// An empty tree whose root skip rules spell `spelled`.
    pub fn new(spelled: impl Into<String>) -> Self {
        Self { spelled: spelled.into(), exists: true, ..Self::default() }
    }

    /// Adds a node, and the directories above it where they are lacking.
    pub fn insert(&mut self, path: RelPath, node: Node) {
        let mut above = path.parent();
        while let Some(parent) = above {
            above = parent.parent();
            if self.nodes.contains_key(&parent) {
                break;
            }
            self.nodes.insert(parent, Node::Directory);
        }
        self.nodes.insert(path, node);
    }

    /// The file at `path`, if one is there.
    pub fn file(&self, path: &RelPath) -> Option<&FileFacts> {
        match self.nodes.get(path) {
            Some(Node::File(facts)) => Some(facts),
            _ => None,
        }
    }

    /// Sum of the files' lengths, in bytes.
    pub fn bytes(&self) -> u64 {
        let size = |node: &Node| if let Node::File(facts) = node { facts.size } else { 0 };
        self.nodes.values().map(size).sum()
    }
}

/// Sorts paths as Web Deploy goes through them: name by name ignoring case, a directory directly before what it holds.
pub(super) fn order(path: &RelPath) -> String {
    let mut key = String::with_capacity(path.as_str().len() * 2 + 2);
    for component in path.as_str().split('/') {
        if !key.is_empty() {
            key.push('\0');
        }
        key.push_str(&portable::fold(component));
        key.push('\u{1}');
        key.push_str(component);
    }
    key
}

/// Whether `path` lies below `directory`.
pub(super) fn is_below(path: &RelPath, directory: &RelPath) -> bool {
    path.as_str().strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'))
}
