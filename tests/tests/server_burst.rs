//! A burst of webhooks over real connections to the real server, which is also killed in the middle of it: the design's fault F22
//! ([all of them](../../docs/faults.md)).

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ring::hmac::{HMAC_SHA256, Key, sign};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use staith_tests::{
    invariants,
    served::Served,
    wait,
    world::{World, repository},
};

const SIGNS: &str = "what-the-forge-signs-with";
/// How often each event is told.
const COPIES: usize = 3;
/// Connections that are kept while the burst lasts.
const CONNECTIONS: usize = 32;

/// A server without a runner, and a project whose forge is as busy as forges get.
struct Scene {
    server: Option<Served>,
    /// The requests of all events, as bytes on a connection: signed pushes to a branch each.
    requests: Vec<Vec<u8>>,
    world: World,
}

/// An answer that was heard.
struct Heard {
    event: usize,
    /// The ids of what was written down.
    ids: Vec<String>,
    took: Duration,
}

/// A delivery that goes out, by the number of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivery(usize);

impl Scene {
    /// So many events. The first is of a commit that there is, the others of one that the repository does not have (yet).
    fn of(events: usize) -> Self {
        let world = World::new();
        world.write("runner.toml", "name = \"shop\"\nversion = \"1\"\n[steps.test]\nrun = \"true\"\n");
        world.commit("first");
        let server = Served::of(&world);
        let settings = json!({ "forge": { "kind": "github", "webhook_secret": "hook" } });
        let project = json!({ "name": "shop", "origin": world.project(), "settings": settings });
        server.ask("POST", "/api/v1/projects", &project.to_string()).is(201);
        let secret = json!({ "value": SIGNS, "environment": "staith.forge" }).to_string();
        server.ask("PUT", "/api/v1/projects/shop/secrets/hook", &secret).is(204);
        world.git(&["checkout", "--quiet", "-b", "branch-0"]);
        world.write("more", "more");
        world.commit("second");
        let second = world.git(&["rev-parse", "HEAD"]);
        let requests = (0..events).map(|event| request(event, (event == 0).then_some(&*second))).collect();
        Self { server: Some(server), requests, world }
    }

    fn server(&self) -> &Served {
        self.server.as_ref().unwrap()
    }

    /// Each event, told so often, the copies at the same time on different connections.
    fn all(&self) -> Vec<Delivery> {
        (0..self.requests.len()).flat_map(|event| [Delivery(event); COPIES]).collect()
    }

