//! What an environment is doing. Reads only, and works when nothing runs.

use std::{net::SocketAddr, path::Path, path::PathBuf};

use staith_model::{Digest, Name, Version};

use super::{Attempt, AttemptResult, Books, DriveError, lock};
use crate::{
    host::{Host as _, HostError, LocalHost, link::KeeperLink},
    keeper::{Pool, PoolPhase, PoolStatus},
};

/// An environment, as it is now.
#[derive(Debug, Clone)]
pub struct EnvironmentStatus {
    /// Its name.
    pub environment: Name,
    /// Its folder.
    pub dir: PathBuf,
    /// Where clients ask; nobody answers there if the keeper does not run.
    pub url: String,
    /// The keeper.
    pub keeper: KeeperLine,
    /// The release that gets requests; when the keeper does not run, the one that did.
    pub current: Option<ReleaseLine>,
    /// Since when it does, in milliseconds since 1970.
    pub since: Option<u64>,
    /// Where a rollback leads.
    pub previous: Option<ReleaseLine>,
    /// Both pools; empty when the keeper does not run.
    pub pools: Vec<PoolLine>,
    /// The other releases on disk, neither the current nor the previous one, those that served last first.
    pub others: Vec<ReleaseLine>,
    /// Whether a deployment is under way.
    pub deploying: bool,
    /// The last deployment. Unfinished while none is under way means that it was killed.
    pub last: Option<Attempt>,
}

impl EnvironmentStatus {
    /// Whether the last deployment was killed before its end; the next one finishes or replaces what it did.
    pub fn was_interrupted(&self) -> bool {
        let unfinished = self.last.as_ref().is_some_and(|last| last.result == AttemptResult::Unfinished);
        unfinished && !self.deploying
    }
}

/// The keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeeperLine {
    /// It runs.
    Running {
        /// Its process.
        pid: u32,
        /// Where its proxy listens.
        listen: SocketAddr,
        /// Requests answered since it started.
        served: u64,
    },
    /// It does not: clients get no answer.
    NotRunning {
        /// How to bring it back.
        remedy: String,
    },
}

/// A release, as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseLine {
    /// The release.
    pub release: Digest,
    /// Its package's name and version; `None` if its record can't be read.
    pub package: Option<(Name, Version)>,
}

/// A pool.
#[derive(Debug, Clone)]
pub struct PoolLine {
    /// Which.
    pub pool: Pool,
    /// Whether it gets requests.
    pub active: bool,
    /// What it holds.
    pub release: Option<ReleaseLine>,
    /// Where it is in its life.
    pub phase: PoolPhase,
    /// Its port on 127.0.0.1, while its program runs.
    pub port: Option<u16>,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Requests that it is answering now.
    pub in_flight: u64,
    /// How often its program was started again.
    pub restarts: u32,
    /// How its program ended the last time.
    pub last_exit: Option<String>,
    /// Where its program's output is.
    pub log: PathBuf,
}

/// What the environment in the folder `dir` is doing. Starts nothing and changes nothing.
///
/// # Errors
/// Nothing was ever deployed there, or what is there can't be read.
pub async fn status(dir: &Path) -> Result<EnvironmentStatus, DriveError> {
    let books = Books::new(dir);
    let never = || DriveError::NeverDeployed { dir: dir.display().to_string() };
    let environment = books.environment().await?.ok_or_else(never)?;
    let record = books.record().await?;
    let link = KeeperLink { dir: dir.to_owned(), launcher: Vec::new(), listen: environment.listen };
    let unreachable =
        |source: HostError| DriveError::Unreachable { environment: environment.name.to_string(), source };
    let keeper = link.status().await.map_err(|error| {
        unreachable(HostError::Lost { what: "report its state".into(), why: error.to_string() })
    })?;
    let on_disk = LocalHost::new(link).observe().await.map_err(unreachable)?.releases;

    let mut pools = Vec::new();
    let mut current = record.current;
    if let Some(keeper) = &keeper {
        for (pool, status) in &keeper.pools {
            let active = keeper.active == Some(*pool);
            if active && let Some(spec) = &status.spec {
                current = Some(spec.release);
            }
            pools.push(pool_line(&books, *pool, active, status).await);
        }
    }
    let previous = if current == record.current { record.previous } else { record.current };
    let is_other = |release: &Digest| Some(*release) != current && Some(*release) != previous;
    let mut others: Vec<Digest> = on_disk.into_iter().filter(is_other).collect();
    others.sort_by_key(|release| {
        record.history.iter().position(|known| known == release).unwrap_or(usize::MAX)
    });
    let listen = keeper.as_ref().map_or(environment.listen, |keeper| keeper.listen);
    Ok(EnvironmentStatus {
        url: crate::health::url(crate::traffic::dialable(listen), "/"),
        keeper: keeper.map_or_else(
            || not_running(dir, &environment.name, current),
            |keeper| KeeperLine::Running { pid: keeper.pid, listen: keeper.listen, served: keeper.served },
        ),
        since: record.since.filter(|_| current == record.current),
        current: line(&books, current).await,
        previous: line(&books, previous).await,
        others: lines(&books, others).await,
        environment: environment.name,
        dir: dir.to_owned(),
        pools,
        deploying: lock::is_held(&books.lock_path()),
        last: record.last,
    })
}

/// A plain rollback would lead to the release before: what brings back this one names it.
fn not_running(dir: &Path, environment: &Name, current: Option<Digest>) -> KeeperLine {
    let release = format!("`staith run --release {environment}` in the project's directory");
    let project = dir.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<Name>().ok());
    let remedy = match (current, project) {
        (None, _) => format!("{release} releases it"),
        (Some(current), None) => {
            format!(
                "{release} releases it anew; `staith rollback --to {}` brings back what served",
                current.short()
            )
        }
        (Some(current), Some(project)) => format!(
            "{release} releases it anew; `staith rollback {project} --environment {environment} --to {}` brings back what served",
            current.short()
        ),
    };
    KeeperLine::NotRunning { remedy }
}

async fn pool_line(books: &Books, pool: Pool, active: bool, status: &PoolStatus) -> PoolLine {
    PoolLine {
        pool,
        active,
        release: line(books, status.spec.as_ref().map(|spec| spec.release)).await,
        phase: status.phase,
        port: status.port,
        pid: status.pid,
        in_flight: status.in_flight,
        restarts: status.restarts,
        last_exit: status.last_exit.clone(),
        log: status.log.clone(),
    }
}

async fn lines(books: &Books, releases: Vec<Digest>) -> Vec<ReleaseLine> {
    let mut lines = Vec::with_capacity(releases.len());
    for release in releases {
        lines.extend(line(books, Some(release)).await);
    }
    lines
}

async fn line(books: &Books, release: Option<Digest>) -> Option<ReleaseLine> {
    let release = release?;
    // A record that can't be read hides a name, not the release.
    let frozen = books.release(release).await.ok().flatten();
    let package = frozen.map(|frozen| (frozen.package.name, frozen.package.version));
    Some(ReleaseLine { release, package })
}
