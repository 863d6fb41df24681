//! The keeper's process, from its first line to its last.

use std::{
    fs::{File, OpenOptions},
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::OpenOptionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::Rlimit,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    desk,
    log::{CAP, LogFile},
    pools::Pools,
    port::{PortTaken, port_holder},
    process::Surroundings,
    protocol::{Refusal, StartReport},
    socket, start,
    state::StateFile,
};
use crate::proxy::{Limits, room_for_connections, serve};

/// The longest that a killed keeper takes to vanish.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// How often its port is tried meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the keeper of `dir` with its proxy on `listen` until it is asked to end, by its client or with SIGTERM. This is
/// what the hidden sub-command does that [`Keeper::ensure`](super::Keeper::ensure) starts. It expects to be called
/// before the process has other threads.
pub fn keeper_main(dir: &Path, listen: SocketAddr) -> ExitCode {
    let kept = match start::come_loose() {
        Ok(false) => return ExitCode::SUCCESS,
        Ok(true) => Kept::take(dir, listen),
        Err(error) => Err(StartReport::Failed(format!("it could not leave its starter's session: {error}"))),
    };
    match kept {
        Ok(kept) => kept.run(),
        Err(report) => {
            // Without anybody to tell, the exit code says it.
            let _ = start::report(&report);
            ExitCode::FAILURE
        }
    }
}

/// Everything that a keeper has to itself while it runs.
struct Kept {
    dir: PathBuf,
    /// Held by the kernel for as long as this process lives, however it ends.
    _lock: File,
    journal: Arc<LogFile>,
    state: Arc<StateFile>,
    surroundings: Surroundings,
    proxy: TcpListener,
    desk: UnixListener,
    limits: Limits,
}

impl Kept {
    fn take(dir: &Path, listen: SocketAddr) -> Result<Self, StartReport> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| StartReport::Failed(format!("{what}: {error}"))
        };
        let dir = start::prepare(dir).map_err(|error| StartReport::Failed(error.to_string()))?;
        let lock = lock(&dir)?;
        let journal = Arc::new(LogFile::at(start::log_path(&dir), CAP));
        let state = StateFile::open(&dir, listen).map_err(failed("its state can't be read"))?;
        let proxy = listen_on(listen, state.saved().listen)?;
        let listen = proxy.local_addr().map_err(failed("its address can't be known"))?;
        let remembered = state.change_now(|saved| {
            saved.listen = listen;
            Ok(())
        });
        if let Err(Refusal::Failed { why }) = remembered {
            return Err(StartReport::Failed(why));
        }
        let desk = socket::listen(&dir);
        let desk = desk.map_err(failed("its socket can't be made"))?;
        let (before, limits) = raise_open_files();
        let surroundings = Surroundings::here(dir.to_string_lossy().into_owned(), before);
        Ok(Self { dir, _lock: lock, journal, state: Arc::new(state), surroundings, proxy, desk, limits })
    }

    fn run(self) -> ExitCode {
        let journal = Arc::clone(&self.journal);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let ended = runtime.and_then(|runtime| runtime.block_on(self.attend()));
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                journal.note(&format!("the keeper failed: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    async fn attend(self) -> io::Result<()> {
        let mut asked_to_end = Signals::new()?;
        self.proxy.set_nonblocking(true)?;
        self.desk.set_nonblocking(true)?;
        let proxy = tokio::net::TcpListener::from_std(self.proxy)?;
        let desk = tokio::net::UnixListener::from_std(self.desk)?;
        let listen = proxy.local_addr()?;
        let pools = Pools::new(&self.dir, listen, self.state, self.surroundings, Arc::clone(&self.journal));
        let pools = Arc::new(pools);
        let (stop, ending) = (CancellationToken::new(), CancellationToken::new());
        let proxy = tokio::spawn(serve(proxy, Arc::clone(pools.routes()), self.limits, stop.clone()));
        start::report(&StartReport::Ready)?;
        self.journal.note(&format!("process {} listens on {listen}", std::process::id()));
        let work = async {
            pools.restore().await;
            desk::attend(desk, Arc::clone(&pools), ending.clone()).await;
        };
        tokio::select! {
            () = work => {}
            () = asked_to_end.next() => {}
            () = ending.cancelled() => {}
        }
        self.journal.note("ending");
        // Nobody finds this keeper any more; whoever needs one waits for the lock.
        socket::remove(&self.dir);
        stop.cancel();
        let cut = proxy.await.unwrap_or_default();
        pools.end().await;
        self.journal.note(&format!("ended; {cut} connections were cut"));
        Ok(())
    }
}

/// Signals that ask a keeper to end. SIGHUP is none: it is what a closing terminal sends.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    _hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The directory's lock, which makes its holder the one keeper of the directory.
fn lock(dir: &Path) -> Result<File, StartReport> {
    let path = dir.join("keeper.lock");
    let failed =
        |error: io::Error| StartReport::Failed(format!("{} can't be locked: {error}", path.display()));
    let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = options.map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StartReport::AlreadyRunning),
        Err(error) => Err(failed(error.into())),
    }
}

/// Listens where it was asked to; whoever leaves the port open gets the one that was had before, if it is free.
fn listen_on(asked: SocketAddr, before: SocketAddr) -> Result<TcpListener, StartReport> {
    let preferred = if asked.port() == 0 && before.ip() == asked.ip() { before } else { asked };
    match bind_after_predecessor(preferred) {
        Err(_) if preferred != asked => TcpListener::bind(asked),
        other => other,
    }
    .map_err(|error| StartReport::PortTaken(PortTaken::explain(asked, &error)))
}

/// The kernel closes the files of a killed keeper one after the other, the lock before the port, so a port that nobody
/// can be seen to hold may be free in a moment.
fn bind_after_predecessor(address: SocketAddr) -> io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if began.elapsed() >= PREDECESSOR || port_holder(address).is_some() {
                    return Err(error);
                }
                std::thread::sleep(LOOK);
            }
            other => return other,
        }
    }
}

/// The limit that programs get back, and how many clients fit under the raised one.
fn raise_open_files() -> (Option<Rlimit>, Limits) {
    let (before, fit) = room_for_connections();
    let mut limits = Limits::default();
    limits.connections = limits.connections.min(fit);
    (before, limits)
}
