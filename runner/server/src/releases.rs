//! Releases: packages of runs that passed, frozen, and deployed where people agree. A map, in reading order:
//!
//! 1. `making`: a run's package becomes a release. `automatic`: by itself, where an administrator said so.
//! 2. `environments`: how each one stands, and what protects it. `people`: who may agree there. Pure.
//! 3. `wishes`: what people want: a plan, a deployment, a yes or a no, an end, the way back. `waiting`: each is an order for the
//!    deployer, and has its answer. `exceptions`: what goes past gates. `machines`: which are left alone.
//! 4. `telling`: what releases differ in, what is new, figures, run-books: looked up, and nothing else.
//! 5. [`Door`] and `deployer`: what the process that deploys is told and says. It is another process, which has the keys; this one never
//!    sees them, and never speaks to a machine.
//!
//! What is true of an environment is in the deployer's ledger. Here is a copy, so that people can be told, and what only the server
//! knows: who they are, and what protects the environment. No repository has a say in that.

mod automatic;
mod deployer;
mod door;
mod environments;
mod exceptions;
mod machines;
mod making;
mod people;
mod telling;
mod waiting;
mod wishes;

use axum::Router;
use staith_model::Name;
use tokio_util::sync::CancellationToken;

pub use self::door::Door;
use crate::{api::Problem, site::Site};

/// The routes of this room.
pub fn routes() -> Router<Site> {
    Router::new()
        .merge(making::routes())
        .merge(environments::routes())
        .merge(wishes::routes())
        .merge(exceptions::routes())
        .merge(machines::routes())
        .merge(telling::routes())
        .merge(deployer::routes())
}

/// Releases what is to be released by itself, until `stop`.
pub async fn run(site: Site, stop: CancellationToken) {
    automatic::run(&site, &stop).await;
}

/// A name in an address.
fn named(what: &str, text: &str) -> Result<Name, Problem> {
    text.parse()
        .map_err(|_| Problem::new(404, "unknown", format!("there is no {what} `{}`", text.escape_debug())))
}
