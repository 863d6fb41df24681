//! A server in this process, on a port of its own, with a planner that says what a test wants.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use reqwest::{Client, Response};
use rusqlite::Connection;
use staith_model::{
    Command, Digest, LeftOut, Name, Plan, Secret, Source, StepPlan, Trigger,
    service::{Arrival, Happening, Project, ProjectSettings},
};
use staith_server::{
    api,
    clock::Clock,
    site::Site,
    store::{Actor, Seen, Sqlite},
    triggers::{
        ForgeSecrets, Surroundings,
        planner::{Lineage, Outcome, OwnSchedule, Planned, Planner, Unplanned, Wanted},
    },
};

/// A moment in the tests' time, in milliseconds since 1970: 2026-11-21T12:00:00Z.
pub(crate) const NOON: u64 = 1_795_262_400_000;
pub(crate) const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub(crate) const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Says what a test wants, and keeps what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) references: Mutex<Vec<Seen>>,
    /// Answers that come first; afterwards everything starts a run.
    pub(crate) answers: Mutex<Vec<Result<Outcome, Unplanned>>>,
    pub(crate) asked: Mutex<Vec<Wanted>>,
    /// What the pipeline of the default branch says of clocks.
    pub(crate) own: Mutex<Option<OwnSchedule>>,
}

#[async_trait]
impl Planner for Script {
    async fn references(&self, _: &str) -> Result<Vec<Seen>, Unplanned> {
        Ok(self.references.lock().unwrap().clone())
    }

    async fn plan(&self, wanted: &Wanted) -> Result<Outcome, Unplanned> {
        self.asked.lock().unwrap().push(wanted.clone());
        let mut answers = self.answers.lock().unwrap();
        if answers.is_empty() {
            Ok(Outcome::Starts(Box::new(planned(&wanted.happening))))
        } else {
            answers.remove(0)
        }
    }

    async fn own_schedule(&self, _: &str) -> Result<Option<OwnSchedule>, Unplanned> {
        Ok(self.own.lock().unwrap().clone())
    }
}

/// A run of whatever happened, on the branch that it happened to.
pub(crate) fn planned(happening: &Happening) -> Planned {
    let branch = match happening {
        Happening::Push { branch, .. }
        | Happening::Schedule { branch, .. }
        | Happening::PullRequest { branch, .. } => branch,
        _ => "main",
    };
    let mut step = StepPlan::new(name("test"), Command::Shell("true".into()), Digest::of(b""));
    step.secrets.insert("TOKEN".into(), "token".into());
    let plan = Plan {
        project: name("shop"),
        version: "1".into(),
        source: Source {
            tree: "0".repeat(40),
            commit: Some(happening.commit().unwrap_or(A).to_owned()),
            dirty: false,
        },
        trigger: Trigger::default(),
        tools: vec![],
        steps: vec![step],
        left_out: vec![LeftOut { step: name("publish"), why: "`branch == \"main\"` does not hold".into() }],
        services: vec![],
        packages: vec![],
    };
    Planned {
        digest: plan.digest(),
        jobs: plan.jobs().unwrap(),
        plan,
        why: "as the test wants it".into(),
        lineage: Lineage::Branch(branch.to_owned()),
        pipeline: Digest::of(b"pipeline"),
        target_pipeline: Some(Digest::of(b"pipeline")),
        notices: vec![],
        unless_built: false,
        group: None,
    }
}

#[derive(Debug)]
struct Kept(BTreeMap<String, String>);

#[async_trait]
impl ForgeSecrets for Kept {
    async fn value(&self, _: &Name, secret: &str) -> Result<Option<Secret>, String> {
        Ok(self.0.get(secret).map(Secret::new))
    }
}

/// A server and its directory.
pub(crate) struct Yard {
    place: tempfile::TempDir,
    pub(crate) site: Site,
    pub(crate) script: Arc<Script>,
    pub(crate) time: Arc<AtomicU64>,
    pub(crate) base: String,
    pub(crate) client: Client,
    serving: tokio::task::JoinHandle<()>,
}

