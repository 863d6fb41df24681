//! How packages go: never what somebody uses or is about to use.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use staith_model::{Digest, Name, Package, Version};

use super::{
    Published, Store, StoreError,
    announce::{REMOVAL, REMOVING, Things},
    blob,
    blobs::place,
    names::{blobs_of, record_key},
    record::{bytes_of, now},
};

/// How often a second remover looks whether the first is done.
const LOOK: Duration = Duration::from_millis(20);
/// What was uploaded may get its manifest for so long.
const TODAY: Duration = Duration::from_secs(24 * 3600);

/// The right to remove things that have been written down.
pub(super) struct Removal {
    began: Instant,
}

impl Removal {
    /// Whether nobody can have taken the removal for a dead one's yet.
    pub(super) fn is_sure(&self) -> bool {
        self.began.elapsed() < REMOVAL / 2
    }
}

impl Store {
    /// Removes a package: first its name, durably, then its bytes, unless another name stands for the same. A process that is
    /// killed in between leaves bytes without a name, which [`Store::nameless`] finds. The same content published again gets
    /// the same name and bytes; other content is refused under this name and version.
    ///
    /// # Errors
    /// [`StoreError::Kept`]: it is pinned, a channel stands for it, or somebody is publishing it. Or something could not be
    /// removed.
    pub fn forget(&self, published: &Published) -> Result<(), StoreError> {
        let Package { name, version, .. } = &published.package;
        let what = format!("{name}@{version}");
        let mut things: BTreeSet<String> =
            self.would_be_unused(published)?.iter().map(Digest::to_string).collect();
        things.insert(what.clone());
        self.removing(things, |removal, free| {
            if !free.contains(&what) {
                let why = "somebody is publishing it; try again when that is done".into();
                return Err(StoreError::Kept { what: what.clone(), why });
            }
            self.refuse_kept(name, version)?;
            self.forget_name(published)?;
            self.remove_unused(removal, free).map(drop)
        })
    }

    /// Why a version must stay, if it must.
    pub(super) fn refuse_kept(&self, name: &Name, version: &Version) -> Result<(), StoreError> {
        let what = format!("{name}@{version}");
        if let Some(channel) = self.channels(name)?.iter().find(|channel| channel.version == *version) {
            let why = format!("its channel `{}` stands for it; move that first", channel.name);
            return Err(StoreError::Kept { what, why });
        }
        if self.is_pinned(name, version)? {
            return Err(StoreError::Kept {
                what,
                why: "it is pinned; `staith packages unpin` lets it go".into(),
            });
        }
        Ok(())
    }

    pub(super) fn forget_name(&self, published: &Published) -> Result<(), StoreError> {
        let Package { name, version, digest, content, .. } = &published.package;
        // A version that ends with its content's digest can't come to mean anything else.
        if !version.as_str().ends_with(&format!("c.{}", content.short())) {
            self.blobs.put_new(&gone_key(name, version), &bytes_of(digest))?;
        }
        self.blobs.delete(&record_key(name, version))?;
        self.refresh_index(None)
    }

    /// What a version meant that was removed.
    pub(super) fn meant_before(&self, name: &Name, version: &Version) -> Result<Option<Digest>, StoreError> {
        Ok(self.read_value::<Digest>(&gone_key(name, version))?.map(|(digest, _)| digest))
    }

    /// The blobs of a package that nothing else needs.
    fn would_be_unused(&self, published: &Published) -> Result<BTreeSet<Digest>, StoreError> {
        let others: Vec<Published> =
            self.published()?.into_iter().filter(|other| other.package != published.package).collect();
        let all = self.reached(&[others.as_slice(), std::slice::from_ref(published)].concat())?;
        let needed = self.reached(&others)?;
        Ok(all.difference(&needed).copied().collect())
    }

