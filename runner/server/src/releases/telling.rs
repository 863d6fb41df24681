//! What is told of releases, from what is kept here: nobody is asked for it, and nothing changes. The folds are those of the command
//! line, in `releaser::fleet`.
//!
//! 1. `comparison`: what two releases differ in. 2. `notes`: what is new in one. 3. `run_book`: how an environment is released to.
//! 4. `record`: what came of deployments. `metrics`: how often, how fast, how well. `whereabouts`: which machines serve what.

mod comparison;
mod metrics;
mod notes;
mod record;
mod run_book;
mod whereabouts;

use axum::{Router, extract::rejection::QueryRejection};
use staith_model::{FleetRelease, Name};

use super::making::made;
use crate::{api::Problem, site::Site, store::KeptRelease};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .merge(comparison::routes())
        .merge(metrics::routes())
        .merge(notes::routes())
        .merge(run_book::routes())
        .merge(whereabouts::routes())
}

/// A release that is meant, with all that it says.
///
/// # Errors
/// There is none, it is not made, or it was made before all that was kept.
async fn frozen(site: &Site, project: &Name, text: &str) -> Result<(KeptRelease, FleetRelease), Problem> {
    let (kept, _) = made(site, project, text).await?;
    let number = kept.seen.number;
    let frozen = site.store.frozen(project, number).await?.ok_or_else(|| {
        Problem::new(409, "not-kept", format!("what release {number} says is not here"))
            .with_why("it was made by an earlier version of this server, which did not keep that")
            .with_remedy("name a newer release; `staith server release list` shows them")
    })?;
    Ok((kept, frozen))
}

/// An address whose end can't be understood.
fn bad_query(bad: &QueryRejection, remedy: &str) -> Problem {
    Problem::new(400, "bad-query", "what follows `?` in the address is not understood")
        .with_why(bad.body_text())
        .with_remedy(remedy)
}
