//! Clients that never stop asking: a closed loop over kept connections, and what they saw. A mixture of clients is in [`mixed`],
//! applications for them to ask in [`application`].

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

pub mod application;
pub mod mixed;

/// The header in which an example application says which release it is.
pub const RELEASE: &str = "x-staith-release";

/// What clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests that were answered well.
    pub answered: u64,
    /// Requests that were not, by what went wrong.
    pub failures: BTreeMap<String, u64>,
    /// For each client, the releases that answered it, in order, repetitions left out.
    pub releases: Vec<Vec<String>>,
}

impl Seen {
    /// Number of failed requests.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Whether each client saw the releases in the order in which they were switched to: after a newer one has answered,
    /// an older one never does. Clients may have missed some. Releases are named by their digests or parts of them.
    pub fn in_order(&self, switched_to: &[String]) -> bool {
        let follows = |seen: &Vec<String>| {
            let mut order = switched_to.iter();
            seen.iter().all(|release| order.any(|next| release.contains(next.as_str())))
        };
        self.releases.iter().all(follows)
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        for (what, count) in other.failures {
            *self.failures.entry(what).or_default() += count;
        }
        self.releases.extend(other.releases);
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<Seen>>,
}

impl Load {
    /// Starts `clients` clients that ask for `path`, each as soon as its last answer is complete.
    ///
    /// # Panics
    /// The system refused a thread.
    pub fn start(to: SocketAddr, path: &str, clients: usize) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let one = Client { to, path: path.to_owned(), stop: Arc::clone(&stop), asked: Arc::clone(&asked) };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                (0..clients).for_each(|_| drop(tasks.spawn(one.clone().ask_until_stopped())));
                let mut seen = Seen::default();
                tasks.join_all().await.into_iter().for_each(|of_one| seen.add(of_one));
                seen
            })
        });
        Self { stop, asked, thread: Some(thread) }
    }

    /// Requests that have ended so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Ends the load once each request in flight has ended.
    ///
    /// # Panics
    /// A client panicked.
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Client {
    to: SocketAddr,
    path: String,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Client {
    async fn ask_until_stopped(self) -> Seen {
        let mut seen = Seen { releases: vec![vec![]], ..Seen::default() };
        let mut connection = None;
        while !self.stop.load(Ordering::Relaxed) {
            match self.ask(&mut connection).await {
                Ok(release) => {
                    seen.answered += 1;
                    if seen.releases[0].last() != Some(&release) {
                        seen.releases[0].push(release);
                    }
                }
                Err(what) => {
                    connection = None;
                    *seen.failures.entry(what).or_default() += 1;
                }
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        seen
    }

    async fn ask(&self, kept: &mut Option<SendRequest<Empty<Bytes>>>) -> Result<String, String> {
        // A server may close a kept connection between two requests; only a request that was sent can fail.
        if kept.as_mut().is_none_or(|connection| connection.is_closed()) {
            *kept = Some(self.connect().await?);
        }
        let connection = kept.as_mut().ok_or("no connection")?;
        connection.ready().await.map_err(|error| format!("connection lost: {error}"))?;
        let request =
            Request::get(&self.path).header("host", self.to.to_string()).body(Empty::new()).unwrap();
        let response =
            connection.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
        let status = response.status();
        let release =
            response.headers().get(RELEASE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        response.into_body().collect().await.map_err(|error| format!("answer cut off: {error}"))?;
        match release {
            Some(release) if status.is_success() => Ok(release),
            Some(_) => Err(format!("status {status}")),
            None => Err(format!("status {status}, no release named")),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, String> {
        let stream = TcpStream::connect(self.to).await.map_err(|error| format!("no connection: {error}"))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|error| format!("no handshake: {error}"))?;
        tokio::spawn(driver);
        Ok(sender)
    }
}
