//! A server in a folder of its own, with a run and attempts that are there without anybody having claimed them.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{path::Path, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode},
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use rusqlite::Connection;
use serde_json::Value;
use staith_model::{AttemptId, Digest, RunId, service::Trust};
use staith_server::{api, clock::Clock, site::Site, store::Sqlite};

pub(crate) const PEOPLE: &str = "viewer-of-the-shop";
pub(crate) const FENCE: u64 = 7;

pub(crate) struct Ground {
    pub(crate) place: tempfile::TempDir,
    pub(crate) site: Site,
}

pub(crate) fn run_id() -> RunId {
    RunId::new(1, [1; 10])
}

pub(crate) fn attempt(number: u8) -> AttemptId {
    AttemptId::new(1, [number; 10])
}

pub(crate) fn token(number: u8) -> String {
    format!("token-{number}")
}

impl Ground {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let site = open(place.path());
        let ground = Self { place, site };
        seed(&ground.sql(), "shop", &run_id(), Trust::Branch);
        ground.add_attempt(1, FENCE);
        ground
    }

    pub(crate) fn sql(&self) -> Connection {
        sql(self.place.path())
    }

    pub(crate) fn add_attempt(&self, number: u8, fence: u64) {
        add_attempt(&self.sql(), &run_id(), number, fence);
    }

    /// The same folder with another server, as after a crash.
    pub(crate) fn restarted(self) -> Self {
        let Self { place, site } = self;
        drop(site);
        // What was spawned by the server before goes with its runtime; its database is closed when the last of it has.
        let site = loop {
            match Sqlite::open(&place.path().join("staith.db")) {
                Ok(store) => {
                    break Site::new(Arc::new(store), place.path().to_owned(), Clock::of_this_machine());
                }
                Err(_) => std::thread::yield_now(),
            }
        };
        Self { place, site }
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Response<Body> {
        ask(&api::router(self.site.clone()), request).await
    }

    pub(crate) async fn put(&self, name: &str, offset: u64, bytes: &[u8]) -> (StatusCode, Value) {
        self.put_as(1, FENCE, name, offset, bytes).await
    }

    pub(crate) async fn put_as(
        &self,
        number: u8,
        fence: u64,
        name: &str,
        offset: u64,
        bytes: &[u8],
    ) -> (StatusCode, Value) {
        let address =
            format!("/api/v1/attempts/{}/streams/{name}?offset={offset}&fence={fence}", attempt(number));
        let request = Request::put(address).header("authorization", format!("Bearer {}", token(number)));
        json(self.ask(request.body(Body::from(bytes.to_vec())).unwrap()).await).await
    }

    pub(crate) async fn close(&self, name: &str, bytes: &[u8]) -> (StatusCode, Value) {
        let asked = serde_json::json!({
            "fence": FENCE, "length": bytes.len(), "digest": Digest::of(bytes)
        });
        let address = format!("/api/v1/attempts/{}/streams/{name}/close", attempt(1));
        let request = Request::post(address).header("authorization", format!("Bearer {}", token(1)));
        json(self.ask(request.body(Body::from(asked.to_string())).unwrap()).await).await
    }

    pub(crate) async fn get(&self, address: &str, headers: &[(&str, &str)]) -> Response<Body> {
        self.get_as(PEOPLE, address, headers).await
    }

    pub(crate) async fn get_as(
        &self,
        token: &str,
        address: &str,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let mut request = Request::get(address).header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn text_of(&self, name: &str) -> Vec<u8> {
        let response = self.get(&stream(name), &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }
}

pub(crate) fn stream(name: &str) -> String {
    format!("/api/v1/attempts/{}/streams/{name}", attempt(1))
}

pub(crate) fn open(place: &Path) -> Site {
    let store = Sqlite::open(&place.join("staith.db")).unwrap();
    Site::new(Arc::new(store), place.to_owned(), Clock::of_this_machine())
}

pub(crate) async fn ask(router: &Router, request: Request<Body>) -> Response<Body> {
    TowerToHyperService::new(router.clone()).call(request).await.unwrap()
}

pub(crate) async fn json(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

pub(crate) fn sql(place: &Path) -> Connection {
    let connection = Connection::open(place.join("staith.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection
}

pub(crate) fn seed(sql: &Connection, project: &str, run: &RunId, trust: Trust) {
    let plan = serde_json::json!({ "source": { "tree": TREE } }).to_string();
    sql.execute(
        "INSERT INTO runs (id, project, number, asked_by, plan_digest, trust, admitted, state, created)
         VALUES (?1, ?2, 1, 'person:me', 'none', ?3, 1, 'running', 1)",
        [run.as_str(), project, trust.as_str()],
    )
    .unwrap();
    sql.execute("INSERT INTO plans (run, plan_json) VALUES (?1, ?2)", [run.as_str(), &plan]).unwrap();
    sql.execute(
        "INSERT INTO jobs (run, name, spec_json, project, priority, pool, labels_json, needs_json, timeout_millis, state)
         VALUES (?1, 'run', '{}', ?2, 0, 'default', '[]', '[]', 1, 'leased')",
        [run.as_str(), project],
    )
    .unwrap();
    let grants = serde_json::json!([{ "role": "viewer", "project": project }]).to_string();
    sql.execute(
        "INSERT INTO tokens (id, hash, name, grants_json, created, expires) VALUES (?1, ?1, 'me', ?2, 1, ?3)",
        rusqlite::params![Digest::of(PEOPLE.as_bytes()).to_string(), grants, i64::MAX],
    )
    .unwrap();
}

pub(crate) const TREE: &str = "0123456789012345678901234567890123456789";

pub(crate) fn add_attempt(sql: &Connection, run: &RunId, number: u8, fence: u64) {
    // One attempt of a job is live at a time.
    sql.execute(
        "UPDATE attempts SET state = 'lost', ended = 1 WHERE run = ?1 AND state = 'leased'",
        [run.as_str()],
    )
    .unwrap();
    sql.execute(
        "INSERT INTO attempts (id, run, job, project, number, fence, runner, nonce, token_hash, state, began)
         VALUES (?1, ?2, 'run', 'shop', ?3, ?4, 'r', ?1, ?5, 'leased', 1)",
        rusqlite::params![
            attempt(number).as_str(),
            run.as_str(),
            number,
            fence,
            Digest::of(token(number).as_bytes()).to_string()
        ],
    )
    .unwrap();
}
