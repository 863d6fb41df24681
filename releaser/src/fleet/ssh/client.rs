//! Connections of this process: one to each machine, however many ask for it.

use std::{
    collections::HashMap,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    connection::{Connection, Endpoint},
    destination::Destination,
    dial::dial,
    error::SshError,
    resolve::Resolver,
    settings::Settings,
    transport::Duplex,
};
use crate::fleet::wire::Wire;

/// Handshakes at once. Each costs both sides a few milliseconds of computing and is otherwise waiting, so that 200 machines are
/// reached in seven rounds of perhaps 0.2 s; many more at once fill the tables of NAT gateways and firewalls that limit new
/// connections, which is what made others cap theirs at 30 as well (Kamal). sshd's own limit, MaxStartups 10:30:100, counts for
/// each machine alone, and a machine is asked once: connections behind a jump host share one connection to it.
const HANDSHAKES: usize = 30;

/// How often a connection is tried that the server turned away. With the pauses below, this goes on for 20 to 30 s.
const TRIES: u32 = 16;

/// How often one is tried that nobody takes. A machine whose sshd is being restarted is there again within a second.
const TRIES_REFUSED: u32 = 5;

/// The first pause between tries. It doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Where OpenSSH's program and configuration are.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// OpenSSH's client, asked what its configuration means.
    pub program: PathBuf,
    /// A configuration file in place of the user's and the machine's own (`ssh -F`).
    pub config: Option<PathBuf>,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self { program: "ssh".into(), config: None }
    }
}

/// Keeps a connection to each machine. Cloning gives another handle to the same ones; dropping the last one closes those that
/// nobody uses.
#[derive(Clone)]
pub struct SshClient {
    inner: Arc<Inner>,
}

struct Inner {
    resolver: Resolver,
    starting: Semaphore,
    kept: Mutex<HashMap<Way, Arc<Slot>>>,
}

/// A destination and the hops before it.
type Way = (Destination, Vec<Destination>);
type Slot = tokio::sync::Mutex<Option<Arc<Connection>>>;

