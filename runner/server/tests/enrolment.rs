//! Hosts become runners over the API: what is proved, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::{House, Key};
use serde_json::json;

fn nonce(house: &House) -> String {
    let mut chance = [0; 10];
    getrandom::fill(&mut chance).unwrap();
    staith_model::RunnerId::new(house.now(), chance).to_string()
}

async fn a_code(house: &House) -> String {
    let asked = json!({ "pool": "default", "labels": ["linux"] });
    let made = house.ask("POST", "/api/v1/enrolments", Some(&house.admin), Some(&asked)).await.is(201);
    made["code"].as_str().unwrap().to_owned()
}

fn application(code: &str, key: &Key) -> serde_json::Value {
    json!({
        "code": code, "name": "host", "public_key": key.public(), "labels": ["fast"], "version": env!("CARGO_PKG_VERSION"),
        "proof": key.sign(&format!("staith-enrol\n{code}\nhost")),
    })
}

async fn enrolled(house: &House, key: &Key) -> String {
    let code = a_code(house).await;
    let made = house.ask("POST", "/api/v1/runners", None, Some(&application(&code, key))).await.is(201);
    made["runner"].as_str().unwrap().to_owned()
}

fn session(runner: &str, nonce: &str, key: &Key) -> serde_json::Value {
    json!({ "nonce": nonce, "version": env!("CARGO_PKG_VERSION"), "proof": key.sign(&format!("staith-session\n{runner}\n{nonce}")) })
}

#[tokio::test]
async fn a_host_becomes_a_runner_and_opens_sessions() {
    let house = House::new().await;
    let (key, code) = (Key::new(), a_code(&house).await);
    let asked = application(&code, &key);
    let first = house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.is(201);
    assert_eq!(first["labels"], json!(["fast", "linux"]));
    let again = house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.is(201);
    assert_eq!(first, again, "its answer may have been lost");
    let runner = first["runner"].as_str().unwrap();
    let path = format!("/api/v1/runners/{runner}/sessions");
    let nonce = nonce(&house);
    let asked = session(runner, &nonce, &key);
    let opened = house.ask("POST", &path, None, Some(&asked)).await.is(201);
    let token = opened["token"].as_str().unwrap().to_owned();
    // A runner may drain itself, and nothing else of what administrators may.
    house.ask("POST", &format!("/api/v1/runners/{runner}/drain"), Some(&token), None).await.is(204);
    house
        .ask("POST", &format!("/api/v1/runners/{runner}/revoke"), Some(&token), None)
        .await
        .problem(403, "not-allowed");
    house.ask("POST", &path, None, Some(&asked)).await.problem(409, "nonce-used");
    house.ask("POST", &format!("/api/v1/runners/{runner}/revoke"), Some(&house.admin), None).await.is(204);
    house
        .ask("POST", &format!("/api/v1/runners/{runner}/drain"), Some(&token), None)
        .await
        .problem(401, "sign-in");
    let later = session(runner, &self::nonce(&house), &key);
    house.ask("POST", &path, None, Some(&later)).await.problem(403, "runner-revoked");
}

#[tokio::test]
async fn codes_are_used_once_and_for_ten_minutes() {
    let house = House::new().await;
    let (used, late) = (a_code(&house).await, a_code(&house).await);
    house.ask("POST", "/api/v1/runners", None, Some(&application(&used, &Key::new()))).await.is(201);
    let ask = |code: String| {
        let house = &house;
        async move { house.ask("POST", "/api/v1/runners", None, Some(&application(&code, &Key::new()))).await }
    };
    ask(used).await.problem(403, "code-used");
    ask("staith_enrol_guessed".to_owned()).await.problem(403, "code-unknown");
    house.pass(600_000);
    ask(late).await.problem(403, "code-expired");
}

