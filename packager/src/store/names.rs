//! What was published under which name and version, once and for good.

use std::collections::BTreeSet;

use staith_model::{Digest, Name, Package, Version};

use super::{
    Companion, Origin, Published, Staged, Store, StoreError,
    blobs::place,
    oci::{EMPTY_BYTES, layout_tag},
    version,
};

/// What is to be published.
#[derive(Debug, Clone)]
pub struct Publication<'a> {
    /// The package; its digest is that of the staged bytes.
    pub package: &'a Package,
    /// [`crate::web_deploy::PROFILE`] of its writer.
    pub profile: u32,
    /// What it was made from.
    pub origin: Option<Origin>,
    /// What comes with it: the same whenever this package is published. The files are blobs of the store already
    /// ([`Store::put_bytes`]).
    pub companions: Vec<Companion>,
}

impl Store {
    /// Publishes a staged package file under its name and version, with nothing beside it. See [`Store::publish_with`].
    ///
    /// # Errors
    /// As there.
    pub fn publish(
        &self,
        staged: Staged,
        package: &Package,
        profile: u32,
        origin: impl Into<Option<Origin>>,
    ) -> Result<Published, StoreError> {
        let publication = Publication { package, profile, origin: origin.into(), companions: Vec::new() };
        self.publish_with(staged, publication)
    }

    /// Publishes a staged package file under its name and version.
    ///
    /// Publishing the same package again is fine, and gives the record of the first time. The package is complete and synced to
    /// disk before its name appears; a process killed in between leaves at most blobs that have no name.
    ///
    /// # Errors
    /// The version stands for another package already, or did before that was removed; or the system refuses.
    pub fn publish_with(
        &self,
        staged: Staged,
        publication: Publication<'_>,
    ) -> Result<Published, StoreError> {
        let Publication { package, profile, origin, companions } = publication;
        let found = staged.opened().metadata().map_err(StoreError::io("look at", &self.scratch.0))?.len();
        if found != package.size {
            return Err(StoreError::NotAsSaid { said: package.size, found });
        }
        let record = Published::of_package(package.clone(), profile, origin, companions);
        // Asked first, so that a refused package leaves no blob. Asked again when the name is taken.
        self.refuse_other(&record)?;
        let _announced = self.announce(&things_of(&record))?;
        self.keep(staged, &package.digest)?;
        self.put_bytes(&record.plain_manifest())?;
        self.require_companions(&record)?;
        self.take_name(record)
    }

    /// Gives what is a blob already its name.
    pub(super) fn take_name(&self, record: Published) -> Result<Published, StoreError> {
        self.put_bytes(EMPTY_BYTES)?;
        let Package { name, version, .. } = &record.package;
        let first = self.blobs.put_new(&record_key(name, version), &record.to_bytes())?;
        if !first && let Some(there) = self.find(name, version)? {
            return unless_other(there, &record);
        }
        self.refresh_index(Some(&layout_tag(name, version)))?;
        Ok(record)
    }

    /// Refuses a record whose name and version stand, or stood, for something else.
    pub(super) fn refuse_other(&self, record: &Published) -> Result<(), StoreError> {
        let Package { name, version, digest, .. } = &record.package;
        if let Some(there) = self.find(name, version)? {
            return unless_other(there, record).map(drop);
        }
        match self.meant_before(name, version)? {
            Some(published) if published != *digest => Err(conflict(&record.package, published)),
            _ => Ok(()),
        }
    }

    fn require_companions(&self, record: &Published) -> Result<(), StoreError> {
        for Companion { digest, size, .. } in &record.companions {
            self.find_blob(digest, *size)?;
        }
        Ok(())
    }

    /// What is published under this name and version.
    ///
    /// # Errors
    /// The record can't be read, or makes no sense.
    pub fn find(&self, name: &Name, version: &Version) -> Result<Option<Published>, StoreError> {
        let key = record_key(name, version);
        let Some(record) = self.read_record(&key)? else { return Ok(None) };
        if record.package.name != *name || record.package.version != *version {
            let why = format!("it is about {} {}", record.package.name, record.package.version);
            return Err(StoreError::Record { path: place(&*self.blobs, &key), why });
        }
        Ok(Some(record))
    }

