//! `staith runner`: a build host and its server, which is a strict one that follows a script, also when one of them is killed, cut
//! off or wants an end.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    sync::mpsc::{Receiver, channel},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use staith_model::{AttemptId, RunId};
use staith_tests::{
    fake_server::{CODE, FakeServer, Offer},
    leavings::processes_with,
    wait,
    world::World,
};

/// A world whose second home is that of a runner.
struct Host {
    world: World,
    server: FakeServer,
}

/// A runner that runs, and what it says.
struct Runner {
    process: Child,
    said: Receiver<Value>,
}

/// A test that fails leaves no runner behind.
impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Runner {
    /// Waits until it says this kind of news.
    #[track_caller]
    fn says(&self, news: &str) -> Value {
        loop {
            let said = self.said.recv_timeout(std::time::Duration::from_secs(60));
            let said = said.unwrap_or_else(|_| panic!("the runner never says `{news}`"));
            if said["news"] == news {
                return said;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Ends it at once, as the system does when there is no memory left.
    fn dies(mut self) {
        self.signal(Signal::KILL);
        self.process.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    fn ends(mut self) {
        self.signal(Signal::TERM);
        assert!(self.process.wait().unwrap().success());
    }
}

impl Host {
    fn new(steps: &str) -> Self {
        let world = World::new();
        world.write("runner.toml", &format!("name = \"shop\"\nversion = \"1\"\n{steps}"));
        world.write("src/deep/file", "some content\n");
        world.commit("first");
        let host = Self { world, server: FakeServer::start() };
        host.runner_command(&["register", "--url", &host.server.url(), "--token", CODE, "--name", "one"]);
        host
    }

    fn home(&self) -> PathBuf {
        self.world.scratch().join("runner-home")
    }

    fn runner_command(&self, arguments: &[&str]) -> String {
        let mut command = self.world.command(&[&["runner"], arguments].concat());
        let output = command.env("STAITH_HOME", self.home()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        out.into_owned()
    }

    fn starts(&self) -> Runner {
        let mut command = self.world.command(&["runner", "start", "--json"]);
        let mut process = command
            .env("STAITH_HOME", self.home())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let said = hear(process.stdout.take().unwrap());
        let runner = Runner { process, said };
        runner.says("started");
        runner
    }

    /// What the commit is as a job, by another home that made the plan and the list of files of it.
    fn offer(&self) -> Offer {
        let plan = self.world.staith(&["plan", "--clean", "--json"]).exits(0).values().remove(0);
        // The list of a run's files is written when its first step starts, whatever comes of it.
        self.world.staith(&["run", "--clean", "--step", "list"]).exits(0);
        let runs = fs::read_dir(self.world.home().join("runs")).unwrap().flatten();
        let source = runs.filter_map(|run| fs::read(run.path().join("source")).ok()).next().unwrap();
        let ids = self.world.git(&["ls-tree", "-r", "HEAD", "--format=%(objectname)"]);
        let content = |id: &str| {
            let mut command = std::process::Command::new("git");
            command.args(["cat-file", "blob", id]).current_dir(self.world.project()).output().unwrap().stdout
        };
        let contents: BTreeMap<String, Vec<u8>> =
            ids.lines().map(|id| (id.to_owned(), content(id))).collect();
        let job = json!({
            "run": RunId::new(1_700_000_000_000, [9; 10]), "number": 12, "project": "shop", "name": "run",
            "plan": plan["plan"], "plan_digest": plan["digest"], "trust": "branch", "secrets": [],
            "timeout_millis": 600_000,
        });
        Offer { job, source, contents }
    }

    fn job(&self, attempt: &str) -> PathBuf {
        self.home().join("runner/jobs").join(attempt)
    }

    /// Waits until the server has heard how an attempt ended.
    fn outcome(&self, attempt: &str) -> Value {
        wait::until("the server hears of the end", || self.server.attempt(attempt)?.finished.first().cloned())
    }

    /// Waits until a step's log has a text at the server.
    fn is_logged(&self, attempt: &str, step: &str, text: &str) {
        wait::until("the server has a text of the log", || {
            let attempt = self.server.attempt(attempt)?;
            let log = attempt.streams.get(&format!("log.{step}"))?;
            String::from_utf8_lossy(log).contains(text).then_some(())
        });
    }

    fn nothing_is_left(&self, marker: &str) {
        wait::until("no process of the step is left", || (processes_with(marker) == 0).then_some(()));
        let home = self.home().display().to_string();
        wait::until("no keeper is left", || (processes_with(&home) == 0).then_some(()));
        let mounts = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("mountinfo"));
        let any = |path: PathBuf| fs::read_to_string(path).unwrap_or_default().contains(&home);
        assert!(!mounts.into_iter().any(any), "a mount of the job is left");
    }
}

fn hear(out: ChildStdout) -> Receiver<Value> {
    let (said, heard) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = said.send(serde_json::from_str(&line).unwrap());
        }
    });
    heard
}

/// A step for the list of files, one that writes much, and one after it.
const TALKS: &str = r#"
[steps.list]
run = "ls -R; cat src/deep/file"
[steps.talk]
needs = ["list"]
run = "i=0; while [ $i -lt 3000 ]; do echo line $i of many; i=$((i+1)); done; printf 'no end'"
"#;

fn passed() -> Value {
    json!({ "ended": "passed" })
}

fn events(stream: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(stream).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn how_many(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["event"] == kind).count()
}

#[test]
fn a_job_is_run_and_the_server_has_every_byte_of_it() {
    let host = Host::new(TALKS);
    let attempt = host.server.offer(host.offer());
    let runner = host.starts();
    assert_eq!(runner.says("taken")["adopted"], false);
    assert_eq!(host.outcome(&attempt), passed());
    assert_eq!(runner.says("ended")["outcome"], passed());
    let known = host.server.attempt(&attempt).unwrap();
    assert_eq!(known.closed, ["events", "log.list", "log.talk"]);
    let log = String::from_utf8(known.streams["log.talk"].clone()).unwrap();
    assert!(log.starts_with("staith-log 1\n") && log.ends_with("no end\n"), "{log}");
    assert_eq!((0..3000).filter(|line| log.contains(&format!("line {line} of many\n"))).count(), 3000);
    assert!(String::from_utf8_lossy(&known.streams["log.list"]).contains("some content\n"));
    let events = events(&known.streams["events"]);
    assert_eq!((how_many(&events, "step-finished"), how_many(&events, "run-finished")), (2, 1));
    assert!(known.renewed > 0 && known.sent.len() == 2, "{:?}", known.sent);
    wait::until("the job is put away", || (!host.job(&attempt).exists()).then_some(()));
    let listed: Value = serde_json::from_str(&host.runner_command(&["list", "--json"])).unwrap();
    assert_eq!((&listed["running"], &listed["jobs"]), (&json!(true), &json!([])));
    runner.ends();
    host.server.was_asked_rightly();
    host.nothing_is_left("line $i of many");
}

#[test]
fn a_network_that_loses_answers_loses_nothing_else() {
    let host = Host::new(TALKS);
    let attempt = host.server.offer(host.offer());
    host.server.is_flaky();
    host.server.loses_claims(2);
    host.server.loses_finishes(2);
    let runner = host.starts();
    assert_eq!(host.outcome(&attempt), passed());
    wait::until("the job is put away", || (!host.job(&attempt).exists()).then_some(()));
    let known = host.server.attempt(&attempt).unwrap();
    assert_eq!(host.server.claims(), 1);
    assert!(known.finished.len() > 2, "{:?}", known.finished);
    let log = String::from_utf8(known.streams["log.talk"].clone()).unwrap();
    assert_eq!((0..3000).filter(|line| log.contains(&format!("line {line} of many\n"))).count(), 3000);
    assert_eq!(how_many(&events(&known.streams["events"]), "step-started"), 2);
    runner.ends();
    host.server.was_asked_rightly();
}

#[test]
fn a_question_whose_job_has_ended_is_not_asked_for_ever() {
    let host = Host::new(TALKS);
    host.server.spends_a_claim();
    let runner = host.starts();
    let attempt = host.server.offer(host.offer());
    assert_eq!(host.outcome(&attempt), passed());
    runner.ends();
    host.server.was_asked_rightly();
}

/// A step that goes on until the test has done what it is about.
fn waits(seconds: u32) -> String {
    format!(
        "[steps.list]\nrun = \"true\"\n[steps.wait]\nneeds = [\"list\"]\nrun = \"echo it has begun; sleep {seconds}; echo it has ended\"\n"
    )
}

#[test]
fn a_runner_that_was_killed_is_replaced_in_the_middle_of_a_job() {
    let host = Host::new(&waits(4));
    let attempt = host.server.offer(host.offer());
    let first = host.starts();
    host.is_logged(&attempt, "wait", "it has begun");
    first.dies();
    let listed: Value = serde_json::from_str(&host.runner_command(&["list", "--json"])).unwrap();
    assert_eq!((&listed["running"], &listed["jobs"][0]["state"]), (&json!(false), &json!("runs")));
    let second = host.starts();
    assert_eq!(second.says("taken")["adopted"], true);
    assert_eq!(second.says("ended")["outcome"], passed());
    let known = host.server.attempt(&attempt).unwrap();
    assert_eq!(known.finished, [passed()]);
    let events = events(&known.streams["events"]);
    assert_eq!((how_many(&events, "run-started"), how_many(&events, "step-started")), (1, 2));
    second.ends();
    host.server.was_asked_rightly();
    host.nothing_is_left("it has begun");
}

#[test]
fn what_ended_while_no_runner_was_there_is_told_by_the_next() {
    let host = Host::new(&waits(1));
    let attempt = host.server.offer(host.offer());
    let first = host.starts();
    host.is_logged(&attempt, "wait", "it has begun");
    first.ends();
    wait::until("the job ends", || host.job(&attempt).join("ended.json").exists().then_some(()));
    assert_eq!(host.server.attempt(&attempt).unwrap().finished, Vec::<Value>::new());
    let second = host.starts();
    assert_eq!(second.says("ended")["outcome"], passed());
    second.ends();
    host.server.was_asked_rightly();
}

#[test]
fn a_keeper_that_was_killed_leaves_nothing_and_is_told() {
    let host = Host::new(&waits(611));
    let attempt = host.server.offer(host.offer());
    let runner = host.starts();
    host.is_logged(&attempt, "wait", "it has begun");
    let keeper = fs::read_to_string(host.job(&attempt).join("keeper")).unwrap();
    let pid = keeper.split(' ').next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let outcome = host.outcome(&attempt);
    assert_eq!((&outcome["ended"], &outcome["blame"]), (&json!("failed"), &json!("environment")));
    host.nothing_is_left("sleep 611");
    runner.ends();
    host.server.was_asked_rightly();
}

#[test]
fn a_job_that_the_server_wants_ended_leaves_nothing() {
    let host = Host::new(&waits(612));
    let attempt = host.server.offer(host.offer());
    let runner = host.starts();
    host.is_logged(&attempt, "wait", "it has begun");
    host.server.cancel(&attempt);
    assert_eq!(host.outcome(&attempt), json!({ "ended": "cancelled" }));
    wait::until("the job is put away", || (!host.job(&attempt).exists()).then_some(()));
    host.nothing_is_left("sleep 612");
    let events = events(&host.server.attempt(&attempt).unwrap().streams["events"]);
    assert_eq!(events.last().unwrap()["outcome"], "cancelled");
    runner.ends();
    host.server.was_asked_rightly();
}

#[test]
fn a_server_that_is_away_gets_everything_when_it_is_back() {
    let host = Host::new(&waits(1));
    let attempt = host.server.offer(host.offer());
    let runner = host.starts();
    host.is_logged(&attempt, "wait", "it has begun");
    host.server.is_away(true);
    wait::until("the job ends", || host.job(&attempt).join("ended.json").exists().then_some(()));
    let log = host.server.attempt(&attempt).unwrap().streams["log.wait"].clone();
    assert!(!String::from_utf8_lossy(&log).contains("it has ended"));
    host.server.is_away(false);
    assert_eq!(host.outcome(&attempt), passed());
    host.is_logged(&attempt, "wait", "it has ended");
    runner.ends();
    host.server.was_asked_rightly();
}

#[test]
fn a_job_that_was_given_to_another_is_ended_and_says_nothing_more() {
    let host = Host::new(&waits(613));
    let attempt = host.server.offer(host.offer());
    let runner = host.starts();
    host.is_logged(&attempt, "wait", "it has begun");
    host.server.give_away(&attempt);
    runner.says("put-away");
    host.nothing_is_left("sleep 613");
    assert!(host.server.attempt(&attempt).unwrap().finished.is_empty());
    let record = host.home().join("runner/records").join(&attempt);
    assert!(record.join("ended.json").exists() && !record.join("claim.json").exists());
    runner.ends();
}

#[test]
fn a_drained_runner_finishes_what_it_has_and_takes_nothing_new() {
    let host = Host::new(&waits(1));
    let offer = host.offer();
    let first = host.server.offer(offer.clone());
    let mut runner = host.starts();
    host.is_logged(&first, "wait", "it has begun");
    host.runner_command(&["drain"]);
    let second = host.server.offer(offer);
    assert_eq!(host.outcome(&first), passed());
    assert!(runner.process.wait().unwrap().success());
    assert!(host.server.attempt(&second).is_none());
    // The next one is not drained any more.
    let runner = host.starts();
    assert_eq!(host.outcome(&second), passed());
    runner.ends();
    host.server.was_asked_rightly();
}

#[test]
fn another_plan_or_source_than_the_one_that_was_named_is_not_run() {
    let host = Host::new(TALKS);
    let offer = host.offer();
    let mut plan = offer.clone();
    plan.job["plan"]["version"] = json!("2");
    let plan = host.server.offer(plan);
    host.world.write("src/deep/file", "other content\n");
    host.world.commit("second");
    fs::remove_dir_all(host.world.home().join("runs")).unwrap();
    let source = host.server.offer(Offer { job: offer.job.clone(), ..host.offer() });
    let runner = host.starts();
    for (attempt, why) in [(&plan, "the plan is not the one"), (&source, "not that of the plan")] {
        let outcome = host.outcome(attempt);
        assert!(outcome["why"].as_str().unwrap().contains(why), "{outcome}");
        assert_eq!(host.server.attempt(attempt).unwrap().streams.len(), 0);
    }
    runner.ends();
    host.server.was_asked_rightly();
}

#[test]
fn registering_says_what_is_wrong() {
    let host = Host::new(TALKS);
    let registered = fs::metadata(host.home().join("runner/registration.json")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&registered) & 0o777, 0o600);
    let url = host.server.url();
    let register = |url: &str, code: &str| {
        host.world.staith(&["runner", "register", "--url", url, "--token", code, "--name", "two"])
    };
    register(&url, "wr0ng").exits(64).says("bad-code");
    register("http://192.0.2.1", CODE).exits(64).says("clear text");
    register("ftp://127.0.0.1", CODE).exits(64).says("not with `https:`");
    register("https://user@127.0.0.1", CODE).exits(64).says("more than a host");
    host.world.staith(&["runner", "start"]).exits(64).says("no runner yet");
    host.world.staith(&["runner", "drain"]).exits(64).says("none to drain");
    let runner = host.starts();
    let mut other = host.world.command(&["runner", "start"]);
    let other = other.env("STAITH_HOME", host.home()).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("runs already"));
    runner.ends();
}

#[test]
fn a_runner_for_one_job_has_one_and_forgets_its_key() {
    let host = Host::new(TALKS);
    host.runner_command(&["register", "--url", &host.server.url(), "--token", CODE, "--name", "once"]);
    let (offer, key) = (host.offer(), host.home().join("runner/host.pem"));
    let (first, second) = (host.server.offer(offer.clone()), host.server.offer(offer));
    assert!(key.exists());
    let mut runner = host.starts();
    assert_eq!(host.outcome(&first), passed());
    assert!(runner.process.wait().unwrap().success());
    assert!(!key.exists() && host.server.attempt(&second).is_none());
    assert!(second.parse::<AttemptId>().is_ok());
}
