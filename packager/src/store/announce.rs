//! How publications and removals stay out of each other's way, in a directory as in a bucket, which has no locks.
//!
//! Who publishes first writes down what it is about to use, then looks whether that is being removed. Who removes first writes down
//! what it is about to remove, then looks whether somebody is about to use it. So at least one of the two sees the other. The
//! remover gives way; the publisher waits until it has. A removal that was killed is over after [`REMOVAL`], before which the
//! remover stops by its own clock.

use std::{collections::BTreeSet, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use staith_model::Digest;

use super::{
    Store, StoreError,
    record::{bytes_of, now},
};

/// Who publishes waits as long for a removal that may have been killed.
pub(super) const REMOVAL: Duration = Duration::from_secs(30);
/// An announcement that is older is of a dead process. Sending a large package over a slow network takes hours, not days.
const DEAD: Duration = Duration::from_secs(48 * 3600);
/// How often a publisher looks whether a removal is over.
const LOOK: Duration = Duration::from_millis(20);

const ANNOUNCED: &str = "publishing";
pub(super) const REMOVING: &str = "collection/removing.json";

/// What somebody is about to use or remove: digests of blobs, and versions as `NAME@VERSION`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Things {
    pub(super) things: BTreeSet<String>,
    /// When, in milliseconds since 1970.
    pub(super) at: u64,
}

impl Things {
    pub(super) fn is_over(&self) -> bool {
        now().saturating_sub(self.at) > REMOVAL.as_millis() as u64
    }
}

/// Something is being used as long as this lives.
#[derive(Debug)]
pub struct Announcement<'a> {
    store: &'a Store,
    key: String,
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        // What can't be removed now is removed when it is old.
        let _ = self.store.blobs.delete(&self.key);
    }
}

impl Store {
    /// Says that these things are about to be used, and waits until nobody removes them.
    pub(super) fn announce(&self, things: &[String]) -> Result<Announcement<'_>, StoreError> {
        let things = Things { things: things.iter().cloned().collect(), at: now() };
        let key = format!("{ANNOUNCED}/{}.json", random()?);
        self.blobs.put_new(&key, &bytes_of(&things))?;
        let announcement = Announcement { store: self, key };
        while let Some((removal, tag)) = self.read_value::<Things>(REMOVING)? {
            if removal.things.is_disjoint(&things.things) {
                break;
            }
            if removal.is_over() {
                let rest = removal.things.difference(&things.things).cloned().collect();
                self.write_value(REMOVING, &Things { things: rest, ..removal }, Some(&tag))?;
            } else {
                std::thread::sleep(LOOK);
            }
        }
        Ok(announcement)
    }

    /// Makes files blobs that a publication or an attachment is about to name. Nobody removes them as long as what is returned
    /// lives.
    ///
    /// # Errors
    /// They can't be kept.
    pub fn put_announced<'b>(
        &self,
        files: impl IntoIterator<Item = &'b [u8]>,
    ) -> Result<Announcement<'_>, StoreError> {
        let files: Vec<&[u8]> = files.into_iter().collect();
        let things: Vec<String> = files.iter().map(|bytes| Digest::of(bytes).to_string()).collect();
        let announcement = self.announce(&things)?;
        files.into_iter().try_for_each(|bytes| self.put_bytes(bytes).map(drop))?;
        Ok(announcement)
    }

    /// All that live publications have said they use.
    pub(super) fn announced(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut all = BTreeSet::new();
        for found in self.blobs.list(ANNOUNCED)? {
            // What is gone meanwhile has become a record, which is looked at later.
            if let Some((announced, _)) = self.read_value::<Things>(&found.key)? {
                all.extend(announced.things);
            }
        }
        Ok(all)
    }

    /// Brings `index.json` up to date if a publication may have been killed before it did.
    pub(super) fn recover(&self) -> Result<(), StoreError> {
        let announced = self.blobs.list(ANNOUNCED)?;
        if announced.is_empty() {
            return Ok(());
        }
        self.refresh_index(None)?;
        let dead = now().saturating_sub(DEAD.as_millis() as u64);
        announced.iter().filter(|found| found.at < dead).try_for_each(|found| self.blobs.delete(&found.key))
    }
}

/// A name that nobody else has: 32 hexadecimal digits from the system's randomness.
pub(super) fn random() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StoreError::Busy { what: "the system's randomness".into() })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::store::{Collecting, Policy};

    fn collect(store: &Store) -> usize {
        let (policy, grace) = (Policy::default(), Duration::ZERO);
        store.collect(&Collecting { policy, grace, is_used: &|_| Ok(false), is_dry: false }).unwrap().blobs
    }

    #[test]
    fn what_somebody_is_about_to_use_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let blob = store.put_bytes(b"about to be used").unwrap();
        let announcement = store.announce(&[blob.to_string()]).unwrap();
        assert_eq!(collect(&store), 0);
        assert!(!store.forget_blob(&blob).unwrap() && store.nameless().unwrap().is_empty());
        drop(announcement);
        assert_eq!(collect(&store), 1);
    }

    #[test]
    fn who_is_about_to_use_something_waits_until_it_is_removed_or_spared() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let blob = store.put_bytes(b"removed meanwhile").unwrap();
        let things = BTreeSet::from([blob.to_string()]);
        let is_through = AtomicBool::new(false);
        thread::scope(|scope| {
            let removed = store.removing(things, |removal, free| {
                assert!(free.contains(&blob.to_string()));
                scope.spawn(|| {
                    let _announced = store.announce(&[blob.to_string()]).unwrap();
                    is_through.store(true, Ordering::SeqCst);
                    assert_eq!(store.blob_size(&blob).unwrap(), None, "it was seen before it was removed");
                });
                while store.announced().unwrap().is_empty() {
                    thread::yield_now();
                }
                // It has every chance to go on, and does not.
                for _ in 0..200 {
                    store.announced().unwrap();
                }
                assert!(!is_through.load(Ordering::SeqCst));
                store.remove_unused(removal, free)
            });
            assert_eq!(removed.unwrap().0, 1);
        });
        assert!(is_through.load(Ordering::SeqCst));
    }

    #[test]
    fn a_removal_that_died_holds_nobody_up_for_good() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let at = now() - REMOVAL.as_millis() as u64 - 1;
        let things = BTreeSet::from(["sha256:00".to_owned(), "shop@1.0".to_owned()]);
        assert!(store.write_value(REMOVING, &Things { things, at }, None).unwrap());
        let _announced = store.announce(&["shop@1.0".to_owned()]).unwrap();
        let (left, _) = store.read_value::<Things>(REMOVING).unwrap().unwrap();
        assert_eq!(left.things, BTreeSet::from(["sha256:00".to_owned()]));
    }
}
