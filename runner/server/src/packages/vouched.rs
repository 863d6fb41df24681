//! Whose code made what is read, and what is had by which name.
//!
//! A version is had whoever made it, and the answer says who. A channel promises more than that: whoever follows one takes what comes
//! without looking. So nothing is had by it that code of a protected branch or tag did not make and nobody who may publish stood for.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::Response,
};
use staith_model::{Digest, Name, service::Trust};
use staith_packager::{
    registry::{self, names::Tag},
    store::Store as PackageStore,
};
use tokio::task::spawn_blocking;

use super::{refused, unavailable};
use crate::site::Site;

/// How far the maker of a manifest is trusted: `fork`, `branch` or `protected`.
const TRUST: HeaderName = HeaderName::from_static(registry::TRUST);
/// The run that made it; none if a person pushed it.
const RUN: HeaderName = HeaderName::from_static("staith-run");
/// What the store says a manifest is.
const DIGEST: &str = "docker-content-digest";

/// The newest version of a package that is to be trusted: the highest release, or the highest pre-release if there is none.
pub(super) async fn latest(
    site: &Site,
    project: &Name,
    name: &str,
    store: Arc<PackageStore>,
) -> Result<Digest, Response> {
    let unknown = || refused(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "there is no such package");
    let name: Name = name.parse().map_err(|_| unknown())?;
    let listed = name.clone();
    let listing = spawn_blocking(move || store.list(&listed)).await;
    let all = listing.map_err(|bad| bad.to_string()).and_then(|all| all.map_err(|bad| bad.to_string()));
    let all = all.map_err(|why| {
        tracing::error!(%project, %name, why, "the versions of a package can't be listed");
        refused(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", "the versions of the package can't be listed")
    })?;
    if all.is_empty() {
        return Err(unknown());
    }
    let is_release = |version: &str| !version.split('+').next().unwrap_or_default().contains('-');
    // They come from the lowest to the highest.
    let (releases, others): (Vec<_>, Vec<_>) =
        all.iter().rev().partition(|found| is_release(found.package.version.as_str()));
    for found in releases.into_iter().chain(others) {
        let digest = found.manifest().digest;
        if trust(site, project, &name, &digest).await?.0 == Trust::Protected {
            return Ok(digest);
        }
    }
    Err(low(Tag::LATEST))
}

/// Says in the headers of an answer whose code made a manifest.
///
/// # Errors
/// The answer is for a channel, which has nothing to do with code that is less trusted.
pub(super) async fn told(
    site: &Site,
    project: &Name,
    (name, which): (&str, &str),
    headers: &mut HeaderMap,
) -> Result<(), Response> {
    let digest = headers.get(DIGEST).and_then(|digest| digest.to_str().ok()?.parse::<Digest>().ok());
    let (trust, run) = match (digest, name.parse::<Name>()) {
        (Some(digest), Ok(name)) => trust(site, project, &name, &digest).await?,
        // What nobody knows is nobody's.
        _ => (Trust::Fork, None),
    };
    if trust < Trust::Protected && is_channel(which) {
        return Err(low(which));
    }
    headers.insert(TRUST, HeaderValue::from_static(trust.as_str()));
    if let Some(run) = run.and_then(|run| HeaderValue::try_from(run).ok()) {
        headers.insert(RUN, run);
    }
    Ok(())
}

/// Neither a version nor a digest.
fn is_channel(which: &str) -> bool {
    which.parse::<Digest>().is_err() && !which.parse::<Tag>().is_ok_and(|tag| tag.reads_as_version())
}

async fn trust(
    site: &Site,
    project: &Name,
    name: &Name,
    digest: &Digest,
) -> Result<(Trust, Option<String>), Response> {
    let origin = site.store.package_origin(project, name, digest).await;
    let origin = origin.map_err(|error| unavailable(&error.into()))?;
    Ok(origin.map_or((Trust::Fork, None), |origin| (origin.trust, origin.run.map(|run| run.to_string()))))
}

fn low(which: &str) -> Response {
    let message = format!(
        "`{}` is for what code of protected branches and tags has made, or who may publish stands for, and there is none; \
         name a version, or let a protected branch build one",
        which.escape_debug()
    );
    refused(StatusCode::FORBIDDEN, "DENIED", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_neither_versions_nor_digests() {
        let digest = Digest::of(b"").to_string();
        for (which, expected) in [
            ("stable", true),
            ("latest", true),
            ("1.4.0", false),
            ("1.0-rc.1", false),
            (digest.as_str(), false),
        ] {
            assert_eq!(is_channel(which), expected, "{which}");
        }
    }
}
