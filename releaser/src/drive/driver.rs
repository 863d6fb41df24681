//! The executor: one deployment over the two seams, from its lock to its record.

use std::{
    collections::BTreeSet,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use staith_model::{DeploymentId, Digest, LocalEnvironment, Release};
use tokio_util::sync::CancellationToken;

use super::{
    Events,
    books::{Books, BooksError, now},
    course::Course,
    error::{DriveError, Ending, Trouble},
    journal::{Line, Note},
    record::{Attempt, AttemptKind, AttemptResult, Record},
    session::Session,
};
use crate::{
    host::{Depth, Files, Host, HostError, Life, PackageFiles, Patience, Progress},
    keeper::Pool,
    plan::{DeploymentPlan, Observed, plan},
    traffic::{Traffic, TrafficError},
};

/// How long a deployment waits for another one to end.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// What shall serve.
#[derive(Clone)]
pub struct Wanted {
    /// The release.
    pub release: Release,
    /// Its package; not needed for a release whose files are there.
    pub files: Option<Arc<dyn PackageFiles>>,
    /// Whether this goes forward or back.
    pub kind: AttemptKind,
    /// Told while files are staged.
    pub progress: Progress,
}

/// A deployment that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its epoch.
    pub epoch: u64,
    /// The release that serves.
    pub release: Digest,
    /// The release to go back to.
    pub previous: Option<Digest>,
    /// The pool that serves.
    pub pool: Pool,
    /// Whether nothing had to be changed.
    pub already: bool,
    /// Where clients ask.
    pub url: Option<String>,
    /// Requests that the old release was still answering when its time to drain was up; they were not cut.
    pub left_in_flight: u64,
    /// How long it took.
    pub took: Duration,
}

/// Executes deployments to one environment.
#[derive(Clone)]
pub struct Driver {
    /// Where releases run.
    pub host: Arc<dyn Host>,
    /// Who decides which pool gets requests.
    pub traffic: Arc<dyn Traffic>,
    /// What survives a kill.
    pub books: Books,
    /// The environment.
    pub environment: LocalEnvironment,
    /// How long to wait for another deployment to end.
    pub lock_patience: Duration,
}

impl Driver {
    /// A driver that waits 10 seconds for another deployment to end.
    pub fn new(
        host: Arc<dyn Host>,
        traffic: Arc<dyn Traffic>,
        books: Books,
        environment: LocalEnvironment,
    ) -> Self {
        Self { host, traffic, books, environment, lock_patience: LOCK_PATIENCE }
    }

