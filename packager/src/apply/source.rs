//! Where the content of an apply comes from.

use std::{collections::BTreeMap, io::Write};

use staith_model::{Digest, RelPath};

use super::{ApplyError, tree::Tree};
use crate::hashing::Hashing;

/// Content that can be applied: facts about a tree, and its bytes.
pub trait Source: Sync {
    /// What there is.
    fn tree(&self) -> &Tree;

    /// Writes a file's bytes to `to`: those that belong at the destination, with parameters applied. May be called from
    /// several threads at once.
    ///
    /// # Errors
    /// The bytes are not what they are said to be, or `to` fails. Whoever receives them must drop them then.
    fn copy(&self, path: &RelPath, to: &mut dyn Write) -> Result<(), ApplyError>;

    /// Digest of the bytes that [`Source::copy`] gives.
    ///
    /// # Errors
    /// As [`Source::copy`].
    fn digest(&self, path: &RelPath) -> Result<Digest, ApplyError> {
        if let Some(digest) = self.tree().file(path).and_then(|facts| facts.digest) {
            return Ok(digest);
        }
        let mut hashing = Hashing::only();
        self.copy(path, &mut hashing)?;
        Ok(hashing.told().0)
    }
}

/// A source in memory, for small trees.
#[derive(Debug, Clone, Default)]
pub struct InMemory {
    /// What there is.
    pub tree: Tree,
    /// The bytes of each file of it.
    pub bytes: BTreeMap<RelPath, Vec<u8>>,
}

impl Source for InMemory {
    fn tree(&self) -> &Tree {
        &self.tree
    }

    fn copy(&self, path: &RelPath, to: &mut dyn Write) -> Result<(), ApplyError> {
        let bytes = self.bytes.get(path).map_or(&[][..], Vec::as_slice);
        to.write_all(bytes).map_err(|source| ApplyError::Destination {
            doing: "write",
            path: path.as_str().into(),
            source,
        })
    }
}
