//! Packages from one place to another: from a store to a store or a registry, and from either into files.

mod files;
mod pull;
mod push;

use std::{io, path::PathBuf};

use tokio_util::sync::CancellationToken;

use super::{
    client::{ClientError, Remote},
    shelf::ShelfError,
};
use crate::store::{Store, StoreError};

pub use pull::{Pulled, pull};
pub use push::{Pushed, push};

/// A place that packages go to and come from.
#[derive(Debug)]
pub enum Place {
    /// A store of ours, wherever its bytes are.
    Store(Store),
    /// A registry that others run.
    Registry(Remote),
}

/// Hears which file is under way, and how many bytes of how many of it are through.
pub type Heard<'a> = dyn Fn(&str, u64, u64) + Send + Sync + 'a;

/// Why a package is not where it should be now.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A store can't do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store refuses what it is given.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// A registry can't do it, or does not want to.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no such package in a registry.
    #[error("{place} has no {wanted}; {known}")]
    Unknown {
        /// The registry.
        place: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// Something is there, and is no package.
    #[error(
        "{wanted} in {place} is not a package: {why}; only what Staith pushed can be pulled with it; use skopeo or oras for anything else"
    )]
    NoPackage {
        /// The registry.
        place: String,
        /// What was asked for.
        wanted: String,
        /// What it is instead.
        why: String,
    },
    /// A file that comes with a package has a name that is none.
    #[error(
        "a file that comes with the package is called `{0}`, which is not the name of a file; don't use the package"
    )]
    Title(String),
    /// Another file is in the way.
    #[error("{} is there and is another file; it may have been edited, so it stays: move it away, or pull to another directory", .0.display())]
    InTheWay(PathBuf),
    /// Somebody asked to stop.
    #[error("stopped as asked")]
    Stopped,
    /// A file can't be read or written.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl TransferError {
    /// Whether it ended because somebody asked for that.
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Stopped | Self::Client(ClientError::Stopped))
    }
}

/// A place to stop at.
fn go_on(stop: &CancellationToken) -> Result<(), TransferError> {
    if stop.is_cancelled() { Err(TransferError::Stopped) } else { Ok(()) }
}
