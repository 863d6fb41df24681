//! Machines that are taken out of deployments, and put back. Whoever may release there says so; the deployer writes it into its ledger.

use std::collections::BTreeSet;

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use staith_model::{
    FleetState, Name,
    service::{Order, QuarantineAsked},
};

use super::{
    environments::{state, there},
    wishes::{There, Told, bounded, on_behalf},
};
use crate::{
    api::{Body, Caller, Permission, Problem},
    site::Site,
};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/environments/{environment}/quarantines", post(quarantine))
}

async fn quarantine(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<QuarantineAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    bounded(&asked.reason)?;
    must_make_sense(&state(&site, &project, &environment).await?, &environment, &asked)?;
    let QuarantineAsked { target, out, reason } = asked;
    let what = if out { "machine-quarantined" } else { "machine-reinstated" };
    let order = Order::Quarantine { environment, target, out, reason };
    on_behalf(&site, &caller, project, what, order).await
}

/// It is a machine of the environment; one that is taken out is with a reason, and one that is put back was out.
fn must_make_sense(state: &FleetState, environment: &Name, asked: &QuarantineAsked) -> Result<(), Problem> {
    let QuarantineAsked { target, out, reason } = asked;
    let in_plans = state.in_order().flat_map(|record| &record.plan.targets).map(|one| &one.target.name);
    let known: BTreeSet<&str> = in_plans.chain(state.quarantined.keys()).map(Name::as_str).collect();
    if !known.contains(target.as_str()) {
        let why = match known.is_empty() {
            true => "nobody asked for a deployment there yet".to_owned(),
            false => format!("there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let what = format!("no deployment to `{environment}` is known that is about a machine `{target}`");
        return Err(Problem::new(422, "no-such-machine", what).with_why(why));
    }
    if *out && !reason.chars().any(char::is_alphanumeric) {
        return Err(Problem::new(422, "no-reason", "a quarantine needs a reason, in words")
            .with_remedy("say why: whoever sees the machine standing by will want to know"));
    }
    if !*out && !state.quarantined.contains_key(target) {
        let what = format!("`{target}` of `{environment}` is in no quarantine");
        return Err(Problem::new(409, "not-quarantined", what));
    }
    Ok(())
}
