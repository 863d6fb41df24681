//! What can go wrong with a ledger, and what to do about it.

use std::{io, path::PathBuf, time::Duration};

use super::verify::Flaw;

/// Why a ledger could not be read or added to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system said no. What was to be appended is not recorded.
    #[error("can't {what} the ledger {}: {source}; see to its permissions and to the room on its disk", path.display())]
    Io {
        /// The attempt.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has it and does not let go.
    #[error(
        "the ledger {} has been held by another process for {} s; see `fuser {}` and whether that process is stopped",
        path.display(), waited.as_secs(), path.display()
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// How long it was waited.
        waited: Duration,
    },
    /// It is not what it was when it was written. Nothing is appended to it, and nothing is concluded from it.
    #[error(
        "the ledger {} is damaged: {flaw}; `staith audit verify` tells all of it; restore the file from a copy, or keep it as \
         evidence and begin another", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that is wrong.
        flaw: Flaw,
    },
    /// An entry is whole, and nobody here knows what it says.
    #[error(
        "entry {position} of the ledger {} says what this version of Staith does not know ({why}); use the version that wrote it, \
         or a newer one", path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The entry.
        position: u64,
        /// What is not known.
        why: String,
    },
    /// An event can't be written so that it can be read again. That is a bug.
    #[error("an event can't be recorded in the ledger {}: {why}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody else has appended since the ledger was read.
    #[error(
        "the ledger {} has {found} entries where {expected} were read: another process has appended; read it again and decide again",
        path.display()
    )]
    Moved {
        /// The file.
        path: PathBuf,
        /// The position up to which it was read.
        expected: u64,
        /// The position up to which it goes.
        found: u64,
    },
}

impl LedgerError {
    pub(super) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
