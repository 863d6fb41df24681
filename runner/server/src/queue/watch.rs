//! The loop that ends leases.

use std::{sync::PoisonError, time::Duration};

use futures_util::future::join_all;
use staith_model::{
    AttemptId,
    service::{AttemptEnd, StopKind},
};
use tokio_util::sync::CancellationToken;

use super::{attempts::time_left, leases::LEASE};
use crate::{site::Site, store::StoreError};

/// The longest pause between two looks. Leases are ended when they run out, not at the next look; this is for a machine that slept, and
/// for attempts that were asked to stop meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The shortest, so that a store that fails is not asked all the time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const AFTER_A_FAILURE: Duration = Duration::from_millis(500);

/// How often the store is asked which attempts are alive. Each has its lease from when it was given away; what this finds was lost
/// between the two, and would wait for ever.
const SWEEP: Duration = Duration::from_secs(5);

/// Gives every attempt that is alive a fresh lease, and ends leases until `stop`.
pub async fn run(site: Site, stop: CancellationToken) {
    loop {
        let pause = tick(&site).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does what is due now, and says how long nothing will be. What fails is due again.
pub async fn tick(site: &Site) -> Duration {
    match try_tick(site).await {
        Ok(()) => {
            let next = site.queue.leases().next();
            let pause = next.map_or(LONGEST_PAUSE, |next| next.saturating_sub(site.clock.steady()));
            pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
        }
        Err(failed) => {
            tracing::error!(%failed, "the queue can't be kept");
            AFTER_A_FAILURE
        }
    }
}

async fn try_tick(site: &Site) -> Result<(), StoreError> {
    sweep(site).await?;
    let due = site.queue.leases().due(site.clock.steady());
    let lost = due.lost.iter().map(|attempt| {
        let why = format!("its runner was not heard of for {} s", LEASE.as_secs());
        give_up(site, attempt, AttemptEnd::RunnerLost, why)
    });
    let not_stopped = due.not_stopped.iter().map(|attempt| {
        let why = "its runner did not end it in the time that it had for that".to_owned();
        give_up(site, attempt, AttemptEnd::NotStopped, why)
    });
    // At once, so that they are committed together: a switch that fails takes hundreds of hosts with it.
    let (lost, not_stopped) = tokio::join!(join_all(lost), join_all(not_stopped));
    lost.into_iter().chain(not_stopped).collect::<Result<(), _>>()?;
    for attempt in &due.out_of_time {
        let why = "it ran longer than it may".to_owned();
        site.store.ask_to_end(attempt.clone(), StopKind::TimeOut, why, site.clock.unix_millis()).await?;
        site.queue.leases().stopping(attempt, site.clock.steady());
    }
    Ok(())
}

async fn give_up(site: &Site, attempt: &AttemptId, end: AttemptEnd, why: String) -> Result<(), StoreError> {
    let job = site.store.give_up(attempt.clone(), end, why.clone(), site.clock.unix_millis()).await?;
    site.queue.leases().over(attempt, site.clock.steady());
    if let Some(job) = job {
        tracing::warn!(%attempt, %job, why, "an attempt was given up");
        site.bells.jobs.ring();
    }
    Ok(())
}

async fn sweep(site: &Site) -> Result<(), StoreError> {
    let now = site.clock.steady();
    let swept = *site.queue.swept.lock().unwrap_or_else(PoisonError::into_inner);
    if swept.is_some_and(|swept| now.saturating_sub(swept) < SWEEP) {
        return Ok(());
    }
    let live = site.store.all_live().await?;
    let (steady, wall) = (site.clock.steady(), site.clock.unix_millis());
    let mut leases = site.queue.leases();
    let missing = leases.missing(live.iter().map(|live| &live.attempt));
    for live in live.iter().filter(|live| missing.contains(&live.attempt)) {
        leases.hold(&live.attempt, time_left(live, wall), steady);
        if live.stop.is_some() {
            leases.stopping(&live.attempt, steady);
        }
    }
    drop(leases);
    *site.queue.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    Ok(())
}
