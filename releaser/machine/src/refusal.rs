//! Refusals, made of what the system says.

use std::{io, path::Path};

use staith_model::Blame;

use crate::protocol::Asked;

/// What comes of something that may be refused.
pub(crate) type Outcome<T> = Result<T, Asked>;

/// A refusal for which the machine is to blame.
pub(crate) fn environment(why: impl Into<String>, remedy: impl Into<String>) -> Asked {
    Asked::Impossible { why: why.into(), remedy: remedy.into(), blame: Blame::Environment }
}

/// A refusal for which what is deployed is to blame.
pub(crate) fn project(why: impl Into<String>, remedy: impl Into<String>) -> Asked {
    Asked::Impossible { why: why.into(), remedy: remedy.into(), blame: Blame::Project }
}

/// A refusal that means a mistake in Staith, or somebody else at the other end.
pub(crate) fn ours(why: impl Into<String>) -> Asked {
    Asked::Impossible {
        why: why.into(),
        remedy: "deploy again; if it comes again, report it as a mistake in Staith".into(),
        blame: Blame::Us,
    }
}

/// What a file system's error means, for `map_err`.
pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Asked {
    let path = path.to_owned();
    move |error| told(what, &path, &error)
}

/// What a file system's error means.
pub(crate) fn told(what: &str, path: &Path, error: &io::Error) -> Asked {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => environment(
            format!("the disk that holds {path} is full; what was written of the release is removed again"),
            "make room on that disk or lower `keep_releases`, then deploy again",
        ),
        io::ErrorKind::PermissionDenied => environment(
            format!("can't {what} {path}: {error}"),
            "deploy as a user that may write to the environment's folder on this machine",
        ),
        _ => environment(
            format!("can't {what} {path}: {error}"),
            "see to the disk, then deploy again: what was done is kept",
        ),
    }
}
