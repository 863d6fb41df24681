//! How often, how fast and how well environments are released to.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::Deserialize;
use staith_model::{
    Digest, Name, Version,
    service::{LedgerEntry, ReleaseSeen},
};
use staith_releaser::fleet::record::{
    DeploymentFact,
    entries::{KnownRelease, facts},
    figures::Measured,
};

use super::{super::named, bad_query};
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
    let known = known(&site, &project).await?;
    let (now, mut measured) = (site.clock.unix_millis(), Vec::new());
    for environment in all {
        let entries = site.store.ledger(&project, &environment).await?;
        measured.push(Measured::of(environment, &facts_of(&entries, known.clone(), &project)?, days, now));
    }
    Ok(Answer(measured))
}

/// The project's releases by their digests, with the times of their commits as far as they are known.
async fn known(site: &Site, project: &Name) -> Result<BTreeMap<Digest, KnownRelease>, Problem> {
    let mut known: BTreeMap<Digest, KnownRelease> = BTreeMap::new();
    for kept in site.store.releases(project).await? {
        let digest = kept.seen.digest;
        known.extend(digest.map(|digest| (digest, as_known(kept.seen))));
    }
    let unknown = known.values().filter(|one| one.committed_at.is_none());
    let unknown: BTreeSet<String> = unknown.filter_map(|one| one.commit.clone()).collect();
    let Some(origin) = site.store.project(project).await?.map(|project| project.origin) else {
        return Ok(known);
    };
    let commits: Vec<String> = unknown.into_iter().collect();
    // Where nobody can read the repository now, the times of older releases' commits are not known: that is told as "-".
    let times = site.triggers.planner.committed_at(&origin, &commits).await.unwrap_or_default();
    for one in known.values_mut().filter(|one| one.committed_at.is_none()) {
        one.committed_at = one.commit.as_ref().and_then(|commit| times.get(commit).copied());
    }
    Ok(known)
}

fn as_known(seen: ReleaseSeen) -> KnownRelease {
    KnownRelease {
        package: (seen.package, seen.version),
        commit: seen.source.commit,
        committed_at: seen.source.committed_at,
        run: Some(seen.run),
    }
}

/// What the copy of a ledger says. Of a release that was deployed before its project was removed and added again, only that is known.
fn facts_of(
    entries: &[LedgerEntry],
    mut known: BTreeMap<Digest, KnownRelease>,
    project: &Name,
) -> Result<Vec<DeploymentFact>, Problem> {
    loop {
        let missing = match facts(entries.iter().map(|entry| (entry.at, &entry.event)), &known) {
            Ok(facts) => return Ok(facts),
            Err(missing) => missing,
        };
        // Figures say nothing of packages and their versions.
        let version: Version = "0.0.0"
            .parse()
            .map_err(|bad: staith_model::NotAVersion| Problem::new(500, "internal", bad.to_string()))?;
        let package = (project.clone(), version);
        known.insert(missing, KnownRelease { package, commit: None, committed_at: None, run: None });
    }
}
