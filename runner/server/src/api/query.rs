//! What an address says behind its `?`.

use axum::{
    extract::{FromRequestParts, MatchedPath, Query, Request},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Problem, calls};

/// How many of a list an answer has, if nothing is said, and at most.
const USUAL: u32 = 50;
const MOST: u32 = 200;

/// Which part of a list is asked for. `K` is what names a place in it.
#[derive(Debug, Deserialize)]
pub struct Part<K> {
    /// What comes after this.
    pub after: Option<K>,
    limit: Option<u32>,
}

impl<K> Part<K> {
    /// How many are answered.
    pub fn most(&self) -> u32 {
        self.most_of(USUAL, MOST)
    }

    /// The same, of a list whose pages are longer.
    pub fn most_of(&self, usual: u32, most: u32) -> u32 {
        self.limit.unwrap_or(usual).clamp(1, most)
    }
}

/// It, understood.
#[derive(Debug, Clone, Copy)]
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(bad) => {
                let call = parts.extensions.get::<MatchedPath>();
                let call = call.and_then(|path| calls::call(parts.method.as_str(), path.as_str()));
                Err(refused(call).with_why(bad.body_text()))
            }
        }
    }
}

fn refused(call: Option<&calls::Call>) -> Problem {
    let problem = Problem::new(400, "bad-query", "the query is not what this address takes");
    let names: Vec<String> =
        call.into_iter().flat_map(|call| call.queries).map(|query| format!("{}=", query.name)).collect();
    match names.split_last() {
        None => problem.with_remedy("leave it out"),
        Some((last, [])) => problem.with_remedy(format!("use {last}")),
        Some((last, before)) => problem.with_remedy(format!("use {} and {last}", before.join(", "))),
    }
}

/// Goes on only if the table of calls has all that is said there: so what a handler reads is described, or never reaches it. Only below
/// `/api`: what forges and monitoring add to addresses is theirs.
pub(super) fn is_described(request: &Request) -> Result<(), Problem> {
    let path = request.extensions().get::<MatchedPath>().filter(|path| path.as_str().starts_with("/api/"));
    let call = path.and_then(|path| calls::call(request.method().as_str(), path.as_str()));
    let (Some(call), Ok(Query(said))) = (call, Query::<Vec<(String, String)>>::try_from_uri(request.uri()))
    else {
        return Ok(());
    };
    let is_known = |name: &str| call.queries.iter().any(|query| query.name == name);
    match said.iter().find(|(name, _)| !is_known(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let name: String = name.chars().take(50).collect();
            Err(refused(Some(call)).with_why(format!("it does not know `{}`", name.escape_debug())))
        }
    }
}