#[tokio::test]
async fn what_is_not_signed_by_the_key_is_refused() {
    let house = House::new().await;
    let (key, other) = (Key::new(), Key::new());
    let code = a_code(&house).await;
    let mut forged = application(&code, &key);
    forged["proof"] = other.sign(&format!("staith-enrol\n{code}\nhost")).into();
    house.ask("POST", "/api/v1/runners", None, Some(&forged)).await.problem(403, "bad-proof");
    let mut renamed = application(&code, &key);
    renamed["name"] = "another".into();
    house.ask("POST", "/api/v1/runners", None, Some(&renamed)).await.problem(403, "bad-proof");
    let mut short = application(&code, &key);
    short["public_key"] = "AAAA".into();
    house.ask("POST", "/api/v1/runners", None, Some(&short)).await.problem(400, "bad-key");
    let runner = enrolled(&house, &key).await;
    let path = format!("/api/v1/runners/{runner}/sessions");
    let nonce = nonce(&house);
    house.ask("POST", &path, None, Some(&session(&runner, &nonce, &other))).await.problem(403, "bad-proof");
    let nobody = staith_model::RunnerId::new(1, [1; 10]).to_string();
    let asked = session(&nobody, &nonce, &key);
    let nowhere = format!("/api/v1/runners/{nobody}/sessions");
    house.ask("POST", &nowhere, None, Some(&asked)).await.problem(403, "bad-proof");
}

#[tokio::test]
async fn a_nonce_that_was_recorded_is_worth_nothing_ever_after() {
    let house = House::new().await;
    let key = Key::new();
    let runner = enrolled(&house, &key).await;
    let path = format!("/api/v1/runners/{runner}/sessions");
    let asked = session(&runner, &nonce(&house), &key);
    house.ask("POST", &path, None, Some(&asked)).await.is(201);
    house.pass(20 * 3_600_000);
    house.ask("POST", &path, None, Some(&asked)).await.problem(409, "nonce-used");
    house.pass(60 * 3_600_000);
    house.ask("POST", &path, None, Some(&session(&runner, &nonce(&house), &key))).await.is(201);
    house.ask("POST", &path, None, Some(&asked)).await.problem(400, "clocks-differ");
}

#[tokio::test]
async fn attempts_to_enrol_are_few() {
    let house = House::new().await;
    let asked = application("staith_enrol_guessed", &Key::new());
    for _ in 0..20 {
        house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.problem(403, "code-unknown");
    }
    house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.problem(429, "too-many");
    house.pass(10_000);
    house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.problem(403, "code-unknown");
}

#[tokio::test]
async fn a_runner_for_one_job_counts_as_revoked_when_that_has_ended() {
    let house = House::new().await;
    let key = Key::new();
    let asked = json!({ "pool": "default", "ephemeral": true });
    let made = house.ask("POST", "/api/v1/enrolments", Some(&house.admin), Some(&asked)).await.is(201);
    let asked = application(made["code"].as_str().unwrap(), &key);
    let runner = house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.is(201);
    let runner = runner["runner"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/runners/{runner}/sessions");
    let open = || session(&runner, &nonce(&house), &key);
    let opened = house.ask("POST", &path, None, Some(&open())).await.is(201);
    let token = opened["token"].as_str().unwrap().to_owned();
    let drain = format!("/api/v1/runners/{runner}/drain");
    let attempt = house.an_attempt_of(&runner);
    house.ask("POST", &drain, Some(&token), None).await.is(204);
    house.end_attempt(&attempt);
    house.ask("POST", &drain, Some(&token), None).await.problem(401, "sign-in");
    house.ask("POST", &path, None, Some(&open())).await.problem(403, "runner-revoked");
    let seen = house.ask("GET", "/api/v1/runners", Some(&house.admin), None).await.is(200);
    assert_eq!(seen["runners"][0]["state"], "revoked");
}

#[tokio::test]
async fn a_runner_of_another_version_is_told_so() {
    let house = House::new().await;
    let (key, code) = (Key::new(), a_code(&house).await);
    let mut asked = application(&code, &key);
    asked["version"] = json!("99.0.0");
    let told = house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.problem(409, "other-version");
    assert!(told["title"].as_str().unwrap().contains("99.0.0"), "{told}");
    assert!(told["remedy"].as_str().unwrap().contains(env!("CARGO_PKG_VERSION")), "{told}");
    // The code was not used up.
    let runner = house.ask("POST", "/api/v1/runners", None, Some(&application(&code, &key))).await.is(201);
    let runner = runner["runner"].as_str().unwrap();
    let mut asked = session(runner, &nonce(&house), &key);
    asked["version"] = json!("0.0.1");
    let path = format!("/api/v1/runners/{runner}/sessions");
    house.ask("POST", &path, None, Some(&asked)).await.problem(409, "other-version");
}
