//! Why an object of git-lfs can't be had.

use std::io;

use super::super::FetchFailure;
use crate::addresses::Refused;

/// Why a server did not give an object. Texts that come from the other side are shortened, and control characters in them are
/// escaped.
#[derive(Debug, thiserror::Error)]
pub enum LfsFailure {
    /// Nobody says which server has it.
    #[error("it is not on this machine, and the repository was cloned from no server that could be asked")]
    NoServer,
    /// The address that the commit or a configuration names can't be used.
    #[error("`lfs.url` is `{url}`, which can't be used: {why}")]
    Url {
        /// The address, without credentials.
        url: String,
        /// Why not.
        why: String,
    },
    /// A commit or a server named an address that is not for them to name.
    #[error(transparent)]
    NotAllowed(#[from] Refused),
    /// The server has no git-lfs, or has none for this repository.
    #[error("`{host}` does not answer as a server of git-lfs (status {status})")]
    NoLfs {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
    /// 401 or 403.
    #[error("`{host}` does not give it to everybody (status {status})")]
    Denied {
        /// The host.
        host: String,
        /// The status.
        status: u16,
        /// Why nobody was asked for credentials, where that is so.
        unasked: bool,
    },
    /// The server knows of no such object.
    #[error("`{host}` does not have it: {said}")]
    Missing {
        /// The host.
        host: String,
        /// What it said.
        said: String,
    },
    /// The server gave other bytes than those.
    #[error("`{host}` gave other content than the pointer says")]
    Wrong {
        /// The host.
        host: String,
    },
    /// The server says what is not understood.
    #[error("`{host}` answered what is not understood: {why}")]
    NotUnderstood {
        /// The host.
        host: String,
        /// What.
        why: String,
    },
    /// It could not be reached, or broke off.
    #[error(transparent)]
    Fetch(#[from] FetchFailure),
    /// It could not be kept.
    #[error("it could not be kept: {0}")]
    Disk(io::Error),
}

impl LfsFailure {
    /// What to do about it, in a sentence for people.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoServer => "Run `git lfs fetch` there, or build from the address of the repository's server.",
            Self::Url { .. } => "Correct `lfs.url` in .lfsconfig, or set it with `git config lfs.url` in your clone.",
            Self::NotAllowed(refused) => return refused.remedy(),
            Self::NoLfs { .. } => {
                "Check that the server has git-lfs switched on for this repository, or name the one that has with `lfs.url` \
                 in .lfsconfig."
            }
            Self::Denied { unasked: true, host, .. } => {
                return format!(
                    "Credentials do not go to a server that a commit names; if you trust it, start Staith with \
                     STAITH_ALLOW_HOSTS={host}, and git's credential helpers are asked."
                );
            }
            Self::Denied { .. } => {
                "Give credentials that may read it: git's credential helper, https://user:token@host/path, or ssh."
            }
            Self::Missing { .. } | Self::Wrong { .. } => {
                "Whoever has the file runs `git lfs push --all` from there; until then it can't be built."
            }
            Self::NotUnderstood { .. } => "Check that `git lfs fetch` works with this server.",
            Self::Fetch(failure) => return failure.remedy(),
            Self::Disk(_) => "Free some space, or see to the permissions of Staith's home.",
        }
        .to_owned()
    }

    /// Whether it may go better at once: connections break off, servers are busy, and addresses that they give grow old.
    pub(super) const fn may_pass(&self) -> bool {
        match self {
            Self::Fetch(failure) => matches!(
                failure,
                FetchFailure::NoConnection { .. }
                    | FetchFailure::Stalled { .. }
                    | FetchFailure::Status { .. }
            ),
            _ => false,
        }
    }
}
