//! What is new in a release.

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use staith_model::service::ReleaseSeen;
use staith_releaser::fleet::record::notes::{ReleaseNotes, Side};

use super::{
    super::{making::made, named},
    bad_query,
    comparison::{TWO, Two},
};
use crate::{
    api::{Answer, Caller, Permission, Problem, Scope},
    site::Site,
    triggers::unplanned,
};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/notes", get(notes))
}

async fn notes(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    two: Result<Query<Two>, QueryRejection>,
) -> Result<Answer<ReleaseNotes>, Problem> {
    let project = named("project", &project)?;
    caller.must(Permission::See, Scope::Project(&project))?;
    let Query(two) = two.map_err(|bad| bad_query(&bad, TWO))?;
    let (from, _) = made(&site, &project, &two.from).await?;
    let (to, _) = made(&site, &project, &two.to).await?;
    let origin = site.store.project(&project).await?.map(|project| project.origin);
    let origin = origin.ok_or_else(|| Problem::new(404, "unknown", "the project was removed"))?;
    let commits = (commit_of(&from.seen)?, commit_of(&to.seen)?);
    let found = site.triggers.planner.commits(&origin, commits.0, commits.1).await.map_err(unplanned)?;
    Ok(Answer(ReleaseNotes::of(&side(&from.seen), &side(&to.seen), found)))
}

fn side(seen: &ReleaseSeen) -> Side {
    Side::of(&seen.package, &seen.version, &seen.source)
}

fn commit_of(seen: &ReleaseSeen) -> Result<&str, Problem> {
    seen.source.commit.as_deref().ok_or_else(|| {
        let what = format!("it is not known from which commit release {} was made", seen.number);
        Problem::new(409, "no-commit", what)
    })
}
