//! What people want of environments. Each becomes an order for the deployer.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use staith_model::{
    Ask, DeploymentId, DeploymentRecord, Digest, FleetState, Name, Queue,
    service::{
        DeployAsked, LiftAsked, Order, OrderSeen, ReleaseMaterial, RollbackAsked, Trust, VoteAsked, WishAsked,
    },
};

use super::{
    environments::{state, there},
    exceptions::must_may_go_below,
    making::made,
    named,
    people::{must_be_enough, who_may},
    waiting::told,
};
use crate::{
    api::{Answer, Body, Caller, Permission, Problem, Scope},
    site::Site,
    store::{KeptRelease, NewOrder},
    tokens::chance,
};

pub(super) type Told = Result<(StatusCode, Answer<OrderSeen>), Problem>;
pub(super) type There = Path<(String, String)>;

/// The longest that somebody may say to what they want, in bytes.
const LONGEST: usize = 4096;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects/{project}/orders/{order}", get(order))
        .route("/api/v1/projects/{project}/environments/{environment}/plans", post(plan))
        .route("/api/v1/projects/{project}/environments/{environment}/deployments", post(deploy))
        .route("/api/v1/projects/{project}/environments/{environment}/rollbacks", post(rollback))
        .route("/api/v1/projects/{project}/environments/{environment}/votes", post(vote))
        .route("/api/v1/projects/{project}/environments/{environment}/asks", post(wish))
        .route("/api/v1/projects/{project}/environments/{environment}/lifts", post(lift))
}

async fn order(
    State(site): State<Site>,
    caller: Caller,
    Path((project, order)): Path<(String, String)>,
) -> Result<Answer<OrderSeen>, Problem> {
    let project = named("project", &project)?;
    caller.must_be_somebody()?;
    let unknown = || Problem::new(404, "unknown", "there is no such order");
    let order: u64 = match order.parse() {
        Ok(order) => order,
        Err(_) => {
            return Err(caller.must(Permission::See, Scope::Project(&project)).err().unwrap_or_else(unknown));
        }
    };
    let seen = match site.store.order(order).await {
        Ok(seen) if seen.project == project => seen,
        // Who may not see the project does not learn what there is.
        _ => {
            return Err(caller.must(Permission::See, Scope::Project(&project)).err().unwrap_or_else(unknown));
        }
    };
    // Who asked may see what became of it, though they may see no more than one environment.
    if caller.person().ok() != Some(seen.by.as_str()) {
        caller.must(Permission::See, Scope::Project(&project))?;
    }
    Ok(Answer(seen))
}

/// Tells the deployer on behalf of a person.
pub(super) async fn on_behalf(
    site: &Site,
    caller: &Caller,
    project: Name,
    what: &'static str,
    order: Order,
) -> Told {
    let who = caller.person()?.to_owned();
    told(site, NewOrder { project, what, order, who }, caller.actor()).await
}

pub(super) fn bounded(text: &str) -> Result<(), Problem> {
    if text.len() <= LONGEST {
        return Ok(());
    }
    Err(Problem::new(422, "too-long", format!("what is said to it is longer than {LONGEST} bytes")))
}

async fn plan(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<DeployAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    let (release, digest) = release_for(&site, &project, &environment, &asked.release).await?;
    let ReleaseMaterial { pipeline, inventories, .. } = release.material;
    let order = Order::Plan { environment, release: digest, pipeline, inventories, repair: asked.repair };
    on_behalf(&site, &caller, project, "plan-asked", order).await
}

async fn deploy(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<DeployAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    bounded(&asked.reason)?;
    must_may_go_below(&site, &caller, (&project, &environment), asked.override_floor.as_deref()).await?;
    let (release, digest) = release_for(&site, &project, &environment, &asked.release).await?;
    must_be_enough(&site, (&project, &environment), caller.person()?).await?;
    let order = Order::Deploy {
        environment,
        deployment: new_deployment(&site)?,
        release: digest,
        trust: release.seen.trust,
        pipeline: release.material.pipeline,
        inventories: release.material.inventories,
        plan: asked.plan,
        reason: asked.reason,
        by_itself: false,
        repair: asked.repair,
        override_floor: asked.override_floor,
    };
    on_behalf(&site, &caller, project, "deployment-asked", order).await
}

pub(super) fn new_deployment(site: &Site) -> Result<DeploymentId, Problem> {
    Ok(DeploymentId::new(site.clock.unix_millis(), chance()?))
}

/// A release that may be deployed there, and its digest.
///
/// # Errors
/// There is none, it is not made, it is not for this environment, or its code is not trusted as far as the environment asks.
pub(super) async fn release_for(
    site: &Site,
    project: &Name,
    environment: &Name,
    text: &str,
) -> Result<(KeptRelease, Digest), Problem> {
    let (release, digest) = made(site, project, text).await?;
    let seen = &release.seen;
    if !seen.environments.contains(environment) {
        let what = format!("release {} does not go to `{environment}`", seen.number);
        let known: Vec<&str> = seen.environments.iter().map(Name::as_str).collect();
        let problem =
            Problem::new(409, "not-for-it", what).with_why(format!("it goes to {}", known.join(", ")));
        // Those whose secrets it must not have were left out when it was made.
        return Err(match seen.trust {
            Trust::Protected => problem,
            _ => problem.with_remedy(
                "where secrets are for protected branches and tags only, no other release goes: release a run of one of these",
            ),
        });
    }
    let least = site.store.rules(project, environment).await?.unwrap_or_default().trust;
    if seen.trust < least {
        let what = format!("release {} may not go to `{environment}`", seen.number);
        return Err(Problem::new(403, "not-trusted", what)
            .with_why(format!(
                "its package was made by {} code, and the environment takes {} code only",
                seen.trust.as_str(),
                least.as_str()
            ))
            .with_remedy("release a run of a protected branch or tag"));
    }
    Ok((release, digest))
}

