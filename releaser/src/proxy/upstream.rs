//! One pool's program: where it listens, the connections to it, and the requests on them.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch, task::AbortHandle, time::timeout};

use super::body::RequestBody;

/// A connection on loopback that takes longer is one that is not going to be accepted.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Idle connections are dropped before the program drops them: common servers do so after five seconds or more.
const IDLE_PATIENCE: Duration = Duration::from_secs(4);

/// Idle connections kept per upstream: more than a program answers at once is of no use.
const MOST_IDLE: usize = 256;

/// How often a program that starts is asked whether it accepts connections yet, at first and at least.
const PROBE_PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// A connection to the program, ready for a request.
pub(super) type Sender = http1::SendRequest<RequestBody>;

/// A pool's program as the proxy sees it. A pool that is filled with another release is another upstream, so that a
/// request which was claimed for one release can never meet another.
#[derive(Debug)]
pub struct Upstream {
    reach: watch::Sender<Reach>,
    in_flight: watch::Sender<u64>,
    idle: Mutex<VecDeque<Idle>>,
    probe: Mutex<Option<AbortHandle>>,
    connect_patience: Duration,
}

/// The program does not accept connections now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAccepting;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    address: Option<SocketAddr>,
    accepting: bool,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    address: SocketAddr,
    since: Instant,
}

/// A connection that a request may use.
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) address: SocketAddr,
    /// Whether it carried a request before: such a connection may be closed by the program just as it is used.
    pub(super) reused: bool,
}

impl Upstream {
    /// A program that does not run yet.
    pub fn new() -> Arc<Self> {
        Self::connecting_within(CONNECT_PATIENCE)
    }

