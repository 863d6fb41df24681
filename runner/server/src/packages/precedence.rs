//! Who goes before whom where two want one version.
//!
//! A version never changes its meaning, but for this: one that only code of a branch gave a meaning makes way for what code of a protected
//! branch or tag packs, or who may publish pushes. Else whoever may push a branch could take every version that is to come.

use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use staith_model::{Digest, Version, service::Trust};
use staith_packager::store::{Store as PackageStore, StoreError};
use tokio::task::spawn_blocking;

use super::{refused, unavailable};
use crate::{
    site::Site,
    store::{Pushed, Yielded},
};

/// Frees those of the versions that less trusted code has under other manifests.
///
/// # Errors
/// One of them is kept, by a pin or because somebody is publishing it right now; or the store can't be read or written.
pub(super) async fn make_way(
    site: &Site,
    store: &Arc<PackageStore>,
    pushed: &Pushed,
    versions: Vec<Version>,
) -> Result<(), Response> {
    for version in versions {
        if let Some(had) = had_by_less(site, store, pushed, &version).await? {
            vacate(site, store, pushed, version, had).await?;
        }
    }
    Ok(())
}

/// The other manifest that a version means, if it is known to be of less trusted code.
async fn had_by_less(
    site: &Site,
    store: &Arc<PackageStore>,
    pushed: &Pushed,
    version: &Version,
) -> Result<Option<(Digest, Trust)>, Response> {
    let (shelf, name, sought) = (Arc::clone(store), pushed.name.clone(), version.clone());
    let found = in_store(move || shelf.find(&name, &sought)).await?;
    let had = found.map(|found| found.manifest().digest).filter(|had| *had != pushed.manifest);
    let Some(had) = had else { return Ok(None) };
    let origin = site.store.package_origin(&pushed.project, &pushed.name, &had).await;
    let origin = origin.map_err(|error| unavailable(&error.into()))?;
    Ok(origin.filter(|origin| origin.trust < pushed.trust).map(|origin| (had, origin.trust)))
}

async fn vacate(
    site: &Site,
    store: &Arc<PackageStore>,
    pushed: &Pushed,
    version: Version,
    (had, trust): (Digest, Trust),
) -> Result<(), Response> {
    // Written down first: a version that is free and means nothing yet is explained by it.
    let yielded = Yielded {
        project: pushed.project.clone(),
        name: pushed.name.clone(),
        version: version.clone(),
        had,
        trust,
        to: pushed.manifest,
        by: pushed.by.clone(),
    };
    let noted = site.store.note_yield(yielded, site.clock.unix_millis()).await;
    noted.map_err(|error| unavailable(&error.into()))?;
    let (shelf, name) = (Arc::clone(store), pushed.name.clone());
    in_store(move || shelf.vacate(&name, &version, &had)).await.map(drop)
}

async fn in_store<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Response> {
    let acted = spawn_blocking(act).await;
    let unsaid = |why: String| {
        tracing::error!(why, "whether a version is free can't be found out");
        refused(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", "whether the version is free can't be found out")
    };
    acted.map_err(|bad| unsaid(bad.to_string()))?.map_err(|error| match error {
        StoreError::Kept { .. } => refused(StatusCode::CONFLICT, "DENIED", &error.to_string()),
        other => unsaid(other.to_string()),
    })
}
