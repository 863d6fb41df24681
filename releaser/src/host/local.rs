//! This machine as a host: files below the environment's folder, pools run by its keeper.

use std::{
    collections::BTreeSet,
    fs, io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use staith_model::{Digest, Release};
use tokio_util::sync::CancellationToken;

use super::{
    Depth, Done, Files, Host, HostError, HostState, Layout, Life, PackageFiles, Patience, PoolView, Progress,
    Staged, durable,
    layout::release_of_folder,
    link::{KeeperLink, Meaning, meaning},
    retention, staging,
};
use crate::{
    health::{Health, LogTail, Nowhere, Question, Subject, Whereabouts, proof, watch},
    keeper::{KeeperError, Pool, PoolPhase, PoolSpec, PoolStatus},
};

/// What a look at something that already runs may take; a program that hangs is not worth more.
const GLANCE: Duration = Duration::from_secs(2);

/// What the keeper may take to notice a pool that answers, however late that was.
const SETTLING: Duration = Duration::from_secs(2);
/// Between two looks at the keeper.
const MOMENT: Duration = Duration::from_millis(3);
/// What a keeper was doing that went away.
const WATCHING: &str = "watch the pool";

/// As many of the application's last lines as fit a screen beside what is said about them.
const LOG_LINES: usize = 15;

/// This machine.
#[derive(Debug, Clone)]
pub struct LocalHost {
    layout: Layout,
    link: KeeperLink,
}

impl LocalHost {
    /// This machine, with the files and the keeper of the folder that `link` names.
    pub fn new(link: KeeperLink) -> Self {
        Self { layout: Layout::new(&link.dir), link }
    }

    fn spec(&self, release: &Release) -> Result<PoolSpec, HostError> {
        let digest = release.digest();
        let home = self.layout.release(&digest);
        // The program starts from the resolved path: what `current` points to later does not concern it.
        let root = match home.canonicalize() {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HostError::NotStaged { release: digest });
            }
            Err(source) => return Err(HostError::Io { what: "resolve", path: home, source }),
        };
        let mut env = release.process.env.clone();
        let package = format!("{}@{}", release.package.name, release.package.version);
        env.insert("STAITH_PACKAGE".into(), package);
        Ok(PoolSpec {
            release: digest,
            root,
            command: release.process.command.clone(),
            env,
            stop_seconds: release.process.stop_seconds,
        })
    }

    async fn pool(&self, pool: Pool, what: &'static str) -> Result<Option<PoolStatus>, HostError> {
        let status = self.link.status().await.map_err(|error| told(error, Some(pool), what))?;
        Ok(status.and_then(|mut status| status.pools.remove(&pool)))
    }

    /// The keeper looks for itself whether a pool accepts connections, and is a moment behind; it switches to none that
    /// it has not seen to.
    async fn until_running(&self, pool: Pool, patience: Duration) -> Result<(), HostError> {
        let began = Instant::now();
        while began.elapsed() < patience {
            match self.pool(pool, WATCHING).await? {
                None => return Err(lost(WATCHING)),
                Some(status) if status.phase == PoolPhase::Running => return Ok(()),
                Some(_) => tokio::time::sleep(MOMENT).await,
            }
        }
        // The switch will say what is wrong.
        Ok(())
    }

    /// Runs work on files where blocking is allowed. Dropping the future cancels `cancel`, which the work heeds.
    async fn on_disk<T: Send + 'static>(
        &self,
        cancel: CancellationToken,
        work: impl FnOnce(&Layout, &CancellationToken) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let (layout, guard) = (self.layout.clone(), cancel.clone().drop_guard());
        let done = tokio::task::spawn_blocking(move || work(&layout, &cancel)).await;
        drop(guard);
        done.unwrap_or_else(|error| {
            Err(HostError::Io {
                what: "work on",
                path: self.layout.root().to_owned(),
                source: io::Error::other(error),
            })
        })
    }
}

#[async_trait]
impl Host for LocalHost {
    async fn reach(&self) -> Result<Done, HostError> {
        let what = "take orders";
        let runs = self.link.status().await.map_err(|error| told(error, None, what))?.is_some();
        // Also when it runs: it must be one that listens where this environment does.
        self.link.keeper().await.map_err(|error| told(error, None, what))?;
        Ok(Done { already: runs })
    }

