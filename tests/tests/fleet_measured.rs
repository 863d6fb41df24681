//! What Prometheus says of a release while it is watched: it goes on, goes back by itself, or stands still until somebody decides. Real
//! processes behind the built-in proxy, kept running by Staith's own program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    process::Command,
};

use serde_json::Value;
use staith_tests::{
    load::mixed::{Group, Mixed},
    pair::free,
    prometheus::Prometheus,
    station::{BACKEND, StationNode},
    wait,
    world::{Said, World},
};
use tempfile::TempDir;

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp serve word.txt dist/; chmod +x dist/serve"
inputs = ["serve", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [TARGETS]
folder = "PLACE/production"
service = { run = ["./serve"], supervisor = "staith" }
health = { path = "/healthz", header = "x-staith-release", deadline = "60s", successes = 1 }
traffic = { built-in = { nodes = ["unix:SOCKET"], backend = "BACKEND" } }
drain = "5s"
strategy = STRATEGY
"#;

/// Says the path that it was asked for, and which release it is.
const SERVE: &str = r#"#!/usr/bin/env python3
import http.server, os, socket
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    def do_GET(self):
        body = self.path.encode()
        head = "HTTP/1.1 200 OK\r\nx-staith-release: %s\r\ncontent-length: %d\r\n\r\n" % (os.environ["STAITH_RELEASE"], len(body))
        self.wfile.write(head.encode() + body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

const DEPLOY: [&str; 4] = ["release", "deploy", "--to", "production"];

/// Machines, who sends requests to them, and who measures.
struct Site {
    world: World,
    place: TempDir,
    node: StationNode,
    prometheus: Prometheus,
    machines: Vec<String>,
}

impl Site {
    /// Machines of these names, the pool of each before its number; what is measured is put into the strategy, for `METRICS`.
    fn new(machines: &[&str], strategy: &str) -> Self {
        let at: Vec<(&str, SocketAddr)> = machines.iter().map(|name| (*name, free())).collect();
        let node = StationNode::start(&at);
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let (world, prometheus) = (World::new(), Prometheus::start());
        let target = |(name, at): &(&str, SocketAddr)| {
            let pool = match name.trim_end_matches(char::is_numeric) {
                "m" => String::new(),
                pool => format!("pool = \"{pool}\", "),
            };
            format!("{{ local = true, name = \"{name}\", {pool}serves-at = \"{at}\" }}")
        };
        let metrics = format!(
            "interval = \"1s\", failure-limit = 2, metrics = [{{ name = \"errors\", prometheus = \"http://{}\", \
             query = \"rate(errors{{release='{{{{release}}}}'}}[1m])\", below = 0.05 }}]",
            prometheus.address
        );
        let pipeline = PIPELINE
            .replace("TARGETS", &at.iter().map(target).collect::<Vec<_>>().join(", "))
            .replace("PLACE", &place.path().display().to_string())
            .replace("SOCKET", &node.control().display().to_string())
            .replace("BACKEND", BACKEND)
            .replace("STRATEGY", &strategy.replace("METRICS", &metrics));
        world.write("runner.toml", &pipeline);
        world.write("serve", SERVE);
        let machines = machines.iter().map(|name| (*name).to_owned()).collect();
        Self { world, place, node, prometheus, machines }
    }

    /// Makes a release whose word is this.
    fn makes(&self, word: &str) {
        self.world.write("word.txt", word);
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        self.world.staith(&["release", "create"]).exits(0);
    }

    fn deploys(&self) -> Said {
        self.world.staith(&DEPLOY)
    }

    /// The first release, well from the beginning.
    fn begins(&self) {
        self.prometheus.says("0.01");
        self.makes("one");
        self.deploys().exits(0).says("serves in production");
    }

    fn folder(&self, machine: &str) -> std::path::PathBuf {
        self.place.path().join("production").join(machine)
    }

    /// The words of the releases that the machines' `current` point to.
    fn words(&self) -> Vec<String> {
        let word = |name: &String| fs::read_to_string(self.folder(name).join("current/word.txt")).unwrap();
        self.machines.iter().map(word).collect()
    }

    /// Who gets requests now, by weight, as the proxy tells.
    fn serving(&self) -> BTreeMap<String, u64> {
        let control = self.node.control().display().to_string();
        let said = self.world.staith(&["proxy", "status", BACKEND, "--control", &control, "--json"]).exits(0);
        let status: Value = serde_json::from_str(&said.out).unwrap();
        let members = status["members"].as_object().unwrap().iter();
        let admitted = members.filter(|(_, member)| member["admitted"] == true);
        admitted.map(|(name, member)| (name.clone(), member["weight"].as_u64().unwrap())).collect()
    }

    /// The events in the ledger.
    fn events(&self) -> Vec<Value> {
        let path = self.world.home().join("environments/bell/production/ledger.jsonl");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["event"].clone()))
            .collect()
    }

    /// What measurements said since so many events, one after another.
    fn measured(&self, since: usize) -> Vec<String> {
        [0, 1, 2].into_iter().flat_map(|wave| self.measured_of(wave, since)).collect()
    }

    /// What they said of one wave.
    fn measured_of(&self, wave: u32, since: usize) -> Vec<String> {
        let events = self.events();
        let of_wave = |work: &Value| work["do"] == "analyse" && work["wave"] == wave;
        let of = events.iter().skip(since);
        let of = of.filter(|event| event["event"] == "outcome" && of_wave(&event["work"]));
        of.map(|event| event["result"]["result"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the deployment changed so since so many events.
    fn changes(&self, change: &str, since: usize) {
        let is_it = |event: &Value| event["event"] == "changed" && event["change"] == change;
        wait::until(change, || self.events().iter().skip(since).any(is_it).then_some(()));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for machine in &self.machines {
            let folder = self.folder(machine);
            let program = folder.join(".staith-machine");
            let _ = Command::new(program).arg("stop").arg("--folder").arg(&folder).status();
        }
    }
}

const FOUR: [&str; 4] = ["m1", "m2", "m3", "m4"];
const CANARY: &str = "{ canary = { steps = [{ targets = \"5%\", bake = \"1s\" }, { targets = \"25%\", bake = \"1s\" }], METRICS } }";

fn all(word: &str, count: usize) -> Vec<String> {
    vec![word.to_owned(); count]
}

fn even(machines: &[&str]) -> BTreeMap<String, u64> {
    machines.iter().map(|name| ((*name).to_owned(), 256)).collect()
}

#[test]
fn a_canary_goes_on_while_measurements_say_yes_and_back_by_itself_when_they_say_no() {
    let site = Site::new(&FOUR, CANARY);
    site.begins();
    // Three of each of the two steps: as many as would be enough for a no, however short a step is.
    assert_eq!(site.prometheus.asked().len(), 6, "{:?}", site.prometheus.asked());
    assert_eq!(site.measured(0), ["done"; 6]);
    let release = site.events().iter().find_map(|event| Some(event["plan"]["release"].as_str()?.to_owned()));
    let short = release.unwrap().trim_start_matches("sha256:")[..12].to_owned();
    assert!(site.prometheus.asked().iter().all(|asked| asked.contains(&short)), "{short}");

    site.makes("two");
    let plan = site.world.staith(&["release", "plan", "--to", "production"]).exits(0);
    plan.says("wave 1: m1 with 4.95 % of the requests, measured for 3 s")
        .says("wave 2: no further machine with 25 % of the requests, measured for 3 s")
        .says("wave 3: m2, m3, m4 with 100 % of the requests");
    site.prometheus.says("0.9");
    let began = site.events().len();
    let load = Mixed::start(site.node.front, &[Group::reading(2, true, "/short")]);
    site.deploys()
        .exits(40)
        .says("measurements say no: 3 were bad, where 2 may be; errors is 0.9, and not below 0.05");
    assert_eq!(site.measured(began), ["failed"; 3]);
    assert_eq!(site.prometheus.asked().len(), 3, "nobody asks on when it is enough");
    assert_eq!((site.words(), site.serving()), (all("one", 4), even(&FOUR)));
    let report = load.stop();
    assert_eq!(report.failures, BTreeMap::new());
    site.world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn a_canary_of_which_nothing_is_known_stands_still_until_somebody_lets_it_go_on() {
    let site = Site::new(&FOUR, CANARY);
    site.begins();
    site.makes("two");
    for (say, why) in [
        (Prometheus::says_nothing as fn(&Prometheus), "the query gives nothing"),
        (|prometheus| prometheus.says("NaN"), "what came is not a number"),
    ] {
        say(&site.prometheus);
        let began = site.events().len();
        let mut deployer = site.world.start(&DEPLOY);
        site.changes("paused", began);
        assert_eq!(site.measured(began)[..3], ["inconclusive"; 3]);
        let status = site.world.staith(&["release", "status", "production"]).exits(0);
        status.says("stands still").says("measurements say neither yes nor no: 3 were no numbers").says(why);
        // One machine has the release, with as few requests as its weight can say.
        assert_eq!(site.words().iter().filter(|word| *word == "two").count(), 1);
        assert_eq!(site.serving()["m1"], 40);
        assert_eq!(site.serving()["m2"], 256);
        if why.contains("gives nothing") {
            site.world.staith(&["release", "abort", "production", "--reason", "nobody knows"]).exits(0);
            assert_eq!(deployer.wait().unwrap().code(), Some(40));
            assert_eq!((site.words(), site.serving()), (all("one", 4), even(&FOUR)));
            continue;
        }
        // What is known now is no word about the step before: somebody has to say it. The next one is measured again.
        site.prometheus.says("0.01");
        site.world.staith(&["release", "resume", "production"]).exits(0);
        assert_eq!(deployer.wait().unwrap().code(), Some(0));
        assert_eq!(site.measured_of(1, began), ["done"; 3]);
        assert_eq!((site.words(), site.serving()), (all("two", 4), even(&FOUR)));
    }
}

#[test]
fn who_takes_over_from_a_killed_deployer_counts_on() {
    let site = Site::new(&FOUR, CANARY);
    site.begins();
    site.makes("two");
    site.prometheus.says("0.9");
    let began = site.events().len();
    let mut deployer = site.world.start(&DEPLOY);
    wait::until("one was bad", || (!site.measured(began).is_empty()).then_some(()));
    deployer.kill().unwrap();
    deployer.wait().unwrap();
    let before = site.measured(began).len();
    assert!((1..3).contains(&before), "it was killed too late: {before}");
    site.world.staith(&["release", "resume", "production"]).exits(40).says("3 were bad, where 2 may be");
    assert_eq!(site.measured(began), ["failed"; 3], "{before} of them before the kill");
    // What was asked when it was killed was answered to nobody.
    assert!((3..=4).contains(&site.prometheus.asked().len()), "{:?}", site.prometheus.asked());
    assert_eq!((site.words(), site.serving()), (all("one", 4), even(&FOUR)));
}

#[test]
fn two_pools_swap_back_by_themselves_when_measurements_say_no_after_the_swap() {
    let strategy = "{ blue-green = { pools = [\"blue\", \"green\"], bake = \"2s\", METRICS } }";
    let site = Site::new(&["blue1", "green1"], strategy);
    site.begins();
    assert_eq!(site.measured(0), ["done"; 3]);
    assert_eq!(site.serving(), even(&["blue1"]));
    site.makes("two");
    site.prometheus.says("0.9");
    let (began, load) =
        (site.events().len(), Mixed::start(site.node.front, &[Group::reading(2, true, "/short")]));
    let said = site.deploys().exits(40);
    said.says("measured for 3 s").says("measurements say no: 3 were bad, where 2 may be");
    assert_eq!(site.measured(began), ["failed"; 3]);
    let report = load.stop();
    assert_eq!(report.failures, BTreeMap::new());
    assert_eq!(report.by_release.len(), 2, "clients were answered by both: {:?}", report.by_release);
    assert_eq!(site.serving(), even(&["blue1"]));
    let others: BTreeSet<String> = site.words().into_iter().collect();
    assert_eq!(others.len(), 2, "the pool without requests keeps what it got");
    // The same release, well this time, stays.
    site.prometheus.says("0.01");
    site.deploys().exits(0);
    assert_eq!(site.serving(), even(&["green1"]));
}

#[test]
fn machines_in_turn_go_back_by_themselves_when_measurements_say_no_at_the_end() {
    let site = Site::new(&["m1", "m2"], "{ rolling = { max-unavailable = 1, bake = \"1s\", METRICS } }");
    site.begins();
    site.makes("two");
    site.prometheus.says("0.9");
    let began = site.events().len();
    site.deploys().exits(40).says("measurements say no: 3 were bad, where 2 may be");
    assert_eq!(site.measured(began), ["failed"; 3]);
    assert_eq!((site.words(), site.serving()), (all("one", 2), even(&["m1", "m2"])));
    // All at once is watched, too; and without metrics, health alone decides.
    site.world.edit("runner.toml", |text| {
        text.replace("{ rolling = { max-unavailable = 1, bake", "{ all-at-once = { bake")
    });
    site.deploys().exits(40).says("measurements say no: 3 were bad");
    assert_eq!(site.words(), all("one", 2));
    site.world.edit("runner.toml", |text| {
        let (before, _) = text.split_once("strategy = ").unwrap();
        format!("{before}strategy = {{ all-at-once = {{ bake = \"1s\" }} }}\n")
    });
    site.deploys().exits(0).says("watched for 1 s");
    assert_eq!(site.words(), all("two", 2));
}
