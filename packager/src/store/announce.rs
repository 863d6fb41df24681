//! How publications and removals stay out of each other's way, in a directory as in a bucket, which has no locks.
//!
//! Who publishes first writes down what it is about to use, then looks whether that is being removed. Who removes first writes down
//! what it is about to remove, then looks whether somebody is about to use it. So at least one of the two sees the other. The
//! remover gives way; the publisher waits until it has. A removal that was killed is over after [`REMOVAL`], before which the
//! remover stops by its own clock.

use std::{collections::BTreeSet, time::Duration};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

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
pub(super) struct Announcement<'a> {
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
