//! Machines that pull: who says which host is one, what such a host may, and what goes between it and the deployer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod house;

use house::{House, Key};
use serde_json::{Value, json};
use staith_model::TunnelId;
use staith_server::api::{Grant, Role};

const WEB: &str = "shop/production/web-1";
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn chance() -> [u8; 10] {
    let mut chance = [0; 10];
    getrandom::fill(&mut chance).unwrap();
    chance
}

/// A server with the project `shop`.
async fn house() -> House {
    let house = House::new().await;
    house.sql(
        "INSERT INTO projects (name, origin, settings_json, created) VALUES ('shop', '/nowhere', '{}', 1)",
    );
    house
}

async fn code(house: &House, target: &str) -> String {
    let asked = json!({ "pool": "default", "target": target });
    let made = house.ask("POST", "/api/v1/enrolments", Some(&house.admin), Some(&asked)).await.is(201);
    made["code"].as_str().unwrap().to_owned()
}

fn application(code: &str, key: &Key) -> Value {
    json!({
        "code": code, "name": "web", "public_key": key.public(), "labels": [], "version": VERSION,
        "proof": key.sign(&format!("staith-enrol\n{code}\nweb")),
    })
}

/// A host that is this machine: its id, and the token of a session.
async fn machine(house: &House, target: &str) -> (String, String) {
    let (key, code) = (Key::new(), code(house, target).await);
    let made = house.ask("POST", "/api/v1/runners", None, Some(&application(&code, &key))).await.is(201);
    assert_eq!(made["target"], target);
    session(house, &made, &key).await
}

/// A host that builds: its id, and the token of a session.
async fn build_host(house: &House) -> (String, String) {
    let asked = json!({ "pool": "default", "labels": [] });
    let code = house.ask("POST", "/api/v1/enrolments", Some(&house.admin), Some(&asked)).await.is(201);
    let (key, code) = (Key::new(), code["code"].as_str().unwrap().to_owned());
    let made = house.ask("POST", "/api/v1/runners", None, Some(&application(&code, &key))).await.is(201);
    session(house, &made, &key).await
}

async fn session(house: &House, made: &Value, key: &Key) -> (String, String) {
    let runner = made["runner"].as_str().unwrap().to_owned();
    let nonce = TunnelId::new(house.now(), chance()).to_string();
    let proof = key.sign(&format!("staith-session\n{runner}\n{nonce}"));
    let asked = json!({ "nonce": nonce, "version": VERSION, "proof": proof });
    let opened =
        house.ask("POST", &format!("/api/v1/runners/{runner}/sessions"), None, Some(&asked)).await.is(201);
    (runner, opened["token"].as_str().unwrap().to_owned())
}

async fn turn(house: &House, token: &str) -> u64 {
    let begun = house.ask("POST", "/api/v1/target/turn", Some(token), Some(&json!({}))).await.is(200);
    begun["turn"].as_u64().unwrap()
}