    async fn observe(&self) -> Result<HostState, HostError> {
        let status = self.link.status().await.map_err(|error| told(error, None, "report its state"))?;
        self.on_disk(CancellationToken::new(), move |layout, _| {
            let mut state = HostState {
                releases: retention::releases(layout)?,
                current: current(layout)?,
                ..HostState::default()
            };
            if let Some(status) = status {
                state.epoch = status.epoch;
                state.pools = status
                    .pools
                    .into_iter()
                    .filter(|(_, pool)| pool.phase != PoolPhase::Empty)
                    .map(|(name, pool)| (name, view(&pool)))
                    .collect();
            }
            Ok(state)
        })
        .await
    }

    async fn inspect(&self, release: &Release, depth: Depth) -> Result<Files, HostError> {
        let release = release.clone();
        self.on_disk(CancellationToken::new(), move |layout, cancel| {
            staging::inspect(layout, &release, depth, cancel)
        })
        .await
    }

    async fn stage(
        &self,
        release: &Release,
        files: Arc<dyn PackageFiles>,
        progress: Progress,
        cancel: CancellationToken,
    ) -> Result<Staged, HostError> {
        let release = release.clone();
        self.on_disk(cancel.child_token(), move |layout, cancel| {
            staging::stage(layout, &release, files.as_ref(), &progress, cancel)
        })
        .await
    }

    async fn start(&self, epoch: u64, pool: Pool, release: &Release) -> Result<Done, HostError> {
        let what = "start the release";
        let (host, frozen) = (self.clone(), release.clone());
        let spec = self.on_disk(CancellationToken::new(), move |_, _| host.spec(&frozen)).await?;
        let before = self.pool(pool, what).await?;
        let runs =
            |status: PoolStatus| status.spec.as_ref() == Some(&spec) && life(status.phase) != Life::Down;
        if before.is_some_and(runs) {
            return Ok(Done::ALREADY);
        }
        let refused = |error| told(error, Some(pool), what);
        let keeper = self.link.keeper().await.map_err(refused)?;
        keeper.ensure_pool(epoch, pool, spec).await.map_err(refused)?;
        Ok(Done::NOW)
    }

    async fn stop(&self, epoch: u64, pool: Pool) -> Result<Done, HostError> {
        let what = "stop what it runs";
        if self.pool(pool, what).await?.is_none_or(|status| status.phase == PoolPhase::Empty) {
            return Ok(Done::ALREADY);
        }
        let refused = |error| told(error, Some(pool), what);
        let keeper = self.link.keeper().await.map_err(refused)?;
        keeper.stop_pool(epoch, pool).await.map_err(refused)?;
        Ok(Done::NOW)
    }

    async fn probe(&self, pool: Pool, release: &Release, patience: Patience) -> Result<Health, HostError> {
        let deadline = Duration::from_secs(release.health.deadline_seconds);
        let question = Question {
            check: &release.health,
            release: release.digest(),
            deadline: if patience == Patience::Glance { GLANCE.min(deadline) } else { deadline },
            prove_process: true,
        };
        let began = Instant::now();
        let subject = Resident { link: &self.link, pool, release: question.release };
        let mut health = watch(&subject, &question).await;
        if health.is_healthy() {
            let left = question.deadline.saturating_sub(began.elapsed());
            self.until_running(pool, left.max(SETTLING)).await?;
            return Ok(health);
        }
        let Some(status) = self.pool(pool, WATCHING).await? else { return Err(lost(WATCHING)) };
        let tail = self.on_disk(CancellationToken::new(), move |_, _| {
            Ok(LogTail { lines: status.log_tail(LOG_LINES), path: status.log })
        });
        health.log = Some(tail.await?);
        Ok(health)
    }

    async fn activate(&self, release: Option<&Digest>) -> Result<Done, HostError> {
        let release = release.copied();
        self.on_disk(CancellationToken::new(), move |layout, _| {
            let link = layout.current();
            let Some(release) = release else { return forget(&link) };
            let target = PathBuf::from("releases").join(release.hex());
            let already = durable::point(&link, &target).map_err(HostError::io("point", link))?;
            Ok(Done { already })
        })
        .await
    }

