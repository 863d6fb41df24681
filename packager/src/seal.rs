//! The one way from a passed run to a package in the store, and what lies beside a package. A map, in reading order:
//!
//! 1. [`seal`]: packs and publishes.
//! 2. [`sbom`]: what a package is made of. [`provenance`]: how it was made. [`beside`]: all that lies beside it; [`attached`]: the
//!    same in a store.
//! 3. [`key`], [`envelope`]: who vouches for it. [`verify`]: whether somebody trusted does.

pub mod attached;
pub mod beside;
pub mod envelope;
pub mod key;
pub mod provenance;
pub mod sbom;
mod verify;

use std::path::PathBuf;

use staith_model::{Name, NotAVersion, Package, Passed, Version};

use crate::{
    stopping::Watch,
    store::{Origin, Publication, Published, Store, StoreError},
    web_deploy::{self, Content, Earlier, PROFILE, WriteError},
};

pub use verify::{MAX_ENVELOPE_BYTES, NotVouched, Vouched, verify};

/// A package in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The package, with what comes with it whenever it is published.
    pub published: Published,
    /// Its file in the store, read-only. It is named by its digest; [`Package::file_name`] is what people expect.
    pub path: PathBuf,
    /// Whether it was there already, and nothing had to be packed.
    pub cached: bool,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The content can't be packed.
    #[error("can't pack {name} {version}: {source}")]
    Write {
        /// The package's name.
        name: Name,
        /// The package's version.
        version: Version,
        /// Why.
        source: WriteError,
    },
    /// The package can't be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The version leaves no room for the content's digest.
    #[error(
        "{0}; the version of a package ends in its content's digest, so that 80 characters at most are left for your own part"
    )]
    Version(#[from] NotAVersion),
}

/// Packs what a passed run left, and publishes it under `name` and `version`.
///
/// The version gets the content's digest as build metadata ([`Version::of_content`]), so that it never changes its meaning. If the
/// store has that package already, nothing is packed: that takes as long as hashing the manifest and reading one record, and
/// looks at the package's length only (what hands it on re-reads it). A package that is recorded but missing or of another
/// length is packed again; it must come out the same, byte for byte. One that an older [`PROFILE`] wrote stays what it is.
///
/// What lies beside the package and follows from it ([`beside::companions`]) is published with it.
///
/// Files whose content is in the newest package of this name are copied from it, as they lie there compressed.
///
/// Safe to stop at any time: the store then has the package, or does not.
///
/// # Errors
/// See [`SealError`].
pub fn seal(
    passed: &Passed,
    name: &Name,
    version: &Version,
    content: &Content,
    store: &Store,
    progress: &Watch<'_>,
) -> Result<Sealed, SealError> {
    let digest = content.manifest.digest();
    // Parameters make another package of the same tree, so they are in its version as well.
    let version = Version::try_from(String::from(version.of_content(&content.digest())))?;
    if let Some(there) = store.find(name, &version)?
        && there.package.content == digest
        && let Ok(path) = store.find_blob(&there.package.digest, there.package.size)
    {
        return Ok(Sealed { published: there, path, cached: true });
    }
    let earlier = earlier(name, store);
    let mut staged = store.stage()?;
    let written = web_deploy::write_after(content, earlier.as_ref(), staged.file(), progress)
        .map_err(|source| SealError::Write { name: name.clone(), version: version.clone(), source })?;
    let package =
        Package { name: name.clone(), version, digest: written.digest, content: digest, size: written.size };
    let report = passed.report();
    let origin = Origin { run: report.run.clone(), plan: report.plan };
    let beside = beside::companions(&package, &content.manifest, &content.parameters);
    let _announced = store.put_announced(beside.iter().map(|file| file.bytes.as_slice()))?;
    let companions = beside.iter().map(attached::companion).collect();
    let publication = Publication { package: &package, profile: PROFILE, origin: Some(origin), companions };
    let published = store.publish_with(staged, publication)?;
    Ok(Sealed { path: store.blob_path(&package.digest), published, cached: false })
}

/// The newest package of this name that can lend its entries: one that was made here, by this profile, and is whole. Nothing that
/// is wrong with it is this package's fault: whoever wants that one is told.
fn earlier(name: &Name, store: &Store) -> Option<Earlier> {
    // What was pushed here says of itself which profile wrote it, and its bytes may be anybody's.
    let can_lend = |there: &Published| there.profile == PROFILE && there.origin.is_some();
    let newest = store.list(name).ok()?.into_iter().filter(can_lend).max_by_key(|there| there.at)?;
    Earlier::of_file(store.get(&newest.package.digest).ok()?.file)
}
