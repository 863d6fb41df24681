//! What every request goes through: bounds on how often, a problem for whatever has no answer of its own, headers that say what a
//! browser may not do with an answer, and a count of it.

use std::{net::SocketAddr, panic::AssertUnwindSafe};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use staith_model::Digest;

use super::{Problem, caller::bearer, query};
use crate::site::Site;

/// Answers of this server are data for programs: a browser shall not guess what they are, run anything in them, or show them inside
/// other pages. There is no `Access-Control-Allow-Origin`: pages of others can't read anything.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Addresses that supervisors and monitoring ask, and whose answers cost nothing.
const UNLIMITED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

pub(super) async fn around(State(site): State<Site>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let began = site.clock.steady();
    let mut answer = match asked.limit(&site) {
        Ok(()) => through(&site, &asked, request, next).await,
        Err(refused) => refused.into_response(),
    };
    for (name, value) in HEADERS {
        answer.headers_mut().entry(name).or_insert(value);
    }
    let took = site.clock.steady().saturating_sub(began);
    site.guard.counts.answered(&asked.method, asked.route.as_deref(), answer.status().as_u16(), took);
    answer
}

async fn through(site: &Site, asked: &Asked, request: Request, next: Next) -> Response {
    let head = request.method() == axum::http::Method::HEAD;
    if let Err(refused) = query::is_described(&request) {
        return refused.into_response();
    }
    let answer = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(_) => {
            site.guard.counts.panicked();
            tracing::error!(route = asked.route, "a handler panicked");
            Problem::new(500, "bug", "the server has a bug").with_remedy("its log says where").into_response()
        }
    };
    asked.learn(site, answer.status());
    if head { answer } else { with_a_problem(answer) }
}

/// Extractors and the router refuse in words of their own; they are said as problems.
fn with_a_problem(answer: Response) -> Response {
    let status = answer.status();
    let plain = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !plain {
        return answer;
    }
    let Some((kind, title)) = told(status) else { return answer };
    let mut problem = Problem::new(status.as_u16(), kind, title).into_response();
    if let Some(allowed) = answer.headers().get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    problem
}

fn told(status: StatusCode) -> Option<(&'static str, &'static str)> {
    Some(match status {
        StatusCode::BAD_REQUEST => ("bad-request", "the address or a header of the request makes no sense"),
        StatusCode::NOT_FOUND => ("no-such-address", "there is nothing at this address"),
        StatusCode::METHOD_NOT_ALLOWED => ("bad-method", "the address does not take this method"),
        StatusCode::REQUEST_TIMEOUT => ("too-slow", "the request did not come in time"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is longer than this address takes"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("bad-type", "the address does not take this type of body"),
        StatusCode::UNPROCESSABLE_ENTITY => ("bad-body", "the body is not what this address takes"),
        StatusCode::INTERNAL_SERVER_ERROR => ("bug", "the server has a bug"),
        _ => return None,
    })
}

/// What is known of a request before it is answered.
struct Asked {
    method: String,
    route: Option<String>,
    from: String,
    token: Option<String>,
    limited: Limited,
}

/// By what questions are limited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limited {
    /// By whoever asks.
    ByAsker,
    /// As webhooks: by wrong signatures.
    AsWebhook,
    /// By nothing.
    Never,
}

impl Limited {
    fn of(path: &str) -> Self {
        match path {
            _ if UNLIMITED.contains(&path) => Self::Never,
            _ if path.starts_with("/hooks/") => Self::AsWebhook,
            _ => Self::ByAsker,
        }
    }
}

impl Asked {
    fn of(request: &Request) -> Self {
        let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            method: request.method().to_string(),
            route: request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()),
            from: address.map(|ConnectInfo(address)| address.ip().to_string()).unwrap_or_default(),
            token: bearer(request.headers()).map(|token| Digest::of(token.as_bytes()).to_string()),
            limited: Limited::of(request.uri().path()),
        }
    }

    fn limit(&self, site: &Site) -> Result<(), Problem> {
        let (limits, now) = (&site.guard.limits, site.clock.steady());
        match self.limited {
            Limited::ByAsker => limits.question(&self.from, self.token.as_deref(), now),
            Limited::AsWebhook => limits.hook(&self.from, now),
            Limited::Never => Ok(()),
        }
    }

    /// Whether the token or the signature was a right one is known from the answer.
    fn learn(&self, site: &Site, status: StatusCode) {
        let now = site.clock.steady();
        if self.limited == Limited::AsWebhook && status.is_success() {
            return site.guard.limits.signed(&self.from, now);
        }
        let Some(token) = self.token.as_deref().filter(|_| self.limited == Limited::ByAsker) else { return };
        if status == StatusCode::UNAUTHORIZED {
            site.guard.limits.wrong(&self.from, token, now);
        } else if status.is_success() {
            site.guard.limits.right(token, now);
        }
    }
}
