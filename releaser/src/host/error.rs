//! What can go wrong at a host, whose fault that is, and what to do about it.

use std::{io, path::PathBuf};

use staith_model::{Blame, Digest};

use crate::keeper::Pool;

/// Why a host could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The file system said no.
    #[error("can't {what} {path}: {source}", path = path.display())]
    Io {
        /// The attempt.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no room for the release.
    #[error("the disk that holds {path} is full; the release has {bytes} bytes of files and none of it was left behind", path = path.display())]
    Full {
        /// Where room is missing.
        path: PathBuf,
        /// Bytes of the release's files.
        bytes: u64,
    },
    /// An entry of the package must not be unpacked.
    #[error("the package's entry `{entry}` was refused: {why}; nothing of the package was unpacked")]
    Unsafe {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The package does not hold what it promises.
    #[error("the package does not hold what the release was made of: {what}")]
    NotAsPromised {
        /// What differs.
        what: String,
    },
    /// It was stopped half-way on request.
    #[error("it was cancelled")]
    Cancelled,
    /// The release's files are not there.
    #[error("the files of release {release} are not on this host")]
    NotStaged {
        /// The release.
        release: Digest,
    },
    /// Another deployment has taken over.
    #[error("another deployment has taken over this environment: {why}")]
    Fenced {
        /// What the target said.
        why: String,
    },
    /// Contact with what supervises the pools was lost; what was asked may or may not have been done.
    #[error("lost contact with the keeper while it was to {what}: {why}")]
    Lost {
        /// What it was asked.
        what: String,
        /// How contact was lost.
        why: String,
    },
    /// What supervises the pools said no.
    #[error("{who} can't {what}: {why}", who = pool.map_or_else(|| "the keeper".to_owned(), |pool| format!("pool {pool}")))]
    Refused {
        /// The pool that it was about.
        pool: Option<Pool>,
        /// What it was asked.
        what: String,
        /// Why not.
        why: String,
    },
}

impl HostError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// Whether the disk had no room, as far as the error tells.
    pub(super) fn is_full(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether looking again and asking again may help: the answer was lost, not negative.
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// Whose fault it is.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Unsafe { .. } | Self::NotAsPromised { .. } => Blame::Project,
            _ => Blame::Environment,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "give the user that deploys write access to the environment's folder".into()
            }
            Self::Io { .. } => "see to the disk, then deploy again: what was done is kept".into(),
            Self::Full { path, .. } => {
                format!("free space below {} or lower `keep_releases`, then deploy again", path.display())
            }
            Self::Unsafe { .. } => {
                "leave that entry out of the package, or make the link point to something inside it".into()
            }
            Self::NotAsPromised { .. } => "make the package again; this file of it is damaged".into(),
            Self::NotStaged { .. } => "deploy that release's package again".into(),
            Self::Fenced { .. } => "look at the environment's status before deploying again".into(),
            Self::Lost { .. } => "deploy again: it looks at what is there and goes on".into(),
            Self::Cancelled | Self::Refused { .. } => return None,
        };
        Some(text)
    }
}
