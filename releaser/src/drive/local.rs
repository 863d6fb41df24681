//! Deploying to this machine: what the command line uses.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use staith_model::{Digest, LocalEnvironment, Package, Release};
use tokio_util::sync::CancellationToken;

use super::{Books, BooksError, Deployed, DriveError, Driver, Events, Wanted, driver, record::AttemptKind};
use crate::{
    host::{HostError, LocalHost, PackageFiles, Progress, check_command, durable, link::KeeperLink},
    keeper::{Keeper, port_is_free},
    release::freeze,
    traffic::BuiltInProxy,
};

/// An environment on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    dir: PathBuf,
    launcher: Vec<OsString>,
    environment: LocalEnvironment,
}

impl Local {
    /// The environment in the folder `dir`, which need not be there: the first [`Local::deploy`] makes it. `launcher` is
    /// the program (an absolute path) and first arguments that become the [keeper](crate::keeper).
    ///
    /// # Errors
    /// The folder's place can't be looked at.
    pub fn new(
        dir: &Path,
        launcher: Vec<OsString>,
        environment: LocalEnvironment,
    ) -> Result<Self, DriveError> {
        let failed = |source| BooksError::Io { what: "look at the folder", path: dir.to_owned(), source };
        let dir = durable::resolve(dir).map_err(failed)?;
        Ok(Self { dir, launcher, environment })
    }

    /// The environment that was deployed to `dir` before, as it was then.
    ///
    /// # Errors
    /// Nothing was ever deployed there, or what it remembers can't be read.
    pub async fn open(dir: &Path, launcher: Vec<OsString>) -> Result<Self, DriveError> {
        let environment = Books::new(dir).environment().await?;
        let never = || DriveError::NeverDeployed { dir: dir.display().to_string() };
        Self::new(dir, launcher, environment.ok_or_else(never)?)
    }

    /// Its folder; it is there once something was deployed.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it is.
    pub const fn environment(&self) -> &LocalEnvironment {
        &self.environment
    }

    /// The executor for this environment, for those who want to set more than [`Local::deploy`] offers.
    pub fn driver(&self) -> Driver {
        let link = self.link();
        let (host, traffic) = (LocalHost::new(link.clone()), BuiltInProxy::new(link));
        Driver::new(Arc::new(host), Arc::new(traffic), Books::new(&self.dir), self.environment.clone())
    }

    fn link(&self) -> KeeperLink {
        KeeperLink { dir: self.dir.clone(), launcher: self.launcher.clone(), listen: self.environment.listen }
    }

    /// Freezes a package into a release and makes it serve; see [`Driver::drive`] for cancellation. A release that
    /// serves already is only looked at. What can't be started is refused before anything is touched.
    ///
    /// # Errors
    /// See [`DriveError`].
    pub async fn deploy(
        &self,
        package: Package,
        files: Arc<dyn PackageFiles>,
        progress: Progress,
        events: Events<'_>,
        cancel: &CancellationToken,
    ) -> Result<Deployed, DriveError> {
        if cancel.is_cancelled() {
            return Err(DriveError::Cancelled);
        }
        let release = freeze(package, &self.environment);
        check_command(&release.process.command, files.manifest(), self.search_path().await.as_deref())?;
        self.refuse_taken_port()?;
        self.make_folder()?;
        let wanted = Wanted { release, files: Some(files), kind: AttemptKind::Deploy, progress };
        self.driver().drive(wanted, events, cancel).await
    }

    /// Where nothing was ever deployed no keeper listens: then a port that is taken is told before a folder is made.
    fn refuse_taken_port(&self) -> Result<(), DriveError> {
        if self.dir.exists() {
            return Ok(());
        }
        port_is_free(self.environment.listen).map_err(|taken| DriveError::Unreachable {
            environment: self.environment.name.to_string(),
            source: HostError::Refused { pool: None, what: "take orders".into(), why: taken.to_string() },
        })
    }

    /// Makes the folder, private with all that is in it: specs hold secrets.
    fn make_folder(&self) -> Result<(), BooksError> {
        let made = durable::create_folder(&self.dir);
        let closed = made.and_then(|()| durable::make_private(&fs::File::open(&self.dir)?));
        closed.map_err(|source| BooksError::Io { what: "make the folder", path: self.dir.clone(), source })
    }

