//! Manifests on their way: whole, or as the difference to one that both sides have.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use staith_model::{Entry, Manifest, RelPath};

use super::FrameError;

/// Longest manifest that is taken, inflated.
const LONGEST: u64 = 256 << 20;

/// What makes one manifest of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Paths that are not there any more.
    pub removed: BTreeSet<RelPath>,
    /// Entries that are new or different.
    pub changed: BTreeMap<RelPath, Entry>,
}

impl Delta {
    /// What makes `new` of `old`.
    pub fn between(old: &Manifest, new: &Manifest) -> Self {
        let mut delta = Self::default();
        let (mut there, mut wanted) = (old.entries.iter().peekable(), new.entries.iter().peekable());
        // Both are sorted: one walk along them, rather than looking each path up in the other.
        loop {
            match (there.peek(), wanted.peek()) {
                (None, None) => return delta,
                (Some((before, _)), wants) if wants.is_none_or(|(path, _)| before < path) => {
                    delta.removed.extend(there.next().map(|(path, _)| path.clone()));
                }
                (Some((before, was)), Some((path, is))) if before == path => {
                    if was != is {
                        delta.changed.insert((*path).clone(), (*is).clone());
                    }
                    there.next();
                    wanted.next();
                }
                _ => delta.changed.extend(wanted.next().map(|(path, is)| (path.clone(), is.clone()))),
            }
        }
    }

    /// The manifest that it makes of `old`.
    pub fn apply(self, old: &Manifest) -> Manifest {
        let stays = |(path, _): &(&RelPath, &Entry)| {
            !self.removed.contains(*path) && !self.changed.contains_key(*path)
        };
        let mut entries: BTreeMap<_, _> =
            old.entries.iter().filter(stays).map(|(path, entry)| (path.clone(), entry.clone())).collect();
        entries.extend(self.changed);
        Manifest { entries }
    }
}

/// A value as deflated JSON.
///
/// # Errors
/// It can't be written as JSON.
pub fn pack(value: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let json = serde_json::to_vec(value)?;
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(json.len() / 2), Compression::new(3));
    encoder.write_all(&json)?;
    Ok(encoder.finish()?)
}

/// The value that was packed.
///
/// # Errors
/// The bytes are no deflated JSON of such a value, or inflate to more than anybody sends.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let mut json = Vec::new();
    DeflateDecoder::new(bytes).take(LONGEST + 1).read_to_end(&mut json)?;
    if json.len() as u64 > LONGEST {
        return Err(FrameError::BadContent("a manifest is longer than anybody sends"));
    }
    Ok(serde_json::from_slice(&json)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use staith_model::Digest;

    fn manifests() -> impl Strategy<Value = Manifest> {
        let entry = prop_oneof![
            Just(Entry::Directory),
            (0u64..4).prop_map(|size| Entry::File { mode: 0o644, size, digest: Digest::of(&[size as u8]) }),
            "[a-c]".prop_map(|target| Entry::Symlink { target }),
        ];
        prop::collection::btree_map("[a-e](/[a-e])?", entry, 0..12).prop_map(|entries| Manifest {
            entries: entries.into_iter().map(|(path, entry)| (path.try_into().unwrap(), entry)).collect(),
        })
    }

    proptest! {
        #[test]
        fn a_difference_makes_the_new_manifest_of_the_old(old in manifests(), new in manifests()) {
            let delta: Delta = unpack(&pack(&Delta::between(&old, &new)).unwrap()).unwrap();
            prop_assert_eq!(delta.apply(&old), new);
        }

        #[test]
        fn no_bytes_make_the_reader_fail(bytes: Vec<u8>) {
            let _ = unpack::<Delta>(&bytes);
        }
    }
}
