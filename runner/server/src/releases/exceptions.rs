//! What goes past what protects an environment, or does not ask it: an override, and the exchange of two pools.
//!
//! Neither makes the protection less. An override is an administrator's, who could take the protection away and says so instead for one
//! plan, with a reason that is kept; where people have to agree, it is not of who asked for the deployment. Whose code may go there is no
//! gate and is asked before: nobody goes past that.

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use staith_model::service::{Order, OverrideAsked, SwapAsked};

use super::{
    environments::{state, there},
    wishes::{There, Told, bounded, new_deployment, on_behalf, waiting_for},
};
use crate::{
    api::{Body, Caller, Permission, Problem},
    site::Site,
};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/environments/{environment}/overrides", post(past_gates))
        .route("/api/v1/projects/{project}/environments/{environment}/swaps", post(swap))
}

async fn past_gates(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<OverrideAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Administer, &project, &environment)?;
    bounded(&asked.reason)?;
    if !asked.reason.chars().any(char::is_alphanumeric) {
        return Err(Problem::new(422, "no-reason", "going past a gate needs a reason, in words"));
    }
    let state = state(&site, &project, &environment).await?;
    let (deployment, requester) = waiting_for(&state, &asked.plan, &environment)?;
    let rules = site.store.rules(&project, &environment).await?.unwrap_or_default();
    let needs_another = rules.needed > 0 && !rules.requester_may && !asked.freeze_only;
    if needs_another && caller.person()? == requester {
        return Err(Problem::new(
            403,
            "own-request",
            "who asked for a deployment does not go past its gates",
        )
        .with_why("people have to agree there, and who asked does not count")
        .with_remedy("another administrator does it, or somebody says yes"));
    }
    let OverrideAsked { plan, reason, freeze_only } = asked;
    let order = Order::Override { environment, deployment, plan, reason, freeze_only };
    on_behalf(&site, &caller, project, "gates-overridden", order).await
}

async fn swap(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<SwapAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    bounded(&asked.reason)?;
    if state(&site, &project, &environment).await?.order.is_empty() {
        let what = format!("nothing was ever deployed to `{environment}`, so no pool has a release");
        return Err(Problem::new(409, "nothing-there", what));
    }
    let order = Order::Swap { environment, deployment: new_deployment(&site)?, reason: asked.reason };
    on_behalf(&site, &caller, project, "swap-asked", order).await
}
