//! The one way from a passed run to a package in the store, and what lies beside a package. A map, in reading order:
//!
//! 1. [`seal`]: packs and publishes.
//! 2. [`sbom`]: what a package is made of. [`provenance`]: how it was made. [`beside`]: all that lies beside it; [`attached`]: the
//!    same in a store.
//! 3. [`key`], [`envelope`]: who vouches for it. [`verify`]: whether somebody trusted does. [`label`]: whose code it was made of.

pub mod attached;
pub mod beside;
pub mod envelope;
pub mod key;
mod label;
pub mod provenance;
pub mod sbom;
mod verify;

use std::{fs::File, io::Seek as _, path::PathBuf};

use staith_model::{Digest, Name, NotAVersion, Package, Passed, Version};

use crate::{
    hashing::digest_of,
    stopping::Watch,
    store::{Origin, Publication, Published, Staged, Store, StoreError},
    web_deploy::{self, Content, Earlier, PROFILE, WriteError, Written},
};

pub use label::label;
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
/// Files whose content is in the newest package of this name are copied from it, as they lie there compressed. That one is verified
/// meanwhile; should it be damaged, all is packed once more, and progress is told from the beginning again.
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
    let lender = lender(name, store);
    let write = |lender: Option<&Lender>| -> Result<(Staged, Written), SealError> {
        let mut staged = store.stage()?;
        let earlier = lender.map(|lender| &lender.earlier);
        let written = web_deploy::write_after(content, earlier, staged.file(), progress)
            .map_err(|source| SealError::Write { name: name.clone(), version: version.clone(), source })?;
        Ok((staged, written))
    };
    let (is_sound, tried) =
        rayon::join(|| lender.as_ref().is_none_or(Lender::is_sound), || write(lender.as_ref()));
    let (staged, written) = match tried {
        // Damage of the earlier package is not this one's: what was made of it goes, an error of reading it as well.
        Ok(_) | Err(SealError::Write { source: WriteError::Earlier(_), .. }) if !is_sound => write(None)?,
        tried => tried?,
    };
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

/// A package whose entries are copied, and its file.
struct Lender {
    earlier: Earlier,
    file: File,
    digest: Digest,
}

impl Lender {
    /// Whether the file is what it is called. Reads all of it, which takes as long as writing a package that changed little: so both
    /// are done at once.
    fn is_sound(&self) -> bool {
        // Entries are read by their places, so nobody minds where this is.
        matches!((&self.file).rewind().and_then(|()| digest_of(&self.file)), Ok((found, _)) if found == self.digest)
    }
}

/// The newest package of this name that can lend its entries: one that was made here, by this profile. It is verified later. Nothing that
/// is wrong with it is this package's fault: whoever wants that one is told.
fn lender(name: &Name, store: &Store) -> Option<Lender> {
    // What was pushed here says of itself which profile wrote it, and its bytes may be anybody's.
    let can_lend = |there: &Published| there.profile == PROFILE && there.origin.is_some();
    let newest = store.list(name).ok()?.into_iter().filter(can_lend).max_by_key(|there| there.at)?;
    let digest = newest.package.digest;
    let file = store.open_unverified(&digest).ok()?;
    Some(Lender { earlier: Earlier::of_file(file.try_clone().ok()?)?, file, digest })
}