    /// Makes `wanted` serve, or leaves what serves as it is.
    ///
    /// A firing of `cancel` is heeded at once, in every state: requests that had been moved are sent back and the new
    /// release is stopped. Dropping the future is like being killed: what was done stays, and the next deployment
    /// finishes or replaces it.
    ///
    /// # Errors
    /// See [`DriveError`]; [`DriveError::Failed`] says what serves.
    pub async fn drive(
        &self,
        wanted: Wanted,
        events: Events<'_>,
        cancel: &CancellationToken,
    ) -> Result<Deployed, DriveError> {
        let began = Instant::now();
        let opened = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(DriveError::Cancelled),
            opened = self.open(&wanted) => opened?,
        };
        let Opened { lock: _lock, mut record, observed, plan } = opened;
        let epoch = record.epoch.max(observed.host.epoch) + 1;
        let deployment = new_id()?;
        self.enter(&mut record, &wanted, &observed, &deployment, epoch).await?;
        let course =
            Course::begin(events, deployment.clone(), &self.environment.name, &plan, observed.serving());
        let mut session = Session {
            driver: self,
            wanted: &wanted,
            digest: plan.release(),
            deployment,
            epoch,
            before: observed,
            record: &record,
            plan,
            course,
            during: "begin".into(),
            left_in_flight: 0,
            started: None,
        };
        let already = session.plan.only_reads();
        let executed = session.execute(cancel).await;
        let (result, why, outcome) = match executed {
            Ok(()) => {
                session.course.succeed();
                let deployed = session.deployed(already, began).await;
                record.serves(deployed.release, now());
                self.forget_what_nobody_needs(&record).await;
                (AttemptResult::Succeeded, None, Ok(deployed))
            }
            Err(trouble) => {
                let failure = session.retreat(trouble).await;
                let (result, why) = match &failure.ending {
                    Ending::RolledBack => (AttemptResult::RolledBack, failure.reason.what.clone()),
                    Ending::RollbackFailed(why) => (AttemptResult::RollbackFailed, why.clone()),
                    Ending::NeedsDecision(why) => (AttemptResult::NeedsDecision, why.clone()),
                };
                (result, Some(why), Err(DriveError::Failed(Box::new(failure))))
            }
        };
        // What serves is what people need to hear. That it could not be written down is less: the next deployment looks
        // at what serves and catches up.
        if let Err(error) = self.leave(&mut record, result, why).await {
            tracing::warn!(%error, "the end of a deployment was not recorded");
        }
        outcome
    }

    /// Everything before the first event: nothing is changed but that the host is ready to take orders.
    async fn open(&self, wanted: &Wanted) -> Result<Opened, DriveError> {
        let lock = self.books.lock(self.lock_patience).await?;
        let unreachable =
            |source| DriveError::Unreachable { environment: self.environment.name.to_string(), source };
        self.host.reach().await.map_err(unreachable)?;
        let record = self.books.record().await?;
        let observed = self.observe(wanted, &record).await.map_err(|unseen| match unseen {
            Unseen::Host(source) => unreachable(source),
            Unseen::Traffic(source) => {
                DriveError::Unseen { environment: self.environment.name.to_string(), source }
            }
        })?;
        let plan = plan(&wanted.release, &self.environment, &observed);
        Ok(Opened { lock, record, observed, plan })
    }

    pub(super) async fn observe(&self, wanted: &Wanted, record: &Record) -> Result<Observed, Unseen> {
        let digest = wanted.release.digest();
        let (host, traffic) = tokio::join!(self.host.observe(), self.traffic.observe());
        let (host, traffic) = (host.map_err(Unseen::Host)?, traffic.map_err(Unseen::Traffic)?);
        let mut observed = Observed {
            files: Files::Absent,
            host,
            traffic,
            healthy: [].into(),
            history: record.history.clone(),
            previous: record.previous,
        };
        let holders = observed.host.pools.iter().filter(|(_, view)| view.release == Some(digest));
        let running: Vec<Pool> =
            holders.filter(|(_, view)| view.life == Life::Up).map(|(pool, _)| *pool).collect();
        // Going back to what runs needs no look at its files: the process has them. Everything else is hashed.
        let depth = match wanted.kind {
            AttemptKind::Rollback if !running.is_empty() => Depth::Presence,
            _ => Depth::Content,
        };
        observed.files = self.host.inspect(&wanted.release, depth).await.map_err(Unseen::Host)?;
        for pool in running {
            let health =
                self.host.probe(pool, &wanted.release, Patience::Glance).await.map_err(Unseen::Host)?;
            observed.healthy.insert(pool, health.is_healthy());
        }
        Ok(observed)
    }

    /// Writes down that a deployment begins, after catching up with what serves: a deployment that was killed after its
    /// switch left a record that is behind.
    async fn enter(
        &self,
        record: &mut Record,
        wanted: &Wanted,
        observed: &Observed,
        deployment: &DeploymentId,
        epoch: u64,
    ) -> Result<(), DriveError> {
        if let Some(serving) = observed.serving() {
            record.serves(serving, now());
        }
        record.epoch = epoch;
        record.last = Some(Attempt {
            deployment: deployment.clone(),
            kind: wanted.kind,
            release: wanted.release.digest(),
            began: now(),
            ended: None,
            result: AttemptResult::Unfinished,
            why: None,
        });
        self.books.keep(&wanted.release).await?;
        self.books.save_environment(&self.environment).await?;
        self.books.save(record).await?;
        Ok(())
    }

    /// Frozen releases whose files are gone and that never served, or so long ago that they are not remembered.
    async fn forget_what_nobody_needs(&self, record: &Record) {
        let Ok(state) = self.host.observe().await else { return };
        let in_pools = state.pools.values().filter_map(|view| view.release);
        let mut keep: BTreeSet<Digest> = in_pools.chain(record.history.iter().copied()).collect();
        keep.extend(state.releases);
        keep.extend(record.current.into_iter().chain(record.previous));
        // The next deployment tries again.
        if let Err(error) = self.books.forget_all_but(keep).await {
            tracing::warn!(%error, "records of removed releases were not removed");
        }
    }

    async fn leave(
        &self,
        record: &mut Record,
        result: AttemptResult,
        why: Option<String>,
    ) -> Result<(), DriveError> {
        let epoch = record.epoch;
        if let Some(last) = &mut record.last {
            (last.ended, last.result, last.why) = (Some(now()), result, why.clone());
            let note = Note::Ended { result, why };
            self.books.note(Line { at: now(), deployment: &last.deployment, epoch, note }).await?;
        }
        self.books.save(record).await?;
        Ok(())
    }
}

/// What is known before the first event.
struct Opened {
    lock: super::lock::Lock,
    record: Record,
    observed: Observed,
    plan: DeploymentPlan,
}

/// Why it can't be seen what is there.
pub(super) enum Unseen {
    Host(HostError),
    Traffic(TrafficError),
}

impl From<Unseen> for Trouble {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::Host(error) => error.into(),
            Unseen::Traffic(error) => error.into(),
        }
    }
}

fn new_id() -> Result<DeploymentId, BooksError> {
    let mut chance = [0; 10];
    getrandom::fill(&mut chance).map_err(|error| BooksError::Io {
        what: "draw a deployment's id from",
        path: "/dev/urandom".into(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(DeploymentId::new(now(), chance))
}
