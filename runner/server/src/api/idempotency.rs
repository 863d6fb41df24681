//! Requests that may be sent again: a person's `POST` with an `Idempotency-Key` is carried out once, and gets the same answer again for
//! a day. Runners need none: what they ask carries ids of its own.
//!
//! The key is written down before anything is done. So after a crash in between, the request is not carried out twice; that it may have
//! happened is then what is answered.

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use staith_model::Digest;

use super::{
    Problem,
    caller::{Operator, bearer},
};
use crate::{
    api::Who,
    site::Site,
    store::{Repetition, StoredAnswer},
};

/// The header.
const KEY: &str = "idempotency-key";
/// The longest key, in characters.
const LONGEST_KEY: usize = 100;
/// The longest body that a request with a key may have, and its answer.
const LONGEST_BODY: usize = 16 << 20;

/// Marks an answer that has something which is shown once: it is not kept.
#[derive(Debug, Clone, Copy)]
pub struct ShownOnce;

pub(super) async fn once(State(site): State<Site>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match with_key(&site, request, next).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_response(),
    }
}

async fn with_key(site: &Site, request: Request, next: Next) -> Result<Response, Problem> {
    let who = match Said::of(&request) {
        Some(said) => said.person(site).await?,
        None => None,
    };
    let Some(who) = who else { return Ok(next.run(request).await) };
    let key = key(request.headers())?;
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_BODY).await.map_err(|refused| {
        Problem::new(413, "body-refused", "the body is too long, or was not sent whole")
            .with_why(refused.to_string())
    })?;
    let asked = Digest::of_value("idempotency", &(head.uri.to_string(), Digest::of(&body))).to_string();
    match site.store.asked(&who, &key, &asked, site.clock.unix_millis()).await? {
        Repetition::First => {}
        Repetition::Answered(answer) => return again(answer),
        Repetition::Unknown => {
            return Err(Problem::new(409, "outcome-unknown", "this was asked before, and is not answered")
                .with_why(
                    "it is under way, or the server ended while it was; it may or may not have happened",
                )
                .with_remedy("look whether it happened; if not, ask with another key"));
        }
        Repetition::Other => {
            return Err(Problem::new(422, "key-reused", "the key was used for something else before")
                .with_remedy("take a new key for each thing that is to happen"));
        }
    }
    let answer = next.run(Request::from_parts(head, Body::from(body))).await;
    keep(site, &who, &key, answer).await
}

/// By what somebody says who they are.
enum Said {
    Operator,
    Token(Digest),
}

impl Said {
    fn of(request: &Request) -> Option<Self> {
        if request.extensions().get::<Operator>().is_some() {
            return Some(Self::Operator);
        }
        bearer(request.headers()).map(|token| Self::Token(Digest::of(token.as_bytes())))
    }

    /// Who asks, if it is a person.
    async fn person(self, site: &Site) -> Result<Option<String>, Problem> {
        let Self::Token(digest) = self else { return Ok(Some("operator".to_owned())) };
        let who = site.store.who_has(&digest, site.clock.unix_millis()).await?;
        Ok(matches!(who, Some(Who::Person { .. })).then(|| digest.to_string()))
    }
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let key = headers.get(KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Problem::new(400, "bad-key", "the Idempotency-Key is none")
            .with_why("it has from 1 to 100 printable characters of ASCII"));
    }
    Ok(key.to_owned())
}

/// Keeps an answer. What the server could not do, or was asked too often, may be asked again with the same key.
async fn keep(site: &Site, who: &str, key: &str, answer: Response) -> Result<Response, Problem> {
    let status = answer.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        site.store.answered(who, key, None).await?;
        return Ok(answer);
    }
    let once = answer.extensions().get::<ShownOnce>().is_some();
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, LONGEST_BODY)
        .await
        .map_err(|bad| Problem::new(500, "bug", "the answer broke off").with_why(bad.to_string()))?;
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kept = StoredAnswer {
        status: status.as_u16(),
        content_type: content_type.map(str::to_owned),
        body: (!once).then(|| body.to_vec()),
    };
    site.store.answered(who, key, Some(kept)).await?;
    Ok(Response::from_parts(head, Body::from(body)))
}

fn again(answer: StoredAnswer) -> Result<Response, Problem> {
    let Some(body) = answer.body else {
        return Err(Problem::new(409, "shown-once", "this was done, and what came of it is shown once only")
            .with_remedy("revoke what was made if its word is lost, and make another with a new key"));
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    if let Some(kind) = answer.content_type.and_then(|kind| HeaderValue::try_from(kind).ok()) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}
