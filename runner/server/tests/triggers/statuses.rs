//! Forges are told how runs end, also those that were dead for a while.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, http::Uri};
use staith_model::service::{ForgeKind, ForgeSettings, ProjectSettings};
use staith_server::triggers::statuses;

use crate::yard::{A, B, Yard};

/// A forge that answers what a test wants.
#[derive(Clone, Default)]
struct Forge {
    answers: Arc<AtomicU16>,
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

async fn hear(State(forge): State<Forge>, uri: Uri, body: String) -> StatusCode {
    let status = forge.answers.load(Ordering::SeqCst);
    if status < 300 {
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        forge.heard.lock().unwrap().push((uri.path().to_owned(), body["state"].as_str().unwrap().to_owned()));
    }
    StatusCode::from_u16(status).unwrap()
}

async fn forge() -> (Forge, String) {
    let forge = Forge::default();
    forge.answers.store(201, Ordering::SeqCst);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(hear).with_state(forge.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (forge, base)
}

async fn yard(url: &str) -> Yard {
    let forge = ForgeSettings {
        kind: ForgeKind::Github,
        url: Some(url.to_owned()),
        repository: Some("me/shop".into()),
        webhook_secret: None,
        status_secret: Some("status".into()),
    };
    let yard = Yard::with(ProjectSettings { forge: Some(forge), ..ProjectSettings::default() }).await;
    let token = yard.admin();
    yard.post(&token, "/api/v1/projects/shop/pushes", format!("{A} {B} refs/heads/main\n")).await;
    yard.look().await;
    yard
}

async fn tell(yard: &Yard) {
    statuses::once(&yard.site).await.unwrap();
}

fn run_is(yard: &Yard, state: &str) {
    let ended = if matches!(state, "passed" | "failed") { "1" } else { "NULL" };
    let change = format!("UPDATE runs SET state = '{state}', ended = {ended}");
    yard.database().execute(&change, []).unwrap();
}

#[tokio::test]
async fn a_forge_hears_each_state_once() {
    let (forge, url) = forge().await;
    let yard = yard(&url).await;
    for state in ["waiting", "running", "running", "passed", "passed"] {
        run_is(&yard, state);
        tell(&yard).await;
    }
    let path = format!("/repos/me/shop/statuses/{B}");
    let expected = ["pending", "pending", "success"].map(|state| (path.clone(), state.to_owned()));
    assert_eq!(*forge.heard.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_dead_forge_hears_the_last_state_when_it_is_back() {
    let (forge, url) = forge().await;
    let yard = yard(&url).await;
    for (state, status) in [("waiting", 500), ("running", 429), ("failed", 502)] {
        forge.answers.store(status, Ordering::SeqCst);
        run_is(&yard, state);
        tell(&yard).await;
        yard.later(1);
    }
    // It is left alone for a while, also when it is back; a restart changes nothing of that.
    forge.answers.store(201, Ordering::SeqCst);
    let yard = yard.killed_and_started().await;
    tell(&yard).await;
    assert!(forge.heard.lock().unwrap().is_empty());
    yard.later(10 * 60 * 1000);
    tell(&yard).await;
    tell(&yard).await;
    let heard = forge.heard.lock().unwrap().clone();
    assert_eq!(
        heard.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(),
        ["failure"],
        "nothing but what is true now"
    );
}

#[tokio::test]
async fn what_a_forge_will_never_take_is_not_tried_for_ever() {
    let (forge, url) = forge().await;
    let yard = yard(&url).await;
    forge.answers.store(422, Ordering::SeqCst);
    tell(&yard).await;
    forge.answers.store(201, Ordering::SeqCst);
    yard.later(24 * 60 * 60 * 1000);
    tell(&yard).await;
    assert!(forge.heard.lock().unwrap().is_empty());
    let why: String =
        yard.database().query_row("SELECT last_error FROM outbox", [], |row| row.get(0)).unwrap();
    assert!(why.contains("422"), "{why}");
}

#[tokio::test]
async fn an_address_that_only_the_server_reaches_is_not_gone_to() {
    // The loopback address is allowed in these tests, another one of this machine is not.
    let yard = yard("https://127.0.0.2:1").await;
    tell(&yard).await;
    let why: String =
        yard.database().query_row("SELECT last_error FROM outbox", [], |row| row.get(0)).unwrap();
    assert!(why.contains("administrator has not allowed it"), "{why}");
}
