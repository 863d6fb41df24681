//! Attempts renew and finish. They are known by their tokens also after their end, for these two questions only: who asks whether it
//! still counts, or says a second time how it ended because the answer was lost, is told so and not that nobody knows it.

use std::time::Duration;

use staith_model::{
    AttemptId, Digest,
    service::{FinishAsked, RenewAsked, Renewed},
};

use super::{claims::wanted, leases::LEASE};
use crate::{
    api::{Problem, sign_in},
    site::Site,
    store::{Actor, Finish, Finished, Live, StoreError},
};

/// The most streams that an attempt names, and the longest name in bytes.
const MOST_STREAMS: usize = 20_000;
const LONGEST_NAME: usize = 200;

/// An attempt goes on.
///
/// # Errors
/// 401 if the token is not its; 409 `stale-fence` if it has ended or has another fence.
pub async fn renew(
    site: &Site,
    attempt: &AttemptId,
    token: Digest,
    asked: &RenewAsked,
) -> Result<Renewed, Problem> {
    let live = site.store.live(attempt.clone(), token, asked.fence).await?.ok_or_else(sign_in)?;
    let left = time_left(&live, site.clock.unix_millis());
    if !site.queue.leases().hold(attempt, left, site.clock.steady()) {
        let now = "its lease ran out before this came".to_owned();
        return Err(StoreError::StaleFence { given: asked.fence, now }.into());
    }
    Ok(Renewed { lease_millis: millis(LEASE), wanted: wanted(&live) })
}

/// An attempt has ended.
///
/// # Errors
/// 401 if the token is not its; 409 `stale-fence` if it does not count any more; 409 `conflict` if it ended otherwise before; 409
/// `streams-open` if a stream that it names is not closed.
pub async fn finish(
    site: &Site,
    attempt: &AttemptId,
    token: Digest,
    by: Actor,
    asked: FinishAsked,
) -> Result<(), Problem> {
    let FinishAsked { fence, outcome, streams } = asked;
    if streams.len() > MOST_STREAMS || streams.iter().any(|name| name.len() > LONGEST_NAME) {
        return Err(Problem::new(
            400,
            "bad-streams",
            format!("an attempt names at most {MOST_STREAMS} streams of at most {LONGEST_NAME} bytes"),
        ));
    }
    let finish = Finish { attempt: attempt.clone(), token, fence, outcome, streams, by };
    match site.store.finish(finish, site.clock.unix_millis()).await? {
        Finished::NotTheirs => Err(sign_in()),
        Finished::Unclosed(names) => Err(still_to_come(&names)),
        Finished::Taken(_) | Finished::Before => {
            site.queue.leases().over(attempt, site.clock.steady());
            site.bells.jobs.ring();
            Ok(())
        }
    }
}

/// How many names are told.
const TOLD: usize = 10;

fn still_to_come(names: &[String]) -> Problem {
    let told = names.iter().take(TOLD).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if names.len() > TOLD { format!(" and {} more", names.len() - TOLD) } else { String::new() };
    Problem::new(409, "streams-open", "streams that the attempt names are not closed")
        .with_why(format!("these are still to come: {told}{more}"))
        .with_remedy("send and close them, and say again how the attempt ended")
}

/// How long an attempt may still run, by the clock for people: a server that was started since knows no better. An attempt is never out
/// of time at once because a clock was set.
pub(super) fn time_left(live: &Live, now: u64) -> Duration {
    let used = now.saturating_sub(live.began);
    Duration::from_millis(live.timeout_millis.saturating_sub(used))
}

pub(super) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
