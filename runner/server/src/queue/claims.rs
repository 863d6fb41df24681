//! A runner gets a job.

use std::{sync::Arc, time::Duration};

use staith_model::{
    AttemptId, RunnerId,
    service::{ClaimAsked, Wanted},
};
use tokio::time::{Instant, timeout_at};

use super::{attempts::time_left, leases::LEASE};
use crate::{
    api::Problem,
    site::Site,
    store::{Actor, Claim, Claimable, Given},
};

/// The longest that an answer waits for a job. Shorter than the minute after which proxies give connections up.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest nonce, in bytes.
const LONGEST_NONCE: usize = 64;

/// A job that a runner has now.
#[derive(Debug, Clone)]
pub struct Handed {
    /// The attempt that begins.
    pub given: Given,
    /// What it proves itself by.
    pub token: String,
    /// How long it counts, from when the question came.
    pub lease: Duration,
}

/// Gives a runner a job; waits for one if there is none, as long as the runner wants and [`LONGEST_WAIT`] allows. `None` if there was
/// none.
///
/// Cancel-safe: what is dropped may have been given. The lease covers that, and the same nonce gets the same answer.
///
/// # Errors
/// The nonce is none, or was used for an attempt that has ended; the store fails.
pub async fn claim(
    site: &Site,
    runner: &RunnerId,
    by: Actor,
    asked: &ClaimAsked,
) -> Result<Option<Handed>, Problem> {
    let came = site.clock.steady();
    if asked.nonce.is_empty()
        || asked.nonce.len() > LONGEST_NONCE
        || !asked.nonce.bytes().all(|c| c.is_ascii_graphic())
    {
        return Err(Problem::new(
            400,
            "bad-nonce",
            format!("a nonce is 1 to {LONGEST_NONCE} visible characters"),
        ));
    }
    let until = Instant::now() + Duration::from_millis(asked.wait_millis).min(LONGEST_WAIT);
    let mut bell = site.bells.jobs.listen();
    let question =
        Question { site: site.clone(), runner: runner.clone(), by, nonce: asked.nonce.clone(), came };
    let kind = match question.look().await? {
        Looked::Given(handed) => return Ok(Some(handed)),
        Looked::Nothing(kind) => kind,
    };
    if Instant::now() >= until {
        return Ok(None);
    }
    let door = site.queue.door(&kind);
    // Only waiting ends with the time, or with the server: a look that has begun is seen through, or its job would be given to nobody.
    let stop = &site.stop;
    let Some(Ok(Ok(_place))) = stop.run_until_cancelled(timeout_at(until, door.acquire())).await else {
        return Ok(None);
    };
    loop {
        if let Looked::Given(handed) = question.look().await? {
            return Ok(Some(handed));
        }
        match stop.run_until_cancelled(timeout_at(until, bell.heard())).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return Ok(None),
        }
    }
}

#[derive(Clone)]
struct Question {
    site: Site,
    runner: RunnerId,
    by: Actor,
    nonce: String,
    came: Duration,
}

enum Looked {
    Given(Handed),
    Nothing(String),
}

impl Question {
    /// Looks once. In a task of its own: if whoever asked goes away between the commit and here, the attempt gets its lease all the same.
    async fn look(&self) -> Result<Looked, Problem> {
        let question = self.clone();
        let looking = tokio::spawn(async move { question.look_to_the_end().await });
        looking.await.map_err(|panicked| {
            tracing::error!(%panicked, "a claim failed");
            Problem::new(500, "claim-failed", "the server failed to look for a job")
        })?
    }

    async fn look_to_the_end(self) -> Result<Looked, Problem> {
        let key = self.site.queue.key(&self.site.data)?;
        let now = self.site.clock.unix_millis();
        let digests = key.clone();
        let claim = Claim {
            runner: self.runner,
            nonce: self.nonce,
            by: self.by,
            attempt: new_attempt(now)?,
            token: Arc::new(move |attempt| digests.digest(attempt)),
        };
        let given = match self.site.store.claim(claim, now).await? {
            Claimable::Given(given) => given,
            Claimable::Nothing { kind } => return Ok(Looked::Nothing(kind)),
            Claimable::Spent => return Err(spent()),
        };
        let steady = self.site.clock.steady();
        let left = time_left(&given.live, self.site.clock.unix_millis());
        if !self.site.queue.leases().hold(&given.live.attempt, left, steady) {
            return Err(spent());
        }
        let lease = steady.saturating_sub(self.came) + LEASE;
        Ok(Looked::Given(Handed { token: key.token(&given.live.attempt), given, lease }))
    }
}

fn spent() -> Problem {
    Problem::new(409, "claim-spent", "the attempt that this claim began has ended")
        .with_remedy("claim with another nonce")
}

fn new_attempt(now: u64) -> Result<AttemptId, Problem> {
    let mut chance = [0; 10];
    getrandom::fill(&mut chance).map_err(|refused| {
        tracing::error!(%refused, "the system gives no random numbers");
        Problem::new(500, "no-chance", "the server's system gives no random numbers")
    })?;
    Ok(AttemptId::new(now, chance))
}

/// What the server wants of an attempt.
pub(super) fn wanted(live: &crate::store::Live) -> Wanted {
    match &live.stop {
        None => Wanted::GoOn,
        Some((_, why)) => Wanted::Cancel { why: why.clone() },
    }
}
