//! Why the store can't do it.

use std::{
    io,
    path::{Path, PathBuf},
};

use staith_model::{Digest, Name};

/// Why the store can't do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("can't {what} {}: {source}; see to the permissions and the room of the store's disk", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A bucket refused, or can't be reached.
    #[error("can't {what} {}: {why}; see to the network, the credentials and the rights that they give", place.display())]
    Remote {
        /// What was tried.
        what: &'static str,
        /// On what.
        place: PathBuf,
        /// What the other side says.
        why: String,
    },
    /// A text says no place for a store.
    #[error("`{text}` is no place for a store: {why}")]
    Location {
        /// The text.
        text: String,
        /// What is wrong, and how it is written.
        why: String,
    },
    /// A name and version stand for something else already.
    #[error(
        "{name} {version} is published with {published} and can't become {offered}: a version never changes its meaning; \
         publish under another version"
    )]
    Conflict {
        /// The name.
        name: String,
        /// The version.
        version: String,
        /// What is there.
        published: Digest,
        /// What was to be published.
        offered: Digest,
    },
    /// A blob is not there.
    #[error("the store has no {digest} (looked at {}); build it again, or fetch it from where it was made", path.display())]
    Missing {
        /// What was asked for.
        digest: Digest,
        /// Where it would be.
        path: PathBuf,
    },
    /// Nothing is published under a name, a version or a channel.
    #[error("{what}; {remedy}")]
    Unknown {
        /// What is not there.
        what: String,
        /// What is, or how to get it there.
        remedy: String,
    },
    /// A blob's bytes are not what its name says.
    #[error(
        "{} is damaged: {found}; don't deploy it. Remove the file and build the package again: the same content gives the \
         same bytes", path.display()
    )]
    Damaged {
        /// The blob.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A record can't be understood.
    #[error("{} is no record of a published package ({why}); was it edited? Restore it, or remove it and build again", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was to be published is not what it is said to be.
    #[error(
        "the package to be published is {found} bytes long, not {said}; this is a mistake in Staith, please report it"
    )]
    NotAsSaid {
        /// What was said.
        said: u64,
        /// What is there.
        found: u64,
    },
    /// Bytes that were sent are not those that were promised.
    #[error("the bytes that came have the digest {found}, not {said}; send them again")]
    Mismatch {
        /// What was said.
        said: Digest,
        /// What they have.
        found: Digest,
    },
    /// A manifest is none that this store keeps.
    #[error("the manifest of {name} is refused: {why}")]
    Manifest {
        /// The name it was sent under.
        name: Name,
        /// What is wrong, and what to do about it.
        why: String,
    },
    /// There is no such upload.
    #[error("there is no upload {0}: it was finished or cancelled, or is too old; begin another")]
    NoUpload(String),
    /// Somebody else is at it.
    #[error("{what} is in use by another process; try again when that is done")]
    Busy {
        /// What.
        what: String,
    },
    /// It is kept for a reason.
    #[error("{what} stays: {why}")]
    Kept {
        /// What was to be removed or moved.
        what: String,
        /// The reason, and what to do about it.
        why: String,
    },
}

impl StoreError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
