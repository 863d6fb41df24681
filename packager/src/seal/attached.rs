//! What lies beside a package, in a store. What follows from the package is published with it, as further layers of the same
//! artifact; what may differ between two publications of the same package is an artifact of its own that speaks of it.

use staith_model::{self as model, CompanionKind, Digest, Package};

use super::{
    beside::{self, Beside},
    verify::MAX_ENVELOPE_BYTES,
};
use crate::store::{
    Companion, Published, Store, StoreError,
    oci::{Artifact, Descriptor, TITLE},
};

/// The type of artifacts that are bills of materials, and of their files.
pub const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
/// The type of artifacts that say how a package was made.
pub const IN_TOTO: &str = super::envelope::IN_TOTO;
/// What the file of such an artifact is: the statement in its envelope.
pub const DSSE: &str = "application/vnd.dsse.envelope.v1+json";
/// A file that follows from the package, as it is published with it.
pub(super) fn companion(file: &Beside) -> Companion {
    let (_, media_type) = types(file.kind);
    Companion {
        title: file.name.clone(),
        media_type: media_type.to_owned(),
        digest: Digest::of(&file.bytes),
        size: file.bytes.len() as u64,
    }
}

/// The companions of a package whose files are these. Others are passed over.
pub fn companions(files: &[Beside]) -> Vec<Companion> {
    files.iter().filter(|file| types(file.kind).0.is_none()).map(companion).collect()
}

/// Attaches to a published package those of the files that don't follow from it, one after the other. The same file is attached
/// once, however often this is done.
///
/// # Errors
/// The store can't be written. Files before the failed one are attached then.
pub fn attach(store: &Store, published: &Published, files: &[Beside]) -> Result<(), StoreError> {
    for file in files {
        let (Some(artifact_type), media_type) = types(file.kind) else { continue };
        let _announced = store.put_announced([file.bytes.as_slice()])?;
        let layer = Descriptor {
            annotations: [(TITLE.to_owned(), file.name.clone())].into(),
            ..Descriptor::new(media_type, Digest::of(&file.bytes), file.bytes.len() as u64)
        };
        store.attach(&published.package.name, published.manifest(), artifact_type, vec![layer])?;
    }
    Ok(())
}

/// What lies beside a published package, each with where it is in the store: in the order of [`CompanionKind`], and of several of a
/// kind in the order of their digests.
///
/// # Errors
/// The store can't be read. What is damaged is passed over.
pub fn find(store: &Store, published: &Published) -> Result<Vec<model::Companion>, StoreError> {
    let told = |kind, digest: Digest, size| model::Companion {
        kind,
        path: store.blob_path(&digest).display().to_string(),
        digest,
        size,
    };
    let published_with = published.companions.iter().filter_map(|companion| {
        Some(told(kind_of(&published.package, &companion.title)?, companion.digest, companion.size))
    });
    let mut found: Vec<_> = published_with.collect();
    for referrer in store.sound_referrers(&published.manifest().digest)? {
        let kind = match referrer.manifest.artifact_type.as_deref() {
            Some(CYCLONEDX) => CompanionKind::Sbom,
            Some(IN_TOTO) => CompanionKind::Provenance,
            _ => continue,
        };
        let bytes = match store.get_bytes(&referrer.manifest.digest) {
            // It says nothing any more; a run attaches it again.
            Err(StoreError::Missing { .. } | StoreError::Damaged { .. }) => continue,
            bytes => bytes?,
        };
        let artifact: Option<Artifact> = serde_json::from_slice(&bytes).ok();
        let wanted = types(kind).1;
        let layers = artifact.into_iter().flat_map(|artifact| artifact.layers);
        let files = layers.filter(|layer| layer.media_type == wanted);
        found.extend(files.map(|layer| told(kind, layer.digest, layer.size)));
    }
    found.sort_by_key(|one| (one.kind, one.digest));
    Ok(found)
}

/// The statements about a package file of this digest, whatever the package is called. Nobody has verified them. Those that are too
/// long to be one are passed over: anybody who may write to a store can attach what he likes.
///
/// # Errors
/// The store can't be read, or one of them is damaged.
pub fn provenance(store: &Store, package: &Digest) -> Result<Vec<Vec<u8>>, StoreError> {
    let is_statement =
        |it: &model::Companion| it.kind == CompanionKind::Provenance && it.size <= MAX_ENVELOPE_BYTES;
    let mut digests = Vec::new();
    for published in store.published()?.iter().filter(|it| it.package.digest == *package) {
        let beside = find(store, published)?.into_iter();
        digests.extend(beside.filter(is_statement).map(|it| it.digest));
    }
    digests.iter().map(|digest| store.get_bytes(digest)).collect()
}

/// The type of the artifact that a file becomes, and the file's own; the former only of what is an artifact of its own.
const fn types(kind: CompanionKind) -> (Option<&'static str>, &'static str) {
    match kind {
        CompanionKind::ContentManifest => (None, "application/json"),
        CompanionKind::SetParameters => (None, "application/xml"),
        CompanionKind::Sbom => (Some(CYCLONEDX), CYCLONEDX),
        CompanionKind::Provenance => (Some(IN_TOTO), DSSE),
    }
}

/// What a companion is, which its name says.
fn kind_of(package: &Package, title: &str) -> Option<CompanionKind> {
    let kinds = [CompanionKind::ContentManifest, CompanionKind::SetParameters];
    kinds.into_iter().find(|kind| beside::name(*kind, package) == title)
}