impl SshClient {
    /// Nothing is connected yet.
    pub fn new(options: SshOptions) -> Self {
        let inner = Inner {
            resolver: Resolver::new(options.program, options.config),
            starting: Semaphore::new(HANDSHAKES),
            kept: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What OpenSSH's configuration says of a machine. Cancel-safe.
    ///
    /// # Errors
    /// The name is not acceptable, or the configuration can't be understood.
    pub async fn settings(&self, to: &Destination) -> Result<Arc<Settings>, SshError> {
        self.inner.resolver.resolve(to).await
    }

    /// The connection to a machine: the one that is there, or a new one if there is none or it broke. Who asks for the same
    /// machine at the same time waits for the same connection. Cancel-safe.
    ///
    /// # Errors
    /// See [`SshError`].
    pub async fn connect(&self, to: &Destination) -> Result<Arc<Connection>, SshError> {
        self.refuse_circles(to).await?;
        self.reach(to, None).await
    }

    /// Connects to a unix socket or address as the machine sees it: HAProxy's `/run/haproxy/admin.sock`. Dropping the stream
    /// closes it. Cancel-safe.
    ///
    /// # Errors
    /// The machine can't be reached, does not allow it, or nobody listens there.
    pub async fn forward(&self, to: &Destination, endpoint: &Endpoint) -> Result<Box<dyn Duplex>, SshError> {
        Ok(Box::new(self.connect(to).await?.forward(endpoint).await?))
    }

    /// Starts a command line by the login shell of the user there. Dropping the wire ends it. Cancel-safe.
    ///
    /// # Errors
    /// The machine can't be reached, or opens no more sessions.
    pub async fn start_command(&self, to: &Destination, command: &str) -> Result<Wire, SshError> {
        let (from, to) = self.connect(to).await?.exec(command).await?;
        Ok(Wire { from: Box::new(from), to: Box::new(to) })
    }

    /// Hops that lead in a circle would wait for each other for ever.
    async fn refuse_circles(&self, to: &Destination) -> Result<(), SshError> {
        let (mut at, mut before) = (to.clone(), None::<Vec<Destination>>);
        let mut passed: Vec<Way> = Vec::new();
        loop {
            let settings = self.settings(&at).await?;
            let way = (at, hops(before.as_deref(), &settings).to_vec());
            if passed.contains(&way) {
                let why = "its jump hosts lead in a circle".into();
                let remedy = "See ProxyJump in OpenSSH's configuration.".into();
                return Err(SshError::Configuration { host: to.host.clone(), why, remedy });
            }
            let Some((last, rest)) = way.1.split_last() else { return Ok(()) };
            (at, before) = (last.clone(), Some(rest.to_vec()));
            passed.push(way);
        }
    }

    /// `before` are hops that were named for this machine as a hop; `None` leaves them to the configuration.
    fn reach<'a>(
        &'a self,
        to: &'a Destination,
        before: Option<&'a [Destination]>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Connection>, SshError>> + Send + 'a>> {
        Box::pin(async move {
            let settings = self.settings(to).await?;
            let hops = hops(before, &settings);
            let slot = self.slot(to, hops);
            let mut slot = slot.lock().await;
            if let Some(connection) = slot.as_ref().filter(|connection| connection.is_open()) {
                return Ok(Arc::clone(connection));
            }
            *slot = None;
            let connection = self.start(to, &settings, hops).await?;
            *slot = Some(Arc::clone(&connection));
            Ok(connection)
        })
    }

    fn slot(&self, to: &Destination, hops: &[Destination]) -> Arc<Slot> {
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry((to.clone(), hops.to_vec())).or_default())
    }

    async fn start(
        &self,
        to: &Destination,
        settings: &Settings,
        hops: &[Destination],
    ) -> Result<Arc<Connection>, SshError> {
        let mut tries = 0;
        loop {
            // The hop is reached before a place among the handshakes is taken: it needs one itself.
            let through = self.hop(hops).await?;
            let done = {
                let _place = self.inner.starting.acquire().await;
                dial(&to.host, to.host_key.as_deref(), settings, through.as_ref()).await
            };
            tries += 1;
            match done {
                Err(error) if error.is_transient() && tries < most(&error) => {
                    tracing::debug!("{error}; trying again");
                    tokio::time::sleep(pause(tries)).await;
                }
                Err(error @ (SshError::Channel { .. } | SshError::Lost { .. })) => {
                    let hop = hops.last().map(Destination::describe).unwrap_or_default();
                    return Err(SshError::Jump { hop, source: Box::new(error) });
                }
                done => return done,
            }
        }
    }

    /// The connection to the last hop. As with `ssh -J a,b`: `b` is reached through `a`, whatever its own configuration says,
    /// and `a` by its own configuration.
    async fn hop(&self, hops: &[Destination]) -> Result<Option<Arc<Connection>>, SshError> {
        let Some((last, before)) = hops.split_last() else { return Ok(None) };
        let reached = self.reach(last, Some(before)).await;
        reached.map(Some).map_err(|source| match source {
            source @ SshError::Jump { .. } => source,
            source => SshError::Jump { hop: last.describe(), source: Box::new(source) },
        })
    }
}

/// The hops before a machine: those that were named for it as a hop itself, or else those of its configuration.
fn hops<'a>(before: Option<&'a [Destination]>, settings: &'a Settings) -> &'a [Destination] {
    before.filter(|hops| !hops.is_empty()).unwrap_or(&settings.jumps)
}

const fn most(error: &SshError) -> u32 {
    if matches!(error, SshError::Connect { .. }) { TRIES_REFUSED } else { TRIES }
}

/// A pause of random length, so that those who were turned away together do not come back together.
fn pause(tries: u32) -> Duration {
    let longest = PAUSE.saturating_mul(1 << tries.min(10)).min(LONGEST_PAUSE);
    let mut random = [0; 2];
    // Without randomness the pause is just the longest.
    if getrandom::fill(&mut random).is_err() {
        return longest;
    }
    PAUSE / 4 + longest.mul_f64(f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX))
}
