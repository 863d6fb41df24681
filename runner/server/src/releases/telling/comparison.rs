//! What two releases differ in.

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::Deserialize;
use staith_model::{Digest, Manifest, Name};
use staith_packager::{store::Store as PackageStore, web_deploy::PackageReader};
use staith_releaser::fleet::diff::Comparison;
use tokio::task::spawn_blocking;

use super::{super::named, bad_query, frozen};
use crate::{
    api::{Answer, Caller, Permission, Problem, Scope},
    site::Site,
};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/comparison", get(compare))
}

/// Which two: each by its number, the beginning of its digest, its package's version, or as `latest`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Two {
    /// The first.
    pub(super) from: String,
    /// The second.
    #[serde(default = "latest")]
    pub(super) to: String,
}

fn latest() -> String {
    "latest".to_owned()
}

pub(super) const TWO: &str = "use from=RELEASE and to=RELEASE";

async fn compare(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    two: Result<Query<Two>, QueryRejection>,
) -> Result<Answer<Comparison>, Problem> {
    let project = named("project", &project)?;
    caller.must(Permission::See, Scope::Project(&project))?;
    let Query(two) = two.map_err(|bad| bad_query(&bad, TWO))?;
    let (_, from) = frozen(&site, &project, &two.from).await?;
    let (_, to) = frozen(&site, &project, &two.to).await?;
    let before = contents(&site, &project, from.package.digest).await;
    let after = contents(&site, &project, to.package.digest).await;
    Ok(Answer(Comparison::of(&from, &to, (before.as_ref(), after.as_ref()))))
}

/// What a package of the project holds. A release outlives its package: then files are not compared, which is said.
async fn contents(site: &Site, project: &Name, package: Digest) -> Option<Manifest> {
    let place = site.packages.place(project);
    let reading = spawn_blocking(move || {
        let blob = PackageStore::open(&place).and_then(|store| store.get(&package));
        let blob = blob.map_err(|gone| gone.to_string())?;
        let reader = PackageReader::of_file(blob.file, &blob.path).map_err(|bad| bad.to_string())?;
        Ok::<_, String>(reader.manifest().cloned())
    });
    reading.await.map_err(|panicked| panicked.to_string()).flatten().unwrap_or_else(|why| {
        tracing::warn!(%project, %package, why, "a package is not compared");
        None
    })
}
