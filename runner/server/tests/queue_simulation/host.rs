//! A build host, as far as its server sees it.

use staith_model::{
    AttemptId, Blame, Digest, RunId, RunnerId,
    service::{AttemptOutcome, ClaimAsked, FinishAsked, JobSpec, RenewAsked, Wanted},
};
use staith_server::{
    api::Problem,
    queue::{attempts, claims},
    site::Site,
    store::Actor,
};

use crate::{
    chance::Chance,
    queue_stage::failed,
    world::{Heard, STEP},
};

/// How many jobs a host does at once.
const AT_ONCE: usize = 2;
const NEVER: u64 = u64::MAX;

pub(crate) struct Host {
    pub(crate) runner: RunnerId,
    /// No packet comes or goes until then.
    pub(crate) cut_until: u64,
    /// It is off until then.
    pub(crate) dead_until: u64,
    pub(crate) work: Vec<Work>,
    nonce: Option<String>,
    nonces: u64,
    ask_at: u64,
}

/// A job that the host has.
pub(crate) struct Work {
    attempt: AttemptId,
    token: Digest,
    fence: u64,
    pub(crate) run: RunId,
    pub(crate) job: String,
    /// From when on the host does nothing of it any more, unless it is renewed.
    pub(crate) valid_until: u64,
    renew_at: u64,
    pub(crate) ends_at: u64,
    outcome: AttemptOutcome,
    /// It ends for nobody.
    pub(crate) hangs: bool,
}

/// What the network does to a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    NotSent,
    AnswerLost,
    Twice,
}

impl Fate {
    pub(crate) fn of(chance: &mut Chance, bad_weather: bool) -> Self {
        match chance.below(100) {
            0..4 if bad_weather => Self::NotSent,
            4..8 if bad_weather => Self::AnswerLost,
            8..12 if bad_weather => Self::Twice,
            _ => Self::Fine,
        }
    }

    async fn call<T>(self, ask: impl AsyncFn() -> Result<T, Problem>) -> Option<Result<T, Problem>> {
        match self {
            Self::NotSent => None,
            Self::AnswerLost => {
                let _ = ask().await;
                None
            }
            Self::Twice => {
                let _ = ask().await;
                Some(ask().await)
            }
            Self::Fine => Some(ask().await),
        }
    }
}

impl Host {
    pub(crate) fn new(runner: RunnerId) -> Self {
        Self { runner, cut_until: 0, dead_until: 0, work: Vec::new(), nonce: None, nonces: 0, ask_at: 0 }
    }

    /// The machine is gone, with everything that it had in mind. Nonces are not asked again after it comes back.
    pub(crate) fn dies(&mut self, until: u64) {
        self.dead_until = until;
        self.work.clear();
        self.nonce = None;
    }

    pub(crate) async fn step(
        &mut self,
        site: &Site,
        now: u64,
        fate: Fate,
        chance: &mut Chance,
        heard: &mut Heard,
    ) {
        for mut work in std::mem::take(&mut self.work) {
            if work.goes_on(site, now, fate, heard).await {
                self.work.push(work);
            }
        }
        if self.work.len() < AT_ONCE && self.ask_at <= now {
            self.ask(site, now, fate, chance, heard).await;
        }
    }

    async fn ask(&mut self, site: &Site, now: u64, fate: Fate, chance: &mut Chance, heard: &mut Heard) {
        let nonce = self.nonce.take().unwrap_or_else(|| {
            self.nonces += 1;
            format!("{}-{now}", self.nonces)
        });
        let asked = ClaimAsked { nonce: nonce.clone(), wait_millis: 0 };
        let by = Actor { who: format!("runner:{}", self.runner), from: None };
        self.ask_at = now + 1000;
        let answer = fate
            .call(async || {
                let handed = claims::claim(site, &self.runner, by.clone(), &asked).await?;
                if let Some(handed) = &handed {
                    heard.at(&handed.given.live.attempt, now);
                }
                Ok(handed)
            })
            .await;
        match answer {
            None => self.nonce = Some(nonce),
            Some(Ok(None)) => {}
            Some(Ok(Some(handed))) => {
                let lease = u64::try_from(handed.lease.as_millis()).unwrap();
                let spec: JobSpec = serde_json::from_str(&handed.given.spec_json).unwrap();
                let (outcome, takes) = course(chance);
                self.work.push(Work {
                    token: Digest::of(handed.token.as_bytes()),
                    fence: handed.given.live.fence,
                    run: spec.run,
                    job: spec.name.to_string(),
                    valid_until: now + lease,
                    renew_at: now + 5000,
                    ends_at: takes.map_or(NEVER, |takes| now + takes),
                    hangs: takes.is_none(),
                    outcome,
                    attempt: handed.given.live.attempt,
                });
            }
            Some(Err(problem)) => assert_eq!(problem.details().kind, "claim-spent", "{problem:?}"),
        }
    }
}

/// How a try would go if nothing came in between, and how long it would take; for ever, now and then.
fn course(chance: &mut Chance) -> (AttemptOutcome, Option<u64>) {
    let takes = Some(chance.between(500, 25_000));
    match chance.below(100) {
        0..8 => (failed(Blame::Project), takes),
        8..14 => (failed(Blame::Environment), takes),
        14..16 => (failed(Blame::Us), takes),
        16..18 => (AttemptOutcome::Passed, None),
        _ => (AttemptOutcome::Passed, takes),
    }
}

impl Work {
    /// Whether the host still has it afterwards.
    async fn goes_on(&mut self, site: &Site, now: u64, fate: Fate, heard: &mut Heard) -> bool {
        if self.ends_at <= now {
            return self.finish(site, now, fate, heard).await;
        }
        if self.renew_at <= now {
            return self.renew(site, now, fate, heard).await;
        }
        true
    }

    async fn renew(&mut self, site: &Site, now: u64, fate: Fate, heard: &mut Heard) -> bool {
        let asked = RenewAsked { fence: self.fence };
        let answer = fate
            .call(async || {
                let renewed = attempts::renew(site, &self.attempt, self.token, &asked).await?;
                heard.at(&self.attempt, now);
                Ok(renewed)
            })
            .await;
        self.renew_at = now + 1000;
        match answer {
            None => true,
            Some(Ok(renewed)) => {
                (self.valid_until, self.renew_at) = (now + renewed.lease_millis, now + 5000);
                if renewed.wanted != Wanted::GoOn && !self.hangs {
                    self.outcome = AttemptOutcome::Cancelled;
                    self.ends_at = self.ends_at.min(now + 4 * STEP);
                }
                true
            }
            Some(Err(problem)) => {
                assert_eq!(problem.details().kind, "stale-fence", "{problem:?}");
                false
            }
        }
    }

    async fn finish(&mut self, site: &Site, now: u64, fate: Fate, heard: &mut Heard) -> bool {
        let asked = FinishAsked { fence: self.fence, outcome: self.outcome.clone(), streams: Vec::new() };
        let by = Actor { who: format!("attempt:{}", self.attempt), from: None };
        let answer = fate
            .call(async || attempts::finish(site, &self.attempt, self.token, by.clone(), asked.clone()).await)
            .await;
        match answer {
            None => {
                // It says that it is alive as long as it has not been heard.
                if self.renew_at <= now { self.renew(site, now, fate, heard).await } else { true }
            }
            Some(Ok(())) => {
                heard.acknowledged(&self.attempt, &self.outcome);
                false
            }
            Some(Err(problem)) => {
                assert_eq!(problem.details().kind, "stale-fence", "{problem:?}");
                false
            }
        }
    }
}
