//! Manifests by digest and by tag, and what speaks of them: the store as a registry sees it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use staith_model::{Digest, Name, Package, Version};

use super::{
    Companion, Published, Store, StoreError,
    blobs::place,
    names::things_of,
    oci::{
        Artifact, CONTENT, Descriptor, EMPTY_BYTES, MANIFEST, PACKAGE, PROFILE, TITLE, tag_of, version_of,
    },
    record::bytes_of,
};

/// A manifest as it is kept: the exact bytes that came, which have this digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its digest.
    pub digest: Digest,
    /// What it says that it is.
    pub media_type: String,
    /// Its JSON.
    pub bytes: Vec<u8>,
}

/// A manifest that speaks of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Referrer {
    /// The manifest that it speaks of.
    pub subject: Digest,
    /// Itself, with what it is and its annotations.
    pub manifest: Descriptor,
    /// The blobs that it needs.
    pub blobs: BTreeSet<Digest>,
}

impl Store {
    /// A manifest by its digest, verified.
    ///
    /// # Errors
    /// It is damaged, or the blob of this digest is no manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Manifest>, StoreError> {
        let bytes = match self.get_bytes(digest) {
            Err(StoreError::Missing { .. }) => return Ok(None),
            bytes => bytes?,
        };
        let told: Result<Artifact, _> = serde_json::from_slice(&bytes);
        let Ok(told) = told else { return Ok(None) };
        let media_type = told.media_type.unwrap_or_else(|| MANIFEST.into());
        Ok(Some(Manifest { digest: *digest, media_type, bytes }))
    }

    /// The digest of the manifest that a tag means: a version (with `_` for `+`), a channel, or `latest`.
    ///
    /// # Errors
    /// A record can't be read.
    pub fn tagged(&self, name: &Name, tag: &str) -> Result<Option<Digest>, StoreError> {
        Ok(self.published_as(name, tag)?.map(|found| found.manifest().digest))
    }

    fn published_as(&self, name: &Name, tag: &str) -> Result<Option<Published>, StoreError> {
        if let Some(version) = version_of(tag)
            && let Some(found) = self.find(name, &version)?
        {
            return Ok(Some(found));
        }
        if let Ok(channel) = tag.parse()
            && let Some(channel) = self.channel(name, &channel)?
        {
            return self.find(name, &channel.version);
        }
        if tag == "latest" { self.latest_release(name) } else { Ok(None) }
    }

    /// All tags of a name, sorted by their bytes: versions, channels, and `latest` where there is a version.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn tags(&self, name: &Name) -> Result<Vec<String>, StoreError> {
        let versions = self.versions_of(name)?;
        let mut tags: BTreeSet<String> = versions.iter().map(tag_of).collect();
        if !versions.is_empty() {
            tags.insert("latest".into());
        }
        tags.extend(self.channels(name)?.into_iter().map(|channel| channel.name.to_string()));
        Ok(tags.into_iter().collect())
    }

    /// Keeps a manifest whose blobs are here, and publishes it under `versions`, if there are any: then it has to be that of a
    /// package ([`PACKAGE`]) with the annotation [`CONTENT`]. One with a `subject` is a referrer of that from here on. One with
    /// neither is collected some day.
    ///
    /// # Errors
    /// [`StoreError::Manifest`], [`StoreError::Missing`] (a blob that it names), [`StoreError::Conflict`] (a version means
    /// something else). Versions before the refused one are published then.
    pub fn put_manifest(
        &self,
        name: &Name,
        bytes: &[u8],
        versions: &[Version],
    ) -> Result<Digest, StoreError> {
        let refuse = |why: String| StoreError::Manifest { name: name.clone(), why };
        let told: Artifact = serde_json::from_slice(bytes)
            .map_err(|why| refuse(format!("it is none of an image or artifact: {why}")))?;
        let records = versions.iter().map(|version| record_of(name, version, &told, bytes).map_err(refuse));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        records.iter().try_for_each(|record| self.refuse_other(record))?;
        let digest = Digest::of(bytes);
        let needed = told.blobs().map(|blob| blob.digest).chain([digest]);
        let mut things: Vec<String> = needed.map(|digest| digest.to_string()).collect();
        things.extend(records.iter().flat_map(things_of));
        let _announced = self.announce(&things)?;
        for blob in told.blobs() {
            if blob.digest == Digest::of(EMPTY_BYTES) {
                self.put_bytes(EMPTY_BYTES)?;
            } else {
                self.find_blob(&blob.digest, blob.size)?;
            }
        }
        self.put_bytes(bytes)?;
        self.note_referrer(&told, digest, bytes.len() as u64)?;
        records.into_iter().try_for_each(|record| self.take_name(record).map(drop))?;
        Ok(digest)
    }

    fn note_referrer(&self, told: &Artifact, digest: Digest, size: u64) -> Result<(), StoreError> {
        let Some(subject) = &told.subject else { return Ok(()) };
        let manifest = Descriptor {
            artifact_type: Some(told.kind().to_owned()),
            annotations: told.annotations.clone(),
            ..Descriptor::new(MANIFEST, digest, size)
        };
        let blobs = told.blobs().map(|blob| blob.digest).collect();
        let (key, record) = (
            referrer_key(&subject.digest, &digest),
            bytes_of(&Referrer { subject: subject.digest, manifest, blobs }),
        );
        let mut is_new = self.blobs.put_new(&key, &record)?;
        if !is_new && matches!(self.referrer(&key), Err(StoreError::Record { .. })) {
            self.blobs.delete(&key)?;
            is_new = self.blobs.put_new(&key, &record)?;
        }
        if is_new {
            self.refresh_index(None)?;
        }
        Ok(())
    }

    /// Attaches files to a manifest as an artifact of their own: what may differ between two publications of the same package,
    /// such as its provenance. The files are blobs of the store already. The digest of the artifact's manifest.
    ///
    /// # Errors
    /// As [`Store::put_manifest`].
    pub fn attach(
        &self,
        name: &Name,
        subject: Descriptor,
        artifact_type: &str,
        files: Vec<Descriptor>,
    ) -> Result<Digest, StoreError> {
        let subject =
            Descriptor { artifact_type: None, annotations: std::collections::BTreeMap::new(), ..subject };
        self.put_manifest(name, &Artifact::about(subject, artifact_type, files).to_bytes(), &[])
    }

    /// What speaks of a manifest, in the order of the digests. The manifest itself need not be there.
    ///
    /// # Errors
    /// The store can't be read, or a record in it can't be understood.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, StoreError> {
        let found = self.blobs.list(&format!("referrers/{}", subject.hex()))?;
        found.iter().filter_map(|found| self.referrer(&found.key).transpose()).collect()
    }

    /// As [`Store::referrers`], but records that can't be understood are passed over: for whoever would make them again.
    pub(crate) fn sound_referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, StoreError> {
        self.sound_referrers_below(&format!("referrers/{}", subject.hex()))
    }

    pub(super) fn sound_referrers_below(&self, prefix: &str) -> Result<Vec<Referrer>, StoreError> {
        let mut all = Vec::new();
        for found in self.blobs.list(prefix)? {
            match self.referrer(&found.key) {
                Err(StoreError::Record { .. }) => {}
                read => all.extend(read?),
            }
        }
        Ok(all)
    }

    /// All that speaks of anything. For deciding what may go, where one that can't be understood is a reason to let all stay.
    pub(super) fn all_referrers(&self) -> Result<Vec<Referrer>, StoreError> {
        let found = self.blobs.list("referrers")?;
        found.iter().filter_map(|found| self.referrer(&found.key).transpose()).collect()
    }

    pub(super) fn referrer(&self, key: &str) -> Result<Option<Referrer>, StoreError> {
        let Some((referrer, _)) = self.read_value::<Referrer>(key)? else { return Ok(None) };
        if referrer_key(&referrer.subject, &referrer.manifest.digest) != key {
            let path = place(&*self.blobs, key);
            return Err(StoreError::Record { path, why: "it is about another manifest".into() });
        }
        Ok(Some(referrer))
    }

    /// Notes that a blob may be read under this name before any manifest there names it: it was uploaded or mounted there.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn admit(&self, name: &Name, digest: &Digest) -> Result<(), StoreError> {
        self.blobs.put_new(&admitted_key(name, digest), b"").map(drop)
    }

    /// The length of a blob, if this name has it: a manifest of this name needs or is it, or it was admitted.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn size_under(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let Some(size) = self.blob_size(digest)? else { return Ok(None) };
        let is_here = self.blobs.read(&admitted_key(name, digest), Some(0..0))?.is_some()
            || self.reaches(name, digest)?;
        Ok(is_here.then_some(size))
    }
}