impl Yard {
    /// A server with the project `shop`, whose `main` is at [`A`].
    pub(crate) async fn with(settings: ProjectSettings) -> Self {
        let place = tempfile::tempdir().unwrap();
        let script = Arc::new(Script::default());
        let main = Seen { reference: "refs/heads/main".into(), commit: A.into() };
        script.references.lock().unwrap().push(main.clone());
        let yard = Self::opened(place, script, Arc::new(AtomicU64::new(NOON))).await;
        let project = Project { name: name("shop"), origin: "/srv/shop.git".into(), settings, created: NOON };
        yard.site.store.add_project(project, vec![main], &Actor::server()).await.unwrap();
        yard
    }

    pub(crate) async fn new() -> Self {
        Self::with(ProjectSettings::default()).await
    }

    async fn opened(place: tempfile::TempDir, script: Arc<Script>, time: Arc<AtomicU64>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = Arc::new(Sqlite::open(&place.path().join("staith.db")).unwrap());
        let (wall, steady) = (Arc::clone(&time), Arc::clone(&time));
        let clock = Clock::new(
            move || wall.load(Ordering::SeqCst),
            move || std::time::Duration::from_millis(steady.load(Ordering::SeqCst)),
        );
        let secrets = [("hook", "It's a Secret"), ("status", "hunter2")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let triggers = Surroundings {
            planner: Arc::clone(&script) as Arc<dyn Planner>,
            secrets: Arc::new(Kept(secrets)),
            allowed_hosts: Arc::new(["127.0.0.1".to_owned()].into()),
            ..Surroundings::default()
        };
        let site = Site { triggers, ..Site::new(store, place.path().to_owned(), clock) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = api::router(site.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { place, site, script, time, base, client: Client::new(), serving }
    }

    /// The same server, killed and started again.
    pub(crate) async fn killed_and_started(self) -> Self {
        let Self { place, site, script, time, serving, client, .. } = self;
        serving.abort();
        let _ = serving.await;
        drop((site, client));
        // What the killed one still held is let go of by tasks that end by themselves.
        let path = place.path().join("staith.db");
        while Sqlite::open(&path).is_err() {
            tokio::task::yield_now().await;
        }
        Self::opened(place, script, time).await
    }

    pub(crate) fn later(&self, millis: u64) {
        self.time.fetch_add(millis, Ordering::SeqCst);
    }

    /// A connection of the test's own, beside the server's.
    pub(crate) fn database(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn path(&self) -> std::path::PathBuf {
        Path::join(self.place.path(), "staith.db")
    }

    pub(crate) fn count(&self, table: &str) -> u64 {
        self.database().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    /// How many rows there are at all.
    pub(crate) fn rows(&self) -> u64 {
        let tables = [
            "projects",
            "arrivals",
            "seen_refs",
            "runs",
            "jobs",
            "outbox",
            "audit",
            "schedules",
            "approvals",
        ];
        tables.iter().map(|table| self.count(table)).sum()
    }

    /// A token with these grants.
    pub(crate) fn token(&self, grants: &str) -> String {
        let token = format!("token-{}", self.count("tokens"));
        let hash = Digest::of(token.as_bytes()).to_string();
        self.database()
            .execute(
                "INSERT INTO tokens (id, hash, name, grants_json, created, expires) VALUES (?1, ?2, 'ada', ?3, 0, 9223372036854775807)",
                [&token, &hash, &grants.to_owned()],
            )
            .unwrap();
        token
    }

    pub(crate) fn admin(&self) -> String {
        self.token(r#"[{"role":"admin"}]"#)
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {token}"));
        request.body(body).send().await.unwrap()
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.base));
        request.header("authorization", format!("Bearer {token}")).send().await.unwrap()
    }

    pub(crate) async fn look(&self) -> usize {
        staith_server::triggers::look::once(&self.site).await.unwrap()
    }

    /// The project's arrivals, the newest first.
    pub(crate) async fn arrivals(&self) -> Vec<Arrival> {
        self.site.store.arrivals_of(&name("shop"), None, 100).await.unwrap()
    }

    pub(crate) async fn project(&self) -> Project {
        self.site.store.project(&name("shop")).await.unwrap().unwrap()
    }
}

pub(crate) async fn json(response: Response) -> serde_json::Value {
    let (path, status) = (response.url().path().to_owned(), response.status().as_u16());
    let bytes = response.bytes().await.unwrap();
    assert_eq!(crate::described::otherwise_by_all(&path, status, &bytes), None);
    serde_json::from_slice(&bytes).unwrap()
}
