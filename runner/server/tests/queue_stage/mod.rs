//! A server's queue on a database and a clock of its own, for tests of the queue.
#![allow(dead_code, reason = "each test file uses another part of it")]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, params};
use staith_model::{
    AttemptId, Blame, Digest, Name, Plan, RunId, RunnerId,
    service::{AttemptOutcome, JobSpec, Trust},
};
use staith_server::{
    clock::Clock,
    site::Site,
    store::{Actor, Claim, Claimable, Finish, Given, NewJob, NewRun, Sqlite, Store},
};

/// Milliseconds since 1970 at which every test begins.
pub(crate) const BEGIN: u64 = 1_700_000_000_000;

/// Everything around a queue.
pub(crate) struct Stage {
    place: tempfile::TempDir,
    now: Arc<AtomicU64>,
    ids: AtomicU64,
    site: Option<Site>,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn names(words: &[&str]) -> BTreeSet<Name> {
    words.iter().map(|word| name(word)).collect()
}

pub(crate) fn failed(blame: Blame) -> AttemptOutcome {
    AttemptOutcome::failed(blame, format!("it broke: {blame:?}"))
}

impl Stage {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut stage =
            Self { place, now: Arc::new(AtomicU64::new(BEGIN)), ids: AtomicU64::new(0), site: None };
        stage.start();
        stage
    }

    /// The server as it is now.
    pub(crate) fn site(&self) -> &Site {
        self.site.as_ref().unwrap()
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.site().store)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.place.path().join("staith.db")
    }

    /// The server ends, and nothing of what it only knew is left.
    pub(crate) fn stop(&mut self) {
        self.site = None;
    }

    /// A server starts with what is kept.
    pub(crate) fn start(&mut self) {
        let (wall, steady) = (Arc::clone(&self.now), Arc::clone(&self.now));
        let clock = Clock::new(
            move || wall.load(Ordering::SeqCst),
            move || Duration::from_millis(steady.load(Ordering::SeqCst) - BEGIN),
        );
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&self.path()).unwrap());
        self.site = Some(Site::new(store, self.place.path().to_owned(), clock));
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn pass(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    /// Does something to the database itself.
    pub(crate) fn raw<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(20)).unwrap();
        work(&connection).unwrap()
    }

    /// The next ten bytes of no chance.
    pub(crate) fn chance(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.ids.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        bytes
    }

    pub(crate) fn project(&self, project: &str) {
        self.raw(|connection| {
            connection.execute(
                "INSERT INTO projects (name, origin, settings_json, created) VALUES (?1, '/not/on/this/machine', '{}', 0)",
                [project],
            )
        });
    }

    pub(crate) fn runner(&self, called: &str, pool: &str, labels: &[&str]) -> RunnerId {
        let id = RunnerId::new(self.now(), self.chance());
        let labels = serde_json::to_string(&names(labels)).unwrap();
        self.raw(|connection| {
            connection.execute(
                "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen)
                 VALUES (?1, ?2, ?1, ?3, ?4, 0, '0', 'active', 0, 0)",
                params![id.as_str(), called, pool, labels],
            )
        });
        id
    }

    /// A token for requests, of a runner or of a person.
    pub(crate) fn token(&self, word: &str, runner: Option<&RunnerId>, grants: &str) {
        let hash = Digest::of(word.as_bytes()).to_string();
        let runner = runner.map(RunnerId::as_str);
        self.raw(|connection| {
            connection.execute(
                "INSERT INTO tokens (id, hash, name, grants_json, runner, created, expires) VALUES (?1, ?2, ?1, ?3, ?4, 0, 9e15)",
                params![word, hash, grants, runner],
            )
        });
    }

    /// A run of a project with these jobs, each with what it needs.
    pub(crate) fn run(&self, project: &str, jobs: &[(&str, &[&str])]) -> NewRun {
        let id = RunId::new(self.now(), self.chance());
        let plan = plan(project);
        let jobs = jobs.iter().map(|(job, needs)| NewJob {
            spec: JobSpec {
                run: id.clone(),
                number: 0,
                project: name(project),
                name: name(job),
                plan_digest: plan.digest(),
                plan: plan.clone(),
                part: None,
                trust: Trust::Branch,
                secrets: BTreeSet::new(),
                timeout_millis: 3_600_000,
            },
            pool: name("default"),
            labels: BTreeSet::new(),
            needs: names(needs),
        });
        NewRun {
            id: id.clone(),
            arrival: None,
            by: Actor { who: "person:ada".to_owned(), from: None },
            concurrency: None,
            supersedes: false,
            priority: 0,
            jobs: jobs.collect(),
        }
    }

    pub(crate) async fn add(&self, run: NewRun) -> RunId {
        let id = run.id.clone();
        self.store().add_run(run, self.now()).await.unwrap();
        id
    }

    /// A run of one job.
    pub(crate) async fn add_one(&self, project: &str) -> RunId {
        self.add(self.run(project, &[("run", &[])])).await
    }

    pub(crate) fn question(&self, runner: &RunnerId, nonce: &str) -> Claim {
        Claim {
            runner: runner.clone(),
            nonce: nonce.to_owned(),
            by: Actor { who: format!("runner:{runner}"), from: None },
            attempt: AttemptId::new(self.now(), self.chance()),
            token: Arc::new(digest),
        }
    }

    pub(crate) async fn claim(&self, runner: &RunnerId, nonce: &str) -> Claimable {
        self.store().claim(self.question(runner, nonce), self.now()).await.unwrap()
    }

    pub(crate) async fn given(&self, runner: &RunnerId, nonce: &str) -> Given {
        match self.claim(runner, nonce).await {
            Claimable::Given(given) => given,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn finish(&self, given: &Given, outcome: AttemptOutcome) -> Finish {
        let attempt = given.live.attempt.clone();
        Finish {
            by: Actor { who: format!("attempt:{attempt}"), from: None },
            token: digest(&attempt),
            attempt,
            fence: given.live.fence,
            outcome,
            streams: Vec::new(),
        }
    }

    /// A stream of an attempt that came whole.
    pub(crate) fn closed(&self, attempt: &AttemptId, stream: &str) {
        let digest = Digest::of(b"").to_string();
        self.raw(|connection| {
            connection.execute(
                "INSERT INTO streams (attempt, name, length, digest) VALUES (?1, ?2, 0, ?3)",
                params![attempt.as_str(), stream, digest],
            )
        });
    }
}

/// What stands for the digest of an attempt's token where no token is needed.
pub(crate) fn digest(attempt: &AttemptId) -> Digest {
    Digest::of(format!("token of {attempt}").as_bytes())
}

/// The name of the job that was given.
pub(crate) fn job_of(given: &Given) -> String {
    let spec: JobSpec = serde_json::from_str(&given.spec_json).unwrap();
    spec.name.to_string()
}

pub(crate) fn project_of(given: &Given) -> String {
    let spec: JobSpec = serde_json::from_str(&given.spec_json).unwrap();
    spec.project.to_string()
}

pub(crate) fn plan(project: &str) -> Plan {
    serde_json::from_value(serde_json::json!({
        "project": project,
        "version": "1.0.0",
        "source": { "tree": "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "commit": "c0ffee", "dirty": false },
        "trigger": { "kind": "push", "branch": "main" },
        "tools": [], "steps": [], "left_out": [], "services": [], "packages": [],
    }))
    .unwrap()
}
