//! A rolling deployment to three machines behind HAProxy, under load: one machine at a time is out, no client loses a request, and where a
//! machine turns sick in the middle all of them go back by themselves.
//!
//! Two witnesses say who was out: the ledger, which holds each thing that was done, and HAProxy, which is asked all the time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::Value;
use staith_model::Name;
use staith_tests::{
    balancing::serving,
    haproxy::{BACKEND, Node},
    load::mixed::{Mixed, Report, usual},
    small_machine::SmallMachine,
    wait,
    world::World,
};

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp bell start word.txt dist/; chmod +x dist/bell dist/start"
inputs = ["bell", "start", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [
TARGETS]
service = { restart = ["./start"] }
port = 8080
health = { path = "/healthz", header = "x-staith-release", deadline = "10s", successes = 2 }
strategy = { rolling = { max-unavailable = 1 } }
traffic = { haproxy = { nodes = ["unix:SOCKET"], backend = "BACKEND" } }
drain = "20s"
"#;

/// Puts the release in the place of the one before. A frail one is sick on a machine that is weak.
const START: &str = r#"#!/bin/sh
[ -f "$STAITH_FOLDER/weak" ] && grep -q frail word.txt && export BELL_IS_SICK=1
[ -f "$STAITH_FOLDER/pid" ] && kill -9 "$(cat "$STAITH_FOLDER/pid")" 2>/dev/null
setsid ./bell 8080 </dev/null >/dev/null 2>&1 &
echo $! >"$STAITH_FOLDER/pid"
"#;

const NAMES: [&str; 3] = ["web1", "web2", "web3"];

struct Site {
    world: World,
    node: Node,
    machines: BTreeMap<&'static str, SmallMachine>,
}

impl Site {
    /// Three machines that serve a release, which is given back.
    fn new() -> (Self, String) {
        let machines: BTreeMap<_, _> = NAMES.iter().map(|name| (*name, SmallMachine::start())).collect();
        let servers: Vec<_> = machines.iter().map(|(name, machine)| (*name, machine.web)).collect();
        // Patient, because everything else runs on the same processors, too.
        let node = Node::start_checking(&servers, "inter 200ms rise 1 fall 10");
        let world = World::new();
        let config = world.scratch().join("ssh_config");
        fs::write(&config, machines.iter().map(|(name, one)| one.ssh_config(name)).collect::<String>())
            .unwrap();
        let target = |(name, machine): (&&str, &SmallMachine)| {
            format!("    {{ host = \"{name}\", host-key = \"{}\" }},\n", machine.host_key())
        };
        let pipeline = PIPELINE
            .replace("TARGETS", &machines.iter().map(target).collect::<String>())
            .replace("SOCKET", &node.socket("admin.sock").display().to_string())
            .replace("BACKEND", BACKEND);
        world.write("runner.toml", &pipeline);
        world.write("start", START);
        fs::copy(env!("CARGO_BIN_EXE_demo-bell"), world.project().join("bell")).unwrap();
        let world = world.with_env("STAITH_SSH_CONFIG", &config.display().to_string());
        let site = Self { world, node, machines };
        let release = site.release("one");
        site.world.staith(&["release", "deploy", "--to", "production"]).exits(0);
        site.all_serve(&release);
        (site, release)
    }

    fn release(&self, word: &str) -> String {
        self.world.write("word.txt", word);
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        let made = self.world.staith(&["release", "create", "--json"]).exits(0).values().remove(0);
        made["release"].as_str().unwrap().to_owned()
    }

    /// All machines run this release and get requests.
    fn all_serve(&self, release: &str) {
        for (name, machine) in &self.machines {
            let current = fs::read_link(machine.at("/srv/bell/current")).unwrap();
            assert!(release.ends_with(current.file_name().unwrap().to_str().unwrap()), "{name}: {current:?}");
        }
        assert_eq!(serving_now(&self.node), NAMES.iter().map(|name| name.parse().unwrap()).collect());
    }

    /// The events in the ledger.
    fn events(&self) -> Vec<Value> {
        let path = self.world.home().join("environments/bell/production/ledger.jsonl");
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect()
    }

    /// Everything that is asked and looked at from now on.
    fn watched(&self) -> Watched {
        let load = Mixed::start(self.node.front, &usual());
        wait::until("the load is on", || (load.asked() > 100).then_some(()));
        Watched { load, haproxy: Witness::of(&self.node), since: self.events().len() }
    }
}

fn serving_now(node: &Node) -> BTreeSet<Name> {
    staith_tests::pair::runtime(1).block_on(serving(&node.balancer()))
}

/// Clients, and who is asked meanwhile who gets their requests.
struct Watched {
    load: Mixed,
    haproxy: Witness,
    since: usize,
}

impl Watched {
    /// No request was lost and never more than one machine was out. What clients saw, and who was switched to what, in order.
    fn nothing_lost(self, site: &Site) -> (Report, Vec<(String, String)>) {
        // Who stays connected sees what comes after, too.
        let far = self.load.asked() + 200;
        wait::until("the load has gone on", || (self.load.asked() >= far).then_some(()));
        let (least, looks) = self.haproxy.says();
        let report = self.load.stop();
        println!("{} requests, {looks} looks, failed: {:?}", report.all(), report.failures);
        assert_eq!(report.failures, BTreeMap::new());
        assert_eq!(least, NAMES.len() - 1, "the fewest that HAProxy sent requests to, of {looks} looks");
        let switched = switched_one_by_one(&site.events()[self.since..]);
        (report, switched)
    }
}

/// Asks HAProxy all the time how many get requests.
struct Witness {
    over: Arc<AtomicBool>,
    thread: JoinHandle<(usize, u64)>,
}

impl Witness {
    fn of(node: &Node) -> Self {
        let (balancer, over) = (node.balancer(), Arc::<AtomicBool>::default());
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let runtime = staith_tests::pair::runtime(1);
            let (mut least, mut looks) = (usize::MAX, 0);
            while !told.load(Ordering::Relaxed) {
                least = least.min(runtime.block_on(serving(&balancer)).len());
                looks += 1;
                thread::yield_now();
            }
            (least, looks)
        });
        Self { over, thread }
    }

    /// The fewest that got requests, and how often it was looked.
    fn says(self) -> (usize, u64) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Who was switched to what, by the ledger: only who gets no requests is, and nobody else goes without meanwhile.
