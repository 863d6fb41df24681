//! One job's courier: everything between the job on this host and the server.

use std::time::Duration;

use staith_model::{
    AttemptId, Blame, Secret,
    service::{AttemptOutcome, FinishAsked, Trust},
};
use tokio::{runtime::Handle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    ending::{end_keeper, sweep},
    job::{Claim, Ended, Job},
    lease::{Lease, Standing},
    packages::Pushing,
    renewing::{Leasehold, counts_no_more},
    rooms::Rooms,
    start::launch,
    streams::{Streams, Upload},
};
use crate::{
    client::{Ask, Client, Patience, Refused},
    clock,
    home::Home,
    output::Problem,
    workshop::EngineName,
};

/// How often it is looked for news of a job.
const LOOK: Duration = Duration::from_millis(50);
/// A keeper that was started says so within this time.
const STARTING: Duration = Duration::from_secs(10);
/// How often a keeper is started that does not begin.
const STARTS: u32 = 3;
/// How long what ended is kept for a server that is away, in milliseconds.
const KEPT: u64 = 24 * 60 * 60 * 1000;
/// How often packages are tried that can't be sent.
const PUSHES: u32 = 8;

/// What became of a job, as far as this runner has to do with it.
#[derive(Debug)]
pub(super) enum Delivered {
    /// The server knows how it ended.
    Finished(AttemptOutcome),
    /// The server says that another attempt counts, or none.
    Lost(Refused),
    /// The server was away for a day after it had ended.
    GivenUp,
    /// It could not be begun, or nothing of it can be read.
    Unusable(Problem),
}

/// The courier of one job.
pub(super) struct Courier {
    home: Home,
    engine: EngineName,
    rooms: Rooms,
    job: Job,
    claim: Claim,
    client: Client,
    token: Secret,
    hold: Leasehold,
}

impl Courier {
    /// A courier of a job that is here.
    ///
    /// # Errors
    /// What the server gave can't be read.
    pub(super) fn of(home: Home, engine: EngineName, rooms: Rooms, job: Job) -> Result<Self, Problem> {
        let claim = job.claim()?;
        // A client of its own: what one job sends does not keep another's lease from being renewed.
        let client = Client::new(&claim.server)?;
        // Of another start of the machine: nothing goes out before the server has been asked.
        let lease = job.lease().unwrap_or_else(|| Lease::new(0, 0));
        let token = Secret::new(claim.claimed.token.clone());
        let hold = Leasehold::new(job.clone(), lease);
        Ok(Self { home, engine, rooms, job, claim, client, token, hold })
    }

    /// What it carries.
    pub(super) const fn claim(&self) -> &Claim {
        &self.claim
    }

    fn attempt(&self) -> &AttemptId {
        &self.claim.claimed.attempt
    }

    /// Brings everything there, and removes the job when it is. Cancel-safe: whoever drops it leaves the job to the next runner.
    pub(super) async fn deliver(&self) -> Delivered {
        let delivered = tokio::select! {
            refused = self.renewed() => Delivered::Lost(refused),
            delivered = self.carried() => delivered,
            () = self.watched() => Delivered::GivenUp,
            () = self.told_of_silence() => Delivered::GivenUp,
        };
        self.put_away(&delivered).await;
        delivered
    }

    async fn renewed(&self) -> Refused {
        let attempt = self.attempt().as_str();
        self.hold.keep(&self.client, &self.token, attempt, self.claim.claimed.fence).await
    }

    /// Ends the keeper when it is to be ended. Returns never: what follows is told by the others.
    async fn watched(&self) {
        let why = self.hold.until_unwanted().await;
        tracing::info!(?why, attempt = %self.attempt(), "a job is ended");
        self.ended_keeper().await;
        std::future::pending::<()>().await;
    }

    /// Says when nothing goes out any more, and when it does again: with the server's own times, that shows who stopped first. Returns
    /// never.
    async fn told_of_silence(&self) {
        loop {
            self.hold.until_not_valid().await;
            tracing::warn!(attempt = %self.attempt(), "the lease is over: nothing goes out");
            self.hold.until_valid().await;
            tracing::info!(attempt = %self.attempt(), "the lease is renewed: what waited goes out");
        }
    }

    /// The keeper is gone after this, and it is written down how the job ended.
    async fn ended_keeper(&self) {
        end_keeper(&self.job, &self.home, self.engine).await;
        self.settle_end();
    }

