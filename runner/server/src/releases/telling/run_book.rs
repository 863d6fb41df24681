//! How an environment is released to, for the people who have to do it.

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::Deserialize;
use staith_model::{FleetRelease, Name, Protection};
use staith_releaser::fleet::record::run_book::{By, RunBook, Subject, run_book};

use super::{
    super::{environments::there, making::made, people::who_may},
    bad_query, frozen,
};
use crate::{
    api::{Answer, Caller, Permission, Problem},
    site::Site,
    triggers::unplanned,
};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/environments/{environment}/run-book", get(page))
}

/// For which release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Its number, the beginning of its digest, its package's version, or `latest`. The page is made from its `runner.toml`; from that of
    /// the newest release if none is named.
    release: Option<String>,
}

async fn page(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): Path<(String, String)>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Answer<RunBook>, Problem> {
    let (project, environment) = there(&caller, Permission::See, &project, &environment)?;
    let Query(wanted) = wanted.map_err(|bad| bad_query(&bad, "use release=RELEASE, or nothing"))?;
    let (pipeline, release) = subject(&site, &project, wanted.release.as_deref()).await?;
    let described = site.triggers.planner.environment(&pipeline, &environment).await.map_err(unplanned)?;
    let described = described.ok_or_else(|| {
        let what = format!("the release's runner.toml has no environment of machines `{environment}`");
        Problem::new(404, "unknown", what).with_remedy("name another release")
    })?;
    let markdown = run_book(&Subject {
        project: &project,
        environment: &described,
        protection: &protection(&site, &project, &environment).await?,
        release: release.as_ref(),
        plan: None,
        by: By::Server,
    });
    Ok(Answer(RunBook { environment, markdown }))
}

/// The pipeline file, and the release that the page is for.
async fn subject(
    site: &Site,
    project: &Name,
    release: Option<&str>,
) -> Result<(String, Option<FleetRelease>), Problem> {
    if let Some(text) = release {
        let (kept, frozen) = frozen(site, project, text).await?;
        return Ok((kept.material.pipeline, Some(frozen)));
    }
    let (kept, _) = made(site, project, "latest").await?;
    Ok((kept.material.pipeline, None))
}

/// What protects an environment, with whose code it takes: the server asks that before there is a deployment.
async fn protection(site: &Site, project: &Name, environment: &Name) -> Result<Protection, Problem> {
    let rules = site.store.rules(project, environment).await?.unwrap_or_default();
    let (tokens, now) = (site.store.tokens().await?, site.clock.unix_millis());
    let people = who_may(&tokens, Permission::Release, (project, environment), now);
    Ok(Protection { trust: Some(rules.trust), ..rules.protection(people) })
}
