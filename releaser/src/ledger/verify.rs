//! Whether a ledger is what was written, offline.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use serde::Serialize;
use staith_model::Digest;
use staith_packager::seal::key::PublicKey;

use super::{
    chain::walk,
    checkpoint::{self, Checkpoint},
    entry::{Head, beginning},
    error::LedgerError,
    file::Held,
    torn,
};

/// What is wrong with a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flaw {
    /// The line of the ledger's file, from 1; `None` where it is about something that is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What it is.
    #[serde(flatten)]
    pub kind: FlawKind,
}

/// The kinds of things that can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "flaw")]
pub enum FlawKind {
    /// The bytes of a line are not those that were written.
    Altered {
        /// The place of the entry that should be there.
        position: u64,
        /// How that shows.
        why: String,
    },
    /// Entries are missing.
    Removed {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// An entry stands where another should.
    Reordered {
        /// Whose place it is.
        expected: u64,
        /// Who stands there.
        found: u64,
    },
    /// An entry does not continue the one before it, though both are whole: one of them was put in another's place.
    Replaced {
        /// The second of them.
        position: u64,
    },
    /// The chain begins as that of something else.
    OtherLedger {
        /// What it should be about.
        about: String,
    },
    /// A write was interrupted; nobody was told that what is in it was recorded. The next append sets it aside.
    Torn {
        /// Bytes of it that are there.
        bytes: u64,
    },
    /// A head that somebody remembers is not in the chain: entries were removed at its end, or it was written anew.
    HeadMissing {
        /// The hash that is remembered.
        hash: Digest,
    },
    /// A head that was signed is not in the chain: entries were removed at its end, or it was written anew.
    SignedHeadMissing {
        /// How many entries there were when it was signed.
        position: u64,
    },
    /// A signed head can't be read, is about another ledger, or is signed by nobody who is trusted here.
    BadCheckpoint {
        /// The line of the file of signed heads, from 1.
        checkpoint: u64,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for FlawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { position, why } => write!(f, "entry {position} was altered: {why}"),
            Self::Removed { from, to } if from == to => write!(f, "entry {from} was removed"),
            Self::Removed { from, to } => write!(f, "entries {from} to {to} were removed"),
            Self::Reordered { expected, found } => {
                write!(f, "entry {found} stands where entry {expected} should")
            }
            Self::Replaced { position } => {
                write!(f, "entry {position} does not continue the one before it: one of them was replaced")
            }
            Self::OtherLedger { about } => write!(f, "it does not begin as the ledger of {about}"),
            Self::Torn { bytes } => {
                write!(f, "its last write was interrupted after {bytes} bytes, and was not acknowledged")
            }
            Self::HeadMissing { hash } => {
                write!(
                    f,
                    "the remembered head {hash} is not in it: its end was removed, or it was written anew"
                )
            }
            Self::SignedHeadMissing { position } => {
                write!(
                    f,
                    "the head that was signed at entry {position} is not in it: its end was removed, or it was written anew"
                )
            }
            Self::BadCheckpoint { checkpoint, why } => {
                write!(f, "signed head {checkpoint} is not sound: {why}")
            }
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.map_or(Ok(()), |line| write!(f, "line {line}: "))?;
        self.kind.fmt(f)
    }
}

/// What a look at all of a ledger came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The last entry that could be read: what to remember, somewhere else.
    pub head: Head,
    /// What is wrong, in the order of the file; empty when all is as it was written.
    pub flaws: Vec<Flaw>,
    /// The signed heads that are in the chain.
    pub checkpoints: Vec<Checkpoint>,
    /// Interrupted writes that were set aside. Nobody was told that they were recorded.
    pub set_aside: Vec<PathBuf>,
}

impl Verification {
    /// Whether the ledger is whole.
    pub const fn is_whole(&self) -> bool {
        self.flaws.is_empty()
    }
}

/// Looks at all of it.
pub(super) fn verify(
    path: &std::path::Path,
    about: &str,
    keys: &[PublicKey],
    remembered: Option<&Digest>,
) -> Result<Verification, LedgerError> {
    let signed = checkpoint::read(path, about, keys)?;
    let wanted: BTreeMap<u64, ()> = signed.sound.iter().map(|one| (one.head.position, ())).collect();
    let mut there = BTreeMap::new();
    let mut is_remembered = remembered.is_none_or(|hash| *hash == beginning(about));
    let (head, mut flaws) = match Held::shared(path)? {
        None => (Head { position: 0, hash: beginning(about) }, Vec::new()),
        Some(held) => {
            let walked = walk(&held, about, |entry| {
                is_remembered |= remembered == Some(&entry.hash);
                if wanted.contains_key(&entry.position) {
                    there.insert(entry.position, entry.hash);
                }
            })?;
            (walked.head, walked.flaws)
        }
    };
    let nowhere = |kind| Flaw { line: None, kind };
    if let (Some(hash), false) = (remembered, is_remembered) {
        flaws.push(nowhere(FlawKind::HeadMissing { hash: *hash }));
    }
    flaws.extend(signed.unsound.into_iter().map(nowhere));
    let (checkpoints, lost): (Vec<_>, Vec<_>) =
        signed.sound.into_iter().partition(|one| there.get(&one.head.position) == Some(&one.head.hash));
    let lost = lost.into_iter().map(|one| FlawKind::SignedHeadMissing { position: one.head.position });
    flaws.extend(lost.map(nowhere));
    let set_aside = torn::set_aside(path).map_err(LedgerError::io("look beside", path))?;
    Ok(Verification { head, flaws, checkpoints, set_aside })
}

/// The bytes of a file; `None` where there is none.
pub(super) fn bytes_of(path: &std::path::Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some).map_err(LedgerError::io("read the signed heads of", path)),
    }
}