    /// Writes down how a job ended whose keeper did not. Nothing where that is known.
    fn settle_end(&self) {
        if self.job.ended().is_some() || self.job.is_kept() {
            return;
        }
        let ended = if self.job.wanted().is_some() {
            Ended::now(AttemptOutcome::Cancelled)
        } else {
            Ended::by_this_host("the process that kept the job was killed")
        };
        if let Err(refused) = self.job.end(&ended) {
            tracing::error!(%refused, "it could not be written down how a job ended");
        }
    }

    async fn carried(&self) -> Delivered {
        let mut streams = Streams::default();
        let ended = match self.followed(&mut streams).await {
            Ok(ended) => ended,
            Err(delivered) => return delivered,
        };
        let last_moment = ended.at.saturating_add(KEPT);
        tokio::select! {
            delivered = self.completed(ended, &mut streams) => delivered,
            () = until(last_moment) => Delivered::GivenUp,
        }
    }

    /// Sends what comes, until the job has ended and all of it is sent.
    async fn followed(&self, streams: &mut Streams) -> Result<Ended, Delivered> {
        let (mut patience, mut starts) = (Patience::default(), Starts::default());
        loop {
            let ended = self.look_after(&mut starts).await.map_err(Delivered::Unusable)?;
            if let Some(ended) = &ended
                && clock::unix_millis() > ended.at.saturating_add(KEPT)
            {
                return Err(Delivered::GivenUp);
            }
            streams.look(&self.job.spool(), &self.claim.claimed.job.run);
            if self.hold.standing() != Standing::Valid {
                sleep(LOOK).await;
                continue;
            }
            let before = streams.done();
            let sent = self.while_valid(streams.send_some(&self.upload())).await;
            if streams.done() > before {
                patience.worked();
            }
            match sent {
                Some(Ok(true)) => {}
                Some(Ok(false)) => match ended {
                    Some(ended) => return Ok(ended),
                    None => sleep(LOOK).await,
                },
                Some(Err(refused)) if counts_no_more(&refused) => return Err(Delivered::Lost(refused)),
                Some(Err(refused)) => {
                    tracing::info!(%refused, "a log could not be sent");
                    sleep(patience.failed()).await;
                }
                None => {}
            }
        }
    }

