//! How environments stand, and what protects them.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, put},
};
use staith_model::{
    FleetEvent, FleetState, Name,
    service::{DeploymentView, EnvironmentRules, EnvironmentView, LedgerEntry, PastGates},
};

use super::named;
use crate::{
    api::{Answer, Body, Caller, Permission, Problem, Scope},
    site::Site,
};

/// The most deployments that are shown.
const SHOWN: usize = 50;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/environments", get(list))
        .route("/api/v1/projects/{project}/environments/{environment}", get(show))
        .route("/api/v1/projects/{project}/environments/{environment}/ledger", get(ledger))
        .route("/api/v1/projects/{project}/environments/{environment}/protection", put(protect).delete(open))
}

/// An environment that an address names, for somebody who may do this there.
pub(super) fn there(
    caller: &Caller,
    permission: Permission,
    project: &str,
    environment: &str,
) -> Result<(Name, Name), Problem> {
    let (project, environment) = (named("project", project)?, named("environment", environment)?);
    caller.must(permission, Scope::Environment(&project, &environment))?;
    Ok((project, environment))
}

/// What the copy of the ledger says.
pub(super) async fn state(site: &Site, project: &Name, environment: &Name) -> Result<FleetState, Problem> {
    let entries = site.store.ledger(project, environment).await?;
    Ok(folded(&entries))
}

fn folded(entries: &[LedgerEntry]) -> FleetState {
    FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)))
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Answer<Vec<EnvironmentView>>, Problem> {
    let project = named("project", &project)?;
    caller.must(Permission::See, Scope::Project(&project))?;
    let mut all = Vec::new();
    for environment in site.store.environments(&project).await? {
        all.push(view(&site, &project, &environment).await?);
    }
    Ok(Answer(all))
}

async fn show(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): Path<(String, String)>,
) -> Result<Answer<EnvironmentView>, Problem> {
    let (project, environment) = there(&caller, Permission::See, &project, &environment)?;
    Ok(Answer(view(&site, &project, &environment).await?))
}

async fn view(site: &Site, project: &Name, environment: &Name) -> Result<EnvironmentView, Problem> {
    let rules = site.store.rules(project, environment).await?.unwrap_or_default();
    let entries = site.store.ledger(project, environment).await?;
    let state = folded(&entries);
    let mut said: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for entry in &entries {
        if let FleetEvent::Voted { deployment, plan, by, approves: true, .. } = &entry.event {
            said.entry((deployment.clone(), *plan)).or_default().insert(by.clone());
        }
    }
    let shown = |record| {
        let view = DeploymentView::of(record, &said);
        DeploymentView { overridden: past_gates(&entries, &view), ..view }
    };
    let deployments = state.in_order().rev().take(SHOWN).map(shown);
    Ok(EnvironmentView {
        project: project.clone(),
        environment: environment.clone(),
        rules,
        serves: state.history.first().copied(),
        held: state.held.clone(),
        quarantined: state.quarantined.clone(),
        deployments: deployments.collect(),
    })
}

/// Who went past gates for the plan as it is.
fn past_gates(entries: &[LedgerEntry], view: &DeploymentView) -> Vec<PastGates> {
    let of = |entry: &LedgerEntry| match &entry.event {
        FleetEvent::Overridden { deployment, plan, by, reason, freeze_only, floor: false }
            if *deployment == view.deployment && *plan == view.plan =>
        {
            Some(PastGates { by: by.clone(), reason: reason.clone(), freeze_only: *freeze_only })
        }
        _ => None,
    };
    entries.iter().filter_map(of).collect()
}

async fn ledger(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): Path<(String, String)>,
) -> Result<Answer<Vec<LedgerEntry>>, Problem> {
    let (project, environment) = there(&caller, Permission::See, &project, &environment)?;
    Ok(Answer(site.store.ledger(&project, &environment).await?))
}

async fn protect(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): Path<(String, String)>,
    Body(rules): Body<EnvironmentRules>,
) -> Result<StatusCode, Problem> {
    let (project, environment) = there(&caller, Permission::Administer, &project, &environment)?;
    if environment.is_reserved() {
        let what = format!("no environment is called `{environment}`");
        return Err(Problem::new(422, "bad-protection", what)
            .with_why("names that begin with `staith.` are Staith's own"));
    }
    if rules.needed > 0 && rules.deadline_seconds == 0 {
        return Err(Problem::new(422, "bad-protection", "approvals that are needed get no time")
            .with_remedy("say how many seconds they are waited for"));
    }
    if rules.after.contains(&environment) {
        return Err(Problem::new(422, "bad-protection", "an environment can't come after itself"));
    }
    changed(&site, &caller, &project, &environment, Some(rules)).await
}

async fn open(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (project, environment) = there(&caller, Permission::Administer, &project, &environment)?;
    changed(&site, &caller, &project, &environment, None).await
}

async fn changed(
    site: &Site,
    caller: &Caller,
    project: &Name,
    environment: &Name,
    rules: Option<EnvironmentRules>,
) -> Result<StatusCode, Problem> {
    let now = site.clock.unix_millis();
    site.store.set_rules(project, environment, rules, caller.actor(), now).await?;
    site.bells.orders.ring();
    Ok(StatusCode::NO_CONTENT)
}
