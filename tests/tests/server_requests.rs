//! Requests to merge, as a server builds them: what would come out is built, not what was pushed, and only for the newest push.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, process::Command};

use serde_json::{Value, json};
use staith_tests::{
    bare::{Bare, git},
    served::Served,
    wait,
    world::{Said, World},
};

/// Every page has to run with what `src/words.sh` offers.
const PIPELINE: &str = r#"
name = "shop"
version = "1.0.0"
[on.pull-request]
[steps.check]
run = "for page in src/pages/*.sh; do echo $page; sh -e $page; done"
"#;
const SIGNS: &str = "what-the-forge-signs-with";

/// A server with a runner and a project whose forge tells of requests.
struct Scene {
    server: Served,
    shop: Bare,
}

impl Scene {
    fn new(world: &World) -> Self {
        let shop = Bare::with(world, PIPELINE);
        let scene = Self { server: Served::with_a_runner(world), shop };
        scene.writes("src/words.sh", "greet() { echo hello; }\n");
        scene.writes("src/pages/home.sh", ". ./src/words.sh\ngreet\n");
        scene.shop.push_all("main", "the project's own");
        let settings = json!({ "forge": { "kind": "gitlab", "webhook_secret": "hook" } });
        let project = json!({ "name": "shop", "origin": scene.shop.path, "settings": settings });
        scene.ask("POST", "/api/v1/projects", &project).is(201);
        let of_the_forge = json!({ "value": SIGNS, "environment": "staith.forge" });
        scene.ask("PUT", "/api/v1/projects/shop/secrets/hook", &of_the_forge).is(204);
        scene
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> staith_tests::served::Answered {
        self.server.ask(method, path, &body.to_string())
    }

    fn writes(&self, path: &str, text: &str) {
        let path = self.shop.clone.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn goes_to(&self, branch: &str) {
        git(&self.shop.clone, &["checkout", "--quiet", "-B", branch, &format!("origin/{branch}")]);
    }

    /// Pushes what is there to the branch `topic`, which request 7 asks to merge to `main`; the forge has told it.
    fn asks_to_merge(&self) -> String {
        let head = self.shop.push_all("topic", "a page");
        git(&self.shop.clone, &["push", "--quiet", "--force", "origin", "HEAD:refs/merge-requests/7/head"]);
        let told = json!({ "object_attributes": {
            "iid": 7, "action": "update", "oldrev": "0", "author_id": 3, "source_branch": "topic", "target_branch": "main",
            "source_project_id": 1, "target_project_id": 1, "last_commit": { "id": head },
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

    /// Starts a run of a branch by itself; its number is the next one.
    fn asks_to_build(&self, branch: &str) {
        let asked = json!({ "reference": branch, "settings": {} });
        self.ask("POST", "/api/v1/projects/shop/runs", &asked).is(202);
    }

    fn run(&self, number: u64) -> Option<Value> {
        let page = self.server.ask("GET", "/api/v1/runs", "").is(200);
        page["runs"].as_array().unwrap().iter().find(|run| run["number"] == number).cloned()
    }

    fn ended(&self, number: u64) -> Value {
        let ended = |run: &Value| !run["ended"].is_null();
        wait::until(&format!("run {number} has ended"), || self.run(number).filter(ended))
    }

    /// What the step of a run has written.
    fn written(&self, run: &Value) -> String {
        let id = run["id"].as_str().unwrap();
        let streams = self.server.ask("GET", &format!("/api/v1/runs/{id}/streams"), "").is(200);
        let logs = streams.as_array().unwrap().iter().filter(|stream| stream["name"] == "log.check");
        let at = logs
            .map(|log| format!("/api/v1/attempts/{}/streams/log.check", log["attempt"].as_str().unwrap()));
        at.map(|at| self.server.ask("GET", &at, "").body).collect()
    }
}

#[test]
fn what_is_built_is_what_would_come_out_and_of_the_newest_push_only() {
    let world = World::new();
    let scene = Scene::new(&world);
    git(&scene.shop.clone, &["checkout", "--quiet", "-b", "topic"]);
    scene.writes("src/pages/news.sh", ". ./src/words.sh\ngreet\necho it goes on; sleep 600\n");
    scene.asks_to_merge();
    let older = wait::until("the request is built", || {
        scene.run(1).filter(|run| scene.written(run).contains("it goes on"))
    });
    assert_eq!(older["state"], "running", "{older}");

    // Somebody gives the function of main another name, there and in all that is there.
    git(&scene.shop.clone, &["fetch", "--quiet", "origin"]);
    scene.goes_to("main");
    scene.writes("src/words.sh", "welcome() { echo hello; }\n");
    scene.writes("src/pages/home.sh", ". ./src/words.sh\nwelcome\n");
    scene.shop.push_all("main", "another name");

    // The request knows nothing of that, and is as it was but for what took so long.
    scene.goes_to("topic");
    scene.writes("src/pages/news.sh", ". ./src/words.sh\ngreet\n");
    scene.asks_to_merge();
    let older = scene.ended(1);
    assert_eq!(older["state"], "cancelled", "{older}");
    assert!(older["why"].as_str().unwrap().contains("superseded by run 2"), "{older}");
    let newer = scene.ended(2);
    let log = scene.written(&newer);
    assert_eq!(newer["state"], "failed", "{newer}: {log}");
    assert!(log.contains("src/pages/news.sh") && log.contains("greet: not found"), "{log}");

    // Each of the two by itself is fine: only together they are not.
    for (number, branch) in [(3, "topic"), (4, "main")] {
        scene.asks_to_build(branch);
        let run = scene.ended(number);
        assert_eq!(run["state"], "passed", "{branch}: {run}: {}", scene.written(&run));
    }
    scene.server.terminate().exits(0);
}
