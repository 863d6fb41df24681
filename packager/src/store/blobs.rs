//! The seam to where bytes are kept: what the store asks of a directory, a bucket, or anything else.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
    path::PathBuf,
};

use staith_model::Digest;

use super::{Staged, StoreError};

/// Bytes under keys.
///
/// A key is a relative path of plain parts (`blobs/sha256/3f2a...`, `names/shop/1.4.27.json`); the store makes all of them, from
/// digests, names and versions, so that none has a part of `.` or `..`.
///
/// The contract, which one suite of tests holds against every implementation:
///
/// - What a call that returned `Ok` has written is seen by every later call of any process, and survives a loss of power.
/// - A key is seen with all of its bytes or not at all, also when the writer is killed.
/// - Of many that write a key at once under the same condition, exactly one is told that it did.
/// - A key that is not there is no error: reading gives `None`, deleting does nothing.
///
/// Everything blocks. Implementations that use the network must not be called on a thread that drives an async runtime.
pub trait Blobs: fmt::Debug + fmt::Display + Send + Sync {
    /// Opens what is under a key: all of it, or a part. A part that begins beyond the end is empty.
    ///
    /// # Errors
    /// It can't be reached or read. This holds for all calls here.
    fn read(&self, key: &str, part: Option<Range<u64>>) -> Result<Option<Reading>, StoreError>;

    /// Writes a key that is not there. Whether it was not; otherwise nothing has changed.
    ///
    /// # Errors
    /// As above.
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError>;

    /// Writes a key from a finished file, whatever is there. For keys that are named by the content: what is there is the same,
    /// or damaged. Where files are sent over a network, parts that arrived before an interruption are not sent again.
    ///
    /// # Errors
    /// As above.
    fn put_file(&self, key: &str, file: Staged) -> Result<(), StoreError>;

    /// Writes a key if it is as it was when `expected` was read; with `None`, if it is not there. Whether it was. To be used for
    /// small things only.
    ///
    /// # Errors
    /// As above.
    fn replace(&self, key: &str, bytes: &[u8], expected: Option<&Tag>) -> Result<bool, StoreError>;

    /// All keys below `prefix` (which ends at the end of a part), in the order of their bytes.
    ///
    /// # Errors
    /// As above.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError>;

    /// Removes a key.
    ///
    /// # Errors
    /// As above.
    fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Where the bytes of a key lie, or would lie, if they are files of this machine.
    fn local_path(&self, key: &str) -> Option<PathBuf>;
}

/// What a key was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(pub(super) String);

/// A key and what is known of it without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Bytes under it.
    pub size: u64,
    /// When it was written, in milliseconds since 1970, as the clock of the place has it.
    pub at: u64,
}

/// Something that is being read.
pub struct Reading {
    /// Length of all that is under the key, in bytes.
    pub size: u64,
    /// Its tag, where the place has tags; otherwise it is made of the bytes.
    pub(super) tag: Option<Tag>,
    /// The bytes that were asked for.
    pub bytes: Box<dyn Read + Send>,
}

impl Reading {
    /// All bytes, and the tag for [`Blobs::replace`].
    ///
    /// # Errors
    /// Reading failed on the way.
    pub fn whole(mut self) -> io::Result<(Vec<u8>, Tag)> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0).min(1 << 20));
        self.bytes.read_to_end(&mut bytes)?;
        let tag = self.tag.unwrap_or_else(|| Tag::of(&bytes));
        Ok((bytes, tag))
    }
}

impl Tag {
    /// The tag of these bytes where the place has none of its own.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes).to_string())
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("size", &self.size).field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// What a key is called in messages.
pub(super) fn place(blobs: &dyn Blobs, key: &str) -> PathBuf {
    blobs.local_path(key).unwrap_or_else(|| PathBuf::from(format!("{blobs}/{key}")))
}
