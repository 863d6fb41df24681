//! The API's arrivals: what happened, and what came of it.

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use staith_model::{
    ArrivalId,
    service::{ApprovalAsked, Arrival, ArrivalPage},
};

use super::projects::allowed;
use crate::{
    api::{Answer, Asked, Body, Caller, Part, Permission, Problem},
    site::Site,
    store::{Approval, page},
};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/arrivals", get(list))
        .route("/api/v1/projects/{project}/arrivals/{arrival}", get(show))
        .route("/api/v1/projects/{project}/approvals", post(approve))
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Asked(part): Asked<Part<ArrivalId>>,
) -> Result<Answer<ArrivalPage>, Problem> {
    let project = allowed(&site, &caller, Permission::See, &project).await?;
    let most = part.most();
    let rest = site.store.arrivals_of(&project.name, part.after.as_ref(), most + 1).await?;
    let (arrivals, next) = page::cut(rest, most, |arrival| arrival.id.clone());
    Ok(Answer(ArrivalPage { arrivals, next }))
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

/// What an approval came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// How many arrivals had waited for it.
    pub freed: u32,
}

async fn approve(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Body(asked): Body<ApprovalAsked>,
) -> Result<Answer<Approved>, Problem> {
    let project = allowed(&site, &caller, Permission::Administer, &project).await?;
    let ApprovalAsked { number, head, pipeline } = asked;
    let approval = Approval { project: project.name, number, head, pipeline };
    let freed = site.store.approve(approval, &caller.actor(), site.clock.unix_millis()).await?;
    site.bells.arrivals.ring();
    Ok(Answer(Approved { freed }))
}
