//! How often, how fast and how well environments are released to.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::Deserialize;
use staith_model::{Digest, Name};
use staith_releaser::fleet::record::{entries::KnownRelease, figures::Measured};

use super::{
    super::named,
    bad_query,
    record::{facts_of, releases_of},
};
use crate::{
    api::{Answer, Caller, Permission, Problem, Scope},
    site::Site,
};

/// The longest span, in days.
const LONGEST: u64 = 3650;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/metrics", get(metrics))
}

/// Of what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The environment; all if none is named.
    environment: Option<Name>,
    /// Days until now that are looked at.
    #[serde(default = "a_month")]
    days: u64,
}

const fn a_month() -> u64 {
    30
}

async fn metrics(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Answer<Vec<Measured>>, Problem> {
    let project = named("project", &project)?;
    let wanted = wanted.map_err(|bad| bad_query(&bad, "use environment=NAME and days=DAYS"));
    let environment = wanted.as_ref().ok().and_then(|Query(wanted)| wanted.environment.as_ref());
    let scope = environment.map_or(Scope::Project(&project), |one| Scope::Environment(&project, one));
    caller.must(Permission::See, scope)?;
    let Query(Wanted { environment, days }) = wanted?;
    if !(1..=LONGEST).contains(&days) {
        return Err(Problem::new(422, "bad-span", format!("{days} is no span that is measured"))
            .with_remedy(format!("ask for 1 to {LONGEST} days")));
    }
    let all = match environment {
        Some(environment) => vec![environment],
        None => site.store.environments(&project).await?,
    };
    let mut known = releases_of(&site, &project).await?;
    with_commit_times(&site, &project, &mut known).await?;
    let (now, mut measured) = (site.clock.unix_millis(), Vec::new());
    for environment in all {
        let entries = site.store.ledger(&project, &environment).await?;
        measured.push(Measured::of(environment, &facts_of(&entries, &known, &project)?, days, now));
    }
    Ok(Answer(measured))
}

/// Puts in when commits were made, as far as it is known.
async fn with_commit_times(
    site: &Site,
    project: &Name,
    known: &mut BTreeMap<Digest, KnownRelease>,
) -> Result<(), Problem> {
    let unknown = known.values().filter(|one| one.committed_at.is_none());
    let unknown: BTreeSet<String> = unknown.filter_map(|one| one.commit.clone()).collect();
    let Some(origin) = site.store.project(project).await?.map(|project| project.origin) else {
        return Ok(());
    };
    let commits: Vec<String> = unknown.into_iter().collect();
    // Where nobody can read the repository now, the times of older releases' commits are not known: that is told as "-".
    let times = site.triggers.planner.committed_at(&origin, &commits).await.unwrap_or_default();
    for one in known.values_mut().filter(|one| one.committed_at.is_none()) {
        one.committed_at = one.commit.as_ref().and_then(|commit| times.get(commit).copied());
    }
    Ok(())
}
