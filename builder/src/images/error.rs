//! Why an image can't be had.

use std::{io, path::Path};

use super::archive::Flaw;
use crate::{
    engine::EngineError,
    upkeep::{NoRoom, is_over_budget},
};

/// Why an image can't be had. What it was asked for by is added by whoever asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    /// The pipeline's text names none, or the place is not allowed, or nothing is there.
    #[error("{why}")]
    Missing { why: String, remedy: String },
    /// What came is not a sound image.
    #[error("{what}: {why}")]
    Unsound { what: String, why: String },
    /// This machine's own files refused.
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
}

impl ImageError {
    pub(super) fn missing(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Missing { why: why.into(), remedy: remedy.into() }
    }

    pub(super) fn unsound(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsound { what: what.into(), why: why.into() }
    }

    /// A flaw in an archive, or the file system's refusal while it was read.
    pub(super) fn of_flaw(what: impl Into<String>, flaw: Flaw) -> Self {
        match flaw {
            Flaw::Io(source) => Self::Io { doing: what.into(), source },
            other => Self::unsound(what, other.to_string()),
        }
    }

    /// As engines say it, of the image `reference`.
    pub(super) fn about(self, reference: &str) -> EngineError {
        let remedy = match &self {
            Self::Missing { remedy, .. } => remedy.clone(),
            Self::Unsound { .. } => {
                "make the image again with its usual tool (docker, podman, buildah), or use another"
                    .to_owned()
            }
            Self::Io { source, .. } if is_over_budget(source) => NoRoom::REMEDY.to_owned(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room, or set STAITH_HOME to a directory on another disk".to_owned()
            }
            Self::Io { .. } => {
                "look at the directory that is named; Staith keeps images below STAITH_HOME".to_owned()
            }
        };
        EngineError::ImageMissing { reference: reference.to_owned(), why: tamed(&self.to_string()), remedy }
    }
}

/// What others wrote, fit to be shown: no control characters, not too long.
pub(super) fn tamed(text: &str) -> String {
    const LONGEST: usize = 1_000;
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Says what was being done when the file system refused.
pub(super) fn at<E: Into<io::Error>>(doing: &str, path: &Path) -> impl FnOnce(E) -> ImageError {
    let doing = format!("{doing} {}", path.display());
    move |error| ImageError::Io { doing, source: error.into() }
}
