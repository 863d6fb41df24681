//! Collection in two phases: what could go is written down; what still could after a time of grace goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use staith_model::{Digest, Name, Package, Version};

use super::{
    Policy, Published, Stock, Store, StoreError, names::record_key, plan_retention, record::now,
    removal::Removal,
};

const CANDIDATES: &str = "collection/candidates.json";
/// So many things are removed at once: publishers that use one of them wait for all.
const AT_ONCE: usize = 100;
/// An upload that nobody has touched for so long is over.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How to collect.
pub struct Collecting<'a> {
    /// What stays.
    pub policy: Policy,
    /// For how long something must have been free to go before it goes.
    pub grace: Duration,
    /// Whether a release uses a package. Asked again right before it goes.
    pub is_used: &'a (dyn Fn(&Package) -> Result<bool, StoreError> + Sync),
    /// Only say what would happen.
    pub is_dry: bool,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Versions that went.
    pub versions: Vec<(Name, Version)>,
    /// Versions that go later, if nothing happens to them until then.
    pub candidates: Vec<(Name, Version)>,
    /// Blobs that went with them, or that nothing needed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes what the policy keeps no longer, and blobs that nothing needs, once they have been free for the time of grace: so the
    /// first collection removes nothing. What a channel stands for, what is pinned, what a release uses and what somebody is
    /// publishing stays. May be killed anywhere.
    ///
    /// # Errors
    /// A record can't be read: nobody knows what is needed then, so nothing goes.
    pub fn collect(&self, how: &Collecting<'_>) -> Result<Collected, StoreError> {
        let now = now();
        let published = self.all_records()?;
        let going = plan_retention(&how.policy, &self.stock(&published, how)?, now);
        let since = self.note_candidates(&self.candidates(&published, &going)?, now, how.is_dry)?;
        let grace = how.grace.as_millis() as u64;
        let is_due = |since: u64| since.saturating_add(grace) <= now;
        let due: Vec<String> =
            since.iter().filter(|(_, since)| is_due(**since)).map(|(thing, _)| thing.clone()).collect();
        let mut collected = Collected {
            candidates: going
                .into_iter()
                .filter(|(name, version)| {
                    since.get(&thing(name, version)).is_some_and(|since| !is_due(*since))
                })
                .collect(),
            ..Collected::default()
        };
        if how.is_dry {
            self.foretell(&due, &published, &mut collected)?;
            return Ok(collected);
        }
        // Versions come before the blobs that they free.
        let (versions, blobs): (Vec<String>, Vec<String>) =
            due.into_iter().partition(|thing| thing.contains('@'));
        for things in versions.chunks(AT_ONCE).chain(blobs.chunks(AT_ONCE)) {
            self.removing(things.iter().cloned().collect(), |removal, free| {
                self.remove_versions(removal, free, how, &mut collected)?;
                let (blobs, bytes) = self.remove_unused(removal, free)?;
                collected.blobs += blobs;
                collected.bytes += bytes;
                Ok(())
            })?;
        }
        self.clear_away(now)?;
        Ok(collected)
    }

    /// All records; one that can't be read is an error here, because nobody can say what it needs.
    fn all_records(&self) -> Result<Vec<Published>, StoreError> {
        let versions = self.versions()?;
        let read =
            |(name, version): &(Name, Version)| self.read_record(&record_key(name, version)).transpose();
        versions.iter().filter_map(read).collect()
    }

    /// What is published, and what of it must stay.
    fn stock(&self, published: &[Published], how: &Collecting<'_>) -> Result<Stock, StoreError> {
        let mut stock = Stock { held: self.held()?, ..Stock::default() };
        for record in published {
            let version = (record.package.name.clone(), record.package.version.clone());
            if (how.is_used)(&record.package)? {
                stock.held.insert(version.clone());
            }
            stock.versions.insert(version, record.at);
        }
        Ok(stock)
    }

    /// What channels stand for, and what is pinned.
    ///
    /// # Errors
    /// What is written of them can't be read, or makes no sense.
    pub fn held(&self) -> Result<BTreeSet<(Name, Version)>, StoreError> {
        let channels = self.all_channels()?.into_iter().map(|channel| (channel.package, channel.version));
        let pins = self.pins()?.into_iter().map(|pin| (pin.package, pin.version));
        Ok(channels.chain(pins).collect())
    }

    /// What could go: these versions, and the blobs that nothing else needs.
    fn candidates(
        &self,
        published: &[Published],
        going: &BTreeSet<(Name, Version)>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let stays = |it: &&Published| !going.contains(&(it.package.name.clone(), it.package.version.clone()));
        let staying: Vec<Published> = published.iter().filter(stays).cloned().collect();
        let needed = self.reached(&staying)?;
        let blobs = self.blobs.list("blobs/sha256")?;
        let digests = blobs.iter().filter_map(|found| digest_of(&found.key));
        let free = digests.filter(|digest| !needed.contains(digest)).map(|digest| digest.to_string());
        Ok(free.chain(going.iter().map(|(name, version)| thing(name, version))).collect())
    }

    /// Writes down what could go. Since when each of it could, in milliseconds since 1970.
    fn note_candidates(
        &self,
        candidates: &BTreeSet<String>,
        now: u64,
        is_dry: bool,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        loop {
            let (before, tag) = match self.read_value::<BTreeMap<String, u64>>(CANDIDATES) {
                Ok(there) => there.map_or((BTreeMap::new(), None), |(before, tag)| (before, Some(tag))),
                // A list that is damaged is begun anew: all gets its time of grace again.
                Err(StoreError::Record { .. }) => {
                    self.blobs.delete(CANDIDATES)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let since = |thing: &String| before.get(thing).map_or(now, |since| (*since).min(now));
            let after: BTreeMap<String, u64> = candidates.iter().map(|it| (it.clone(), since(it))).collect();
            if is_dry || after == before || self.write_value(CANDIDATES, &after, tag.as_ref())? {
                return Ok(after);
            }
        }
    }

    fn remove_versions(
        &self,
        removal: &Removal,
        free: &BTreeSet<String>,
        how: &Collecting<'_>,
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        for (name, version) in free.iter().filter_map(|thing| version_of(thing)) {
            let Some(published) = self.find(&name, &version)? else { continue };
            // It may have come into use since it was written down.
            let is_kept = match self.refuse_kept(&name, &version) {
                Err(StoreError::Kept { .. }) => true,
                kept => kept.map(|()| false)?,
            };
            if is_kept || (how.is_used)(&published.package)? || !removal.is_sure() {
                continue;
            }
            self.forget_name(&published)?;
            collected.versions.push((name, version));
        }
        Ok(())
    }

    /// What is due, in a collection that only says so.
    fn foretell(
        &self,
        due: &[String],
        published: &[Published],
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        collected.versions = due.iter().filter_map(|thing| version_of(thing)).collect();
        let going: BTreeSet<_> = collected.versions.iter().cloned().collect();
        let free = self.candidates(published, &going)?;
        for digest in due.iter().filter(|thing| free.contains(*thing)).filter_map(|thing| thing.parse().ok())
        {
            collected.blobs += 1;
            collected.bytes += self.blob_size(&digest)?.unwrap_or(0);
        }
        Ok(())
    }

    /// Removes uploads that nobody goes on with, and notes about blobs that are gone.
    fn clear_away(&self, now: u64) -> Result<(), StoreError> {
        let stale = now.saturating_sub(STALE.as_millis() as u64);
        for found in self.blobs.list("uploads")?.iter().filter(|found| found.at < stale) {
            self.blobs.delete(&found.key)?;
        }
        for found in self.blobs.list("admitted")? {
            let digest = found.key.rsplit('/').next().and_then(|hex| format!("sha256:{hex}").parse().ok());
            if found.at < stale
                && digest.map_or(Ok(true), |it| self.blob_size(&it).map(|size| size.is_none()))?
            {
                self.blobs.delete(&found.key)?;
            }
        }
        Ok(())
    }
}

fn thing(name: &Name, version: &Version) -> String {
    format!("{name}@{version}")
}

fn version_of(thing: &str) -> Option<(Name, Version)> {
    let (name, version) = thing.split_once('@')?;
    Some((name.parse().ok()?, version.parse().ok()?))
}

fn digest_of(key: &str) -> Option<Digest> {
    format!("sha256:{}", key.strip_prefix("blobs/sha256/")?).parse().ok()
}
