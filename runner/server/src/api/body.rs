//! What callers send, with a bound.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use serde::de::DeserializeOwned;

use super::{Problem, caller::Somebody};

/// The longest body of JSON, in bytes. A plan of ten thousand steps is shorter.
const LONGEST: usize = 16 << 20;
/// The same of who is not signed in: nobody fills the memory of a server without a token. The longest is the end of an attempt,
/// which names all of its streams and may be told again when its token is no longer known.
const LONGEST_OF_NOBODY: usize = 1 << 20;

/// A body in JSON. Handlers take it after the [`Caller`](super::Caller), who decides how long it may be.
#[derive(Debug, Clone, Copy)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let longest =
            if request.extensions().get::<Somebody>().is_some() { LONGEST } else { LONGEST_OF_NOBODY };
        let bytes = to_bytes(request.into_body(), longest).await.map_err(|refused| {
            Problem::new(
                413,
                "body-refused",
                format!("the body is longer than {longest} bytes, or was not sent whole"),
            )
            .with_why(refused.to_string())
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|bad| {
            Problem::new(400, "bad-body", "the body is not what this address takes").with_why(format!(
                "line {}, column {}: {bad}",
                bad.line(),
                bad.column()
            ))
        })
    }
}