    /// All blobs that these packages need, and what speaks of them.
    pub(super) fn reached(&self, published: &[Published]) -> Result<BTreeSet<Digest>, StoreError> {
        let mut reached: BTreeSet<Digest> = published.iter().flat_map(blobs_of).collect();
        let mut open = self.all_referrers()?;
        // What speaks of something that speaks of a package is needed as well.
        loop {
            let (now_in, rest): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|referrer| reached.contains(&referrer.subject));
            if now_in.is_empty() {
                return Ok(reached);
            }
            reached.extend(now_in.iter().flat_map(|it| it.blobs.iter().chain([&it.manifest.digest])));
            open = rest;
        }
    }

    /// Removes those of these blobs that nothing needs any more. How many went, and their bytes.
    pub(super) fn remove_unused(
        &self,
        removal: &Removal,
        free: &BTreeSet<String>,
    ) -> Result<(usize, u64), StoreError> {
        let needed = self.reached(&self.published()?)?;
        let (mut blobs, mut bytes) = (0, 0);
        for digest in free.iter().filter_map(|thing| thing.parse::<Digest>().ok()) {
            if needed.contains(&digest) || !removal.is_sure() {
                continue;
            }
            let Some(size) = self.blob_size(&digest)? else { continue };
            self.forget_referrers_by(&digest)?;
            self.blobs.delete(&blob::key(&digest))?;
            (blobs, bytes) = (blobs + 1, bytes + size);
        }
        Ok((blobs, bytes))
    }

    /// Removes a blob that nothing needs. Whether it is gone: somebody may need it by now.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub fn forget_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.removing([digest.to_string()].into(), |removal, free| self.remove_unused(removal, free))?;
        Ok(self.blob_size(digest)?.is_none())
    }

    /// Removes what says that this manifest speaks of another.
    fn forget_referrers_by(&self, digest: &Digest) -> Result<(), StoreError> {
        let file = format!("/{}.json", digest.hex());
        for found in self.blobs.list("referrers")?.iter().filter(|found| found.key.ends_with(&file)) {
            self.blobs.delete(&found.key)?;
            self.refresh_index(None)?;
        }
        Ok(())
    }

    /// Does something while others know that these things may go; it is told which of them nobody is about to use.
    pub(super) fn removing<T>(
        &self,
        things: BTreeSet<String>,
        act: impl FnOnce(&Removal, &BTreeSet<String>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let removal = self.begin_removal(&things)?;
        let acted = self.announced().and_then(|announced| {
            let free = things.difference(&announced).cloned().collect();
            act(&removal, &free)
        });
        self.end_removal(&removal)?;
        acted
    }

    fn begin_removal(&self, things: &BTreeSet<String>) -> Result<Removal, StoreError> {
        loop {
            let removal = Removal { began: Instant::now() };
            let there = self.read_value::<Things>(REMOVING)?;
            let (others, tag) = there.map_or((None, None), |(others, tag)| (Some(others), Some(tag)));
            if others.is_some_and(|others| !others.things.is_empty() && !others.is_over()) {
                std::thread::sleep(LOOK);
                continue;
            }
            let ours = Things { things: things.clone(), at: now() };
            if self.write_value(REMOVING, &ours, tag.as_ref())? {
                return Ok(removal);
            }
        }
    }

    fn end_removal(&self, removal: &Removal) -> Result<(), StoreError> {
        // After that time it may be somebody else's.
        if let Some((_, tag)) = self.read_value::<Things>(REMOVING)?
            && removal.is_sure()
        {
            self.write_value(REMOVING, &Things { at: now(), ..Things::default() }, Some(&tag))?;
        }
        Ok(())
    }

    /// Blobs without a name: of publications and removals that were killed. What somebody is publishing is none of these, nor is
    /// what was uploaded today and has no manifest yet.
    ///
    /// # Errors
    /// The blobs can't be listed.
    pub fn nameless(&self) -> Result<Vec<PathBuf>, StoreError> {
        let named = self.reached(&self.published()?)?;
        let mut named: BTreeSet<String> = named.iter().map(blob::key).collect();
        let announced = self.announced()?;
        named.extend(announced.iter().filter_map(|thing| Some(blob::key(&thing.parse().ok()?))));
        let today = now().saturating_sub(TODAY.as_millis() as u64);
        let admitted = self.blobs.list("admitted")?;
        let fresh =
            admitted.iter().filter(|found| found.at >= today).filter_map(|it| it.key.rsplit('/').next());
        named.extend(fresh.map(|hex| format!("blobs/sha256/{hex}")));
        let blobs = self.blobs.list("blobs/sha256")?;
        let nameless = blobs.iter().filter(|found| !named.contains(&found.key));
        Ok(nameless.map(|found| place(&*self.blobs, &found.key)).collect())
    }
}

fn gone_key(name: &Name, version: &Version) -> String {
    format!("gone/{name}/{version}.json")
}
