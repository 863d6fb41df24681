//! A version that one manifest gives up to another.

use staith_model::{Digest, Name, Version};

use super::{
    Store, StoreError,
    names::{blobs_of, record_key},
};

impl Store {
    /// Frees a version, so that another manifest may be published under it; for a store of many, where who made the other one stands
    /// above who made this one. Whether it was freed: only a version that still means the manifest `had` is.
    ///
    /// That manifest and its blobs stay, and can be had by their digests, until they are collected.
    ///
    /// # Errors
    /// [`StoreError::Kept`]: the version is pinned, a channel stands for it, or somebody is publishing it. Or the store can't be read
    /// or written.
    pub fn vacate(&self, name: &Name, version: &Version, had: &Digest) -> Result<bool, StoreError> {
        let what = format!("{name}@{version}");
        self.removing([what.clone()].into(), |_, free| {
            let found = self.find(name, version)?.filter(|found| found.manifest().digest == *had);
            let Some(found) = found else { return Ok(false) };
            if !free.contains(&what) {
                let why = "somebody is publishing it; try again when that is done".into();
                return Err(StoreError::Kept { what, why });
            }
            self.refuse_kept(name, version)?;
            // No name stands for them any more, and they are to be had under it all the same.
            blobs_of(&found).into_iter().try_for_each(|blob| self.admit(name, &blob))?;
            self.blobs.delete(&record_key(name, version))?;
            self.refresh_index(None)?;
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use staith_model::Package;

    use super::*;
    use crate::store::oci::Artifact;

    fn publish(store: &Store, content: &[u8]) -> Result<Digest, StoreError> {
        let (digest, size) = (store.put_bytes(content)?, content.len() as u64);
        let (name, version) = ("app".parse().unwrap(), "1.0.0".parse().unwrap());
        let package = Package { name, version, digest, content: digest, size };
        let manifest = Artifact::of_package(&package, 1, &[]).to_bytes();
        store.put_manifest(&package.name, &manifest, std::slice::from_ref(&package.version))
    }

    #[test]
    fn a_version_is_given_up_where_it_means_what_was_said_and_nothing_keeps_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let (name, version) = ("app".parse().unwrap(), "1.0.0".parse().unwrap());
        let one = publish(&store, b"one").unwrap();
        assert!(matches!(publish(&store, b"two"), Err(StoreError::Conflict { .. })));
        assert!(!store.vacate(&name, &version, &Digest::of(b"another")).unwrap());
        store.pin(&name, &version, "somebody", "it is mine").unwrap();
        assert!(matches!(store.vacate(&name, &version, &one), Err(StoreError::Kept { .. })));
        store.unpin(&name, &version).unwrap();
        assert!(store.vacate(&name, &version, &one).unwrap());
        assert!(
            !store.vacate(&name, &version, &one).unwrap() && store.tagged(&name, "1.0.0").unwrap().is_none()
        );
        assert!(store.size_under(&name, &one).unwrap().is_some(), "it is there by its digest");
        let two = publish(&store, b"two").unwrap();
        assert_eq!(store.tagged(&name, "1.0.0").unwrap(), Some(two));
    }
}
