//! People cancel and retry runs.

use staith_model::RunId;

use crate::{api::Problem, site::Site, store::Actor};

/// Cancels what of a run has not ended.
///
/// # Errors
/// There is no such run; the store fails.
pub async fn cancel(site: &Site, run: &RunId, by: Actor, why: String) -> Result<(), Problem> {
    let asked = site.store.cancel_run(run.clone(), by, why, site.clock.unix_millis()).await?;
    let now = site.clock.steady();
    let mut leases = site.queue.leases();
    asked.iter().for_each(|attempt| leases.stopping(attempt, now));
    drop(leases);
    site.bells.jobs.ring();
    Ok(())
}

/// Begins what of a run did not pass again.
///
/// # Errors
/// There is no such run, it is not over, or it passed; the store fails.
pub async fn retry(site: &Site, run: &RunId, by: Actor) -> Result<(), Problem> {
    site.store.retry_run(run.clone(), by, site.clock.unix_millis()).await?;
    site.bells.jobs.ring();
    Ok(())
}
