//! Which machines serve what: from a commit to them, and back.

use axum::{
    Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::Deserialize;
use staith_model::Name;
use staith_releaser::fleet::record::whereabouts::{Trace, machines, serving, serving_commit};

use super::{
    super::named,
    bad_query,
    record::{facts_of, releases_of},
};
use crate::{
    api::{Answer, Caller, Permission, Problem, Scope},
    site::Site,
};

/// The shortest beginning of a commit that means one.
const SHORTEST: usize = 4;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/projects/{project}/whereabouts", get(page))
}

/// Of what; of everything that serves if nothing is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The environment; all if none is named.
    environment: Option<Name>,
    /// What was made of this commit alone: its id or the beginning of it.
    commit: Option<String>,
    /// This machine alone; several environments may have one of that name.
    target: Option<Name>,
}

async fn page(
    State(site): State<Site>,
    caller: Caller,
    Path(project): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Answer<Vec<Trace>>, Problem> {
    let project = named("project", &project)?;
    let wanted = wanted.map_err(|bad| bad_query(&bad, "use commit=COMMIT, target=MACHINE, environment=NAME"));
    let environment = wanted.as_ref().ok().and_then(|Query(wanted)| wanted.environment.as_ref());
    let scope = environment.map_or(Scope::Project(&project), |one| Scope::Environment(&project, one));
    caller.must(Permission::See, scope)?;
    let Query(Wanted { environment, commit, target }) = wanted?;
    let all = match environment {
        Some(environment) => vec![environment],
        None => site.store.environments(&project).await?,
    };
    let known = releases_of(&site, &project).await?;
    let mut facts = Vec::new();
    for environment in &all {
        facts.extend(facts_of(&site.store.ledger(&project, environment).await?, &known, &project)?);
    }
    if let Some(target) = target.as_ref().filter(|target| !machines(&facts).contains(target)) {
        return Err(never_deployed_to(target, &machines(&facts).into_iter().collect::<Vec<_>>()));
    }
    let mut found = match &commit {
        Some(commit) => serving_commit(&facts, must_mean_one(commit)?),
        None => serving(&facts),
    };
    found.retain(|trace| target.as_ref().is_none_or(|target| trace.target == *target));
    for trace in &mut found {
        trace.origin = trace.origin.take().filter(|_| known.contains_key(&trace.release));
    }
    Ok(Answer(found))
}

fn must_mean_one(commit: &str) -> Result<&str, Problem> {
    if commit.len() >= SHORTEST && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(commit);
    }
    Err(Problem::new(422, "no-commit", "what is named is no commit")
        .with_remedy(format!("give {SHORTEST} or more of its hexadecimal digits")))
}

/// No deployment that is known here was about this machine.
fn never_deployed_to(target: &Name, known: &[&Name]) -> Problem {
    let why = match known {
        [] => "nothing was deployed to machines there yet".to_owned(),
        known => {
            let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
            format!("the machines that were deployed to are {}", known.join(", "))
        }
    };
    Problem::new(404, "unknown", format!("no machine `{target}` was deployed to")).with_why(why)
}
