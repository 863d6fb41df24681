//! Secrets of projects: who gets what, what is written down of it, and what is not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use house::House;
use serde_json::json;
use staith_model::{Name, Secret};
use staith_server::{
    api::{Grant, Role},
    secrets::{FORGE, Sealing, Vault},
    triggers::{ForgeSecrets, SealedForgeSecrets},
};

/// Stands in for encryption: turns bytes over by its key, and keeps what they are about.
#[derive(Debug)]
struct TurnedOver(u8);

impl Sealing for TurnedOver {
    fn seal(&self, about: &str, secret: &Secret) -> Result<Vec<u8>, String> {
        Ok(secret.expose_to(|value| format!("{about}\n{value}").bytes().map(|byte| byte ^ self.0).collect()))
    }

    fn open(&self, about: &str, sealed: &[u8]) -> Result<Secret, String> {
        let plain: Vec<u8> = sealed.iter().map(|byte| byte ^ self.0).collect();
        let text = String::from_utf8(plain).map_err(|_| "no text")?;
        let value = text.strip_prefix(&format!("{about}\n")).ok_or("it is about something else")?;
        Ok(Secret::new(value))
    }

    fn successor(&self) -> Result<Arc<dyn Sealing>, String> {
        Ok(Arc::new(Self(self.0 - 1)))
    }

    fn succeed(&self) -> Result<(), String> {
        Ok(())
    }
}

const RUNNER: &str = "01arz3ndektsv4rrffq69g5fa1";
const VALUE: &str = "swordfish-7";

/// A house with a project that has secrets, and an attempt that names some of them.
async fn furnished(trust: &str) -> (House, String) {
    let house = House::with_vault(Vault::new(Arc::new(TurnedOver(0xff)))).await;
    house.sql(&format!(
        "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen)
         VALUES ('{RUNNER}', 'host', 'k', 'default', '[]', 0, '1', 'active', 1, 1)"
    ));
    let attempt = house.an_attempt_of(RUNNER);
    house.sql(&format!(
        "UPDATE runs SET trust = '{trust}';
         UPDATE jobs SET spec_json = json_set(spec_json, '$.secrets', json('[\"npm-token\", \"deploy-key\", \"not-set\"]'))"
    ));
    let secrets = [
        ("npm-token", json!({ "value": VALUE })),
        ("deploy-key", json!({ "value": VALUE, "protected": true })),
        ("not-named", json!({ "value": VALUE })),
        ("npm-token", json!({ "value": "of the environment", "environment": "production" })),
    ];
    for (name, asked) in secrets {
        house
            .ask("PUT", &format!("/api/v1/projects/shop/secrets/{name}"), Some(&house.admin), Some(&asked))
            .await
            .is(204);
    }
    (house, attempt)
}

async fn given(house: &House, attempt: &str) -> Vec<String> {
    let path = format!("/api/v1/attempts/{attempt}/secrets");
    let given = house.ask("GET", &path, Some("attempt-token"), None).await.is(200);
    let secrets = given["secrets"].as_object().unwrap();
    assert!(secrets.values().all(|value| value == VALUE), "{given}");
    secrets.keys().cloned().collect()
}

