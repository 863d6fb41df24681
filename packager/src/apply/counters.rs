//! How many changes: Web Deploy's counters, and its words for them.

use std::fmt;

use serde::Serialize;

/// What an apply changes, as Web Deploy counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Files, directories and links that were not there.
    pub added: u64,
    /// Files, directories and links that are gone.
    pub deleted: u64,
    /// Files and links that were replaced.
    pub updated: u64,
    /// Always 0: Web Deploy counts parameters of servers here, which a directory has none of.
    pub parameters_changed: u64,
    /// Lengths of the files that were added or replaced.
    pub bytes_copied: u64,
}

impl Counters {
    /// All changes.
    pub fn total(&self) -> u64 {
        self.added + self.deleted + self.updated + self.parameters_changed
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Total changes: {} ({} added, {} deleted, {} updated, {} parameters changed, {} bytes copied)",
            self.total(),
            self.added,
            self.deleted,
            self.updated,
            self.parameters_changed,
            self.bytes_copied
        )
    }
}
