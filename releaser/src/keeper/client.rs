//! How others talk to a keeper.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags},
};
use tokio::{io::AsyncWriteExt as _, net::UnixStream, time::timeout};

use super::{
    error::KeeperError,
    pool::{KeeperStatus, Pool, PoolSpec, PoolStatus},
    protocol::{self, Answer, Ask, Refusal, Request, Response, VERSION},
    socket::SocketPath,
    start,
};

/// How long a keeper may take for what costs it a few milliseconds: a loaded machine with a slow disk gets its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest that a shutdown may take beside ending the programs.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);

/// The longest that keepers which come and go may keep a start from settling.
const SETTLING: Duration = Duration::from_secs(60);

/// How long a keeper that is about to end is left alone before it is looked at again.
const LOOK: Duration = Duration::from_millis(20);

/// A way to talk to the keeper of one directory. Every call is a connection of its own, so a value stays good when the
/// keeper is started again, and it can be cloned and shared.
///
/// All calls are cancel-safe in this sense: a request that reached the keeper is carried out even when the future that
/// asked is dropped, and each can be repeated.
#[derive(Debug, Clone)]
pub struct Keeper {
    dir: PathBuf,
}

impl Keeper {
    /// The keeper that runs in `dir`, or `None` when there is none.
    ///
    /// # Errors
    /// The socket is there and can't be opened, for example because it belongs to somebody else.
    pub async fn connect(dir: &Path) -> Result<Option<Keeper>, KeeperError> {
        let dir = start::absolute(dir)?;
        Ok(open(&dir).await?.map(|_| Keeper { dir }))
    }

    /// The keeper that runs in `dir` and listens on `listen`; it is started, detached from this process, when there is
    /// none. A port of 0 in `listen` takes whatever a running keeper has, or any free one.
    ///
    /// `launcher` is the program and first arguments that run [`keeper_main`](super::keeper_main); the directory and
    /// the address follow as two more arguments. Its program must be an absolute path.
    ///
    /// # Errors
    /// [`KeeperError::PortTaken`], [`KeeperError::ListensElsewhere`], [`KeeperError::OtherVersion`],
    /// [`KeeperError::DidNotStart`].
    pub async fn ensure(
        dir: &Path,
        launcher: &[OsString],
        listen: SocketAddr,
    ) -> Result<Keeper, KeeperError> {
        let dir = start::prepare(dir)?;
        let keeper = Keeper { dir: dir.clone() };
        let listening = keeper.settled(launcher, listen).await?;
        let same_port = listen.port() == 0 || listen.port() == listening.port();
        if !same_port || listen.ip() != listening.ip() {
            return Err(KeeperError::ListensElsewhere { dir, listening, asked: listen });
        }
        Ok(keeper)
    }

