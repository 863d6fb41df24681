//! What every request goes through.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::path::Path;

use house::House;
use serde_json::json;
use staith_server::api::openapi;

#[test]
fn the_description_is_the_one_that_was_agreed_on() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let described = serde_json::to_string_pretty(&openapi::document()).unwrap() + "\n";
    if std::env::var_os("STAITH_UPDATE_EXPECTED").is_some() {
        std::fs::write(&file, &described).unwrap();
    }
    let agreed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        agreed == described,
        "docs/openapi.json is another: look at what STAITH_UPDATE_EXPECTED=1 makes of it"
    );
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem() {
    let house = House::new().await;
    let admin = Some(house.admin.as_str());
    house.ask("GET", "/nowhere", None, None).await.problem(404, "no-such-address");
    house.ask("GET", "/api/v1/tokens", None, None).await.problem(401, "sign-in");
    house.ask("DELETE", "/api/v1/tokens", None, None).await.problem(405, "bad-method");
    house.ask("GET", "/api/v1/audit?limit=many", admin, None).await.problem(400, "bad-query");
    house.ask("POST", "/api/v1/tokens", admin, Some(&json!({ "name": 1 }))).await.problem(400, "bad-body");
    house
        .ask("POST", "/api/v1/tokens", admin, Some(&json!({ "name": "a", "grants": [] })))
        .await
        .problem(400, "bad-token");
    let long = json!({ "name": "x".repeat(17 << 20), "grants": [] });
    house.ask("POST", "/api/v1/tokens", admin, Some(&long)).await.problem(413, "body-refused");
}

#[tokio::test]
async fn answers_tell_browsers_to_keep_out() {
    let house = House::new().await;
    for path in ["/healthz", "/nowhere", "/api/v1/tokens"] {
        let answered = house.ask_with("GET", path, None, &[("origin", "https://example.net")], None).await;
        assert_eq!(answered.headers["x-content-type-options"], "nosniff");
        assert!(answered.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert!(answered.headers.get("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn figures_have_labels_of_a_bounded_size() {
    let house = House::new().await;
    for made_up in 0..50 {
        house.ask("GET", &format!("/made-up-{made_up}"), None, None).await.problem(404, "no-such-address");
        house.ask(&format!("METHOD{made_up}"), "/healthz", None, None).await.problem(405, "bad-method");
        house
            .ask("DELETE", &format!("/api/v1/tokens/{made_up}"), Some(&house.admin), None)
            .await
            .problem(404, "unknown");
    }
    let answered = house.ask("GET", "/metrics", None, None).await;
    let text = String::from_utf8(answered.body).unwrap();
    assert!(
        text.contains("staith_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 50\n"),
        "{text}"
    );
    assert!(text.contains("route=\"/api/v1/tokens/{token}\",status=\"404\"} 50\n"), "{text}");
    assert!(text.contains("\nstaith_jobs_queued 0\n"), "{text}");
    assert!(text.lines().count() < 60, "{text}");
}

#[tokio::test]
async fn a_request_with_a_key_is_carried_out_once() {
    let house = House::new().await;
    let admin = Some(house.admin.as_str());
    let other = house
        .token(
            "other",
            vec![staith_server::api::Grant {
                role: staith_server::api::Role::Admin,
                project: None,
                environment: None,
            }],
        )
        .await;
    let asked = json!({ "pool": "default" });
    let key = [("idempotency-key", "k1")];
    let post = |token: Option<String>, body: serde_json::Value| {
        let house = &house;
        async move { house.ask_with("POST", "/api/v1/enrolments", token.as_deref(), &key, Some(&body)).await }
    };
    post(admin.map(str::to_owned), asked.clone()).await.is(201);
    post(admin.map(str::to_owned), asked.clone()).await.problem(409, "shown-once");
    post(admin.map(str::to_owned), json!({ "pool": "another" })).await.problem(422, "key-reused");
    post(Some(other), asked.clone()).await.is(201);
    // What is refused is refused alike, and nobody's keys are written down.
    post(None, asked.clone()).await.problem(401, "sign-in");
    house.pass(25 * 3_600_000);
    post(admin.map(str::to_owned), asked).await.is(201);
    let kept = rusqlite::Connection::open(house.site.data.join("staith.db")).unwrap();
    let secret: i64 = kept
        .query_row("SELECT count(*) FROM repetitions WHERE instr(body, 'staith_enrol_') > 0", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(secret, 0, "what is shown once is not kept");
}

#[tokio::test]
async fn an_answer_that_can_be_kept_is_given_again() {
    let house = House::new().await;
    let admin = Some(house.admin.as_str());
    let bad = json!({ "name": "", "grants": [] });
    let key = [("idempotency-key", "k1")];
    let first = house.ask_with("POST", "/api/v1/tokens", admin, &key, Some(&bad)).await;
    let again = house.ask_with("POST", "/api/v1/tokens", admin, &key, Some(&bad)).await;
    assert_eq!(first.body, again.body);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    again.problem(400, "bad-token");
}

#[tokio::test]
async fn who_is_not_signed_in_is_listened_to_for_a_short_time() {
    let house = House::new().await;
    let long = serde_json::json!({ "name": "x".repeat(2 << 20), "grants": [] });
    house.ask("POST", "/api/v1/tokens", None, Some(&long)).await.problem(413, "body-refused");
    house
        .ask("POST", "/api/v1/tokens", Some("nobody-has-this"), Some(&long))
        .await
        .problem(413, "body-refused");
    house.ask("POST", "/api/v1/tokens", Some(&house.admin), Some(&long)).await.problem(400, "bad-token");
    let short = serde_json::json!({ "name": "x", "grants": [] });
    house.ask("POST", "/api/v1/tokens", None, Some(&short)).await.problem(401, "sign-in");
}

#[tokio::test]
async fn who_guesses_tokens_is_refused_for_a_while_and_others_are_not() {
    let house = House::new().await;
    let asked = async |token: Option<&str>| house.ask("GET", "/api/v1/tokens", token, None).await.status;
    assert_eq!(asked(Some(&house.admin)).await, 200);
    let mut guesses = 0;
    while asked(Some(&format!("guess-{guesses}"))).await == 401 {
        guesses += 1;
        assert!(guesses < 1000, "nobody is ever refused");
    }
    house.ask("GET", "/api/v1/tokens", Some("another guess"), None).await.problem(429, "too-many");
    assert_eq!(asked(None).await, 429, "whoever asks from there without a right token");
    assert_eq!(asked(Some(&house.admin)).await, 200, "a right one does not suffer");
    house.pass(60_000);
    assert_eq!(asked(None).await, 401);
}

#[tokio::test]
async fn a_server_whose_database_is_damaged_is_alive_and_not_ready() {
    let house = House::new().await;
    let asked = async |path: &str| house.ask("GET", path, None, None).await;
    assert_eq!(asked("/readyz").await.status, 200);
    // All of it in the one file, and then other bytes there: what a disk does that forgets.
    house.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let file = house.site.data.join("staith.db");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, vec![0xa5; whole.len()]).unwrap();
    let refused = asked("/readyz").await.problem(503, "not-ready");
    assert_eq!(refused["title"], "the server can't read its database");
    assert!(refused.get("detail").is_none(), "what the database says may hold data of others: {refused}");
    assert_eq!(asked("/healthz").await.status, 200, "the process answers");
    std::fs::write(&file, whole).unwrap();
    assert_eq!(asked("/readyz").await.status, 200);
}
