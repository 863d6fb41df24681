//! A server of a test's own: its router, asked without a network, with clocks that the test moves.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod described;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use staith_server::{
    api::{self, Grant},
    clock::Clock,
    secrets::Vault,
    site::Site,
    store::{Actor, Sqlite},
    tokens::{self, TokenAsked},
};

/// When everything begins.
const BEGAN: u64 = 1_795_000_000_000;

/// The server.
pub struct House {
    place: tempfile::TempDir,
    passed: Arc<AtomicU64>,
    router: Router,
    pub site: Site,
    /// A token that may do everything.
    pub admin: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answered {
    /// The body, of an answer with this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    /// Checks that it is a problem of this kind.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.is(status);
        assert_eq!(problem["type"], kind, "{problem}");
        problem
    }
}

impl House {
    pub async fn new() -> Self {
        Self::with_vault(Vault::default()).await
    }

    pub async fn with_vault(vault: Vault) -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&place.path().join("staith.db")).unwrap());
        let passed = Arc::new(AtomicU64::new(0));
        let (wall, steady) = (Arc::clone(&passed), Arc::clone(&passed));
        let clock = Clock::new(
            move || BEGAN + wall.load(Ordering::SeqCst),
            move || Duration::from_millis(1000 + steady.load(Ordering::SeqCst)),
        );
        let mut site = Site::new(store, place.path().to_owned(), clock);
        site.vault = vault;
        let router = api::router(site.clone());
        let admin = tokens::make(&site, TokenAsked::administrator(), Actor::server()).await.unwrap().token;
        Self { place, passed, router, site, admin }
    }

    /// A token with these grants.
    pub async fn token(&self, name: &str, grants: Vec<Grant>) -> String {
        let asked = TokenAsked { name: name.to_owned(), grants, valid_days: None };
        tokens::make(&self.site, asked, Actor::server()).await.unwrap().token
    }

    /// Lets both clocks go on.
    pub fn pass(&self, millis: u64) {
        self.passed.fetch_add(millis, Ordering::SeqCst);
    }

    pub fn now(&self) -> u64 {
        self.site.clock.unix_millis()
    }

    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Answered {
        self.ask_with(method, path, token, &[], body).await
    }

    pub async fn ask_with(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let service = TowerToHyperService::new(self.router.clone());
        let answer = service.call(request.body(body).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap().to_vec();
        assert_eq!(described::otherwise(method, path, head.status.as_u16(), &body), None);
        Answered { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Statements of a test's own, in the database.
    pub fn sql(&self, statements: &str) {
        let connection = rusqlite::Connection::open(self.place.path().join("staith.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.execute_batch(statements).unwrap();
    }

    /// What a query gives in its first column.
    pub fn sql_texts(&self, query: &str) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.place.path().join("staith.db")).unwrap();
        let mut statement = connection.prepare(query).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// A run with one job whose attempt this runner has; the attempt's id. Its token is `attempt-token`.
    pub fn an_attempt_of(&self, runner: &str) -> String {
        let hash = staith_model::Digest::of(b"attempt-token");
        let plan = staith_model::Digest::of(b"plan");
        let (run, attempt) = ("01arz3ndektsv4rrffq69g5fav", "01arz3ndektsv4rrffq69g5fax");
        self.sql(&format!(
            "INSERT OR IGNORE INTO projects (name, origin, settings_json, created) VALUES ('shop', '/not/on/this/machine', '{{}}', 1);
             INSERT INTO runs (id, project, number, asked_by, plan_digest, trust, admitted, state, created)
               VALUES ('{run}', 'shop', 1, 'server', '{plan}', 'branch', 1, 'running', 1);
             INSERT INTO jobs (run, name, spec_json, project, priority, pool, labels_json, needs_json, timeout_millis, state)
               VALUES ('{run}', 'run', '{{}}', 'shop', 0, 'default', '[]', '[]', 1000, 'leased');
             INSERT INTO attempts (id, run, job, project, number, fence, runner, nonce, token_hash, state, began)
               VALUES ('{attempt}', '{run}', 'run', 'shop', 1, 1, '{runner}', 'n', '{hash}', 'leased', 1);"
        ));
        attempt.to_owned()
    }

    pub fn end_attempt(&self, attempt: &str) {
        self.sql(&format!("UPDATE attempts SET state = 'lost', ended = 2 WHERE id = '{attempt}'"));
    }
}

/// A host's key.
pub struct Key(Ed25519KeyPair);

impl Key {
    pub fn new() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        Self(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    }

    pub fn public(&self) -> String {
        STANDARD.encode(self.0.public_key().as_ref())
    }

    pub fn sign(&self, text: &str) -> String {
        STANDARD.encode(self.0.sign(text.as_bytes()).as_ref())
    }
}
