//! A run of several jobs on several runners, and what one runner knows of steps used by another.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use staith_tests::{
    bare::Bare,
    served::Served,
    wait,
    world::{Said, World},
};

/// Two jobs: the second one needs what the first one left.
const TWO_PLACES: &str = r#"
name = "shop"
version = "1.0.0"
[steps.build]
run = "mkdir -p dist; cp src/page.txt dist/page; ln -s page dist/link; echo built it"
outputs = ["dist"]
runner = { labels = ["linux"] }
[steps.check]
needs = ["build"]
run = "cat dist/link; rm dist/page; echo checked > dist/report; echo checked it"
outputs = ["dist/report", "dist/page"]
runner = { labels = ["gpu"] }
[package]
from = ["build", "check"]
root = "dist"
"#;

const ONE_PLACE: &str = r#"
name = "shop"
version = "1.0.0"
[steps.build]
run = "mkdir -p dist; cp src/page.txt dist/page; echo built it"
outputs = ["dist"]
"#;

/// A runner that runs. When dropped, it is killed.
struct Runner {
    process: Child,
    home: PathBuf,
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server, and a project whose repository has one commit.
struct Farm {
    world: World,
    server: Served,
    repository: Bare,
}

impl Farm {
    fn new(pipeline: &str) -> Self {
        let world = World::new();
        let repository = Bare::with(&world, pipeline);
        let farm = Self { server: Served::of(&world), world, repository };
        farm.staith(&["project", "add", "shop", &farm.repository.path]).exits(0);
        farm
    }

    fn staith(&self, words: &[&str]) -> Said {
        self.server.staith(&self.world, words)
    }