    /// The same, for a program that may be far away.
    pub(super) fn connecting_within(connect_patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            connect_patience,
            reach: watch::Sender::new(Reach { address: None, accepting: false }),
            in_flight: watch::Sender::new(0),
            idle: Mutex::new(VecDeque::new()),
            probe: Mutex::new(None),
        })
    }

    /// The program was started and will listen here, or it ended. Must be called within a tokio runtime.
    pub fn point_at(self: &Arc<Self>, address: Option<SocketAddr>) {
        self.reach.send_replace(Reach { address, accepting: false });
        lock(&self.idle).clear();
        let probe = address.map(|address| {
            let probe = probe(Arc::downgrade(self), self.reach.subscribe(), address);
            tokio::spawn(probe).abort_handle()
        });
        if let Some(earlier) = std::mem::replace(&mut *lock(&self.probe), probe) {
            earlier.abort();
        }
    }

    /// The program listens here from now on; somebody else finds out whether it accepts connections, and says so with
    /// [`Self::declare`].
    pub(super) fn locate(&self, address: SocketAddr) {
        let moved = self.reach.send_if_modified(|reach| {
            let moved = reach.address != Some(address);
            if moved {
                *reach = Reach { address: Some(address), accepting: false };
            }
            moved
        });
        if moved {
            self.close_idle();
        }
    }

    /// Where the program listens, as far as is known.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.reach.borrow().address
    }

    /// Whether requests may be sent to the program, found out by somebody else.
    pub(super) fn declare(&self, accepting: bool) {
        self.reach.send_if_modified(|reach| {
            let news = reach.accepting != accepting && reach.address.is_some();
            reach.accepting = if news { accepting } else { reach.accepting };
            news
        });
        if !accepting {
            self.close_idle();
        }
    }

    /// Waits until the program is known not to accept connections. Cancel-safe.
    pub(super) async fn refusing(&self) {
        let mut reach = self.reach.subscribe();
        let _ = reach.wait_for(|reach| !reach.accepting).await;
    }

    /// Whether the program accepts connections, as far as is known.
    pub fn is_accepting(&self) -> bool {
        self.reach.borrow().accepting
    }

    /// Requests that the program is answering now.
    pub fn in_flight(&self) -> u64 {
        *self.in_flight.borrow()
    }

    /// Waits until the program answers no request, for `deadline` at most; returns how many it still answers.
    /// Cancel-safe.
    pub async fn drain(&self, deadline: Duration) -> u64 {
        let mut in_flight = self.in_flight.subscribe();
        let drained = in_flight.wait_for(|left| *left == 0);
        let left = match timeout(deadline, drained).await {
            Ok(_) => 0,
            Err(_) => self.in_flight(),
        };
        self.close_idle();
        left
    }

    /// Gives up connections that wait for a next request: a program that finishes its connections before it ends would
    /// wait for them until its time is over.
    pub fn close_idle(&self) {
        lock(&self.idle).clear();
    }

    /// Waits until the program accepts connections. Cancel-safe.
    pub async fn accepting(&self) {
        let mut reach = self.reach.subscribe();
        // The sender lives in `self`, so the wait can't end with it.
        let _ = reach.wait_for(|reach| reach.accepting).await;
    }

    pub(super) fn begin_request(&self) {
        self.in_flight.send_modify(|count| *count += 1);
    }

    pub(super) fn end_request(&self) {
        self.in_flight.send_modify(|count| *count -= 1);
    }

    /// An idle connection where the request may use one, or a new one.
    pub(super) async fn connection(self: &Arc<Self>, may_reuse: bool) -> Result<Connection, NotAccepting> {
        let reach = *self.reach.borrow();
        let address = reach.address.filter(|_| reach.accepting).ok_or(NotAccepting)?;
        if may_reuse && let Some(sender) = self.take_idle() {
            return Ok(Connection { sender, address, reused: true });
        }
        let connected = timeout(self.connect_patience, connect(address)).await;
        match connected.unwrap_or_else(|late| Err(late.into())) {
            Ok(sender) => Ok(Connection { sender, address, reused: false }),
            Err(error) => {
                tracing::debug!(%address, %error, "the active program does not accept connections");
                self.suspect(address);
                Err(NotAccepting)
            }
        }
    }

    /// Keeps a connection for another request once it is ready for one.
    pub(super) fn give_back(self: &Arc<Self>, mut sender: Sender, address: SocketAddr) {
        if sender.is_ready() {
            self.keep(sender, address);
        } else if let (false, Ok(runtime)) = (sender.is_closed(), tokio::runtime::Handle::try_current()) {
            let upstream = Arc::clone(self);
            runtime.spawn(async move {
                if sender.ready().await.is_ok() {
                    upstream.keep(sender, address);
                }
            });
        }
    }

    fn keep(&self, sender: Sender, address: SocketAddr) {
        let mut idle = lock(&self.idle);
        // Looked at under the lock: `point_at` sets the address before it clears the idle connections.
        if self.reach.borrow().address == Some(address) {
            if idle.len() >= MOST_IDLE {
                idle.pop_front();
            }
            idle.push_back(Idle { sender, address, since: Instant::now() });
        }
    }

    /// The connection that was used last, because it is the least likely to be closed.
    fn take_idle(&self) -> Option<Sender> {
        let mut idle = lock(&self.idle);
        while let Some(candidate) = idle.pop_back() {
            if candidate.since.elapsed() >= IDLE_PATIENCE {
                // All others are older still.
                idle.clear();
            } else if candidate.sender.is_ready() && self.reach.borrow().address == Some(candidate.address) {
                return Some(candidate.sender);
            }
        }
        None
    }

    fn suspect(&self, address: SocketAddr) {
        self.reach.send_if_modified(|reach| {
            let news = reach.address == Some(address) && reach.accepting;
            reach.accepting &= !news;
            news
        });
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(probe) = lock(&self.probe).take() {
            probe.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(address: SocketAddr) -> io::Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // Every error of a connection reaches the request on it; one without a request matters to nobody.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// Finds out when the program accepts connections: after its start, and again whenever a request could not connect.
async fn probe(upstream: std::sync::Weak<Upstream>, mut reach: watch::Receiver<Reach>, address: SocketAddr) {
    let [mut pause, longest] = PROBE_PAUSES;
    while reach.wait_for(|reach| !reach.accepting).await.is_ok() {
        if matches!(timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await, Ok(Ok(_))) {
            let Some(upstream) = upstream.upgrade() else { return };
            upstream.reach.send_if_modified(|reach| {
                let ours = reach.address == Some(address);
                reach.accepting |= ours;
                ours
            });
            [pause, _] = PROBE_PAUSES;
        } else {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_program_is_accepting_once_it_listens_and_not_before() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let upstream = Upstream::new();
        assert_eq!(upstream.connection(true).await.err(), Some(NotAccepting));
        upstream.point_at(Some(address));
        assert!(!upstream.is_accepting());
        let listener = TcpListener::bind(address).await.unwrap();
        upstream.accepting().await;
        assert!(upstream.connection(true).await.is_ok());
        drop(listener);
        assert_eq!(upstream.connection(false).await.err(), Some(NotAccepting));
        let _again = TcpListener::bind(address).await.unwrap();
        upstream.accepting().await;
        upstream.point_at(None);
        assert_eq!(upstream.connection(true).await.err(), Some(NotAccepting));
    }

    #[tokio::test]
    async fn a_drain_counts_what_is_left() {
        let upstream = Upstream::new();
        upstream.begin_request();
        upstream.begin_request();
        assert_eq!(upstream.drain(Duration::from_millis(1)).await, 2);
        upstream.end_request();
        upstream.end_request();
        assert_eq!(upstream.drain(Duration::from_secs(3600)).await, 0);
    }
}