/// The record of a package that was pushed with a manifest.
fn record_of(name: &Name, version: &Version, told: &Artifact, bytes: &[u8]) -> Result<Published, String> {
    if told.kind() != PACKAGE {
        return Err(format!(
            "it is `{}`, and only `{PACKAGE}` can have a version here; use `staith push`",
            told.kind()
        ));
    }
    let (zip, beside) = told.layers.split_first().ok_or("it has no layer, so no package file")?;
    let content = told.annotations.get(CONTENT).and_then(|text| text.parse().ok());
    let content = content.ok_or_else(|| {
        format!("its annotation `{CONTENT}` has to be the digest of the package's content; use `staith push`")
    })?;
    let profile = told.annotations.get(PROFILE).and_then(|text| text.parse().ok()).unwrap_or(0);
    let (name, version) = (name.clone(), version.clone());
    let package = Package { name, version, digest: zip.digest, content, size: zip.size };
    let companions = beside.iter().map(|layer| Companion {
        title: layer.annotations.get(TITLE).cloned().unwrap_or_default(),
        media_type: layer.media_type.clone(),
        digest: layer.digest,
        size: layer.size,
    });
    let manifest = (Digest::of(bytes), bytes.len() as u64);
    Ok(Published::new(package, profile, None, companions.collect(), manifest))
}

pub(super) fn referrer_key(subject: &Digest, digest: &Digest) -> String {
    format!("referrers/{}/{}.json", subject.hex(), digest.hex())
}

fn admitted_key(name: &Name, digest: &Digest) -> String {
    format!("admitted/{name}/{}", digest.hex())
}