async fn rollback(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<RollbackAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    bounded(&asked.reason)?;
    must_may_go_below(&site, &caller, (&project, &environment), asked.override_floor.as_deref()).await?;
    if state(&site, &project, &environment).await?.order.is_empty() {
        let what = format!("nothing was ever deployed to `{environment}`, so there is no way back");
        return Err(Problem::new(409, "nothing-there", what));
    }
    let to = match &asked.to {
        Some(text) => Some(release_for(&site, &project, &environment, text).await?.1),
        None => None,
    };
    let RollbackAsked { force, reason, override_floor, .. } = asked;
    let deployment = new_deployment(&site)?;
    let order = Order::Rollback { environment, deployment, to, force, reason, override_floor };
    on_behalf(&site, &caller, project, "rollback-asked", order).await
}

async fn vote(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<VoteAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    bounded(&asked.comment)?;
    let name = caller.person()?;
    let tokens = site.store.tokens().await?;
    if !who_may(&tokens, Permission::Release, (&project, &environment), site.clock.unix_millis())
        .contains(name)
    {
        return Err(Problem::new(403, "not-an-approver", "nobody can tell whose yes this would be")
            .with_why("it did not come with a token of a person")
            .with_remedy("say it with a token of your own"));
    }
    let rules = site.store.rules(&project, &environment).await?.unwrap_or_default();
    let state = state(&site, &project, &environment).await?;
    let (deployment, requester) = waiting_for(&state, rules.queue, &asked.plan, &environment)?;
    if asked.approves && requester == name && !rules.requester_may {
        return Err(Problem::new(403, "own-request", "who asked for a deployment does not approve it")
            .with_remedy("somebody else who may release there says yes"));
    }
    let VoteAsked { plan, approves, comment } = asked;
    let order = Order::Vote { environment, deployment, plan, approves, comment };
    on_behalf(&site, &caller, project, "deployment-voted", order).await
}

/// The deployment that waits with this plan, and who asked for it.
pub(super) fn waiting_for(
    state: &FleetState,
    queue: Queue,
    plan: &Digest,
    environment: &Name,
) -> Result<(DeploymentId, String), Problem> {
    let waiting = state.before_gates(queue);
    if let Some(record) = waiting.iter().find(|record| record.plan.digest() == *plan) {
        return Ok((record.deployment.clone(), record.by.clone()));
    }
    let what = format!("no deployment to `{environment}` with this plan waits for anybody to say yes or no");
    let problem = Problem::new(409, "no-such-plan", what);
    Err(match waiting.first() {
        Some(record) => problem
            .with_why(format!("the one that waits has the plan {} now", record.plan.digest()))
            .with_remedy("look at it, and say yes or no to that one"),
        None => problem,
    })
}

async fn wish(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<WishAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    let state = state(&site, &project, &environment).await?;
    let rules = site.store.rules(&project, &environment).await?.unwrap_or_default();
    let record = state.addressed(rules.queue).ok_or_else(|| {
        Problem::new(409, "nothing-under-way", format!("no deployment to `{environment}` is under way"))
    })?;
    match &asked.ask {
        Ask::Skip { target } => is_there(record, target)?,
        Ask::Abort { reason } => bounded(reason)?,
        Ask::Pause | Ask::Resume | Ask::Retry | Ask::Accept | Ask::RollBack => {}
    }
    let deployment = record.deployment.clone();
    let order = Order::Wish { environment, deployment, ask: asked.ask };
    on_behalf(&site, &caller, project, "deployment-wish", order).await
}

/// A machine is one of those that the deployment is about.
fn is_there(record: &DeploymentRecord, target: &Name) -> Result<(), Problem> {
    let names: Vec<&str> = record.plan.targets.iter().map(|one| one.target.name.as_str()).collect();
    if names.contains(&target.as_str()) {
        return Ok(());
    }
    let what = format!("the deployment that is under way is not about a machine `{target}`");
    Err(Problem::new(422, "no-such-machine", what).with_why(format!("it is about {}", names.join(", "))))
}

async fn lift(
    State(site): State<Site>,
    caller: Caller,
    Path((project, environment)): There,
    Body(asked): Body<LiftAsked>,
) -> Told {
    let (project, environment) = there(&caller, Permission::Release, &project, &environment)?;
    bounded(&asked.reason)?;
    if state(&site, &project, &environment).await?.held.is_none() {
        let what = format!("nobody holds `{environment}`: runs may release there");
        return Err(Problem::new(409, "not-held", what));
    }
    let order = Order::Lift { environment, reason: asked.reason };
    on_behalf(&site, &caller, project, "hold-lifted", order).await
}
