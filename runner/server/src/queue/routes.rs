//! The addresses of the queue.

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequestParts, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use staith_model::{
    AttemptId, Digest, Name, RunId,
    service::{CancelAsked, ClaimAsked, FinishAsked, RenewAsked, Renewed, RunPage, RunStanding, RunView},
};

use super::{
    attempts::{self, millis},
    claims::{self, Handed},
    runs,
};
use crate::{
    api::{Answer, Body, Caller, Permission, Problem, Scope, Who, bearer, sign_in},
    site::Site,
    store::{Actor, RunFilter, StoreError},
};

/// How many runs a page has, if nothing is said, and at most.
const PAGE: u32 = 50;
const LONGEST_PAGE: u32 = 200;

/// The routes of the queue.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/claims", post(claim))
        .route("/api/v1/attempts/{attempt}/renew", post(renew))
        .route("/api/v1/attempts/{attempt}/finish", post(finish))
        .route("/api/v1/runs", get(list))
        .route("/api/v1/runs/{run}", get(show))
        .route("/api/v1/runs/{run}/cancel", post(cancel))
        .route("/api/v1/runs/{run}/retry", post(retry))
}

/// [`Claimed`](staith_model::service::Claimed) with the job as the text that the store has: plans are long, and nothing of one is read
/// where it only passes through.
#[derive(Serialize)]
struct ClaimedText<'a> {
    attempt: &'a AttemptId,
    number: u32,
    fence: u64,
    lease_millis: u64,
    token: &'a str,
    job: &'a RawValue,
}

async fn claim(
    State(site): State<Site>,
    caller: Caller,
    Body(asked): Body<ClaimAsked>,
) -> Result<Response, Problem> {
    let runner = caller.runner()?;
    match claims::claim(&site, runner, caller.actor(), &asked).await? {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(handed) => claimed(handed),
    }
}

fn claimed(handed: Handed) -> Result<Response, Problem> {
    let damaged = |bad: serde_json::Error| {
        let row = handed.given.live.attempt.to_string();
        Problem::from(StoreError::Damaged { table: "jobs", row, why: bad.to_string() })
    };
    let job = RawValue::from_string(handed.given.spec_json.clone()).map_err(damaged)?;
    let answer = ClaimedText {
        attempt: &handed.given.live.attempt,
        number: handed.given.number,
        fence: handed.given.live.fence,
        lease_millis: millis(handed.lease),
        token: &handed.token,
        job: &job,
    };
    let body = serde_json::to_vec(&answer).map_err(damaged)?;
    // A token is in it.
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

async fn renew(
    State(site): State<Site>,
    Path(attempt): Path<String>,
    TokenDigest(token): TokenDigest,
    Body(asked): Body<RenewAsked>,
) -> Result<Answer<Renewed>, Problem> {
    attempts::renew(&site, &id(&attempt)?, token, &asked).await.map(Answer)
}

async fn finish(
    State(site): State<Site>,
    Path(attempt): Path<String>,
    TokenDigest(token): TokenDigest,
    Body(asked): Body<FinishAsked>,
) -> Result<StatusCode, Problem> {
    let attempt = id(&attempt)?;
    let by = Actor { who: format!("attempt:{attempt}"), from: None };
    attempts::finish(&site, &attempt, token, by, asked).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to list.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    project: Option<Name>,
    number: Option<u64>,
    state: Option<RunStanding>,
    after: Option<RunId>,
    limit: Option<u32>,
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Answer<RunPage>, Problem> {
    let Query(wanted) = wanted.map_err(|bad| {
        Problem::new(400, "bad-query", "the address asks for runs in a way that is not known")
            .with_why(bad.body_text())
            .with_remedy("use project=, number=, state=, after= and limit=")
    })?;
    may_list(&caller, wanted.project.as_ref())?;
    let limit = wanted.limit.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let Wanted { project, number, state, after, .. } = wanted;
    let filter = RunFilter { project, number, state, after, limit };
    Ok(Answer(site.store.runs(filter).await?))
}

fn may_list(caller: &Caller, project: Option<&Name>) -> Result<(), Problem> {
    let may = caller.must(Permission::See, project.map_or(Scope::Server, Scope::Project));
    may.map_err(|refused| match (refused.details().status, project) {
        (403, None) => refused
            .with_why("it is not one for all projects of the server")
            .with_remedy("say which project's runs are wanted: project=NAME, --project NAME"),
        _ => refused,
    })
}

async fn show(
    State(site): State<Site>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Answer<RunView>, Problem> {
    allowed(&site, &caller, Permission::See, &run).await.map(Answer)
}

async fn cancel(
    State(site): State<Site>,
    caller: Caller,
    Path(run): Path<String>,
    body: Bytes,
) -> Result<Answer<RunView>, Problem> {
    let run = allowed(&site, &caller, Permission::Run, &run).await?.run.id;
    let asked: CancelAsked = if body.is_empty() {
        CancelAsked::default()
    } else {
        serde_json::from_slice(&body).map_err(|bad| {
            Problem::new(400, "bad-body", "the body is not what this address takes").with_why(bad.to_string())
        })?
    };
    let why = asked.why.unwrap_or_else(|| format!("cancelled by {}", name(&caller)));
    runs::cancel(&site, &run, caller.actor(), why).await?;
    Ok(Answer(site.store.run(run).await?))
}

async fn retry(
    State(site): State<Site>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Answer<RunView>, Problem> {
    let run = allowed(&site, &caller, Permission::Run, &run).await?.run.id;
    runs::retry(&site, &run, caller.actor()).await?;
    Ok(Answer(site.store.run(run).await?))
}

/// The run, if the caller may do that with it. Nobody learns without a token which runs there are.
async fn allowed(site: &Site, caller: &Caller, wanted: Permission, run: &str) -> Result<RunView, Problem> {
    caller.must_be_somebody()?;
    let view = site.store.run(id(run)?).await?;
    caller.must(wanted, Scope::Project(&view.run.project))?;
    Ok(view)
}

fn name(caller: &Caller) -> String {
    match caller.who() {
        Who::Person { name, .. } => name.clone(),
        _ => caller.actor().who,
    }
}

fn id<T: std::str::FromStr<Err = staith_model::NotAnId>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|bad: staith_model::NotAnId| {
        Problem::new(404, "unknown", "there is nothing at this address").with_why(bad.to_string())
    })
}

/// The digest of the token that came, whoever has it.
struct TokenDigest(Digest);

impl<S: Send + Sync> FromRequestParts<S> for TokenDigest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        bearer(&parts.headers).map(|token| Self(Digest::of(token.as_bytes()))).ok_or_else(sign_in)
    }
}