async fn audit(house: &House) -> Vec<(String, String)> {
    let entries = house.ask("GET", "/api/v1/audit?limit=1000", Some(&house.admin), None).await.is(200);
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    entries["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (word(entry, "what"), word(entry, "subject")))
        .collect()
}

#[tokio::test]
async fn who_administers_an_environment_says_which_hosts_are_its_machines() {
    let house = house().await;
    let grant = |role, project: &str, environment: Option<&str>| {
        let (project, environment) = (project.parse().ok(), environment.map(|name| name.parse().unwrap()));
        vec![Grant { role, project, environment }]
    };
    let asked = json!({ "pool": "default", "target": WEB });
    for (grants, may) in [
        (grant(Role::Admin, "shop", None), true),
        (grant(Role::Admin, "shop", Some("production")), true),
        (grant(Role::Admin, "shop", Some("qa")), false),
        (grant(Role::Admin, "blog", None), false),
        (grant(Role::Releaser, "shop", None), false),
    ] {
        let token = house.token("somebody", grants.clone()).await;
        let answered = house.ask("POST", "/api/v1/enrolments", Some(&token), Some(&asked)).await;
        assert_eq!(answered.status, if may { 201 } else { 403 }, "{grants:?}");
        // None of them makes build hosts.
        let builds = json!({ "pool": "default" });
        house
            .ask("POST", "/api/v1/enrolments", Some(&token), Some(&builds))
            .await
            .problem(403, "not-allowed");
    }
    let nowhere = json!({ "pool": "default", "target": "blog/production/web-1" });
    house.ask("POST", "/api/v1/enrolments", Some(&house.admin), Some(&nowhere)).await.problem(404, "unknown");
    let told = audit(&house).await;
    let made = told.iter().filter(|entry| **entry == ("enrolment-made".into(), format!("target {WEB}")));
    assert_eq!(made.count(), 2, "{told:?}");
}

#[tokio::test]
async fn a_machine_gets_no_jobs_and_a_build_host_no_deployments() {
    let house = house().await;
    let (_, token) = machine(&house, WEB).await;
    let claim = json!({ "nonce": TunnelId::new(1, chance()), "wait_millis": 0 });
    house.ask("POST", "/api/v1/claims", Some(&token), Some(&claim)).await.problem(403, "not-a-runner");
    let (_, builds) = build_host(&house).await;
    let turn = house.ask("POST", "/api/v1/target/turn", Some(&builds), Some(&json!({}))).await;
    turn.problem(403, "not-a-target");
    let status = house.ask("GET", "/api/v1/status", Some(&house.admin), None).await.is(200);
    assert_eq!(status["runners_active"], 1, "{status}");
    let listed = house.ask("GET", "/api/v1/runners", Some(&house.admin), None).await.is(200);
    let machines = listed["runners"].as_array().unwrap().iter().filter(|runner| runner["target"] == WEB);
    assert_eq!(machines.count(), 1, "{listed}");
}

#[tokio::test]
async fn the_host_that_was_registered_last_is_the_machine() {
    let house = house().await;
    let (key, used) = (Key::new(), code(&house, WEB).await);
    let asked = application(&used, &key);
    house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.is(201);
    let (_, first) = machine(&house, WEB).await;
    turn(&house, &first).await;
    let (second_id, second) = machine(&house, WEB).await;
    house.ask("POST", "/api/v1/target/turn", Some(&first), Some(&json!({}))).await.problem(401, "sign-in");
    let turn = turn(&house, &second).await;
    // The very first is told again what it was told, and ends nothing with that.
    house.ask("POST", "/api/v1/runners", None, Some(&asked)).await.is(201);
    house.site.stop.cancel();
    let told = json!({ "turn": turn, "has": [] });
    let told = house.ask("POST", "/api/v1/target/tunnels", Some(&second), Some(&told)).await.is(200);
    assert_eq!(told, json!({ "tunnels": [] }));
    let revoked = audit(&house).await.into_iter().filter(|(what, _)| what == "runner-changed").count();
    assert_eq!(revoked, 2);
    // Another machine of the environment is another one.
    machine(&house, "shop/production/web-2").await;
    let listed = house.ask("GET", "/api/v1/runners", Some(&house.admin), None).await.is(200);
    let active = listed["runners"].as_array().unwrap().iter().filter(|one| one["state"] == "active");
    assert_eq!(active.count(), 2);
    assert!(listed.to_string().contains(&second_id));
}

/// A tunnel that both ends have, with the deployer's token.
async fn opened(house: &House, token: &str, turn: u64) -> (String, String) {
    let deployer = house.site.deployer.let_in().unwrap();
    let tunnel = TunnelId::new(house.now(), chance()).to_string();
    let at_deployer = format!("/api/v1/deployer/tunnels/{tunnel}");
    let wanted = json!({ "target": WEB, "folder": "/srv/shop" });
    let asked = json!({ "turn": turn, "has": [] });
    let (opened, told) =
        tokio::join!(house.ask("PUT", &at_deployer, Some(&deployer), Some(&wanted)), async {
            let told = house.ask("POST", "/api/v1/target/tunnels", Some(token), Some(&asked)).await.is(200);
            let hears = format!("/api/v1/target/tunnels/{tunnel}/down?offset=0&turn={turn}");
            house.ask("GET", &hears, Some(token), None).await.is(204);
            told
        },);
    opened.is(204);
    assert_eq!(told["tunnels"][0], json!({ "tunnel": tunnel, "folder": "/srv/shop" }));
    (tunnel, deployer)
}

#[tokio::test]
async fn a_project_of_the_same_name_does_not_get_the_machines_of_the_one_before() {
    let house = house().await;
    let (_, token) = machine(&house, WEB).await;
    let unused = code(&house, "shop/production/web-2").await;
    let turn = turn(&house, &token).await;
    let (tunnel, deployer) = opened(&house, &token, turn).await;
    house.ask("DELETE", "/api/v1/projects/shop", Some(&house.admin), None).await.is(204);
    let up = format!("/api/v1/deployer/tunnels/{tunnel}/up?offset=0&wait=false");
    house.ask("GET", &up, Some(&deployer), None).await.problem(410, "tunnel-ended");
    house.ask("POST", "/api/v1/target/turn", Some(&token), Some(&json!({}))).await.problem(401, "sign-in");
    let late = application(&unused, &Key::new());
    house.ask("POST", "/api/v1/runners", None, Some(&late)).await.problem(403, "code-unknown");
}

#[tokio::test]
async fn a_tunnel_begins_when_the_machine_takes_it_and_ends_for_both() {
    let house = house().await;
    let (runner, token) = machine(&house, WEB).await;
    let turn = turn(&house, &token).await;
    let (tunnel, deployer) = opened(&house, &token, turn).await;
    let (at_deployer, at_machine) =
        (format!("/api/v1/deployer/tunnels/{tunnel}"), format!("/api/v1/target/tunnels/{tunnel}"));
    // Said twice, heard once; JSON will do for bytes.
    let said = json!({ "hello": "machine" });
    for _ in 0..2 {
        let next =
            house.ask("PUT", &format!("{at_deployer}/down?offset=0"), Some(&deployer), Some(&said)).await;
        assert_eq!(next.is(200), json!({ "next": said.to_string().len() }));
    }
    let hears = format!("{at_machine}/down?offset=0&turn={turn}&wait=true");
    assert_eq!(house.ask("GET", &hears, Some(&token), None).await.is(200), said);
    let stale = format!("{at_machine}/down?offset=0&turn={}", turn - 1);
    house.ask("GET", &stale, Some(&token), None).await.problem(409, "turn-over");
    // A build host has a session as well, and nothing of this.
    house.ask("GET", &hears, Some(&house.admin), None).await.problem(403, "not-a-target");
    house.ask("POST", &format!("/api/v1/runners/{runner}/revoke"), Some(&house.admin), None).await.is(204);
    house.ask("GET", &hears, Some(&token), None).await.problem(401, "sign-in");
    let up = format!("{at_deployer}/up?offset=0&wait=true");
    let ended = house.ask("GET", &up, Some(&deployer), None).await.problem(410, "tunnel-ended");
    assert!(ended["title"].as_str().unwrap().contains("revoked"), "{ended}");
}
