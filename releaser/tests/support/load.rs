//! Closed-loop clients with an oracle: which release may answer a request that began now?

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client};

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// One connection for all requests.
    Keep,
    /// A connection for each request.
    OneShot,
    /// Writes, on one connection.
    KeepWriting,
}

/// How far the switching has come, in number of switches, counted before each begins and after it has returned.
#[derive(Debug, Default)]
pub struct Progress {
    begun: AtomicUsize,
    returned: AtomicUsize,
}

impl Progress {
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    pub fn returned(&self) {
        self.returned.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the clients met.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub failures: Vec<String>,
}

/// Clients at work.
pub struct Load {
    pub progress: Arc<Progress>,
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    /// Clients that ask `address` for `path` until they are stopped. `number` reads from an answer after how many
    /// switches its release became active.
    pub fn start(
        address: SocketAddr,
        path: &'static str,
        clients: &[(Habit, usize)],
        number: impl Fn(&Answer) -> Option<usize> + Clone + Send + 'static,
    ) -> Self {
        let mut load = Self {
            progress: Arc::default(),
            tally: Arc::default(),
            stop: CancellationToken::new(),
            clients: JoinSet::new(),
        };
        for (habit, count) in clients {
            for _ in 0..*count {
                let (progress, tally) = (Arc::clone(&load.progress), Arc::clone(&load.tally));
                let one = One { address, path, habit: *habit, progress, tally };
                load.clients.spawn(one.work(load.stop.clone(), number.clone()));
            }
        }
        load
    }

    /// Answers so far.
    pub fn answered(&self) -> usize {
        self.tally.lock().unwrap().answered
    }

    /// Failures so far.
    pub fn failed(&self) -> usize {
        self.tally.lock().unwrap().failures.len()
    }

    /// Lets a number of further requests be answered.
    pub async fn let_through(&self, count: usize) {
        let before = self.answered();
        super::until("requests are answered", || async { self.answered() >= before + count }).await;
    }

    /// Lets each client finish its request, and says what they met.
    pub async fn stop(mut self) -> Tally {
        self.stop.cancel();
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        std::mem::take(&mut *self.tally.lock().unwrap())
    }
}

struct One {
    address: SocketAddr,
    path: &'static str,
    habit: Habit,
    progress: Arc<Progress>,
    tally: Arc<Mutex<Tally>>,
}

impl One {
    async fn work(self, stop: CancellationToken, number: impl Fn(&Answer) -> Option<usize>) {
        let mut kept = None;
        let mut last = 0;
        while !stop.is_cancelled() {
            let oldest = self.progress.returned.load(Ordering::SeqCst);
            let outcome = self.ask(&mut kept).await;
            let newest = self.progress.begun.load(Ordering::SeqCst);
            let outcome = outcome.and_then(|answer| {
                let number = number(&answer).ok_or_else(|| format!("{} {}", answer.status, answer.text()))?;
                if !(oldest..=newest).contains(&number) {
                    return Err(format!("release {number} answered, between switch {oldest} and {newest}"));
                }
                if number < last {
                    return Err(format!("release {number} answered after {last}"));
                }
                last = number;
                Ok(())
            });
            let mut tally = self.tally.lock().unwrap();
            match outcome {
                Ok(()) => tally.answered += 1,
                Err(failure) => {
                    kept = None;
                    tally.failures.push(failure);
                }
            }
        }
    }

    async fn ask(&self, kept: &mut Option<Client>) -> Result<Answer, String> {
        if kept.is_none() || self.habit == Habit::OneShot {
            *kept = Some(Client::connect(self.address).await?);
        }
        let Some(client) = kept else { unreachable!() };
        match self.habit {
            Habit::KeepWriting => client.post(self.path, "write").await,
            Habit::Keep | Habit::OneShot => client.get(self.path).await,
        }
    }
}
