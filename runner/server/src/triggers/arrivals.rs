//! The API's arrivals: what happened, and what came of it.

use axum::{
    Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use serde::Deserialize;
use staith_model::{
    ArrivalId,
    service::{ApprovalAsked, Arrival},
};

use super::projects::allowed;
use crate::{
    api::{Answer, Body, Caller, Permission, Problem},
    site::Site,
    store::Approval,
};

/// The most that one answer lists.
const PAGE: u32 = 100;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/arrivals", get(list))
        .route("/api/v1/projects/{project}/arrivals/{arrival}", get(show))
        .route("/api/v1/projects/{project}/approvals", post(approve))
}

#[derive(Debug, Deserialize)]
struct Page {
    /// Those older than this one.
    before: Option<ArrivalId>,
    limit: Option<u32>,
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    page: Result<Query<Page>, axum::extract::rejection::QueryRejection>,
) -> Result<Answer<Vec<Arrival>>, Problem> {
    let project = allowed(&site, &caller, Permission::See, &project).await?;
    let Query(page) = page.map_err(|bad| {
        Problem::new(400, "bad-query", "the query is not what this address takes").with_why(bad.body_text())
    })?;
    let most = page.limit.unwrap_or(PAGE).min(PAGE);
    Ok(Answer(site.store.arrivals_of(&project.name, page.before.as_ref(), most).await?))
}

async fn show(
    State(site): State<Site>,
    caller: Caller,
    Path((project, arrival)): Path<(String, String)>,
) -> Result<Answer<Arrival>, Problem> {
    let project = allowed(&site, &caller, Permission::See, &project).await?;
    let unknown = || {
        Problem::new(
            404,
            "unknown",
            format!("`{}` has no arrival `{}`", project.name, arrival.escape_debug()),
        )
    };
    let id: ArrivalId = arrival.parse().map_err(|_| unknown())?;
    let found = site.store.arrival(&id).await?.filter(|found| found.project == project.name);
    found.map(Answer).ok_or_else(unknown)
}

async fn approve(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Body(asked): Body<ApprovalAsked>,
) -> Result<Answer<serde_json::Value>, Problem> {
    let project = allowed(&site, &caller, Permission::Administer, &project).await?;
    let ApprovalAsked { number, head, pipeline } = asked;
    let approval = Approval { project: project.name, number, head, pipeline };
    let freed = site.store.approve(approval, &caller.actor(), site.clock.unix_millis()).await?;
    site.bells.arrivals.ring();
    Ok(Answer(serde_json::json!({ "freed": freed })))
}