    async fn retain(&self, keep: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>, HostError> {
        let state = self.observe().await?;
        let in_pools = state.pools.values().filter_map(|pool| pool.release);
        let keep: BTreeSet<Digest> = keep.iter().copied().chain(in_pools).chain(state.current).collect();
        self.on_disk(CancellationToken::new(), move |layout, _| retention::retain(layout, &keep)).await
    }
}

fn forget(link: &std::path::Path) -> Result<Done, HostError> {
    match fs::remove_file(link) {
        Ok(()) => Ok(Done::NOW),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Done::ALREADY),
        Err(source) => Err(HostError::Io { what: "remove", path: link.to_owned(), source }),
    }
}

/// Where `current` points; a pointer to something that is no release counts as none, and is replaced by the next.
fn current(layout: &Layout) -> Result<Option<Digest>, HostError> {
    match fs::read_link(layout.current()) {
        Ok(target) => Ok(target.file_name().and_then(|name| release_of_folder(name.to_str()?))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(source) => Err(HostError::Io { what: "read", path: layout.current(), source }),
    }
}

fn view(pool: &PoolStatus) -> PoolView {
    let orphaned = match (pool.pid, &pool.spec) {
        (Some(pid), Some(spec)) => proof::is_orphaned(pid, &spec.root),
        _ => false,
    };
    PoolView {
        release: pool.spec.as_ref().map(|spec| spec.release),
        life: life(pool.phase),
        orphaned,
        in_flight: pool.in_flight,
    }
}

const fn life(phase: PoolPhase) -> Life {
    match phase {
        PoolPhase::Running => Life::Up,
        PoolPhase::Starting | PoolPhase::Restarting => Life::Starting,
        PoolPhase::Empty | PoolPhase::Stopping | PoolPhase::Stopped => Life::Down,
    }
}

/// What a keeper's error means to a deployment.
fn told(error: KeeperError, pool: Option<Pool>, what: &str) -> HostError {
    match meaning(&error) {
        Meaning::Fenced => HostError::Fenced { why: error.to_string() },
        Meaning::Lost => HostError::Lost { what: what.into(), why: error.to_string() },
        Meaning::Refused => HostError::Refused { pool, what: what.into(), why: error.to_string() },
    }
}

fn lost(what: &str) -> HostError {
    HostError::Lost { what: what.into(), why: "it does not run any more".into() }
}

/// Whoever lives in a pool now.
struct Resident<'a> {
    link: &'a KeeperLink,
    pool: Pool,
    release: Digest,
}

#[async_trait]
impl Subject for Resident<'_> {
    async fn whereabouts(&self) -> Result<Whereabouts, Nowhere> {
        let status = self.link.status().await.map_err(|error| Nowhere::Yet(error.to_string()))?;
        let Some(status) = status.and_then(|mut status| status.pools.remove(&self.pool)) else {
            return Err(Nowhere::GivenUp("the keeper does not run".into()));
        };
        let for_good = status.phase == PoolPhase::Stopped;
        let gone = || match &status.last_exit {
            Some(how) if status.starts > 0 => {
                Nowhere::Ended { times: status.starts, how: how.clone(), for_good }
            }
            Some(why) if for_good => Nowhere::NotStarted(why.clone()),
            Some(why) => Nowhere::Yet(format!("it could not be started yet: {why}")),
            None => Nowhere::Yet(format!("pool {} is {}", self.pool, status.phase)),
        };
        match (&status.spec, status.pid, status.port) {
            _ if for_good => Err(gone()),
            (Some(spec), ..) if spec.release != self.release => {
                let held = spec.release.short();
                Err(Nowhere::GivenUp(format!("pool {} holds another release, {held}", self.pool)))
            }
            (Some(spec), Some(pid), Some(port)) => Ok(Whereabouts {
                address: (Ipv4Addr::LOCALHOST, port).into(),
                pid: Some(pid),
                folder: Some(spec.root.clone()),
            }),
            _ => Err(gone()),
        }
    }
}