    /// Where the keeper listens, once there is one that stays: the one that was met may be about to end.
    async fn settled(&self, launcher: &[OsString], listen: SocketAddr) -> Result<SocketAddr, KeeperError> {
        let began = Instant::now();
        loop {
            if open(&self.dir).await?.is_none() {
                start::start(&self.dir, launcher, listen).await?;
            }
            match self.status().await {
                Err(KeeperError::Lost { .. }) if began.elapsed() < SETTLING => tokio::time::sleep(LOOK).await,
                other => return other.map(|status| status.listen),
            }
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the keeper is doing.
    ///
    /// # Errors
    /// The keeper can't be reached or went away.
    pub async fn status(&self) -> Result<KeeperStatus, KeeperError> {
        match self.ask("report its status", Ask::Status, PATIENCE).await? {
            Answer::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Fills a pool. Nothing happens when the same spec runs (or is being started) there already; anything else that
    /// runs there is ended first. Returns when the program was started, not when it is ready:
    /// [`PoolPhase::Running`](super::PoolPhase) says that it accepts connections.
    ///
    /// # Errors
    /// [`KeeperError::PoolIsActive`] when the pool gets requests and the spec is another one,
    /// [`KeeperError::UnusableSpec`], [`KeeperError::Superseded`]. A program that can't be started is no error here:
    /// the status says so.
    pub async fn ensure_pool(
        &self,
        epoch: u64,
        pool: Pool,
        spec: PoolSpec,
    ) -> Result<PoolStatus, KeeperError> {
        let within = self.stopping_time(pool).await?;
        match self.ask("fill a pool", Ask::EnsurePool { epoch, pool, spec }, within).await? {
            Answer::Pool(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends all requests that begin from now on to a pool. It is on disk when this returns, and no request that
    /// begins afterwards is answered by another pool. Requests in flight finish where they are.
    ///
    /// # Errors
    /// [`KeeperError::PoolNotRunning`] when the pool does not accept connections, [`KeeperError::Superseded`].
    pub async fn switch(&self, epoch: u64, to: Pool) -> Result<(), KeeperError> {
        self.done("switch requests", Ask::Switch { epoch, to }, PATIENCE).await
    }

    /// Takes the requests away from a pool and gives them to none: clients are told that nothing is released here, as
    /// before the first switch. For a first release that failed, where there is nothing to go back to. Nothing happens
    /// when the pool is not the active one.
    ///
    /// # Errors
    /// [`KeeperError::Superseded`].
    pub async fn abandon(&self, epoch: u64, pool: Pool) -> Result<(), KeeperError> {
        self.done("take back a release", Ask::Abandon { epoch, pool }, PATIENCE).await
    }

    /// Waits until a pool answers no request any more, for `deadline` at most, and returns how many it still answers.
    ///
    /// # Errors
    /// [`KeeperError::PoolIsActive`], [`KeeperError::Superseded`].
    pub async fn drain(&self, epoch: u64, pool: Pool, deadline: Duration) -> Result<u64, KeeperError> {
        let within = deadline.saturating_add(PATIENCE);
        match self.ask("drain a pool", Ask::Drain { epoch, pool, deadline }, within).await? {
            Answer::InFlight(left) => Ok(left),
            other => Err(unexpected(&other)),
        }
    }

    /// Empties a pool: asks the program to end, and ends it with all its process group after its `stop_seconds`.
    ///
    /// # Errors
    /// [`KeeperError::PoolIsActive`], [`KeeperError::Superseded`].
    pub async fn stop_pool(&self, epoch: u64, pool: Pool) -> Result<(), KeeperError> {
        let within = self.stopping_time(pool).await?;
        self.done("stop a pool", Ask::StopPool { epoch, pool }, within).await
    }

    /// Ends both programs and the keeper, and waits until its process is gone. What was active is remembered: the next
    /// keeper of this directory starts it again.
    ///
    /// # Errors
    /// The keeper can't be reached, or is not gone in time.
    pub async fn shutdown(&self) -> Result<(), KeeperError> {
        let doing = "shut down";
        let status = self.status().await?;
        let longest =
            status.pools.values().filter_map(|pool| pool.spec.as_ref()).map(|s| s.stop_seconds).max();
        let within = SHUTDOWN_PATIENCE.saturating_add(Duration::from_secs(longest.unwrap_or(0)));
        let io = |source| KeeperError::Io { doing: "watch the keeper in", path: self.dir.clone(), source };
        let Some(process) = handle(status.pid).map_err(io)? else { return Ok(()) };
        self.done(doing, Ask::Shutdown, within).await?;
        let ended = tokio::task::spawn_blocking(move || has_ended(&process, within)).await;
        match ended.map_err(io::Error::other).and_then(|ended| ended).map_err(io)? {
            true => Ok(()),
            false => Err(KeeperError::TooSlow { dir: self.dir.clone(), doing, within }),
        }
    }

    async fn done(&self, doing: &'static str, ask: Ask, within: Duration) -> Result<(), KeeperError> {
        match self.ask(doing, ask, within).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// How long it may take to end what runs in a pool.
    async fn stopping_time(&self, pool: Pool) -> Result<Duration, KeeperError> {
        let status = self.status().await?;
        let running = status.pools.get(&pool).and_then(|pool| pool.spec.as_ref());
        let seconds = running.map_or(0, |spec| spec.stop_seconds);
        Ok(PATIENCE.saturating_add(Duration::from_secs(seconds)))
    }

    async fn ask(&self, doing: &'static str, ask: Ask, within: Duration) -> Result<Answer, KeeperError> {
        let lost = |why: String| KeeperError::Lost { dir: self.dir.clone(), doing, why };
        let exchange = async {
            let Some(mut stream) = open(&self.dir).await? else {
                return Err(lost("it does not run".to_owned()));
            };
            let line = protocol::line(&Request { version: VERSION, ask })
                .map_err(|error| KeeperError::Failed(format!("the request can't be sent: {error}")))?;
            stream.write_all(&line).await.map_err(|error| lost(error.to_string()))?;
            protocol::read_line(stream).await.map_err(|error| lost(error.to_string()))
        };
        let late = |_| KeeperError::TooSlow { dir: self.dir.clone(), doing, within };
        let line = timeout(within, exchange).await.map_err(late)??;
        self.understand(&line, lost)
    }

    fn understand(&self, line: &[u8], lost: impl Fn(String) -> KeeperError) -> Result<Answer, KeeperError> {
        let envelope: protocol::Envelope = serde_json::from_slice(line)
            .map_err(|error| lost(format!("its answer can't be read: {error}")))?;
        if envelope.version != VERSION {
            let spoken = envelope.version;
            return Err(KeeperError::refused(Refusal::OtherVersion { spoken }, &self.dir));
        }
        let response: Response = serde_json::from_slice(line)
            .map_err(|error| lost(format!("its answer can't be read: {error}")))?;
        response.outcome.map_err(|refusal| KeeperError::refused(refusal, &self.dir))
    }
}

fn unexpected(answer: &Answer) -> KeeperError {
    KeeperError::Failed(format!("it answered another question ({answer:?}); is it of the same version?"))
}

/// A process that can be waited for, or `None` when it is gone already.
fn handle(pid: u32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(io::Error::other(format!("{pid} is not a process id")));
    };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => Ok(Some(process)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the end of a process, for `within` at most. Blocks.
fn has_ended(process: &OwnedFd, within: Duration) -> io::Result<bool> {
    let within = Timespec::try_from(within).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&within)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

/// A connection, or `None` when nobody listens.
async fn open(dir: &Path) -> Result<Option<UnixStream>, KeeperError> {
    let unusable =
        |source| KeeperError::Io { doing: "open the keeper's socket in", path: dir.to_owned(), source };
    let socket = match SocketPath::within(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(unusable)?,
    };
    match UnixStream::connect(socket.path()).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if means_gone(error.kind()) => Ok(None),
        Err(error) => Err(unusable(error)),
    }
}

/// Whether a connection failed because nobody listens, or because whoever did was killed while it was made: such a
/// keeper is as good as none, and whoever starts the next one waits until the dead one's lock is free.
fn means_gone(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound};
    matches!(kind, NotFound | ConnectionRefused | ConnectionReset | BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_that_is_killed_while_it_is_connected_to_does_not_run() {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, PermissionDenied};
        assert!([NotFound, ConnectionRefused, ConnectionReset, BrokenPipe].into_iter().all(means_gone));
        assert!(!means_gone(PermissionDenied));
    }

    #[tokio::test]
    async fn a_socket_whose_listener_is_gone_is_nobody_and_a_strangers_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        drop(crate::keeper::socket::listen(dir.path()).unwrap());
        assert!(open(dir.path()).await.unwrap().is_none());
        assert!(open(&dir.path().join("missing")).await.unwrap().is_none());
    }
}