    fn runner(&self, name: &str, labels: &[&str]) -> Runner {
        let code = self.server.ask("POST", "/api/v1/enrolments", r#"{"pool":"default"}"#).is(201);
        let home = self.world.scratch().join(name);
        let url = format!("http://{}", self.server.address);
        let mut words = vec![
            "runner",
            "register",
            "--url",
            &url,
            "--token",
            code["code"].as_str().unwrap(),
            "--name",
            name,
        ];
        words.extend(labels.iter().flat_map(|label| ["--label", *label]));
        let registered = self.world.command(&words).env("STAITH_HOME", &home).output().unwrap();
        Said::of(&registered).exits(0);
        let mut start = self.world.command(&["runner", "start", "--json"]);
        let process =
            start.env("STAITH_HOME", &home).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        Runner { process, home }
    }

    /// Asks for a run, and gives its number.
    fn run(&self, reference: &str) {
        self.staith(&["project", "run", "shop", "--ref", reference]).exits(0);
    }

    /// The newest run, once there are so many.
    fn newest(&self, of: usize) -> Value {
        let id = wait::until("the run is there", || {
            let arrivals = self.server.ask("GET", "/api/v1/projects/shop/arrivals", "").is(200).to_string();
            assert!(!arrivals.contains("refused") && !arrivals.contains("ignored"), "{arrivals}");
            let runs = self.server.ask("GET", "/api/v1/runs", "").is(200)["runs"].clone();
            let runs = runs.as_array().unwrap().clone();
            (runs.len() == of).then(|| runs[0]["id"].as_str().unwrap().to_owned())
        });
        self.server.ask("GET", &format!("/api/v1/runs/{id}"), "").is(200)
    }

    /// The same, once it is over.
    fn ended(&self, of: usize) -> Value {
        wait::until("the run has ended", || Some(self.newest(of)).filter(|run| !run["ended"].is_null()))
    }

    /// The events of a job's last attempt.
    fn events(&self, job: &Value) -> Vec<Value> {
        let attempt = job["attempts"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        let events = self.server.ask("GET", &format!("/api/v1/attempts/{attempt}/streams/events"), "");
        assert_eq!(events.status, 200, "{events:?}");
        events.body.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The steps that all jobs of a run have run, each with who did.
    fn ran(&self, run: &Value) -> Vec<String> {
        let jobs = run["jobs"].as_array().unwrap();
        let of = |job: &Value| {
            let runner = job["attempts"].as_array().unwrap().last().unwrap()["runner_name"].clone();
            let events = self.events(job);
            let begun = events.into_iter().filter(|event| event["event"] == "step-started");
            begun
                .map(|event| format!("{} at {}", event["step"].as_str().unwrap(), runner.as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        jobs.iter().flat_map(of).collect()
    }
}

fn job<'v>(run: &'v Value, name: &str) -> &'v Value {
    run["jobs"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap_or_else(|| panic!("{run}"))
}

#[test]
fn two_jobs_on_two_runners_and_then_again_elsewhere() {
    let farm = Farm::new(TWO_PLACES);
    let _linux = farm.runner("one", &["linux"]);
    farm.run("main");

    // Nobody has the label: that is told within two seconds from when the server has queued the job, by its own account.
    let (waiting, told) = wait::until("it is said that nobody can take the job", || {
        let run = Some(farm.newest(1)).filter(|run| job(run, "check")["unmet"].is_array());
        run.map(|run| (run, SystemTime::now().duration_since(UNIX_EPOCH).unwrap()))
    });
    let queued = Duration::from_millis(job(&waiting, "check")["queued"].as_u64().unwrap());
    assert!(told - queued <= Duration::from_secs(2), "it took {:?}", told - queued);
    assert_eq!(job(&waiting, "check")["state"], "queued", "{waiting}");
    assert_eq!(job(&waiting, "check")["unmet"], serde_json::json!(["gpu"]), "{waiting}");
    assert!(job(&waiting, "check")["why"].as_str().unwrap().contains("`gpu`"), "{waiting}");

    let gpu = farm.runner("two", &["gpu"]);
    let run = farm.ended(1);
    assert_eq!(run["state"], "passed", "{run}");
    assert_eq!(farm.ran(&run), ["build at one", "check at two"], "{run}");
    assert_eq!(job(&run, "check")["needs"], serde_json::json!(["build"]));
    // Who follows sees whose part is shown, and the one plan that the run has.
    let watched = farm.staith(&["runs", "watch", "shop#1"]).exits(0);
    let plan = run["plan_digest"].as_str().unwrap().trim_start_matches("sha256:")[..12].to_owned();
    assert_eq!(watched.out.matches(&format!("plan {plan}")).count(), 2, "{}", watched.out);
    watched.says("job build, runner one").says("job check, runner two");
    let attempt = job(&run, "check")["attempts"][0]["id"].as_str().unwrap().to_owned();
    let log = farm.server.ask("GET", &format!("/api/v1/attempts/{attempt}/streams/log.check"), "");
    assert!(log.body.contains("one") && log.body.contains("checked it"), "{log:?}");

    // The plan is the laptop's, and so is the package: what was removed stays removed.
    let bare = farm.world.scratch().join("shop.git").display().to_string();
    let plan = farm.world.staith(&["plan", &bare, "--ref", "main", "--json"]).exits(0).values().remove(0);
    assert_eq!(run["plan_digest"], plan["digest"]);
    assert_eq!(plan["jobs"][1]["needs"], serde_json::json!(["build"]), "{plan}");
    let packed = farm.events(job(&run, "check"));
    let packed = packed.iter().find(|event| event["event"] == "package-made").expect("the last job packs");
    let laptop = ["run", &bare, "--ref", "main", "--json"];
    let here = farm.world.staith(&laptop).exits(0).values();
    let here = here.iter().find(|event| event["event"] == "package-made").expect("so does a laptop");
    assert_eq!(packed["package"]["content"], here["package"]["content"], "what was removed stays removed");

    // A third runner has both labels and has seen nothing; the others are gone.
    drop((_linux, gpu));
    let _third = farm.runner("three", &["linux", "gpu"]);
    farm.run("main");
    let again = farm.ended(2);
    assert_eq!(again["state"], "passed", "{again}");
    assert_eq!(farm.ran(&again), [""; 0], "everything is known from the server");
    farm.server.terminate().exits(0);
}

#[test]
fn what_a_fork_made_is_not_used_by_a_branch_and_the_reverse_is() {
    let farm = Farm::new(ONE_PLACE);
    let _runner = farm.runner("one", &[]);
    // A commit on no branch and no tag is a stranger's; it has the files of `main`. Nothing is pushed to `main` itself: the server may
    // look at any time whether something was.
    let fork = farm.repository.push_all("refs/requests/1", "one");
    farm.run(&fork);
    let strangers = farm.ended(1);
    assert_eq!((&strangers["trust"], &strangers["state"]), (&"fork".into(), &"passed".into()), "{strangers}");
    assert_eq!(farm.ran(&strangers), ["build at one"]);

    farm.run("main");
    let own = farm.ended(2);
    assert_eq!((&own["trust"], &own["state"]), (&"protected".into(), &"passed".into()), "{own}");
    assert_eq!(farm.ran(&own), ["build at one"], "what the fork made is not taken");

    // On a host that knows nothing, a fork takes what the protected branch made.
    drop(_runner);
    let _other = farm.runner("two", &[]);
    let fork = farm.repository.push_all("refs/requests/2", "one");
    farm.run(&fork);
    let strangers = farm.ended(3);
    assert_eq!((&strangers["trust"], &strangers["state"]), (&"fork".into(), &"passed".into()), "{strangers}");
    assert_eq!(farm.ran(&strangers), [""; 0]);
    farm.server.terminate().exits(0);
}

/// The layers that the server keeps.
fn kept(server: &Served) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.data.join("layers/kept/shop")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn a_layer_with_a_flipped_bit_is_not_used_and_is_replaced() {
    let farm = Farm::new(ONE_PLACE);
    let first = farm.runner("one", &[]);
    farm.run("main");
    assert_eq!(farm.ran(&farm.ended(1)), ["build at one"]);
    drop(first);
    let kept = kept(&farm.server);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let whole = fs::read(&kept[0]).unwrap();
    let mut damaged = whole.clone();
    // In the content of the only file, which comes last.
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&kept[0], &damaged).unwrap();

    let second = farm.runner("two", &[]);
    farm.run("main");
    let run = farm.ended(2);
    assert_eq!(run["state"], "passed", "{run}");
    assert_eq!(farm.ran(&run), ["build at two"], "the damaged layer is not used");
    assert_eq!(fs::read(&kept[0]).unwrap(), whole, "it is replaced by what was made again");
    assert!(second.home.join("store").exists());
    farm.server.terminate().exits(0);
}

#[test]
fn a_pool_that_the_project_may_not_use_is_refused_until_it_may() {
    let farm = Farm::new(&ONE_PLACE.replace("outputs =", "runner = { pool = \"big\" }\noutputs ="));
    let run = ["project", "run", "shop", "--ref", "main"];
    let refused = farm.staith(&run).says("the pool `big`, which the project may not use");
    assert_ne!(refused.code, Some(0));
    let runs = farm.server.ask("GET", "/api/v1/runs", "").is(200);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 0, "{runs}");
    // As it is told to do.
    let remedy = "project set shop pools=[\"big\"]";
    refused.says("staith project set shop 'pools=[\"big\"]'");
    farm.staith(&remedy.split(' ').collect::<Vec<_>>()).exits(0);
    farm.staith(&run).exits(0);
    let waiting = wait::until("the job waits for a runner of that pool", || {
        let runs = farm.server.ask("GET", "/api/v1/runs", "").is(200)["runs"].clone();
        let id = runs.as_array().unwrap().first()?["id"].as_str()?.to_owned();
        let run = farm.server.ask("GET", &format!("/api/v1/runs/{id}"), "").is(200);
        (run["jobs"][0]["state"] == "queued").then_some(run)
    });
    assert_eq!(waiting["jobs"][0]["pool"], "big", "{waiting}");
    farm.server.terminate().exits(0);
}

#[test]
fn a_cancel_ends_all_jobs_of_a_run() {
    let pipeline = TWO_PLACES.replace("echo built it\"", "echo built it; exec tail -f /dev/null\"")
        + "[steps.aside]\nrun = \"echo it is aside; exec tail -f /dev/null\"\nrunner = { labels = [\"arm\"] }\n\
           [steps.never]\nrun = \"true\"\nrunner = { labels = [\"nobody\"] }\n";
    let pipeline = pipeline.replace("[package]\nfrom = [\"build\", \"check\"]\nroot = \"dist\"\n", "");
    let farm = Farm::new(&pipeline);
    let _linux = farm.runner("one", &["linux"]);
    let _arm = farm.runner("two", &["arm"]);
    farm.run("main");
    let run = wait::until("two jobs run", || {
        let run = Some(farm.newest(1))?;
        let begun = |name| job(&run, name)["state"] == "leased";
        (begun("build") && begun("aside")).then_some(run)
    });
    assert_eq!(
        (&job(&run, "check")["state"], &job(&run, "never")["state"]),
        (&"waiting".into(), &"queued".into())
    );
    farm.staith(&["runs", "cancel", run["id"].as_str().unwrap(), "--why", "enough"]).exits(0);
    let ended = farm.ended(1);
    assert_eq!(ended["state"], "cancelled", "{ended}");
    for (name, attempts) in [("build", 1), ("aside", 1), ("check", 0), ("never", 0)] {
        let job = job(&ended, name);
        assert_eq!(
            (&job["state"], job["attempts"].as_array().unwrap().len()),
            (&"cancelled".into(), attempts),
            "{job}"
        );
    }
    farm.server.terminate().exits(0);
}

/// The first job has passed, the second waits for its runner, and the server has lost what the first one left: it made room, say.
fn with_what_was_left_gone(labels: &str) -> Farm {
    let farm = Farm::new(&TWO_PLACES.replace("[\"gpu\"]", labels));
    let one = farm.runner("one", &["linux"]);
    farm.run("main");
    wait::until("the first job has passed", || {
        (job(&farm.newest(1), "check")["state"] == "queued").then_some(())
    });
    drop(one);
    kept(&farm.server).iter().for_each(|layer| fs::remove_file(layer).unwrap());
    farm
}

#[test]
fn a_step_whose_layer_was_collected_is_run_again_by_who_may() {
    // Who has these labels has those of the first job: it may run its step as well.
    let farm = with_what_was_left_gone("[\"linux\", \"gpu\"]");
    let _two = farm.runner("two", &["linux", "gpu"]);
    let run = farm.ended(1);
    assert_eq!(run["state"], "passed", "{run}");
    assert_eq!(farm.ran(&run), ["build at one", "build at two", "check at two"]);
    farm.server.terminate().exits(0);
}

#[test]
fn a_step_whose_layer_was_collected_is_not_run_where_it_may_not() {
    let farm = with_what_was_left_gone("[\"gpu\"]");
    let _two = farm.runner("two", &["gpu"]);
    let run = farm.ended(1);
    assert_eq!(run["state"], "failed", "{run}");
    let check = job(&run, "check");
    let why = check["attempts"].as_array().unwrap().last().unwrap()["outcome"]["why"].as_str().unwrap();
    assert!(why.contains("what step `build` left") && why.contains("start a new run"), "{check}");
    assert_eq!(farm.ran(&run), ["build at one"]);
    farm.server.terminate().exits(0);
}

#[test]
fn each_variant_of_a_matrix_goes_to_a_runner_with_its_label() {
    let farm = Farm::new(
        "name = \"shop\"\nversion = \"1.0.0\"\n[steps.test]\nrun = \"echo on $MATRIX_OS\"\nmatrix = { os = [\"linux\", \"arm\"] }\n\
         runner = { labels = [\"{matrix.os}\"] }\n",
    );
    let _linux = farm.runner("one", &["linux"]);
    let _arm = farm.runner("two", &["arm"]);
    farm.run("main");
    let run = farm.ended(1);
    assert_eq!(run["state"], "passed", "{run}");
    let mut ran = farm.ran(&run);
    ran.sort();
    assert_eq!(ran, ["test-arm at two", "test-linux at one"]);
    farm.server.terminate().exits(0);
}

#[test]
fn only_jobs_that_did_not_pass_are_tried_again() {
    let failing = TWO_PLACES.replace("echo checked it", "echo checked it; test -e /nowhere");
    let farm = Farm::new(&failing);
    let _one = farm.runner("one", &["linux"]);
    let _two = farm.runner("two", &["gpu"]);
    farm.run("main");
    let run = farm.ended(1);
    assert_eq!(run["state"], "failed", "{run}");
    assert_eq!(
        (&job(&run, "build")["state"], &job(&run, "check")["state"]),
        (&"passed".into(), &"failed".into())
    );
    let id = run["id"].as_str().unwrap();
    farm.server.ask("POST", &format!("/api/v1/runs/{id}/retry"), "").is(200);
    let again = wait::until("the run has ended again", || {
        let tried = |run: &Value| job(run, "check")["attempts"].as_array().unwrap().len() == 2;
        Some(farm.newest(1)).filter(|run| tried(run) && !run["ended"].is_null())
    });
    assert_eq!(job(&again, "build")["attempts"].as_array().unwrap().len(), 1, "{again}");
    assert_eq!(job(&again, "check")["state"], "failed");
    farm.server.terminate().exits(0);
}
