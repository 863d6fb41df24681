//! Runners that have jobs: claim, renew, send a log, finish.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use staith_model::Digest;

use crate::{
    asking::Connection,
    at,
    ground::{Ground, session},
    millis,
};

/// What a job writes.
const LOG: &[u8] = &[b'a'; 2048];

#[derive(Default)]
struct Seen {
    claims: Mutex<Vec<f64>>,
    finished: AtomicU64,
}

/// A job that a runner has.
pub(crate) struct Job {
    pub(crate) attempt: String,
    pub(crate) token: String,
    pub(crate) fence: u64,
}

/// Asks for a job, until there is one.
pub(crate) async fn claim(connection: &mut Connection, runner: u64, nonce: &str) -> Job {
    let asked = json!({ "nonce": nonce, "wait_millis": 6_000 }).to_string();
    let session = session(runner);
    loop {
        let answer = connection.ask("POST", "/api/v1/claims", &session, asked.as_bytes()).await;
        if answer.status == 204 {
            continue;
        }
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{said}");
        let given: Value = serde_json::from_str(&said).unwrap();
        let word = |key: &str| given[key].as_str().unwrap().to_owned();
        return Job {
            attempt: word("attempt"),
            token: word("token"),
            fence: given["fence"].as_u64().unwrap(),
        };
    }
}

impl Job {
    pub(crate) async fn says(&self, connection: &mut Connection, method: &str, rest: &str, body: &[u8]) {
        let path = format!("/api/v1/attempts/{}/{rest}", self.attempt);
        let answer = connection.ask(method, &path, &self.token, body).await;
        let said = String::from_utf8_lossy(&answer.body);
        assert!(matches!(answer.status, 200 | 204), "{path}: {} {said}", answer.status);
    }

    pub(crate) async fn put(&self, connection: &mut Connection, offset: u64, bytes: &[u8]) {
        self.says(connection, "PUT", &format!("streams/events?offset={offset}&fence={}", self.fence), bytes)
            .await;
    }

    async fn to_its_end(&self, connection: &mut Connection) {
        let fence = self.fence;
        self.says(connection, "POST", "renew", json!({ "fence": fence }).to_string().as_bytes()).await;
        self.put(connection, 0, LOG).await;
        let close = json!({ "fence": fence, "length": LOG.len(), "digest": Digest::of(LOG) }).to_string();
        self.says(connection, "POST", "streams/events/close", close.as_bytes()).await;
        let finish =
            json!({ "fence": fence, "outcome": { "ended": "passed" }, "streams": ["events"] }).to_string();
        self.says(connection, "POST", "finish", finish.as_bytes()).await;
    }
}

/// One runner: begins a job each `every`, as long as there is time.
async fn works(address: String, runner: u64, every: Duration, until: Instant, seen: Arc<Seen>) {
    let mut connection = Connection::open(&address).await;
    // Not all at the same moment.
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    let first = every.mul_f64((runner % 97) as f64 / 97.0);
    let mut next = Instant::now() + first;
    for number in 0.. {
        // Before it is waited for: the time in which nothing more is begun counts for nothing.
        if next >= until {
            return;
        }
        tokio::time::sleep_until(next.into()).await;
        next += every;
        let began = Instant::now();
        let job = claim(&mut connection, runner, &format!("{runner}-{number}")).await;
        seen.claims.lock().unwrap().push(millis(began.elapsed()));
        job.to_its_end(&mut connection).await;
        seen.finished.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) async fn load(runners: u64, rate: u64, seconds: u64) {
    let ground = Ground::with(runners, rate * (seconds + 2) + runners).await;
    let server = ground.serve();
    let seen = Arc::new(Seen::default());
    let every = Duration::from_secs(runners) / u32::try_from(rate).unwrap();
    let (began, processor) = (Instant::now(), server.processor());
    let until = began + Duration::from_secs(seconds);
    let all = (0..runners)
        .map(|runner| tokio::spawn(works(server.address.clone(), runner, every, until, Arc::clone(&seen))));
    for ended in futures_util::future::join_all(all).await {
        ended.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    let mut claims = std::mem::take(&mut *seen.claims.lock().unwrap());
    claims.sort_by(f64::total_cmp);
    let finished = seen.finished.load(Ordering::Relaxed);
    println!(
        "server, a claim, {runners} runners, ms: p50 {:.1}, p90 {:.1}, p99 {:.1}, most {:.1} (goal: p99 100)",
        at(&claims, 0.5),
        at(&claims, 0.9),
        at(&claims, 0.99),
        at(&claims, 1.0)
    );
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let per_second = finished as f64 / took;
    println!("# server: {per_second:.0} jobs a second claimed and finished, of {rate} wanted");
    println!(
        "# server: {:.2} processors, resident at most {} KiB (goal 153600)",
        (server.processor() - processor) / took,
        server.memory("VmHWM:")
    );
}