async fn reads(house: &House) -> Vec<serde_json::Value> {
    let all = house.ask("GET", "/api/v1/audit?limit=1000", Some(&house.admin), None).await.is(200);
    assert!(!all.to_string().contains(VALUE), "no value is in the audit log");
    all["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["what"] == "secrets-read")
        .cloned()
        .collect()
}

#[tokio::test]
async fn an_attempt_gets_what_it_names_and_its_trust_allows() {
    for (trust, expected) in
        [("fork", vec![]), ("branch", vec!["npm-token"]), ("protected", vec!["deploy-key", "npm-token"])]
    {
        let (house, attempt) = furnished(trust).await;
        assert_eq!(given(&house, &attempt).await, expected, "{trust}");
        let reads = reads(&house).await;
        assert_eq!(reads.len(), usize::from(!expected.is_empty()), "{trust}");
        for read in reads {
            assert_eq!(read["who"], format!("attempt:{attempt}"));
            assert_eq!(read["after"], json!(expected).to_string());
        }
        house.end_attempt(&attempt);
        let path = format!("/api/v1/attempts/{attempt}/secrets");
        house.ask("GET", &path, Some("attempt-token"), None).await.problem(401, "sign-in");
    }
}

#[tokio::test]
async fn values_are_shown_to_nobody_and_kept_sealed() {
    let (house, attempt) = furnished("branch").await;
    let seen = house.ask("GET", "/api/v1/projects/shop/secrets", Some(&house.admin), None).await.is(200);
    assert_eq!(seen["secrets"].as_array().unwrap().len(), 4);
    assert!(!seen.to_string().contains(VALUE));
    for file in ["staith.db", "staith.db-wal"] {
        let bytes = std::fs::read(house.site.data.join(file)).unwrap_or_default();
        assert!(!bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()), "{file}");
    }
    let path = format!("/api/v1/attempts/{attempt}/secrets");
    house.ask("GET", &path, Some(&house.admin), None).await.problem(403, "not-the-attempt");
    house.sql("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'deploy-key') WHERE name = 'npm-token'");
    let moved = house.ask("GET", &path, Some("attempt-token"), None).await.problem(500, "not-opened");
    assert!(!moved.to_string().contains(VALUE));
}

#[tokio::test]
async fn secrets_belong_to_a_project() {
    let (house, _) = furnished("branch").await;
    let there = |project: &str| {
        vec![Grant { role: Role::Admin, project: Some(project.parse().unwrap()), environment: None }]
    };
    let (ours, theirs) =
        (house.token("ours", there("shop")).await, house.token("theirs", there("blog")).await);
    let asked = json!({ "value": "another" });
    let path = "/api/v1/projects/shop/secrets/npm-token";
    house.ask("PUT", path, Some(&theirs), Some(&asked)).await.problem(403, "not-allowed");
    house.ask("PUT", path, Some(&ours), Some(&asked)).await.is(204);
    house.ask("DELETE", path, Some(&ours), None).await.is(204);
    house.ask("DELETE", path, Some(&ours), None).await.problem(404, "unknown");
    house.ask("DELETE", &format!("{path}?environment=production"), Some(&ours), None).await.is(204);
    house
        .ask("PUT", "/api/v1/projects/nowhere/secrets/a", Some(&house.admin), Some(&asked))
        .await
        .problem(404, "unknown");
    house.ask("PUT", path, Some(&ours), Some(&json!({ "value": "" }))).await.problem(400, "bad-secret");
}

/// A release that is made, of somebody's code, that goes to production.
fn a_release(house: &House, number: u64, trust: &str, state: &str) -> String {
    let digest = staith_model::Digest::of(format!("release {number}").as_bytes()).to_string();
    house.sql(&format!(
        "PRAGMA foreign_keys = OFF;
         INSERT INTO releases (project, number, run, package, trust, material_json, state, digest, environments_json, asked_by, created)
         VALUES ('shop', {number}, '01arz3ndektsv4rrffq69g5f{number:02}', 'shop', '{trust}', '{{}}', '{state}', '{digest}', '[\"production\"]', 'ann', 1)"
    ));
    digest
}

const OF_RELEASES: &str = "/api/v1/deployer/secrets";

async fn set_in(house: &House, environment: &str, name: &str, protected: bool) {
    let asked = json!({ "value": VALUE, "protected": protected, "environment": environment });
    let path = format!("/api/v1/projects/shop/secrets/{name}");
    house.ask("PUT", &path, Some(&house.admin), Some(&asked)).await.is(204);
}

