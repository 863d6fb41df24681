//! What a machine lacks, told from here: then it need not be waited for until it asks.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use staith_machine::protocol::Lacks;
use staith_model::{Digest, Entry, Manifest, RelPath};

/// Bytes of files that are sent before the machine has asked for them, at most: packed, they fit into what lies between.
const MOST: u64 = 4 << 20;

/// Places whose contents no release on the machine has, by what is known of them; none if their files are more than
/// [`MOST`] bytes together.
pub(super) fn lacking(manifest: &Manifest, private: &BTreeSet<RelPath>, there: &[Arc<Manifest>]) -> Lacks {
    let mut bytes = 0;
    let (mut places, mut new) = (Vec::new(), BTreeSet::new());
    let mut known = None;
    for (place, (path, entry)) in manifest.entries.iter().enumerate() {
        let (Some(key_of), Entry::File { size, .. }) = (key(entry), entry) else { continue };
        let is_private = private.contains(path);
        // Most files are where they were; only for the others is it worth knowing all that is there.
        let stayed = |there: &Arc<Manifest>| there.entries.get(path).and_then(key) == Some(key_of);
        if !is_private && there.iter().any(stayed) {
            continue;
        }
        let known = known.get_or_insert_with(|| {
            there.iter().flat_map(|there| there.entries.values().filter_map(key)).collect::<HashSet<_>>()
        });
        if (!is_private && known.contains(&key_of)) || !new.insert((key_of, is_private)) {
            continue;
        }
        bytes += size;
        if bytes > MOST {
            return Lacks::default();
        }
        places.push(u32::try_from(place).unwrap_or(u32::MAX));
    }
    Lacks::of(places)
}

/// Files of one content are one on the machine if they have one mode.
fn key(entry: &Entry) -> Option<(Digest, bool)> {
    match entry {
        Entry::File { mode, digest, .. } => Some((*digest, mode & 0o111 != 0)),
        Entry::Directory | Entry::Symlink { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str, mode: u32) -> Entry {
        Entry::File { mode, size: content.len() as u64, digest: Digest::of(content.as_bytes()) }
    }

    fn manifest(entries: &[(&str, Entry)]) -> Manifest {
        let entries =
            entries.iter().map(|(path, entry)| (RelPath::try_from(*path).unwrap(), entry.clone())).collect();
        Manifest { entries }
    }

    fn places(lacks: &Lacks) -> Vec<u32> {
        lacks.places(u32::MAX).collect()
    }

    #[test]
    fn a_content_that_some_release_has_anywhere_is_not_lacking_and_two_of_one_content_lack_once() {
        let there = [
            Arc::new(manifest(&[("a", file("a", 0o644)), ("b", file("b", 0o644))])),
            Arc::new(manifest(&[("c", file("c", 0o644))])),
        ];
        let new = manifest(&[
            ("a", file("a", 0o600)),
            ("d", Entry::Directory),
            ("d/executable", file("b", 0o755)),
            ("d/moved", file("c", 0o644)),
            ("new", file("new", 0o644)),
            ("new-too", file("new", 0o644)),
        ]);
        assert_eq!(places(&lacking(&new, &BTreeSet::new(), &there)), [2, 4]);
        // What is private is a file of its own, whoever else has that content.
        let private = BTreeSet::from(["a", "new-too"].map(|path| RelPath::try_from(path).unwrap()));
        assert_eq!(places(&lacking(&new, &private, &there)), [0, 2, 4, 5]);
    }

    #[test]
    fn what_is_more_than_fits_between_is_waited_for() {
        let large = |size| Entry::File { mode: 0o644, size, digest: Digest::of(b"large") };
        let there = [Arc::new(manifest(&[("a", file("a", 0o644))]))];
        let lacks = |size| lacking(&manifest(&[("large", large(size))]), &BTreeSet::new(), &there);
        assert_eq!(places(&lacks(MOST)), [0]);
        assert_eq!(lacks(MOST + 1), Lacks::default());
    }
}
