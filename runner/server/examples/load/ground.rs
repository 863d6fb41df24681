//! A directory of a server with everything that is needed before it starts, and the server.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, params};
use staith_model::{
    Digest, Name, Plan, RunId, RunnerId,
    service::{JobSpec, Trust},
};
use staith_server::store::{Actor, NewJob, NewRun, Queue as _, Sqlite};

pub(crate) struct Ground(tempfile::TempDir);

/// A server that runs; killed when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    pub(crate) admin: String,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn chance(number: u64) -> [u8; 10] {
    let mut bytes = [7; 10];
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// What a simulated runner proves itself by.
pub(crate) fn session(runner: u64) -> String {
    format!("session-of-{runner}")
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("staith-load-").tempdir().unwrap())
    }

    /// So many runners, each with a session, and so many runs of one job.
    pub(crate) async fn with(runners: u64, jobs: u64) -> Self {
        let ground = Self::new();
        let path = ground.0.path().join("staith.db");
        let store = Sqlite::open(&path).unwrap();
        let database = Connection::open(&path).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        let project = "INSERT INTO projects (name, origin, settings_json, created) VALUES ('shop', '/not/here', '{}', 0)";
        database.execute(project, []).unwrap();
        database.execute("BEGIN", []).unwrap();
        for runner in 0..runners {
            let id = RunnerId::new(now(), chance(runner));
            database
                .execute(
                    "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen)
                     VALUES (?1, ?2, ?1, 'default', '[]', 0, '0', 'active', 0, 0)",
                    params![id.as_str(), format!("runner{runner}")],
                )
                .unwrap();
            let word = session(runner);
            database
                .execute(
                    "INSERT INTO tokens (id, hash, name, grants_json, runner, created, expires) VALUES (?1, ?2, ?1, '[]', ?3, 0, 9e15)",
                    params![word, Digest::of(word.as_bytes()).to_string(), id.as_str()],
                )
                .unwrap();
        }
        database.execute("COMMIT", []).unwrap();
        drop(database);
        let adding = (0..jobs).map(|number| store.add_run(run(number), now()));
        for added in futures_util::future::join_all(adding).await {
            added.unwrap();
        }
        ground
    }

    pub(crate) fn serve(&self) -> Server {
        let program = std::env::var_os("STAITH_PROGRAM").expect("STAITH_PROGRAM names the program");
        let mut process = Command::new(program)
            .args(["server", "start", "--json", "--no-runner", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.0.path())
            .env("STAITH_HOME", self.0.path().join("user"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).expect(&line);
        let address = said["serving"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let admin =
            std::fs::read_to_string(self.0.path().join("admin.token")).unwrap_or_default().trim().to_owned();
        Server { process, address, admin }
    }
}

/// A run of one job.
fn run(number: u64) -> NewRun {
    let id = RunId::new(now(), chance(number));
    let plan: Plan = serde_json::from_value(serde_json::json!({
        "project": "shop", "version": "1.0.0",
        "source": { "tree": "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "commit": "c0ffee", "dirty": false },
        "trigger": { "kind": "push", "branch": "main" },
        "tools": [], "steps": [], "left_out": [], "services": [], "packages": [],
    }))
    .unwrap();
    let spec = JobSpec {
        run: id.clone(),
        number: 0,
        project: name("shop"),
        name: name("run"),
        plan_digest: plan.digest(),
        plan,
        part: None,
        trust: Trust::Branch,
        secrets: BTreeSet::new(),
        timeout_millis: 3_600_000,
    };
    let (pool, none) = (name("default"), BTreeSet::new());
    NewRun {
        id,
        arrival: None,
        by: Actor { who: "person:load".to_owned(), from: None },
        concurrency: None,
        supersedes: false,
        priority: 0,
        jobs: vec![NewJob { spec, pool, labels: none.clone(), needs: none }],
    }
}

impl Server {
    /// A figure of its memory, in KiB: `VmRSS:` now, `VmHWM:` at most.
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The processor time that it has taken, in seconds.
    pub(crate) fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