    /// Where a program without a `/` is looked for: in the `PATH` of the release, else of the keeper that runs, else of
    /// the one that this process would start.
    async fn search_path(&self) -> Option<OsString> {
        if let Some(own) = self.environment.process.env.get("PATH") {
            return Some(own.into());
        }
        match self.link().status().await {
            Ok(Some(status)) => path_of(status.pid),
            // What is wrong with the keeper is told by whoever needs it.
            _ => std::env::var_os("PATH"),
        }
    }

    /// Makes a release serve that has been here before: the previous one, or `to`. No bytes are moved: if its pool is
    /// still warm, it is asked once and gets the requests; if not, it is started from its files.
    ///
    /// The release that served becomes the previous one, so that a second rollback without a destination leads forward
    /// again. A rollback to the release that serves is only a look.
    ///
    /// # Errors
    /// There is no such release on disk (the error says which are), and all of [`DriveError`].
    pub async fn rollback(
        &self,
        to: Option<Digest>,
        events: Events<'_>,
        cancel: &CancellationToken,
    ) -> Result<Deployed, DriveError> {
        let release = self.release_to_go_back_to(to).await?;
        let wanted = Wanted { release, files: None, kind: AttemptKind::Rollback, progress: Arc::new(|_| {}) };
        self.driver().drive(wanted, events, cancel).await
    }

    async fn release_to_go_back_to(&self, to: Option<Digest>) -> Result<Release, DriveError> {
        let (driver, books) = (self.driver(), Books::new(&self.dir));
        let record = driver.record_as_it_is().await?;
        let unreachable = |source: HostError| DriveError::Unreachable {
            environment: self.environment.name.to_string(),
            source,
        };
        let on_disk = driver.host.observe().await.map_err(unreachable)?.releases;
        let others = on_disk.iter().filter(|release| Some(**release) != record.current);
        let mut available = Vec::new();
        for other in others {
            available.push(in_words(&books, *other).await);
        }
        let Some(to) = to.or(record.previous) else {
            return Err(DriveError::NothingToGoBackTo { available });
        };
        match books.release(to).await? {
            Some(release) if on_disk.contains(&to) => Ok(release),
            _ => Err(DriveError::BeyondRetention { release: to, available }),
        }
    }
}

/// The `PATH` that a process was started with.
fn path_of(pid: u32) -> Option<OsString> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let path = environ.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"PATH="))?;
    Some(OsString::from_vec(path.to_vec()))
}

/// A release as people know it; what can't be read is named by its digest.
async fn in_words(books: &Books, release: Digest) -> String {
    match books.release(release).await {
        Ok(Some(frozen)) => {
            format!("{} ({}@{})", release.short(), frozen.package.name, frozen.package.version)
        }
        _ => release.short(),
    }
}

impl driver::Driver {
    /// The record, caught up with what serves.
    async fn record_as_it_is(&self) -> Result<super::Record, DriveError> {
        let mut record = self.books.record().await?;
        let seen = tokio::join!(self.host.observe(), self.traffic.observe());
        if let (Ok(host), Ok(traffic)) = seen {
            let active = traffic.active.and_then(|pool| host.pools.get(&pool));
            if let Some(serving) = active.and_then(|view| view.release) {
                record.serves(serving, super::books::now());
            }
        }
        Ok(record)
    }
}

/// Ends the environment's programs and its keeper. What served is remembered: the next deployment or rollback brings it
/// back. Says whether anything ran.
///
/// # Errors
/// A deployment is under way, or the keeper can't be reached.
pub async fn stop(dir: &Path) -> Result<bool, DriveError> {
    let books = Books::new(dir);
    let name = match books.environment().await? {
        Some(environment) => environment.name.to_string(),
        None => return Err(DriveError::NeverDeployed { dir: dir.display().to_string() }),
    };
    let _lock = books.lock(driver::LOCK_PATIENCE).await?;
    let failed = |error: crate::keeper::KeeperError| DriveError::Unreachable {
        environment: name.clone(),
        source: HostError::Io {
            what: "stop the keeper in",
            path: dir.to_owned(),
            source: io::Error::other(error),
        },
    };
    let Some(keeper) = Keeper::connect(dir).await.map_err(failed)? else { return Ok(false) };
    keeper.shutdown().await.map_err(failed)?;
    Ok(true)
}
