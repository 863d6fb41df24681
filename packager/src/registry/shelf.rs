//! What the HTTP side needs of whatever keeps packages, in the nouns of OCI Distribution. The store is one shelf; a registry
//! that somebody else runs is another ([`super::client`]).
//!
//! Everything here blocks. A call does one bounded thing, so that no thread is held while a slow client thinks: bodies are
//! taken and given in pieces, one call a piece.

use std::io::{self, Read};

use staith_model::{Digest, Name};

use super::names::{Reference, Tag, UploadId};

/// A place of packages: repositories, each with blobs, manifests, tags, and uploads that are not finished yet.
///
/// A repository is a package's name. It has a blob if one of its manifests names it, or if it was uploaded or mounted there;
/// that another repository has the same blob gives nobody a right to it.
///
/// Calls may come from many threads at once. What a call that returned `Ok` has changed survives a loss of power.
pub trait Shelf: Send + Sync {
    /// Whether there is such a repository: something was published or uploaded there.
    ///
    /// # Errors
    /// The place is damaged or can't be read. This holds for all calls here.
    fn knows(&self, name: &Name) -> Result<bool, ShelfError>;

    /// A manifest, verified: its bytes have the digest that it is returned with.
    ///
    /// # Errors
    /// [`ShelfError::Damaged`] if they don't.
    fn manifest(&self, name: &Name, reference: &Reference) -> Result<Option<StoredManifest>, ShelfError>;

    /// Keeps a manifest, and makes the tags mean it: all of them, or none if one is refused. The caller has checked that it is
    /// a manifest, that `digest` is that of its bytes, and that the repository has what it names.
    ///
    /// # Errors
    /// [`ShelfError::Conflict`]: a tag is a published version and means another manifest. The same manifest again is fine.
    fn put_manifest(&self, name: &Name, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), ShelfError>;

    /// All tags in the order of their bytes: versions, channels, and `latest` where there is a version. `None` if there is no
    /// such repository.
    ///
    /// # Errors
    /// As above.
    fn tags(&self, name: &Name) -> Result<Option<Vec<Tag>>, ShelfError>;

    /// The manifests whose `subject` is this one, in the order of their digests. The subject itself need not be there.
    ///
    /// # Errors
    /// As above.
    fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<StoredManifest>, ShelfError>;

    /// The length of a blob of this repository. Looks at its length only.
    ///
    /// # Errors
    /// As above.
    fn blob_size(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, ShelfError>;

    /// A blob of this repository from the byte `from` on.
    ///
    /// # Errors
    /// [`ShelfError::Damaged`] if its bytes are not what its digest says. Either this is known before the first byte is given
    /// (all bytes are read, also those before `from`), or reading fails before the last byte is given; it never ends well.
    fn blob(&self, name: &Name, digest: &Digest, from: u64) -> Result<Option<OpenBlob>, ShelfError>;

    /// Makes a blob of another repository one of this repository as well. Whether there was one. Without `from`, only one
    /// that this repository has already.
    ///
    /// # Errors
    /// As above.
    fn mount(&self, name: &Name, digest: &Digest, from: Option<&Name>) -> Result<bool, ShelfError>;

    /// Begins an upload. It is found again after the process was restarted, until it is finished, cancelled, or so old that
    /// it is collected.
    ///
    /// # Errors
    /// [`ShelfError::Busy`]: there are too many.
    fn begin(&self, name: &Name) -> Result<UploadId, ShelfError>;

    /// How many bytes of an upload are here for good. `None` if there is no such upload in this repository.
    ///
    /// # Errors
    /// As above.
    fn uploaded(&self, name: &Name, upload: &UploadId) -> Result<Option<u64>, ShelfError>;

    /// Opens an upload at its end, alone: until the answer is dropped, nobody else can.
    ///
    /// # Errors
    /// [`ShelfError::Busy`] while somebody has it open, [`ShelfError::Unknown`] if there is none.
    fn append(&self, name: &Name, upload: &UploadId) -> Result<Box<dyn Append>, ShelfError>;

    /// Makes an upload a blob of this repository.
    ///
    /// # Errors
    /// [`ShelfError::Mismatch`] if its bytes have another digest; the upload is gone then, because no byte of it can be trusted.
    /// [`ShelfError::Busy`] while somebody has it open, [`ShelfError::Unknown`] if there is none.
    fn finish(&self, name: &Name, upload: &UploadId, digest: &Digest) -> Result<(), ShelfError>;

    /// Ends an upload and forgets its bytes. Whether there was one.
    ///
    /// # Errors
    /// [`ShelfError::Busy`] while somebody has it open.
    fn cancel(&self, name: &Name, upload: &UploadId) -> Result<bool, ShelfError>;

    /// Takes a tag, or a manifest with all its tags, away. Whether it was there. Blobs go when nothing names them any more and
    /// the place is collected.
    ///
    /// # Errors
    /// [`ShelfError::Refused`] where it is pinned or in use.
    fn remove(&self, name: &Name, reference: &Reference) -> Result<bool, ShelfError>;
}

/// An upload that is open for more.
pub trait Append: Send {
    /// How many bytes are here.
    fn offset(&self) -> u64;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They can't be kept: [`ShelfError::TooLarge`], or the place has no room. What came before stays.
    fn append(&mut self, bytes: &[u8]) -> Result<(), ShelfError>;

    /// Makes what was taken survive a loss of power, and lets go of the upload. Dropping without this lets go of it too; then
    /// a part of what was taken may be missing.
    ///
    /// # Errors
    /// The place can't be written.
    fn keep(self: Box<Self>) -> Result<u64, ShelfError>;
}

/// A blob that is being read.
pub struct OpenBlob {
    /// The length of the whole blob, in bytes.
    pub size: u64,
    /// The bytes, from where they were asked for to the end.
    pub bytes: Box<dyn Read + Send>,
}

/// A manifest as it is kept: the exact bytes that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// What it was pushed as, without parameters.
    pub media_type: String,
    /// Its JSON.
    pub bytes: Vec<u8>,
}

/// Why a shelf can't do it.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A version means something else already.
    #[error("{0}")]
    Conflict(String),
    /// It is not a manifest that is kept here.
    #[error("{0}")]
    Invalid(String),
    /// Bytes are not what they were said to be.
    #[error("the bytes that came have the digest {found}, not {said}; send them again")]
    Mismatch {
        /// What was said.
        said: Digest,
        /// What they have.
        found: Digest,
    },
    /// What is kept is damaged.
    #[error("{0}")]
    Damaged(String),
    /// Somebody else has it open, or there are too many; later it may work.
    #[error("{0}")]
    Busy(String),
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// It is more than is allowed.
    #[error("{0}")]
    TooLarge(String),
    /// It is not allowed, or can't be said in the terms of this place.
    #[error("{0}")]
    Refused(String),
    /// The place can't be reached, read or written now.
    #[error("{0}")]
    Unavailable(String),
}

impl ShelfError {
    /// Whether the same may work when it is tried again, without anybody doing anything.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Unavailable(_))
    }
}

impl From<ShelfError> for io::Error {
    fn from(error: ShelfError) -> Self {
        Self::other(error)
    }
}
