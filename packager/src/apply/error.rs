//! Why an apply stopped. Unless an error says otherwise, the destination is as it was.

use std::{io, path::PathBuf};

use staith_model::RelPath;

use super::{plan::PlanError, staging::WORK};
use crate::web_deploy::ReadError;

/// What can stop an apply.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// There can be no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The package is damaged, or not what it says.
    #[error(transparent)]
    Package(#[from] ReadError),
    /// The system refuses something at the destination.
    #[error("can't {doing} {path}: {source}")]
    Destination {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another apply is at work there.
    #[error("another apply is changing {0}; wait for it to end")]
    Busy(PathBuf),
    /// The destination is a file, or something else that holds nothing.
    #[error("{0} is no directory; give the directory that the package's content belongs in")]
    NotADirectory(PathBuf),
    /// Where Staith keeps its unfinished files, there is something else.
    #[error("{0} is not a directory of Staith's; remove it: Staith keeps unfinished files under that name")]
    WorkTaken(PathBuf),
    /// The package has a file of a name that Staith needs for itself.
    #[error(
        "the package holds `{WORK}`, the name under which unfinished files are kept at a destination; rename it"
    )]
    Reserved,
    /// A directory within the destination is a mount point.
    #[error(
        "`{0}` lies on another file system than the destination, so files can't be put there in one step; \
         apply to it by itself, or skip it"
    )]
    OtherFileSystem(RelPath),
    /// A file came out otherwise than it was compared, so one of the two is wrong.
    #[error("`{0}` has other bytes now than when it was compared; apply again")]
    Unstable(RelPath),
    /// A parameter can't be applied to a file.
    #[error("a parameter can't be applied to `{file}`: {why}")]
    Parameter {
        /// The file's source path.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// Somebody asked to stop.
    #[error("stopped as asked; the destination is as it was")]
    Stopped,
    /// A change failed, and those before it were taken back.
    #[error("{0}; what had been changed before was taken back")]
    TakenBack(Box<ApplyError>),
    /// A change failed, and so did taking back those before it.
    #[error(
        "{0}; what had been changed before could not all be taken back ({1}); apply again, or restore a backup"
    )]
    HalfDone(Box<ApplyError>, Box<ApplyError>),
    /// The backup could not be made, so nothing was changed.
    #[error("no backup could be made, so nothing was changed: {0}")]
    Backup(#[source] Box<ApplyError>),
    /// Backups would be part of what is backed up.
    #[error(
        "{0} lies in the destination, so it would be deployed and deleted with it; give another directory"
    )]
    BackupInside(PathBuf),
    /// A snapshot can't be used.
    #[error("{path} can't be restored: {why}")]
    Snapshot {
        /// The snapshot.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}
