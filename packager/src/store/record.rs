//! What is written down of a published package, and of anything else that no digest names: with a digest of itself, so that
//! a flipped bit is refused here too.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use staith_model::{Digest, Package, RunId};

use super::{
    Store, StoreError,
    blobs::{Tag, place},
    oci::{Artifact, Descriptor, MANIFEST, PACKAGE},
};

/// The shape of a record. Readers refuse numbers they do not know rather than guess.
pub(super) const FORMAT: u32 = 2;
/// The shape of earlier records: no manifest, no companions, no digest of itself. They are read as they are, for good.
const BARE: u32 = 1;

/// What a package was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The run that passed.
    pub run: RunId,
    /// The plan that it executed.
    pub plan: Digest,
}

/// A file that belongs to a package and is the same whenever that is published, such as `shop.SetParameters.xml`. It is a blob of
/// the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Companion {
    /// Its file name.
    pub title: String,
    /// What it is, such as `application/xml`.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A package under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    format: u32,
    /// The package.
    pub package: Package,
    /// [`crate::web_deploy::PROFILE`] of its writer.
    pub profile: u32,
    /// What it was made from, the first time; `None` if it was pushed here from elsewhere.
    pub origin: Option<Origin>,
    /// When, in milliseconds since 1970, as the clock of the publishing machine had it.
    pub at: u64,
    /// What comes with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companions: Vec<Companion>,
    /// Digest and size of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<(Digest, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Digest>,
}

impl Published {
    /// A record of now, with a manifest of our own.
    pub(super) fn of_package(
        package: Package,
        profile: u32,
        origin: Option<Origin>,
        companions: Vec<Companion>,
    ) -> Self {
        let bytes = Artifact::of_package(&package, profile, &companions).to_bytes();
        let manifest = (Digest::of(&bytes), bytes.len() as u64);
        Self::new(package, profile, origin, companions, manifest)
    }

    /// A record of now.
    pub(super) fn new(
        package: Package,
        profile: u32,
        origin: Option<Origin>,
        companions: Vec<Companion>,
        manifest: (Digest, u64),
    ) -> Self {
        let manifest = Some(manifest);
        let at = now();
        Self { format: FORMAT, package, profile, origin, at, companions, manifest, check: None }.checked()
    }

    fn checked(mut self) -> Self {
        self.check = None;
        self.check = Some(Digest::of_value("staith.published.v2", &self));
        self
    }

    /// Its manifest, which is a blob of the store.
    pub fn manifest(&self) -> Descriptor {
        let (digest, size) = self.manifest.unwrap_or_else(|| {
            let bytes = self.plain_manifest();
            (Digest::of(&bytes), bytes.len() as u64)
        });
        Descriptor { artifact_type: Some(PACKAGE.into()), ..Descriptor::new(MANIFEST, digest, size) }
    }

    /// The bytes that its manifest has if it was made here.
    pub(super) fn plain_manifest(&self) -> Vec<u8> {
        Artifact::of_package(&self.package, self.profile, &self.companions).to_bytes()
    }

    /// What is written.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Names, numbers and digests: writing them can't fail.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Reads a record.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(json).map_err(|why| why.to_string())?;
        match record.format {
            BARE if record.check.is_none() && record.manifest.is_none() => Ok(record),
            FORMAT if record.check.is_some() && record.clone().checked() == record => Ok(record),
            FORMAT => Err("its digest of itself is another".into()),
            BARE => Err("it has what records of its format have not".into()),
            format => Err(format!("its format is {format}, and this Staith knows {FORMAT}")),
        }
    }
}

/// A value with its digest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked<T> {
    check: Digest,
    value: T,
}

impl Store {
    /// Reads a value that was written by [`Store::write_value`], and the tag to replace it by.
    pub(super) fn read_value<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<(T, Tag)>, StoreError> {
        let path = place(&*self.blobs, key);
        let Some(found) = self.blobs.read(key, None)? else { return Ok(None) };
        let (json, tag) = found.whole().map_err(StoreError::io("read", &path))?;
        let refuse = |why: String| StoreError::Record { path: path.clone(), why };
        Ok(Some((value_of(&json).map_err(refuse)?, tag)))
    }

    /// Writes a value if it is as it was read. Whether it was.
    pub(super) fn write_value<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        read: Option<&Tag>,
    ) -> Result<bool, StoreError> {
        self.blobs.replace(key, &bytes_of(value), read)
    }
}

/// The value that [`bytes_of`] wrote.
pub(super) fn value_of<T: Serialize + DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let read: Checked<T> = serde_json::from_slice(json).map_err(|why| why.to_string())?;
    if Digest::of_value("staith.value.v1", &read.value) != read.check {
        return Err("its digest of itself is another".into());
    }
    Ok(read.value)
}

/// A value and its digest as JSON.
pub(super) fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    let checked = Checked { check: Digest::of_value("staith.value.v1", value), value };
    // Our own types have no maps with keys that are no strings: writing them can't fail.
    serde_json::to_vec_pretty(&checked).unwrap_or_default()
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