    /// All that is published under this name: the lowest version first, by the rules of semantic versions; equal ones (which
    /// differ in build metadata only) by the time of publication.
    ///
    /// # Errors
    /// A record can't be read, or makes no sense.
    pub fn list(&self, name: &Name) -> Result<Vec<Published>, StoreError> {
        let mut all = Vec::new();
        for found in self.blobs.list(&format!("names/{name}"))? {
            all.extend(self.read_record(&found.key)?);
        }
        all.sort_by(|a, b| {
            let tie = || (a.at, &a.package.version).cmp(&(b.at, &b.package.version));
            version::compare(&a.package.version, &b.package.version).then_with(tie)
        });
        Ok(all)
    }

    /// The last of [`Store::list`]: the highest version, pre-release or not.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn latest(&self, name: &Name) -> Result<Option<Published>, StoreError> {
        Ok(self.list(name)?.pop())
    }

    /// All that is published under any name, in no order. Records that can't be understood are passed over: nobody can say
    /// what they are for.
    ///
    /// # Errors
    /// The names can't be listed.
    pub fn published(&self) -> Result<Vec<Published>, StoreError> {
        let keys = self.blobs.list("names")?;
        Ok(keys.iter().filter_map(|found| self.read_record(&found.key).ok().flatten()).collect())
    }

    /// All names under which something is published, sorted.
    ///
    /// # Errors
    /// The names can't be listed.
    pub fn names(&self) -> Result<Vec<Name>, StoreError> {
        let names: BTreeSet<Name> = self.versions()?.into_iter().map(|(name, _)| name).collect();
        Ok(names.into_iter().collect())
    }

    /// All names and versions, without reading what is written of them.
    pub(super) fn versions(&self) -> Result<BTreeSet<(Name, Version)>, StoreError> {
        Ok(self.blobs.list("names")?.iter().filter_map(|found| of_record_key(&found.key)).collect())
    }

    pub(super) fn read_record(&self, key: &str) -> Result<Option<Published>, StoreError> {
        let path = || place(&*self.blobs, key);
        let Some(found) = self.blobs.read(key, None)? else { return Ok(None) };
        let mut found = found;
        let mut json = Vec::with_capacity(1024);
        found.bytes.read_to_end(&mut json).map_err(|error| StoreError::io("read", &path())(error))?;
        Published::parse(&json).map(Some).map_err(|why| StoreError::Record { path: path(), why })
    }
}

pub(super) fn record_key(name: &Name, version: &Version) -> String {
    format!("names/{name}/{version}.json")
}

fn of_record_key(key: &str) -> Option<(Name, Version)> {
    let (name, version) = key.strip_prefix("names/")?.strip_suffix(".json")?.split_once('/')?;
    Some((name.parse().ok()?, version.parse().ok()?))
}

/// What a publication needs, in the words of announcements.
pub(super) fn things_of(record: &Published) -> Vec<String> {
    let version = format!("{}@{}", record.package.name, record.package.version);
    blobs_of(record).iter().map(Digest::to_string).chain([version]).collect()
}

/// The blobs that a publication can't be without.
pub(super) fn blobs_of(record: &Published) -> BTreeSet<Digest> {
    let own = [record.package.digest, record.manifest().digest, Digest::of(EMPTY_BYTES)];
    own.into_iter().chain(record.companions.iter().map(|companion| companion.digest)).collect()
}

/// Takes what is published for an answer if it is the same package. Earlier records say nothing of companions.
fn unless_other(there: Published, offered: &Published) -> Result<Published, StoreError> {
    let same_companions = there.companions.is_empty() || there.companions == offered.companions;
    if there.package == offered.package && same_companions {
        return Ok(there);
    }
    Err(if there.package == offered.package {
        StoreError::Conflict {
            name: there.package.name.to_string(),
            version: there.package.version.to_string(),
            published: there.manifest().digest,
            offered: offered.manifest().digest,
        }
    } else {
        conflict(&offered.package, there.package.digest)
    })
}

fn conflict(offered: &Package, published: Digest) -> StoreError {
    StoreError::Conflict {
        name: offered.name.to_string(),
        version: offered.version.to_string(),
        published,
        offered: offered.digest,
    }
}
