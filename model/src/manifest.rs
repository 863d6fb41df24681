//! What a tree of files is, by content: the common currency of layers, packages and releases.

mod text;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A relative path below some root: `/`-separated, no `.`, `..`, empty or NUL-bearing components, never absolute.
///
/// Whoever holds one may join it to a root without leaving that root (symbolic links aside).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(String);

/// A path that would leave its root, or is empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a path below a root: it is empty, absolute, or has an empty, `.` or `..` component", .0.escape_debug())]
pub struct NotRelative(String);

impl RelPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last component; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }
}

impl TryFrom<String> for RelPath {
    type Error = NotRelative;

    fn try_from(text: String) -> Result<Self, NotRelative> {
        let escapes = |part: &[u8]| matches!(part, b"" | b"." | b"..");
        let bytes = text.as_bytes();
        let leaves = bytes.contains(&0) || bytes.split(|byte| *byte == b'/').any(escapes);
        if leaves { Err(NotRelative(text)) } else { Ok(Self(text)) }
    }
}

impl TryFrom<&str> for RelPath {
    type Error = NotRelative;

    fn try_from(text: &str) -> Result<Self, NotRelative> {
        Self::try_from(text.to_owned())
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", try_from = "Flat")]
pub enum Entry {
    /// A directory; listed so that empty ones survive.
    Directory,
    /// A regular file.
    File {
        /// Unix permission bits, `0o777` at most.
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
}

/// An entry as it is read. A tagged enum is read twice, into a value of any kind and from there, which for a manifest of ten thousand
/// files is what takes longest.
#[derive(Deserialize)]
struct Flat {
    kind: Kind,
    mode: Option<u32>,
    size: Option<u64>,
    digest: Option<Digest>,
    target: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Directory,
    File,
    Symlink,
}

/// An entry lacks what its kind has.
#[derive(Debug, thiserror::Error)]
#[error("an entry of the manifest has no `{0}`")]
struct Lacks(&'static str);

impl TryFrom<Flat> for Entry {
    type Error = Lacks;

    fn try_from(read: Flat) -> Result<Self, Lacks> {
        Ok(match read.kind {
            Kind::Directory => Self::Directory,
            Kind::File => Self::File {
                mode: read.mode.ok_or(Lacks("mode"))?,
                size: read.size.ok_or(Lacks("size"))?,
                digest: read.digest.ok_or(Lacks("digest"))?,
            },
            Kind::Symlink => Self::Symlink { target: read.target.ok_or(Lacks("target"))? },
        })
    }
}

/// What digests of manifests begin with.
const DOMAIN: &str = "staith.manifest.v1";

/// The content of a tree: every path with what is there. Equal trees have equal digests on every machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Entries by path; the map's order is the canonical order.
    pub entries: BTreeMap<RelPath, Entry>,
}

impl Manifest {
    /// The content digest of the tree.
    pub fn digest(&self) -> Digest {
        Digest::of_value(DOMAIN, self)
    }

    /// The content digest of the tree whose manifest has this canonical JSON: who has the text need not write it again to hash it.
    pub fn digest_of_json(json: &[u8]) -> Digest {
        Digest::of_json(DOMAIN, json)
    }

    /// The manifest in canonical JSON that has this digest; `None` if it has another, or is no manifest.
    pub fn of_json(json: &[u8], digest: Digest) -> Option<Self> {
        (Self::digest_of_json(json) == digest).then(|| Self::read_json(json))?
    }

    /// The manifest in a JSON text, fastest where it is the canonical one; `None` if it is no manifest.
    pub fn read_json(json: &[u8]) -> Option<Self> {
        text::read(json).or_else(|| serde_json::from_slice(json).ok())
    }

    /// Number of regular files.
    pub fn files(&self) -> usize {
        self.entries.values().filter(|entry| matches!(entry, Entry::File { .. })).count()
    }

    /// Sum of the regular files' lengths, in bytes.
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| if let Entry::File { size, .. } = entry { *size } else { 0 }).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_relative_path_never_leaves_its_root(text in "[a./\\\\\0]{0,12}") {
            if let Ok(path) = RelPath::try_from(text) {
                let mut depth = 0i32;
                for part in std::path::Path::new(path.as_str()).components() {
                    depth += if matches!(part, std::path::Component::Normal(_)) { 1 } else { -100 };
                    prop_assert!(depth > 0);
                }
            }
        }
    }

    #[test]
    fn an_entry_is_read_as_it_is_written_and_one_that_lacks_something_is_refused() {
        for entry in [
            Entry::Directory,
            Entry::File { mode: 0o644, size: 1, digest: Digest::of(b"x") },
            Entry::Symlink { target: "x".into() },
        ] {
            let json = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry, "{json}");
        }
        let refused = serde_json::from_str::<Entry>(r#"{"kind":"file","mode":420,"size":1}"#).unwrap_err();
        assert!(refused.to_string().starts_with("an entry of the manifest has no `digest`"), "{refused}");
    }

    #[test]
    fn a_manifest_is_found_by_the_digest_of_its_text_and_only_by_that() {
        let entry = Entry::File { mode: 0o644, size: 1, digest: Digest::of(b"x") };
        let manifest = Manifest { entries: [("a\"\n".try_into().unwrap(), entry)].into() };
        let json = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::digest_of_json(&json), manifest.digest());
        assert_eq!(Manifest::of_json(&json, manifest.digest()), Some(manifest.clone()));
        assert_eq!(Manifest::of_json(&json, Digest::of(b"x")), None);
        // The same manifest, not as it is written here.
        let spaced = [&json[..], b" "].concat();
        assert_eq!(Manifest::of_json(&spaced, manifest.digest()), None);
    }

    #[test]
    fn the_digest_sees_path_mode_and_content() {
        let file =
            |mode, bytes: &[u8]| Entry::File { mode, size: bytes.len() as u64, digest: Digest::of(bytes) };
        let tree = |path: &str, entry| Manifest { entries: [(path.try_into().unwrap(), entry)].into() };
        let digests = [
            tree("a", file(0o644, b"x")).digest(),
            tree("b", file(0o644, b"x")).digest(),
            tree("a", file(0o755, b"x")).digest(),
            tree("a", file(0o644, b"y")).digest(),
            tree("a", Entry::Directory).digest(),
            tree("a", Entry::Symlink { target: "x".into() }).digest(),
        ];
        assert_eq!(std::collections::BTreeSet::from(digests).len(), digests.len());
    }
}