    /// Sends deliveries over kept connections, each as soon as one is free, and calls with the number of answers so far. Gives what was
    /// acknowledged, and what nobody answered.
    fn tells(&self, deliveries: &[Delivery], answered: impl Fn(usize) + Sync) -> (Vec<Heard>, Vec<Delivery>) {
        let (next, answers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (heard, unheard) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut line = Line::to(&self.server().address);
                    while let Some(delivery) = deliveries.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let began = Instant::now();
                        match line.as_mut().map(|line| line.asks(&self.requests[delivery.0])) {
                            Some(Ok((status, body))) => {
                                assert_eq!(status, 202, "a forge's delivery was refused: {body}");
                                let (event, took) = (delivery.0, began.elapsed());
                                heard.lock().unwrap().push(Heard { event, ids: ids(&body), took });
                                answered(answers.fetch_add(1, Ordering::Relaxed) + 1);
                            }
                            _ => {
                                line = None;
                                unheard.lock().unwrap().push(*delivery);
                            }
                        }
                    }
                });
            }
        });
        (heard.into_inner().unwrap(), unheard.into_inner().unwrap())
    }

    /// Every event is there once, by the id that each of its copies was answered with; and what it set off is there once.
    fn holds(&self, heard: &[Heard]) {
        let mut answered = BTreeMap::<usize, BTreeSet<&str>>::new();
        for one in heard {
            assert_eq!(one.ids.len(), 1, "{:?}", one.ids);
            answered.entry(one.event).or_default().extend(one.ids.iter().map(String::as_str));
        }
        let twice = answered.iter().find(|(_, ids)| ids.len() > 1);
        assert_eq!(twice, None, "an event has several ids");
        let kept = self.kept();
        assert_eq!(kept.len(), self.requests.len(), "events that are there");
        let expected: BTreeMap<String, String> = answered
            .iter()
            .map(|(event, ids)| (name(*event), ids.first().map(|id| (*id).to_owned()).unwrap()))
            .collect();
        assert_eq!(kept, expected.into_iter().collect::<Vec<_>>(), "each by the id that was answered");
        let first = wait::until("the first event is looked into", || {
            let at = format!("/api/v1/projects/shop/arrivals/{}", expected_first(&kept));
            let arrival = self.server().ask("GET", &at, "").is(200);
            (arrival["state"] != "waiting").then_some(arrival)
        });
        assert_eq!(first["state"], "done", "{first}");
        let runs: Value = self.server().ask("GET", "/api/v1/runs?limit=1000", "").is(200);
        assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "one event of a commit that is there: {runs}");
    }

    /// The deliveries that the server has, by their names, each as often as it is there, with the id.
    fn kept(&self) -> Vec<(String, String)> {
        let path = self.server().data.join("staith.db");
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let select = "SELECT delivery, id FROM arrivals WHERE source = 'github' ORDER BY delivery, id";
        let mut select = database.prepare(select).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

fn expected_first(kept: &[(String, String)]) -> &str {
    &kept.iter().find(|(delivery, _)| *delivery == name(0)).unwrap().1
}

/// What the forge calls the delivery of an event, whenever it tells it.
fn name(event: usize) -> String {
    format!("72d3162e-cc78-11e3-81ab-{event:012}")
}

/// A push as GitHub sends it, to a branch of its own.
fn request(event: usize, commit: Option<&str>) -> Vec<u8> {
    let fixture = repository().join("runner/server/tests/fixtures/github-push.json");
    let mut push: Value = serde_json::from_str(&fs::read_to_string(fixture).unwrap()).unwrap();
    push["ref"] = format!("refs/heads/branch-{event}").into();
    if let Some(commit) = commit {
        push["after"] = commit.into();
    }
    let body = push.to_string();
    let tag = sign(&Key::new(HMAC_SHA256, SIGNS.as_bytes()), body.as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!(
        "POST /hooks/shop/github HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n\
         X-GitHub-Delivery: {}\r\nX-Hub-Signature-256: sha256={tag}\r\nContent-Length: {}\r\n\r\n",
        name(event),
        body.len()
    );
    (head + &body).into_bytes()
}

fn ids(body: &str) -> Vec<String> {
    let told: Value = serde_json::from_str(body).unwrap();
    told["arrivals"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// A connection that is kept.
struct Line(BufReader<TcpStream>);

impl Line {
    fn to(address: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Some(Self(BufReader::new(stream)))
    }

    fn asks(&mut self, request: &[u8]) -> io::Result<(u16, String)> {
        self.0.get_mut().write_all(request)?;
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(told) = line.strip_prefix("content-length: ") {
                length = told.parse().unwrap();
            }
            if let Some(told) = line.strip_prefix("http/1.1 ") {
                status = told.split(' ').next().and_then(|status| status.parse().ok());
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status.unwrap(), String::from_utf8(body).unwrap()))
    }
}

#[test]
fn five_thousand_webhooks_three_times_each_are_all_taken_and_each_is_there_once() {
    let scene = Scene::of(5000);
    let began = Instant::now();
    let (heard, unheard) = scene.tells(&scene.all(), |_| {});
    assert_eq!((heard.len(), &*unheard), (5000 * COPIES, &[][..]));
    let all = began.elapsed();
    let mut took: Vec<Duration> = heard.iter().map(|one| one.took).collect();
    took.sort();
    let memory = invariants::most_memory(scene.server().id());
    println!(
        "{} deliveries in {all:.1?}, 99 of 100 answered within {:.0?}; at most {memory} KiB of memory",
        took.len(),
        took[took.len() * 99 / 100]
    );
    scene.holds(&heard);
}

#[test]
fn of_a_burst_nothing_is_lost_or_doubled_by_the_servers_death_once_the_rest_is_told_again() {
    let mut scene = Scene::of(1500);
    let killed = AtomicUsize::new(0);
    let process = rustix::process::Pid::from_raw(i32::try_from(scene.server().id()).unwrap()).unwrap();
    let (mut heard, unheard) = scene.tells(&scene.all(), |answers| {
        if answers == 1500 {
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
            killed.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(killed.into_inner(), 1);
    assert!(unheard.len() > 1500, "{} deliveries had no answer when the server died", unheard.len());
    let data = scene.server.take().unwrap().data.clone();
    scene.server = Some(Served::again(&scene.world, &data));
    let (again, none) = scene.tells(&unheard, |_| {});
    assert_eq!(none, []);
    heard.extend(again);
    assert_eq!(heard.len(), 1500 * COPIES);
    scene.holds(&heard);
}
