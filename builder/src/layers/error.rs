//! What can go wrong with layers.

use std::{
    io,
    path::{Path, PathBuf},
};

use staith_model::{Digest, Name, RelPath};

use crate::{
    source::BadGlob,
    upkeep::{NoRoom, is_over_budget},
};

/// Why a layer could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file system refused.
    #[error("{doing} `{}` failed: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A glob is no glob.
    #[error(transparent)]
    BadGlob(#[from] BadGlob),
    /// The step left nothing that an output glob matches.
    #[error("the step left nothing that its output `{glob}` matches")]
    NothingMatched {
        /// The glob, as the pipeline says it.
        glob: String,
        /// What the step did leave and is called similarly, or, failing that, some of what it left.
        near: Vec<String>,
    },
    /// An output's name or a link's target is not UTF-8.
    #[error("the output `{path}` has a name or a link target that is not UTF-8")]
    NotUtf8 {
        /// The path, with its odd bytes escaped.
        path: String,
    },
    /// A single file, or all together, are larger than what is taken.
    #[error("`{path}` holds {bytes} bytes, and at most {limit} are taken")]
    TooLarge {
        /// The file, or the glob.
        path: String,
        /// What was found.
        bytes: u64,
        /// What is taken.
        limit: u64,
    },
    /// Two steps that may run in either order wrote the same path differently.
    #[error("the steps `{first}` and `{second}` both write `{path}`, with different content")]
    Collision {
        /// What both wrote.
        path: RelPath,
        /// One of the steps.
        first: Name,
        /// The other.
        second: Name,
    },
    /// A layer is not in the store.
    #[error("the layer {0} is not in the store")]
    Missing(Digest),
    /// What is recorded about a layer can't be read.
    #[error("the record of layer {digest} can't be read: {why}")]
    Damaged {
        /// The layer.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
}

impl LayerError {
    /// Whether the project (its pipeline or what its steps write) is what has to change, and not this machine.
    pub const fn is_the_projects(&self) -> bool {
        match self {
            Self::BadGlob(_)
            | Self::NothingMatched { .. }
            | Self::NotUtf8 { .. }
            | Self::TooLarge { .. }
            | Self::Collision { .. } => true,
            Self::Io { .. } | Self::Missing(_) | Self::Damaged { .. } => false,
        }
    }

    /// What to do about it, in a sentence for people.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if is_over_budget(source) => Some(NoRoom::REMEDY.to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("Free some space on the file system of the store.".to_owned())
            }
            Self::Io { .. } | Self::BadGlob(_) => None,
            Self::NothingMatched { near, .. } if near.is_empty() => {
                Some("The step changed no file at all: check its command, or remove the output.".to_owned())
            }
            Self::NothingMatched { near, .. } => {
                Some(format!("It did leave {}: correct the glob or the command.", quoted(near)))
            }
            Self::NotUtf8 { .. } => {
                Some("Rename it, or narrow the outputs so that they do not include it.".to_owned())
            }
            Self::TooLarge { .. } => Some("Narrow the glob, or make the step write less.".to_owned()),
            Self::Collision { first, second, .. } => Some(format!(
                "Let one of the steps need the other (`needs = [\"{first}\"]` in `{second}`), or let them write to \
                 different paths."
            )),
            Self::Missing(_) | Self::Damaged { .. } => Some(
                "Run again: the step that makes it is then run, and what is damaged is replaced.".to_owned(),
            ),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Says what was being done when the file system refused.
pub(super) fn at<'a, E: Into<io::Error>>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(E) -> LayerError + 'a {
    move |error| LayerError::Io { doing, path: path.to_owned(), source: error.into() }
}