fn switched_one_by_one(events: &[Value]) -> Vec<(String, String)> {
    let mut serving: BTreeSet<String> = NAMES.map(str::to_owned).into();
    let mut switched = Vec::new();
    for event in events {
        match (event["event"].as_str(), event["work"]["do"].as_str()) {
            (Some("intent"), Some("serve")) => {
                let to = event["work"]["to"].as_object().unwrap();
                assert!(to.len() + 1 >= NAMES.len(), "more than one is taken out: {event}");
            }
            (Some("outcome"), Some("serve")) => {
                serving = event["work"]["to"].as_object().unwrap().keys().cloned().collect();
            }
            (Some("intent"), Some("switch")) => {
                let target = event["work"]["target"].as_str().unwrap().to_owned();
                assert!(!serving.contains(&target), "it still gets requests: {event}");
                switched.push((target, event["work"]["to"].as_str().unwrap().to_owned()));
            }
            _ => {}
        }
    }
    switched
}

fn owned(switched: &[(&str, &String)]) -> Vec<(String, String)> {
    switched.iter().map(|(name, release)| ((*name).to_owned(), (*release).clone())).collect()
}

#[test]
fn one_machine_at_a_time_is_out_and_no_request_is_lost() {
    let (site, one) = Site::new();
    let two = site.release("two");
    let watched = site.watched();
    site.world.staith(&["release", "deploy", "--to", "production"]).exits(0).says("serves in production");
    site.all_serve(&two);
    site.world.staith(&["release", "rollback", "production"]).exits(0);
    site.all_serve(&one);
    let (report, switched) = watched.nothing_lost(&site);
    let (forth, back) = switched.split_at(NAMES.len());
    assert_eq!(forth, owned(&NAMES.map(|name| (name, &two))));
    let back: BTreeSet<_> = back.iter().cloned().collect();
    assert_eq!(back, owned(&NAMES.map(|name| (name, &one))).into_iter().collect());
    assert_eq!(report.by_release.keys().collect::<BTreeSet<_>>(), [&one, &two].into());
    site.world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn a_machine_that_turns_sick_in_the_middle_has_all_of_them_go_back_and_no_request_is_lost() {
    let (site, one) = Site::new();
    let frail = site.release("frail");
    fs::write(site.machines["web2"].at("/srv/bell/weak"), "").unwrap();
    let watched = site.watched();
    let said = site.world.staith(&["release", "deploy", "--to", "production"]).exits(40);
    said.says("web2").says("500");
    site.all_serve(&one);
    let (report, switched) = watched.nothing_lost(&site);
    // The third never saw it; the second, which is out already, goes back before the first is taken out for it.
    let expected = owned(&[("web1", &frail), ("web2", &frail), ("web2", &one), ("web1", &one)]);
    assert_eq!(switched, expected);
    // The first had it and was asked: there was something to go back from.
    assert_eq!(report.by_release.keys().collect::<BTreeSet<_>>(), [&one, &frail].into());
    site.world.staith(&["audit", "verify"]).exits(0);
}
