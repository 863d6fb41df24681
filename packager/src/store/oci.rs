//! The documents of OCI's image layout, as far as packages need them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use staith_model::{Digest, Name, Package, Version};

use super::Companion;

/// The media type of manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of `index.json`.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What a package's manifest is, as other tools are told.
pub const PACKAGE: &str = "application/vnd.staith.package.v1";
/// The media type of the package file: Web Deploy packages are zip files.
pub const ZIP: &str = "application/zip";
/// The media type of an empty configuration.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The bytes of an empty configuration.
pub const EMPTY_BYTES: &[u8] = b"{}";

/// The annotation with a file's name.
pub const TITLE: &str = "org.opencontainers.image.title";
/// The annotation with a package's version, `+` and all.
pub const VERSION: &str = "org.opencontainers.image.version";
/// The annotation of an entry of `index.json` with its tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the digest of a package's content.
pub const CONTENT: &str = "staith.content";
/// The annotation with the profile of a package's writer.
pub const PROFILE: &str = "staith.profile";

/// Something by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Of a manifest: what the artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// One without annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    fn titled(self, title: String) -> Self {
        Self { annotations: [(TITLE.to_owned(), title)].into(), ..self }
    }

    fn empty() -> Self {
        Self::new(EMPTY, Digest::of(EMPTY_BYTES), EMPTY_BYTES.len() as u64)
    }
}

/// An OCI image manifest that describes an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Always 2.
    pub schema_version: u32,
    /// [`MANIFEST`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its configuration; empty for packages.
    pub config: Descriptor,
    /// Its files.
    pub layers: Vec<Descriptor>,
    /// The manifest that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Artifact {
    /// The manifest of a package: a function of the package and what comes with it, so the same on any machine.
    pub fn of_package(package: &Package, profile: u32, companions: &[Companion]) -> Self {
        let zip = Descriptor::new(ZIP, package.digest, package.size).titled(package.file_name());
        let beside = companions.iter().map(|companion| {
            Descriptor::new(&companion.media_type, companion.digest, companion.size)
                .titled(companion.title.clone())
        });
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.into()),
            artifact_type: Some(PACKAGE.into()),
            config: Descriptor::empty(),
            layers: std::iter::once(zip).chain(beside).collect(),
            subject: None,
            annotations: [
                (TITLE.to_owned(), package.name.to_string()),
                (VERSION.to_owned(), package.version.to_string()),
                (CONTENT.to_owned(), package.content.to_string()),
                (PROFILE.to_owned(), profile.to_string()),
            ]
            .into(),
        }
    }

    /// An artifact about another manifest: provenance, a list of parts. `files` are in the store already.
    pub fn about(subject: Descriptor, artifact_type: &str, files: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.into()),
            artifact_type: Some(artifact_type.into()),
            config: Descriptor::empty(),
            layers: files,
            subject: Some(subject),
            annotations: BTreeMap::new(),
        }
    }

    /// What it is called among artifacts: its type, or else that of its configuration.
    pub fn kind(&self) -> &str {
        self.artifact_type.as_deref().unwrap_or(&self.config.media_type)
    }

    /// The blobs that it can't be without.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and maps with keys that are strings: writing them can't fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// `index.json`, and what a registry answers when it is asked for referrers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`INDEX`].
    pub media_type: String,
    /// What is in it.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// One of these manifests.
    pub fn of(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: INDEX.into(), manifests }
    }
}

/// The tag of a version. Tags have no `+` and versions no `_`, so each stands for the other, and nothing is lost.
pub fn tag_of(version: &Version) -> String {
    version.as_str().replace('+', "_")
}

/// The version that a tag stands for, if it can be one.
pub fn version_of(tag: &str) -> Option<Version> {
    (!tag.contains('+')).then(|| tag.replace('_', "+").parse().ok()).flatten()
}

/// What a version is called in `index.json`, where all names are in one list.
pub fn layout_tag(name: &Name, version: &Version) -> String {
    format!("{name}:{}", tag_of(version))
}
