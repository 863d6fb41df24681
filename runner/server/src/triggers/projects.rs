//! The API's projects.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde_json::Value;
use staith_model::{
    Name,
    service::{Project, ProjectAsked, ProjectPage, RunnerSeen, carries_credentials, without_credentials},
};

use super::{planner::Unplanned, settings};
use crate::{
    api::{Answer, Asked, Body, Caller, Made, Part, Permission, Problem, Scope},
    site::Site,
    store::page,
};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects", get(list).post(add))
        .route("/api/v1/projects/{project}", get(show).patch(change).delete(remove))
}

/// The project that an address names, for somebody who may do this with it. Who may not see it does not learn whether it is there.
///
/// # Errors
/// 401, 403 or 404.
pub(super) async fn allowed(
    site: &Site,
    caller: &Caller,
    permission: Permission,
    name: &str,
) -> Result<Project, Problem> {
    let name = named(name)?;
    caller.must(permission, Scope::Project(&name))?;
    site.store.project(&name).await?.ok_or_else(|| unknown(name.as_str()))
}

fn named(text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|_| unknown(text))
}

fn unknown(name: &str) -> Problem {
    Problem::new(404, "unknown", format!("there is no project `{}`", name.escape_debug()))
        .with_remedy("`staith project list` shows those that there are")
}

/// What a planner could not do, as the API says it.
pub(crate) fn problem(unplanned: Unplanned) -> Problem {
    let (status, kind, what, why, remedy) = match unplanned {
        Unplanned::Refused { what, why, remedy } => (422, "no-plan", what, why, remedy),
        Unplanned::NotNow { what, remedy } => (503, "repository-unreachable", what, None, remedy),
    };
    let mut problem = Problem::new(status, kind, what);
    if let Some(why) = why {
        problem = problem.with_why(why);
    }
    if let Some(remedy) = remedy {
        problem = problem.with_remedy(remedy);
    }
    problem
}

async fn add(
    State(site): State<Site>,
    caller: Caller,
    Body(asked): Body<ProjectAsked>,
) -> Result<Made<Project>, Problem> {
    caller.must(Permission::Administer, Scope::Server)?;
    settings::check(&asked.settings)?;
    must_be_fit_to_be_seen(&asked.origin)?;
    if asked.origin.starts_with(['.', '~']) || !asked.origin.contains(['/', ':']) {
        let what = format!("`{}` is no absolute path and no address", asked.origin.escape_debug());
        return Err(Problem::new(422, "bad-origin", what)
            .with_why("a server has no directory that paths could be relative to"));
    }
    let now = site.clock.unix_millis();
    // What is there already is nothing that happened; and an origin that can't be read is told now, not with the first push.
    let seen = site.triggers.planner.references(&asked.origin).await.map_err(problem)?;
    let project = Project { name: asked.name, origin: asked.origin, settings: asked.settings, created: now };
    site.store.add_project(project.clone(), seen, &caller.actor()).await?;
    Ok(Made(project))
}

/// An address is shown to whoever may see the project, and is in the audit log for good.
///
/// # Errors
/// It says by what its repository lets one in.
fn must_be_fit_to_be_seen(origin: &str) -> Result<(), Problem> {
    if !carries_credentials(origin) {
        return Ok(());
    }
    let shown = without_credentials(origin);
    let what = format!("`{}` says who asks, or by which password", shown.escape_debug());
    Err(Problem::new(422, "bad-origin", what)
        .with_why("everybody who may see the project sees its address, and the audit log keeps it for good")
        .with_remedy(
            "leave it out of the address, and tell it to git on the server's machine: a credential helper of the server's account",
        ))
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    Asked(part): Asked<Part<Name>>,
) -> Result<Answer<ProjectPage>, Problem> {
    let mut projects = site.store.projects().await?;
    if let Err(refused) = caller.must(Permission::See, Scope::Server) {
        if refused.details().status == 401 {
            return Err(refused);
        }
        projects.retain(|project| caller.must(Permission::See, Scope::Project(&project.name)).is_ok());
    }
    let rest = projects
        .into_iter()
        .map(Project::shown)
        .filter(|project| part.after.as_ref().is_none_or(|after| project.name > *after));
    let (projects, next) = page::cut(rest, part.most(), |project| project.name.clone());
    Ok(Answer(ProjectPage { projects, next }))
}

async fn show(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Answer<Project>, Problem> {
    Ok(Answer(allowed(&site, &caller, Permission::See, &project).await?.shown()))
}

async fn change(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    Body(part): Body<Value>,
) -> Result<Answer<Project>, Problem> {
    let project = allowed(&site, &caller, Permission::Administer, &project).await?;
    let to = settings::merged(&project.settings, &part)?;
    let now = site.clock.unix_millis();
    site.store.change_project(&project.name, &project.settings, &to, &caller.actor(), now).await?;
    Ok(Answer(Project { settings: to, ..project }.shown()))
}

async fn remove(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<StatusCode, Problem> {
    let name = named(&project)?;
    caller.must(Permission::Administer, Scope::Server)?;
    let runners = site.store.runners().await?;
    site.store.remove_project(&name, &caller.actor(), site.clock.unix_millis()).await?;
    // Its machines' keys count for nothing now, and what they are at is over.
    let is_its = |one: &&RunnerSeen| one.target.as_ref().is_some_and(|target| target.project == name);
    for runner in runners.iter().filter(is_its) {
        site.relay.revoked(&runner.id, site.clock.steady());
    }
    Ok(StatusCode::NO_CONTENT)
}
