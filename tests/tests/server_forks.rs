//! A hostile request to merge: it gets no secret, publishes nothing, and its own pipeline is not run before somebody agreed to exactly that.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};
use staith_tests::{
    bare::{Bare, git},
    served::Served,
    wait,
    world::{Said, World},
};

/// What the project has. Whatever a script prints is in the log.
const PIPELINE: &str = r#"
name = "shop"
version = "1.0.0"
[steps.build]
run = "mkdir dist; sh src/build.sh"
outputs = ["dist"]
[steps.announce]
needs = ["build"]
run = "test \"$TOKEN\" = hunter2-of-the-shop && echo announced"
secrets = { TOKEN = "token" }
when = 'event == "push"'
[package]
root = "dist"
"#;
const SECRET: &str = "hunter2-of-the-shop";
const SIGNS: &str = "what-the-forge-signs-with";

/// A server with a runner and a project whose forge tells of requests, and somebody's fork.
struct Scene {
    server: Served,
    fork: PathBuf,
}

impl Scene {
    fn new(world: &World) -> Self {
        let shop = Bare::with(world, PIPELINE);
        fs::write(shop.clone.join("src/build.sh"), "cp src/build.sh dist/\n").unwrap();
        shop.push("the project's own");
        let scene = Self { server: Served::with_a_runner(world), fork: shop.clone };
        let settings = json!({ "forge": { "kind": "gitlab", "webhook_secret": "hook" } });
        let project = json!({ "name": "shop", "origin": shop.path, "settings": settings });
        scene.ask("POST", "/api/v1/projects", &project).is(201);
        let secrets = "/api/v1/projects/shop/secrets";
        scene.ask("PUT", &format!("{secrets}/token"), &json!({ "value": SECRET })).is(204);
        let of_the_forge = json!({ "value": SIGNS, "environment": "staith.forge" });
        scene.ask("PUT", &format!("{secrets}/hook"), &of_the_forge).is(204);
        scene
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> staith_tests::served::Answered {
        self.server.ask(method, path, &body.to_string())
    }

    /// What a path has from now on in the fork, as the head of request 7; its commit. The forge has told it.
    fn asks_to_merge(&self, path: &str, text: &str) -> String {
        fs::write(self.fork.join(path), text).unwrap();
        git(&self.fork, &["add", "--all"]);
        git(&self.fork, &["commit", "--quiet", "--message", path]);
        git(&self.fork, &["push", "--quiet", "--force", "origin", "HEAD:refs/merge-requests/7/head"]);
        let head = git(&self.fork, &["rev-parse", "HEAD"]).out.trim().to_owned();
        let told = json!({ "object_attributes": {
            "iid": 7, "action": "open", "author_id": 666, "source_branch": "main", "target_branch": "main",
            "source_project_id": 14, "target_project_id": 1, "last_commit": { "id": head },
        } });
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
            .args(["--header", "X-Gitlab-Event: Merge Request Hook"])
            .args(["--header", &format!("X-Gitlab-Token: {SIGNS}")])
            .args(["--header", &format!("X-Gitlab-Event-UUID: {head}")])
            .args(["--data", &told.to_string()])
            .arg(format!("http://{}/hooks/shop/gitlab", self.server.address));
        Said::of(&curl.output().expect("curl is needed: apt-get install curl")).exits(0);
        head
    }

    fn runs(&self) -> Vec<Value> {
        let page = self.server.ask("GET", "/api/v1/runs", "").is(200);
        page["runs"].as_array().unwrap().clone()
    }

    /// The run of a commit's request, once it is over.
    fn ended(&self, number: u64) -> Value {
        wait::until("the run has ended", || {
            let is_it = |run: &Value| run["number"] == number && !run["ended"].is_null();
            self.runs().into_iter().find(is_it)
        })
    }

    /// What came of the newest thing that happened, once it was looked into.
    fn looked_into(&self, head: &str) -> Value {
        wait::until("it is looked into", || {
            let all = self.server.ask("GET", "/api/v1/projects/shop/arrivals", "").is(200);
            let is_it = |one: &&Value| one["happening"]["head"] == head && one["state"] != "waiting";
            all["arrivals"].as_array().unwrap().iter().find(is_it).cloned()
        })
    }

    /// Everything that was written by attempts of a run.
    fn written(&self, run: &Value) -> String {
        let id = run["id"].as_str().unwrap();
        let streams = self.server.ask("GET", &format!("/api/v1/runs/{id}/streams"), "").is(200);
        let mut text = String::new();
        for stream in streams.as_array().unwrap() {
            let (attempt, name) = (stream["attempt"].as_str().unwrap(), stream["name"].as_str().unwrap());
            text += &self.server.ask("GET", &format!("/api/v1/attempts/{attempt}/streams/{name}"), "").body;
        }
        text
    }

    fn was_done(&self, what: &str) -> bool {
        let audit = self.server.ask("GET", "/api/v1/audit?after=0&limit=1000", "").is(200);
        audit["entries"].as_array().unwrap().iter().any(|entry| entry["what"] == what)
    }

    fn has_a_package(&self) -> bool {
        self.server.ask("GET", "/v2/shop/shop/tags/list", "").status == 200
    }
}

#[test]
fn a_hostile_request_gets_no_secret_and_publishes_nothing() {
    let world = World::new();
    let scene = Scene::new(&world);
    // The pipeline is the project's, and the script is the stranger's.
    let head = scene.asks_to_merge("src/build.sh", "env; echo stolen >dist/page; echo the script was here\n");
    let run = scene.ended(1);
    assert_eq!(
        (&run["trust"], &run["state"]),
        (&"fork".into(), &"passed".into()),
        "{run}: {}",
        scene.written(&run)
    );
    assert_eq!(scene.looked_into(&head)["state"], "done");
    let written = scene.written(&run);
    assert!(written.contains("the script was here"), "{written}");
    assert!(!written.contains("hunter2"), "{written}");
    assert!(!scene.was_done("secrets-read") && !scene.was_done("package-pushed") && !scene.has_a_package());

    // Another pipeline waits, whatever was agreed to before, until somebody agrees to exactly this commit with exactly this file.
    let greedy = PIPELINE.replace("when = 'event == \"push\"'\n", "").replace("test ", "env; test ");
    for (number, pipeline) in [(2, greedy.clone()), (3, greedy + "# and once more\n")] {
        let head = scene.asks_to_merge("runner.toml", &pipeline);
        let held = scene.looked_into(&head);
        assert_eq!((&held["state"], scene.runs().len()), (&"held".into(), number - 1), "{held}");
        let remedy = held["remedy"].as_str().unwrap();
        let digest = remedy.split_once("--pipeline ").unwrap().1.trim_end_matches('`');
        let agreed = |head: &str| json!({ "number": 7, "head": head, "pipeline": digest });
        let other = scene.ask("POST", "/api/v1/projects/shop/approvals", &agreed(&"0".repeat(40))).is(200);
        assert_eq!(scene.looked_into(&head)["state"], "held", "{other}");
        scene.ask("POST", "/api/v1/projects/shop/approvals", &agreed(&head)).is(200);
        let run = scene.ended(number as u64);
        assert_eq!((&run["trust"], &run["state"]), (&"fork".into(), &"failed".into()), "{run}");
        assert!(!scene.written(&run).contains("hunter2"));
    }
    assert!(!scene.was_done("secrets-read") && !scene.was_done("package-pushed") && !scene.has_a_package());

    // The same secret is there for the project's own code.
    git(&scene.fork, &["fetch", "--quiet", "origin"]);
    git(&scene.fork, &["reset", "--quiet", "--hard", "origin/main"]);
    fs::write(scene.fork.join("src/page"), "ours").unwrap();
    git(&scene.fork, &["add", "--all"]);
    git(&scene.fork, &["commit", "--quiet", "--message", "ours"]);
    git(&scene.fork, &["push", "--quiet", "origin", "HEAD:main"]);
    scene.ask("POST", "/api/v1/projects/shop/runs", &json!({ "reference": "main", "settings": {} })).is(202);
    let commit = git(&scene.fork, &["rev-parse", "HEAD"]).out.trim().to_owned();
    let run = wait::until("the project's own code is run", || {
        scene.runs().into_iter().find(|run| run["commit"] == commit.as_str() && !run["ended"].is_null())
    });
    assert_eq!((&run["trust"], &run["state"]), (&"protected".into(), &"passed".into()), "{run}");
    wait::until("the package is there", || scene.has_a_package().then_some(()));
    scene.server.terminate().exits(0);
}
