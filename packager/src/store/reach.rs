//! What blobs the records of a store need, remembered.
//!
//! A registry asks with each request for a blob whether a name has it. What is asked is always what is there now: the keys are
//! listed each time, and only records that were not read before, or were written since, are read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use staith_model::{Digest, Name};

use super::{Referrer, Store, StoreError, blobs::Listed, names::blobs_of};

/// What is known of records by their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<BTreeMap<String, Remembered>>>);

/// A record as it was when it was listed.
#[derive(Debug)]
struct Remembered {
    size: u64,
    at: u64,
    needs: Arc<Needs>,
}

/// What a record is about.
#[derive(Debug)]
struct Needs {
    /// The manifest that it speaks of, if it is a referrer.
    subject: Option<Digest>,
    /// The blobs that it needs, its manifest included.
    blobs: BTreeSet<Digest>,
}

impl Store {
    /// Whether a manifest of this name needs the blob or is it, or one that speaks of such a manifest.
    pub(super) fn reaches(&self, name: &Name, digest: &Digest) -> Result<bool, StoreError> {
        let published = self.needs_below(&format!("names/{name}"), |key| {
            let record = self.read_record(key)?;
            Ok(record.map(|record| Needs { subject: None, blobs: blobs_of(&record) }))
        })?;
        if published.iter().any(|record| record.blobs.contains(digest)) {
            return Ok(true);
        }
        let referrers = self.needs_below("referrers", |key| {
            Ok(self.referrer(key)?.map(|Referrer { subject, manifest, mut blobs }| {
                blobs.insert(manifest.digest);
                Needs { subject: Some(subject), blobs }
            }))
        })?;
        Ok(is_spoken_of(&published, &referrers, digest))
    }

    /// What the records below a prefix need, as they are now.
    fn needs_below(
        &self,
        prefix: &str,
        read: impl Fn(&str) -> Result<Option<Needs>, StoreError>,
    ) -> Result<Vec<Arc<Needs>>, StoreError> {
        let listed = self.blobs.list(prefix)?;
        let mut all = Vec::with_capacity(listed.len());
        for Listed { key, size, at } in &listed {
            if let Some(needs) = self.known.get(key, *size, *at) {
                all.push(needs);
            } else if let Some(needs) = read(key)?.map(Arc::new) {
                let remembered = Remembered { size: *size, at: *at, needs: Arc::clone(&needs) };
                self.known.with(|known| known.insert(key.clone(), remembered));
                all.push(needs);
            }
        }
        self.known.forget_others(prefix, &listed);
        Ok(all)
    }
}

/// Whether what speaks of these records, or of what speaks of them, needs the blob.
fn is_spoken_of(published: &[Arc<Needs>], referrers: &[Arc<Needs>], digest: &Digest) -> bool {
    let mut about: HashMap<Digest, Vec<&Needs>> = HashMap::new();
    for referrer in referrers {
        about.entry(referrer.subject.unwrap_or(*digest)).or_default().push(referrer);
    }
    let mut open: Vec<Digest> = published.iter().flat_map(|record| record.blobs.iter().copied()).collect();
    while let Some(subject) = open.pop() {
        for referrer in about.remove(&subject).unwrap_or_default() {
            if referrer.blobs.contains(digest) {
                return true;
            }
            open.extend(referrer.blobs.iter().copied());
        }
    }
    false
}

impl Known {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Remembered>) -> T) -> T {
        // Nothing is left half-done by whoever panicked.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, key: &str, size: u64, at: u64) -> Option<Arc<Needs>> {
        self.with(|known| {
            let found = known.get(key).filter(|found| (found.size, found.at) == (size, at))?;
            Some(Arc::clone(&found.needs))
        })
    }

    /// Forgets what is gone.
    fn forget_others(&self, prefix: &str, listed: &[Listed]) {
        self.with(|known| {
            let below = |key: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
            let mine = known.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            if mine.filter(|(key, _)| below(key)).count() > listed.len() {
                let there: BTreeSet<&str> = listed.iter().map(|found| found.key.as_str()).collect();
                known.retain(|key, _| !below(key) || there.contains(key.as_str()));
            }
        });
    }
}