    /// What only counts while the lease does: `None` where it ended meanwhile.
    async fn while_valid<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.hold.until_not_valid() => None,
        }
    }

    fn upload(&self) -> Upload<'_> {
        Upload {
            client: &self.client,
            token: &self.token,
            attempt: self.attempt().as_str(),
            fence: self.claim.claimed.fence,
        }
    }

    /// How the job ended, if it has; sees to it that it was begun.
    async fn look_after(&self, starts: &mut Starts) -> Result<Option<Ended>, Problem> {
        if let Some(ended) = self.job.ended() {
            return Ok(Some(ended));
        }
        if self.job.is_kept() {
            return Ok(None);
        }
        if self.job.has_begun() {
            // It may have ended between the two looks.
            if self.job.ended().is_none() && !self.job.is_kept() {
                sweep(&self.home, self.engine).await;
                self.settle_end();
            }
            return Ok(self.job.ended());
        }
        if self.job.wanted().is_some() || starts.are_used_up() {
            let ended = match self.job.wanted() {
                Some(_) => Ended::now(AttemptOutcome::Cancelled),
                None => {
                    Ended::by_this_host(format!("its keeper could not be started\n{}", self.last_words()))
                }
            };
            self.job.end(&ended).map_err(|refused| super::rooms::unkept(self.job.path(), &refused))?;
            return Ok(Some(ended));
        }
        if starts.is_due() {
            launch(&self.home, self.engine, &self.job)?;
        }
        Ok(None)
    }

    /// What a keeper that did not begin said.
    fn last_words(&self) -> String {
        let said = std::fs::read(self.job.keeper_log()).unwrap_or_default();
        String::from_utf8_lossy(&said[said.len().saturating_sub(2000)..]).into_owned()
    }

    /// Everything after the job has ended.
    async fn completed(&self, ended: Ended, streams: &mut Streams) -> Delivered {
        let (mut patience, mut pushes) = (Patience::default(), 0);
        let mut ended = ended;
        loop {
            self.hold.until_valid().await;
            let before = streams.done();
            let told = self.while_valid(self.closed_and_told(&mut ended, streams, &mut pushes)).await;
            if streams.done() > before {
                patience.worked();
            }
            match told {
                Some(Ok(())) => return Delivered::Finished(ended.outcome),
                Some(Err(refused)) if counts_no_more(&refused) => return Delivered::Lost(refused),
                Some(Err(refused)) => tracing::info!(%refused, "the end of a job could not be told"),
                None => {}
            }
            sleep(patience.failed()).await;
        }
    }

    async fn closed_and_told(
        &self,
        ended: &mut Ended,
        streams: &mut Streams,
        pushes: &mut u32,
    ) -> Result<(), Refused> {
        let upload = self.upload();
        while streams.send_some(&upload).await? {}
        streams.close(&upload).await?;
        if let Some(why) = streams.broken().first() {
            ended.outcome = AttemptOutcome::failed(
                Blame::Environment,
                format!("its log could not be brought to the server: {why}"),
            );
        }
        self.push(ended, pushes).await?;
        let fence = self.claim.claimed.fence;
        let asked = FinishAsked { fence, outcome: ended.outcome.clone(), streams: streams.names() };
        let path = format!("/api/v1/attempts/{}/finish", self.attempt());
        self.client.bytes(&Ask::post(path, &asked).with(&self.token)).await.map(drop)
    }

    /// Brings the packages to the server's store. A job whose packages can't be brought there did not pass.
    async fn push(&self, ended: &mut Ended, pushes: &mut u32) -> Result<(), Refused> {
        if self.claim.claimed.job.trust == Trust::Fork {
            // The server publishes nothing of a fork's. That they could be made is what the job was for.
            ended.packages.clear();
        }
        if ended.packages.is_empty() || ended.outcome != AttemptOutcome::Passed {
            return Ok(());
        }
        let stop = CancellationToken::new();
        // Whoever stops waiting for this stops it.
        let _stopping = stop.clone().drop_guard();
        let pushing = Pushing {
            home: self.home.clone(),
            server: self.claim.server.clone(),
            project: self.claim.claimed.job.project.clone(),
            token: self.token.clone(),
            packages: ended.packages.clone(),
            stop,
        };
        let runtime = Handle::current();
        let pushed = tokio::task::spawn_blocking(move || pushing.all(&runtime)).await;
        let pushed = pushed.unwrap_or_else(|panicked| Err(Problem::bug(panicked.to_string())));
        let Err(problem) = pushed else {
            ended.packages.clear();
            return Ok(());
        };
        *pushes += 1;
        let why = [Some(problem.what.as_str()), problem.why.as_deref()];
        let why = why.into_iter().flatten().collect::<Vec<_>>().join(": ");
        let is_passing = problem.exit == staith_model::Exit::Environment
            || problem.exit == staith_model::Exit::Interrupted;
        if is_passing && *pushes < PUSHES {
            return Err(Refused::Away { server: self.claim.server.as_str().to_owned(), why });
        }
        let blame = if is_passing { Blame::Environment } else { Blame::Project };
        ended.outcome =
            AttemptOutcome::failed(blame, format!("its packages could not be brought to the server: {why}"));
        Ok(())
    }

    /// Nothing of the job is left running or lying about; of one that does not count, a record.
    async fn put_away(&self, delivered: &Delivered) {
        let done = match delivered {
            Delivered::Finished(_) => self.job.remove(),
            Delivered::Lost(_) | Delivered::GivenUp | Delivered::Unusable(_) => {
                self.hold.lost();
                self.ended_keeper().await;
                self.job.retire(&self.rooms)
            }
        };
        if let Err(refused) = done {
            tracing::warn!(%refused, job = %self.job.path().display(), "a job that is over could not be put away");
        }
    }
}

/// How often a keeper was started, and when last.
#[derive(Default)]
struct Starts {
    times: u32,
    last: Option<std::time::Instant>,
}

impl Starts {
    fn are_used_up(&self) -> bool {
        self.times >= STARTS && self.last.is_some_and(|last| last.elapsed() > STARTING)
    }

    /// Whether to start one now, which is counted.
    fn is_due(&mut self) -> bool {
        let is_due = self.times < STARTS && self.last.is_none_or(|last| last.elapsed() > STARTING);
        if is_due {
            self.times += 1;
            self.last = Some(std::time::Instant::now());
        }
        is_due
    }
}

/// Returns at a time, in milliseconds since 1970.
async fn until(moment: u64) {
    while clock::unix_millis() < moment {
        sleep(Duration::from_secs(30)).await;
    }
}
