//! A push to a bare repository becomes a run on a runner, its logs, and a package that others pull.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use serde_json::Value;
use staith_tests::{
    bare::Bare,
    served::Served,
    wait,
    world::{Said, World},
};

const PIPELINE: &str = r#"
name = "shop"
version = "1.0.0"
[steps.build]
run = "mkdir dist; cp src/* dist/; echo the files are there"
outputs = ["dist"]
[package]
root = "dist"
"#;

fn ended(server: &Served) -> Value {
    wait::until("the run has ended", || {
        let runs = server.ask("GET", "/api/v1/runs", "").is(200)["runs"].clone();
        let ended = |run: &&Value| !run["ended"].is_null();
        runs.as_array().unwrap().iter().find(ended).cloned()
    })
}

#[test]
fn a_push_becomes_a_run_with_its_log_and_a_package() {
    let world = World::new();
    let repository = Bare::with(&world, PIPELINE);
    let server = Served::with_a_runner(&world);
    let staith = |words: &[&str]| server.staith(&world, words);
    staith(&["project", "add", "shop", &repository.path]).exits(0);

    let hook = Path::new(&repository.path).join("hooks/post-receive");
    fs::write(&hook, staith(&["project", "hook", "shop"]).exits(0).out).unwrap();
    fs::set_permissions(&hook, Permissions::from_mode(0o755)).unwrap();
    let header = format!("header = \"Authorization: Bearer {}\"\n", server.admin);
    fs::write(Path::new(&repository.path).join("staith-curl"), header).unwrap();
    let commit = repository.push("two");

    let run = ended(&server);
    assert_eq!((&run["state"], &run["commit"]), (&"passed".into(), &commit.as_str().into()), "{run}");
    assert_eq!(run["asked_by"], "hook:shop");

    // The plan is the one that a laptop makes of the same commit and event.
    let laptop = ["plan", &repository.path, "--ref", "main", "--event", "push", "--branch", "main", "--json"];
    let plan = world.staith(&laptop).exits(0).values().remove(0);
    assert_eq!(run["plan_digest"], plan["digest"]);

    let id = run["id"].as_str().unwrap();
    let streams = server.ask("GET", &format!("/api/v1/runs/{id}/streams"), "").is(200);
    let log = streams.as_array().unwrap().iter().find(|stream| stream["name"] == "log.build").unwrap();
    assert!(log["digest"].is_string(), "it is closed: {log}");
    let at = format!("/api/v1/attempts/{}/streams/log.build", log["attempt"].as_str().unwrap());
    let text = server.ask("GET", &at, "");
    assert!(text.status == 200 && text.body.contains("the files are there\n"), "{text:?}");
    assert_eq!(server.ask_by(None, "GET", &at, "").status, 401);

    let package = format!("docker://{}/shop/shop:latest", server.address);
    let by = format!("x:{}", server.admin);
    let inspect = ["inspect", "--raw", "--tls-verify=false", "--creds", &by, &package];
    let seen = Command::new("skopeo").args(inspect).output();
    Said::of(&seen.expect("skopeo is needed: apt-get install skopeo")).exits(0).says("\"layers\"");

    let data = server.data.display().to_string();
    world.staith(&["server", "audit", "verify", "--data", &data]).exits(0);
    server.terminate().exits(0);
}

#[test]
fn a_push_that_nobody_tells_is_found_while_the_server_runs() {
    let world = World::new();
    let repository = Bare::with(&world, PIPELINE);
    let server = Served::of(&world);
    server.staith(&world, &["project", "add", "shop", &repository.path]).exits(0);
    server.staith(&world, &["project", "set", "shop", "poll_seconds=5"]).exits(0);
    // Found one after the other: it is looked again and again, and not at the start only.
    for (number, word) in [(1, "two"), (2, "three")] {
        let commit = repository.push(word);
        let run = wait::until("the push is found", || {
            let runs = server.ask("GET", "/api/v1/runs", "").is(200)["runs"].clone();
            runs.as_array().unwrap().first().filter(|run| run["number"] == number).cloned()
        });
        assert_eq!(run["commit"], commit.as_str(), "{run}");
    }
    server.terminate().exits(0);
}

#[test]
fn a_push_that_the_server_did_not_hear_of_is_found_when_it_starts() {
    let world = World::new();
    let repository = Bare::with(&world, PIPELINE);
    let server = Served::of(&world);
    server.staith(&world, &["project", "add", "shop", &repository.path]).exits(0);
    let data = server.data.clone();
    // What it has when it is added starts nothing.
    server.terminate().exits(0);
    let commit = repository.push("two");
    let again = Served::again(&world, &data);
    let run = wait::until("the push is found", || {
        let runs = again.ask("GET", "/api/v1/runs", "").is(200)["runs"].clone();
        runs.as_array().unwrap().first().cloned()
    });
    assert_eq!((&run["commit"], &run["number"]), (&commit.as_str().into(), &1.into()), "{run}");
    again.terminate().exits(0);
}
