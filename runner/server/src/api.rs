//! The frame of the HTTP API, version 1. Every room adds its own routes; here is what they share.
//!
//! 1. [`Problem`]: what is answered when something can't be done (RFC 9457).
//! 2. [`Caller`]: who asks. [`Permission`]: what they may.
//! 3. [`Body`], [`Asked`], [`Part`]: what they send, with a bound, and what their addresses say. [`Answer`], [`Made`]: what they get.
//! 4. [`calls`]: the table of all calls. [`openapi`]: their description, with [`shapes`] of what they take and give.
//! 5. `frame`: what every request goes through. `idempotency`: requests that may be sent again.

mod answer;
mod body;
mod caller;
pub mod calls;
mod frame;
mod idempotency;
pub mod openapi;
mod problem;
mod query;
pub mod shapes;

pub use answer::{Answer, Made};
pub use body::Body;
pub use caller::{Caller, Grant, Operator, Permission, Role, Scope, Who};
pub(crate) use caller::{allows, bearer, sign_in};
pub use idempotency::ShownOnce;
pub use problem::Problem;
pub use query::{Asked, Part};

use axum::Router;

use crate::site::Site;

/// All routes of the server.
pub fn router(site: Site) -> Router {
    rooms()
        .fallback(nothing_here)
        .layer(axum::middleware::from_fn_with_state(site.clone(), idempotency::once))
        .layer(axum::middleware::from_fn_with_state(site.clone(), frame::around))
        .with_state(site)
}

/// The routes of all rooms, a line each.
fn rooms() -> Router<Site> {
    Router::new()
        .route("/api/v1/openapi.json", axum::routing::get(openapi::answer))
        .merge(crate::audit::routes())
        .merge(crate::enrolment::routes())
        .merge(crate::secrets::routes())
        .merge(crate::tokens::routes())
        .merge(crate::health::routes())
        .merge(crate::queue::routes())
        .merge(crate::streams::routes())
        .merge(crate::packages::routes())
        .merge(crate::releases::routes())
        .merge(crate::targets::routes())
        .merge(crate::source_transfer::routes())
        .merge(crate::layers::routes())
        .merge(crate::triggers::routes())
}

async fn nothing_here(uri: axum::http::Uri) -> Problem {
    Problem::new(404, "no-such-address", format!("there is nothing at {}", uri.path()))
        .with_remedy("the addresses are listed in /api/v1/openapi.json")
}
