//! A mixed load: clients that keep their connections and clients that do not, in a closed loop and at a given pace, that read and
//! write, quickly and slowly. Each answer is judged by status, body and release; failures are kept apart by what they mean.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{RELEASE, application::KEY};

/// A request that takes longer has failed. Far beyond what any answer here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// What went wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// A fresh connection was refused.
    Refused,
    /// A fresh connection ended without an answer.
    CutFresh,
    /// A connection that had answered before ended without an answer.
    CutReused,
    /// The answer broke off.
    CutAnswer,
    /// A status of failure from whoever is in front: no release named.
    ByProxy,
    /// A status of failure from the application.
    ByApplication,
    /// No answer in time.
    Late,
    /// An answer to another question.
    Wrong,
}

/// A group of clients that do the same.
#[derive(Debug, Clone)]
pub struct Group {
    /// How many of them.
    pub clients: usize,
    /// Whether each keeps its connection.
    pub keeps: bool,
    /// Time from the beginning of one request to that of the next, however long the first takes: an open loop. `None` asks again as
    /// soon as it was answered.
    pub pace: Option<Duration>,
    /// What is asked for.
    pub path: String,
    /// Whether each request is a write with a key of its own.
    pub writes: bool,
}

impl Group {
    /// Clients that read in a closed loop.
    pub fn reading(clients: usize, keeps: bool, path: &str) -> Self {
        Self { clients, keeps, pace: None, path: path.to_owned(), writes: false }
    }
}

/// The usual mixture: mostly short reads, half of them on connections of their own; writes, long requests, and a pace.
pub fn usual() -> Vec<Group> {
    vec![
        Group::reading(8, true, "/short"),
        Group::reading(6, false, "/short"),
        Group::reading(2, true, "/long/300"),
        Group { writes: true, ..Group::reading(2, true, "/write") },
        Group { writes: true, ..Group::reading(1, false, "/write") },
        Group { pace: Some(Duration::from_millis(10)), ..Group::reading(2, false, "/paced") },
    ]
}

/// What all clients saw.
#[derive(Debug, Default)]
pub struct Report {
    /// Good answers.
    pub answered: u64,
    /// Bad ones and missing ones.
    pub failures: BTreeMap<Failure, u64>,
    /// Good answers by release.
    pub by_release: BTreeMap<String, u64>,
    /// For each client, the releases that answered it, repetitions left out.
    pub releases: Vec<Vec<String>>,
    /// Keys of the writes that were answered.
    pub written: Vec<String>,
}

impl Report {
    /// Number of failed requests.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Number of requests.
    pub fn all(&self) -> u64 {
        self.answered + self.failed()
    }

    /// Whether no client saw a release that is more than `apart` swaps older than the newest that it had seen.
    /// Releases are told by their place in `order`.
    pub fn in_order(&self, order: &[String], apart: usize) -> bool {
        let place: BTreeMap<&String, usize> = order.iter().zip(0..).collect();
        let follows = |seen: &Vec<String>| {
            let mut newest = 0;
            seen.iter().all(|release| {
                let here = place.get(release).copied();
                newest = newest.max(here.unwrap_or(0));
                here.is_some_and(|here| here + apart >= newest)
            })
        };
        self.releases.iter().all(follows)
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        other.failures.into_iter().for_each(|(what, count)| *self.failures.entry(what).or_default() += count);
        other
            .by_release
            .into_iter()
            .for_each(|(release, count)| *self.by_release.entry(release).or_default() += count);
        self.releases.extend(other.releases);
        self.written.extend(other.written);
    }
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Mixed {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<Report>>,
}

impl Mixed {
    /// Starts all clients.
    ///
    /// # Panics
    /// The system refused a thread.
    pub fn start(to: SocketAddr, groups: &[Group]) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let each = groups
            .iter()
            .enumerate()
            .flat_map(|(group, what)| (0..what.clients).map(move |nth| (group, nth, what)));
        let clients: Vec<Client> = each
            .map(|(group, nth, what)| Client {
                to,
                name: format!("{group}-{nth}"),
                group: what.clone(),
                stop: Arc::clone(&stop),
                asked: Arc::clone(&asked),
            })
            .collect();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut tasks: JoinSet<Report> = clients.into_iter().map(Client::ask_until_stopped).collect();
                let mut report = Report::default();
                while let Some(of_one) = tasks.join_next().await {
                    report.add(of_one.unwrap());
                }
                report
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
    pub fn stop(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Mixed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

type Sender = SendRequest<Empty<Bytes>>;

struct Client {
    to: SocketAddr,
    name: String,
    group: Group,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Client {
    async fn ask_until_stopped(self) -> Report {
        let mut report = Report { releases: vec![vec![]], ..Report::default() };
        let (mut kept, mut number) = (None, 0u64);
        let mut next = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let key = format!("{}-{number}", self.name);
            let answer = timeout(PATIENCE, self.ask(&mut kept, &key)).await.unwrap_or(Err(Failure::Late));
            match answer {
                Ok(release) => {
                    report.answered += 1;
                    *report.by_release.entry(release.clone()).or_default() += 1;
                    if report.releases[0].last() != Some(&release) {
                        report.releases[0].push(release);
                    }
                    if self.group.writes {
                        report.written.push(key);
                    }
                }
                Err(failure) => {
                    kept = None;
                    *report.failures.entry(failure).or_default() += 1;
                }
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            if !self.group.keeps {
                kept = None;
            }
            if let Some(pace) = self.group.pace {
                next += pace;
                tokio::time::sleep_until(next).await;
            }
        }
        report
    }

    async fn ask(&self, kept: &mut Option<Sender>, key: &str) -> Result<String, Failure> {
        // A server may close a kept connection between two requests, and says so; only a request that was sent can fail.
        if let Some(connection) = kept
            && connection.ready().await.is_err()
        {
            *kept = None;
        }
        let reused = kept.is_some();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let request = match self.group.writes {
            true => Request::post(&self.group.path).header(KEY, key),
            false => Request::get(&self.group.path),
        };
        let request = request.header("host", self.to.to_string()).body(Empty::new()).unwrap();
        let cut = if reused { Failure::CutReused } else { Failure::CutFresh };
        let response = connection.send_request(request).await.map_err(|_| cut)?;
        let status = response.status();
        let release =
            response.headers().get(RELEASE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.into_body().collect().await.map_err(|_| Failure::CutAnswer)?.to_bytes();
        match release {
            None => Err(Failure::ByProxy),
            Some(_) if !status.is_success() => Err(Failure::ByApplication),
            Some(_) if body != self.group.path => Err(Failure::Wrong),
            Some(release) => {
                *kept = Some(connection);
                Ok(release)
            }
        }
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let stream = TcpStream::connect(self.to).await.map_err(|_| Failure::Refused)?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Failure::CutFresh)?;
        tokio::spawn(driver);
        Ok(sender)
    }
}
