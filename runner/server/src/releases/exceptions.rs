//! What goes past what protects an environment, or does not ask it: an override, and the exchange of two pools.
//!
//! Neither makes the protection less. An override is an administrator's, who could take the protection away and says so instead for one
//! plan, with a reason that is kept; where people have to agree, it is not of who asked for the deployment. Whose code may go there is no
//! gate and is asked before: nobody goes past that. What an administrator said counts as long as they are one; the deployer is told who
//! that is with every question. The rollback floor is no gate either: it is about data, and an administrator goes below it with a reason.

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use staith_model::{
    DeploymentId, FleetState, Name,
    service::{Order, OverrideAsked, SwapAsked},
};

use super::{
    environments::{state, there},
    people::who_may,
    wishes::{There, Told, bounded, new_deployment, on_behalf, waiting_for},
};
use crate::{
    api::{Body, Caller, Permission, Problem, Scope},
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
    must_have_words(&asked.reason)?;
    must_be_known(&site, &caller, (&project, &environment)).await?;
    let state = state(&site, &project, &environment).await?;
    if asked.floor {
        let deployment = stopped_at_floor(&state, &asked, &environment)?;
        let OverrideAsked { plan, reason, .. } = asked;
        let order =
            Order::Override { environment, deployment, plan, reason, freeze_only: false, floor: true };
        return on_behalf(&site, &caller, project, "floor-overridden", order).await;
    }
    let rules = site.store.rules(&project, &environment).await?.unwrap_or_default();
    let (deployment, requester) = waiting_for(&state, rules.queue, &asked.plan, &environment)?;
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
    let OverrideAsked { plan, reason, freeze_only, floor } = asked;
    let order = Order::Override { environment, deployment, plan, reason, freeze_only, floor };
    on_behalf(&site, &caller, project, "gates-overridden", order).await
}

/// The deployment that stopped because it would go back below the rollback floor.
fn stopped_at_floor(
    state: &FleetState,
    asked: &OverrideAsked,
    environment: &Name,
) -> Result<DeploymentId, Problem> {
    if asked.freeze_only {
        return Err(Problem::new(
            422,
            "not-both",
            "a freeze and the rollback floor are overridden one by one",
        ));
    }
    let stopped = state.holder().filter(|record| record.may_not_go_back().is_some());
    let stopped = stopped.ok_or_else(|| {
        let what = format!("no deployment to `{environment}` stopped above the rollback floor");
        Problem::new(409, "not-stopped", what).with_remedy(
            "for a plan that the floor refuses, say `--override-floor REASON` with what asks for it",
        )
    })?;
    let plan = stopped.plan.digest();
    if plan != asked.plan {
        return Err(Problem::new(409, "no-such-plan", "the deployment that stopped has another plan")
            .with_why(format!("it is {plan}")));
    }
    Ok(stopped.deployment.clone())
}

/// Goes on where nobody wants to go below the rollback floor, and where an administrator does, with a reason.
///
/// # Errors
/// It is no administrator's, or has no words.
pub(super) async fn must_may_go_below(
    site: &Site,
    caller: &Caller,
    there: (&Name, &Name),
    reason: Option<&str>,
) -> Result<(), Problem> {
    let Some(reason) = reason else { return Ok(()) };
    caller.must(Permission::Administer, Scope::Environment(there.0, there.1))?;
    must_have_words(reason)?;
    must_be_known(site, caller, there).await
}

fn must_have_words(reason: &str) -> Result<(), Problem> {
    bounded(reason)?;
    if reason.chars().any(char::is_alphanumeric) {
        return Ok(());
    }
    Err(Problem::new(422, "no-reason", "going past a gate needs a reason, in words"))
}

/// Goes on for a person of whom it can be told later whether they still may: by a token of theirs.
async fn must_be_known(site: &Site, caller: &Caller, there: (&Name, &Name)) -> Result<(), Problem> {
    let (tokens, now) = (site.store.tokens().await?, site.clock.unix_millis());
    if who_may(&tokens, Permission::Administer, there, now).contains(caller.person()?) {
        return Ok(());
    }
    Err(Problem::new(403, "nobody-known", "nobody can tell whose word this would be")
        .with_why("it did not come with a token of a person")
        .with_remedy("say it with a token of your own"))
}

async fn swap(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<SwapAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    bounded(&asked.reason)?;
    must_may_go_below(&site, &caller, (&project, &environment), asked.override_floor.as_deref()).await?;
    if state(&site, &project, &environment).await?.order.is_empty() {
        let what = format!("nothing was ever deployed to `{environment}`, so no pool has a release");
        return Err(Problem::new(409, "nothing-there", what));
    }
    let (deployment, SwapAsked { reason, override_floor }) = (new_deployment(&site)?, asked);
    let order = Order::Swap { environment, deployment, reason, override_floor };
    on_behalf(&site, &caller, project, "swap-asked", order).await
}