fn names(told: &serde_json::Value, key: &str) -> Vec<String> {
    match &told[key] {
        serde_json::Value::Object(given) => given.keys().cloned().collect(),
        list => list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_release_gets_what_its_environment_has_and_its_trust_allows() {
    let (house, _) = furnished("protected").await;
    let deployer = house.site.deployer.let_in().unwrap();
    set_in(&house, "production", "db", false).await;
    set_in(&house, "production", "signing", true).await;
    set_in(&house, "qa", "of-qa", false).await;
    let all = json!(["db", "signing", "of-qa", "deploy-key", "not-set"]);
    let ask = async |of: serde_json::Value, environment: &str, known: serde_json::Value| {
        let asked =
            json!({ "project": "shop", "environment": environment, "of": of, "names": all, "known": known });
        house.ask("POST", OF_RELEASES, Some(&deployer), Some(&asked)).await.is(200)
    };
    let protected = a_release(&house, 1, "protected", "made");
    let branch = a_release(&house, 2, "branch", "made");
    let fork = a_release(&house, 3, "fork", "made");
    let refused = a_release(&house, 4, "protected", "refused");
    a_release(&house, 5, "branch", "making");
    let unknown = staith_model::Digest::of(b"unknown").to_string();
    for (of, environment, given, withheld) in [
        (json!({ "release": protected }), "production", vec!["db", "signing"], vec![]),
        (json!({ "release": branch }), "production", vec!["db"], vec!["signing"]),
        (json!({ "making": 5 }), "production", vec!["db"], vec!["signing"]),
        (json!({ "release": fork }), "production", vec![], vec!["db", "signing"]),
        (json!({ "release": refused }), "production", vec![], vec!["db", "signing"]),
        (json!({ "release": unknown }), "production", vec![], vec!["db", "signing"]),
        (json!({ "making": 1 }), "production", vec![], vec!["db", "signing"]),
        // It does not go there.
        (json!({ "release": protected }), "qa", vec![], vec!["of-qa"]),
        (json!({ "release": protected }), "elsewhere", vec![], vec![]),
    ] {
        let before = of_releases_read(&house).await;
        let told = ask(of.clone(), environment, json!({})).await;
        assert_eq!(
            (names(&told, "given"), names(&told, "withheld")),
            (
                given.iter().map(ToString::to_string).collect(),
                withheld.iter().map(ToString::to_string).collect()
            ),
            "{of} {environment}"
        );
        assert!(told["given"].as_object().unwrap().values().all(|one| one["value"] == VALUE));
        let after = of_releases_read(&house).await;
        assert_eq!(
            after.len() - before.len(),
            given.len(),
            "each that is given is noted: {of} {environment}"
        );
        for (note, name) in after[before.len()..].iter().zip(&given) {
            assert_eq!(
                (&note["who"], &note["subject"]),
                (&json!("deployer"), &json!(format!("secret shop/{environment}/{name}")))
            );
        }
    }
    // What it has is not given again, nor noted; what is another value is.
    let told = ask(json!({ "release": protected }), "production", json!({})).await;
    let known =
        json!({ "db": told["given"]["db"]["version"], "signing": told["given"]["signing"]["version"] });
    let before = of_releases_read(&house).await.len();
    let again = ask(json!({ "release": protected }), "production", known.clone()).await;
    assert_eq!(
        (names(&again, "given").len(), names(&again, "same")),
        (0, vec!["db".to_owned(), "signing".to_owned()])
    );
    let other = ask(json!({ "release": branch }), "production", known.clone()).await;
    assert_eq!(
        (names(&other, "same"), names(&other, "withheld")),
        (vec!["db".to_owned()], vec!["signing".to_owned()])
    );
    assert_eq!(of_releases_read(&house).await.len(), before);
    let rotated = json!({ "value": VALUE, "environment": "production" });
    let path = "/api/v1/projects/shop/secrets/db/rotate";
    house.ask("POST", path, Some(&house.admin), Some(&rotated)).await.is(200);
    let anew = ask(json!({ "release": protected }), "production", known).await;
    assert_eq!(
        (names(&anew, "given"), names(&anew, "same")),
        (vec!["db".to_owned()], vec!["signing".to_owned()])
    );
    // Another project's releases have nothing to do with it, and what is the forge's is no environment's.
    house.sql("INSERT INTO projects (name, origin, settings_json, created) VALUES ('blog', '/x', '{}', 1)");
    let elsewhere = json!({ "project": "blog", "environment": "production", "of": { "release": protected }, "names": all });
    let told = house.ask("POST", OF_RELEASES, Some(&deployer), Some(&elsewhere)).await.is(200);
    assert!(names(&told, "given").is_empty() && names(&told, "withheld").is_empty());
    set_in(&house, FORGE, "db", false).await;
    let forge =
        json!({ "project": "shop", "environment": FORGE, "of": { "release": protected }, "names": all });
    house.ask("POST", OF_RELEASES, Some(&deployer), Some(&forge)).await.problem(422, "bad-environment");
}

async fn of_releases_read(house: &House) -> Vec<serde_json::Value> {
    let all = house.ask("GET", "/api/v1/audit?limit=1000", Some(&house.admin), None).await.is(200);
    assert!(!all.to_string().contains(VALUE), "no value is in the audit log");
    all["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["what"] == "secret-read")
        .cloned()
        .collect()
}

#[tokio::test]
async fn nobody_but_the_deployer_asks_for_secrets_of_releases() {
    let (house, _) = furnished("protected").await;
    let earlier = house.site.deployer.let_in().unwrap();
    house.site.deployer.let_in().unwrap();
    set_in(&house, "production", "db", false).await;
    let release = a_release(&house, 1, "protected", "made");
    let asked = json!({ "project": "shop", "environment": "production", "of": { "release": release }, "names": ["db"] });
    let everything = || vec![Grant { role: Role::Admin, project: None, environment: None }];
    let person = house.token("boss", everything()).await;
    for (token, status, kind) in [
        (None, 401, "sign-in"),
        (Some("guessed"), 401, "sign-in"),
        (Some(earlier.as_str()), 401, "sign-in"),
        (Some(person.as_str()), 403, "not-the-deployer"),
        (Some(house.admin.as_str()), 403, "not-the-deployer"),
        (Some("attempt-token"), 403, "not-the-deployer"),
    ] {
        house.ask("POST", OF_RELEASES, token, Some(&asked)).await.problem(status, kind);
    }
    assert!(of_releases_read(&house).await.is_empty());
}

/// A place where a forge's secrets were kept before, and how often it was asked.
#[derive(Debug, Default)]
struct Before(AtomicU64);

#[async_trait]
impl ForgeSecrets for Before {
    async fn value(&self, project: &Name, secret: &str) -> Result<Option<Secret>, String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let known = matches!((project.as_str(), secret), ("shop", "hook" | "Old/Name") | ("blog", "hook"));
        Ok(known.then(|| Secret::new(format!("kept before for {project}"))))
    }
}

async fn value(secrets: &SealedForgeSecrets, project: &str, secret: &str) -> Option<String> {
    let value = secrets.value(&project.parse().unwrap(), secret).await.unwrap();
    value.map(|value| value.expose_to(str::to_owned))
}

#[tokio::test]
async fn a_forges_secrets_are_sealed_and_what_was_kept_before_is_taken_over_once() {
    let (house, attempt) = furnished("protected").await;
    let before = Arc::new(Before::default());
    let (store, clock) = (Arc::clone(&house.site.store), house.site.clock.clone());
    let secrets = SealedForgeSecrets::new(store, house.site.vault.clone(), clock, Arc::clone(&before) as _);
    let asked = |value: &str| json!({ "value": value, "environment": FORGE });
    let set = async |name: &str, value: &str| {
        let path = format!("/api/v1/projects/shop/secrets/{name}");
        house.ask("PUT", &path, Some(&house.admin), Some(&asked(value))).await.is(204);
    };
    set("status", "of the database").await;
    assert_eq!(value(&secrets, "shop", "status").await.as_deref(), Some("of the database"));
    assert_eq!(before.0.load(Ordering::SeqCst), 0);
    assert_eq!(value(&secrets, "shop", "absent").await, None);
    // A build's secret is none of the forge's, and the other way round.
    assert_eq!(value(&secrets, "shop", "npm-token").await, None);
    set("npm-token", "of the forge").await;
    assert_eq!(given(&house, &attempt).await, ["deploy-key", "npm-token"]);

    let asked_before = before.0.load(Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(value(&secrets, "shop", "hook").await.as_deref(), Some("kept before for shop"));
    }
    assert_eq!(before.0.load(Ordering::SeqCst), asked_before + 1, "it is in the database");
    let file = std::fs::read(house.site.data.join("staith.db")).unwrap();
    let log = std::fs::read(house.site.data.join("staith.db-wal")).unwrap_or_default();
    let shown = [file, log].concat().windows(11).any(|some| some == b"kept before");
    assert!(!shown, "and sealed");
    set("hook", "a newer one").await;
    assert_eq!(value(&secrets, "shop", "hook").await.as_deref(), Some("a newer one"));
    // A name that the database can't have, and a project that is not there any more: it stays where it was.
    for (project, name) in [("shop", "Old/Name"), ("blog", "hook")] {
        assert!(value(&secrets, project, name).await.is_some());
    }
    assert_eq!(house.site.store.secrets(&"blog".parse().unwrap()).await.unwrap(), []);
}

async fn entries(house: &House, what: &str) -> Vec<serde_json::Value> {
    let all = house.ask("GET", "/api/v1/audit?limit=1000", Some(&house.admin), None).await.is(200);
    assert!(!all.to_string().contains(VALUE), "no value is in the audit log");
    all["entries"].as_array().unwrap().iter().filter(|entry| entry["what"] == what).cloned().collect()
}

#[tokio::test]
async fn a_new_key_seals_all_of_them_and_changes_none() {
    let (house, attempt) = furnished("protected").await;
    let kept = || house.sql_texts("SELECT hex(sealed) FROM secrets ORDER BY rowid");
    let before = kept();
    let asked = house.ask("POST", "/api/v1/secrets/rotate", Some(&house.admin), None).await.is(200);
    assert_eq!(asked["secrets"], 4);
    assert!(kept().iter().zip(&before).all(|(now, before)| now != before), "each is sealed anew");
    assert_eq!(given(&house, &attempt).await, ["deploy-key", "npm-token"]);
    let entries = entries(&house, "secrets-resealed").await;
    assert_eq!((entries.len(), &entries[0]["after"]), (1, &json!("{\"secrets\":4}")));
    // One that can't be opened keeps all of them as they are.
    house.sql("UPDATE secrets SET sealed = x'00' WHERE name = 'not-named'");
    let before = kept();
    let refused = house.ask("POST", "/api/v1/secrets/rotate", Some(&house.admin), None).await;
    assert!(refused.problem(500, "damaged").to_string().contains("not-named"));
    assert_eq!(kept(), before);
    assert_eq!(given(&house, &attempt).await, ["deploy-key", "npm-token"]);
}

#[tokio::test]
async fn a_secret_that_is_rotated_has_the_next_version_and_the_same_readers() {
    let (house, attempt) = furnished("branch").await;
    let at = |name: &str| format!("/api/v1/projects/shop/secrets/{name}/rotate");
    let asked = json!({ "value": VALUE });
    for version in 2..4 {
        let told = house.ask("POST", &at("deploy-key"), Some(&house.admin), Some(&asked)).await.is(200);
        assert_eq!(told["version"], version);
    }
    assert_eq!(given(&house, &attempt).await, ["npm-token"], "it is protected as before");
    let seen = house.ask("GET", "/api/v1/projects/shop/secrets", Some(&house.admin), None).await.is(200);
    let seen = seen["secrets"].as_array().unwrap();
    let of = |name: &str| seen.iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!((&of("deploy-key")["version"], &of("not-named")["version"]), (&json!(3), &json!(1)));
    assert_eq!(entries(&house, "secret-rotated").await.len(), 2);
    house.ask("POST", &at("nowhere"), Some(&house.admin), Some(&asked)).await.problem(404, "unknown");
    let elsewhere = json!({ "value": VALUE, "environment": "staging" });
    house.ask("POST", &at("deploy-key"), Some(&house.admin), Some(&elsewhere)).await.problem(404, "unknown");
}
