//! The deployer is killed between every two operations of a blue-green deployment to three machines, and another goes on: it always
//! converges, each machine is switched once, and no client loses a request. And it is stopped while machines hang.
//!
//! The machines are real as far as the deployer can tell: OpenSSH's server, the program that is put on machines, and a real HAProxy in
//! front of the application on them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use staith_model::Name;
use staith_tests::{
    balancing::serving,
    haproxy::{BACKEND, Node},
    load::mixed::{Group, Mixed},
    small_machine::SmallMachine,
    wait,
    world::{Said, World},
};

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp bell start note word.txt dist/; chmod +x dist/bell dist/start dist/note"
inputs = ["bell", "start", "note", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [
TARGETS]
service = { restart = ["./start"] }
port = 8080
health = { path = "/healthz", header = "x-staith-release", deadline = "60s", successes = 1 }
strategy = { blue-green = { pools = ["blue", "green"] } }
traffic = { haproxy = { nodes = ["unix:SOCKET"], backend = "BACKEND" } }
drain = "20s"
hooks = [
    { name = "migrate", at = "before-switch", once = true, run = ["./note", "migrate"] },
    { name = "warm", at = "after-restart", run = ["./note", "warm"] },
]
"#;

/// Puts the release in the place of the one before, and writes down that it did.
const START: &str = r#"#!/bin/sh
echo "$STAITH_RELEASE" >>"$STAITH_FOLDER/started"
[ -f "$STAITH_FOLDER/pid" ] && kill -9 "$(cat "$STAITH_FOLDER/pid")" 2>/dev/null
setsid ./bell 8080 </dev/null >/dev/null 2>&1 &
echo $! >"$STAITH_FOLDER/pid"
"#;

/// A hook that must not run twice. It waits where somebody put a gate in its way.
const NOTE: &str = r#"#!/bin/sh
echo "$1 $STAITH_RELEASE" >>"$STAITH_FOLDER/noted"
if [ -p "$STAITH_FOLDER/gate" ]; then cat "$STAITH_FOLDER/gate"; fi
"#;

/// Machines of each pool.
const EACH: usize = 3;

struct Site {
    world: World,
    node: Node,
    machines: BTreeMap<String, SmallMachine>,
    releases: Vec<String>,
    /// What is written down on the machines for each deployment so far.
    expected: BTreeMap<String, Notes>,
}

/// What a machine wrote down: releases that were started, and hooks that ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Notes {
    started: Vec<String>,
    noted: Vec<String>,
}

impl Site {
    /// Six machines, with nothing on them, and three releases.
    fn new() -> Self {
        let names =
            ["blue", "green"].iter().flat_map(|pool| (1..=EACH).map(move |nth| format!("{pool}{nth}")));
        let machines: BTreeMap<String, SmallMachine> =
            names.map(|name| (name, SmallMachine::start())).collect();
        let servers: Vec<_> = machines.iter().map(|(name, machine)| (name.as_str(), machine.web)).collect();
        // Patient, because everything else runs on the same processors, too.
        let node = Node::start_checking(&servers, "inter 100ms rise 1 fall 10");
        let world = World::new();
        let config = world.scratch().join("ssh_config");
        let hosts: String = machines.iter().map(|(name, machine)| machine.ssh_config(name)).collect();
        fs::write(&config, hosts).unwrap();
        let target = |(name, machine): (&String, &SmallMachine)| {
            let pool = name.trim_end_matches(char::is_numeric);
            format!(
                "    {{ host = \"{name}\", pool = \"{pool}\", host-key = \"{}\" }},\n",
                machine.host_key()
            )
        };
        let pipeline = PIPELINE
            .replace("TARGETS", &machines.iter().map(target).collect::<String>())
            .replace("SOCKET", &node.socket("admin.sock").display().to_string())
            .replace("BACKEND", BACKEND);
        world.write("runner.toml", &pipeline);
        world.write("start", START);
        world.write("note", NOTE);
        fs::copy(env!("CARGO_BIN_EXE_demo-bell"), world.project().join("bell")).unwrap();
        let world = world.with_env("STAITH_SSH_CONFIG", &config.display().to_string());
        let expected = machines.keys().map(|name| (name.clone(), Notes::default())).collect();
        let mut site = Self { world, node, machines, releases: Vec::new(), expected };
        site.releases = ["one", "two", "three"].map(|word| site.release(word)).into();
        site
    }

    fn release(&self, word: &str) -> String {
        self.world.write("word.txt", word);
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        let made = self.world.staith(&["release", "create", "--json"]).exits(0);
        let value: Value = serde_json::from_str(made.out.lines().next().unwrap()).unwrap();
        value["release"].as_str().unwrap().to_owned()
    }

    /// The release of the nth deployment: with three releases and two pools, none finds itself on the pool that it goes to.
    fn nth(&self, nth: usize) -> &str {
        &self.releases[nth % self.releases.len()]
    }

    /// The machines that the nth deployment goes to.
    fn pool(&self, nth: usize) -> Vec<String> {
        let pool = ["blue", "green"][nth % 2];
        self.machines.keys().filter(|name| name.starts_with(pool)).cloned().collect()
    }

    /// Runs a command that dies at its nth passage from one operation to the next. `None` if it died.
    fn dies_at(&self, passage: usize, arguments: &[&str]) -> Option<Said> {
        let mut command = self.world.command(arguments);
        command.env("STAITH_DEPLOYER_STOP_AT", passage.to_string());
        let output: Output = command.output().unwrap();
        (output.status.signal() != Some(9)).then(|| Said::of(&output))
    }

    fn deploy(nth: &str) -> [&str; 5] {
        ["release", "deploy", nth, "--to", "production"]
    }

    /// Goes on with what the last process left, if it left something, or asks for it (again) if it left nothing.
    fn finish(&self, nth: usize) {
        let resumed = self.world.staith(&["release", "resume", "production"]);
        match resumed.code {
            Some(0) => {}
            // Nothing is under way: it had not yet asked, or had nothing left to do.
            Some(64) => {
                self.world.staith(&Self::deploy(self.nth(nth))).exits(0);
            }
            _ => panic!("{resumed:?}"),
        }
    }

    /// The nth deployment has come to an end: its machines were switched once, ran each hook once, and serve; nothing else was touched.
    fn arrived(&mut self, nth: usize, what: &str) {
        let release = self.nth(nth).to_owned();
        let pool = self.pool(nth);
        for (place, name) in pool.iter().enumerate() {
            let notes = self.expected.get_mut(name).unwrap();
            notes.started.push(release.clone());
            if place == 0 {
                notes.noted.push(format!("migrate {release}"));
            }
            notes.noted.push(format!("warm {release}"));
        }
        let notes: BTreeMap<String, Notes> =
            self.machines.iter().map(|(name, machine)| (name.clone(), notes_of(machine))).collect();
        assert_eq!(notes, self.expected, "{what}");
        for name in &pool {
            let current = fs::read_link(self.machines[name].at("/srv/bell/current")).unwrap();
            assert!(release.ends_with(current.file_name().unwrap().to_str().unwrap()), "{what}: {current:?}");
        }
        let names: BTreeSet<Name> = pool.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(runtime().block_on(serving(&self.node.balancer())), names, "{what}");
    }

    fn load(&self) -> Mixed {
        let paced = |clients, keeps, path: &str| Group {
            pace: Some(Duration::from_millis(50)),
            ..Group::reading(clients, keeps, path)
        };
        Mixed::start(
            self.node.front,
            &[paced(2, true, "/kept"), paced(2, false, "/fresh"), Group::reading(1, true, "/long/200")],
        )
    }

    /// The events in the ledger.
    fn events(&self) -> Vec<Value> {
        let path = self.world.home().join("environments/bell/production/ledger.jsonl");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .filter_map(|line| Some(serde_json::from_str::<Value>(line).ok()?["event"].clone()))
            .collect()
    }

    /// Waits until the ledger holds an event like this, after so many others.
    fn tells(&self, what: &str, after: usize, is_it: impl Fn(&Value) -> bool) -> usize {
        wait::until(what, || self.events().iter().skip(after).position(&is_it).map(|place| after + place))
    }
}

fn notes_of(machine: &SmallMachine) -> Notes {
    let lines = |name: &str| {
        let text = fs::read_to_string(machine.at("/srv/bell").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    Notes { started: lines("started"), noted: lines("noted") }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// No client lost a request, and each was answered by a release that there is.
fn nothing_lost(site: &Site, load: Mixed) {
    let report = load.stop();
    println!("{} requests, failed: {:?}", report.all(), report.failures);
    assert_eq!(report.failures, BTreeMap::new());
    assert!(
        report.by_release.keys().all(|release| site.releases.contains(release)),
        "{:?}",
        report.by_release
    );
}

/// Deployments one after another, each killed at a passage that is `step` after that of the one before, until one comes to its end unkilled.
fn killed_at_each(first: usize, step: usize) {
    let mut site = Site::new();
    site.world.staith(&Site::deploy(site.nth(0))).exits(0);
    site.arrived(0, "the first deployment");
    let load = site.load();
    let (mut nth, mut passage) = (0, first);
    loop {
        nth += 1;
        let ended = site.dies_at(passage, &Site::deploy(site.nth(nth)));
        let killed = ended.is_none();
        match ended {
            Some(said) => drop(said.exits(0)),
            None => site.finish(nth),
        }
        site.arrived(nth, &format!("killed at passage {passage}"));
        if !killed {
            break;
        }
        passage += step;
    }
    nothing_lost(&site, load);
    // Three machines are staged, switched, proven and have run a hook, each with an intent and an outcome, before traffic moves.
    assert!(passage > 40, "a whole deployment has more operations than {passage}");
    println!("killed at each of {passage} passages");
    site.world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn killed_before_any_operation_another_goes_on() {
    killed_at_each(1, 2);
}

#[test]
fn killed_after_any_operation_another_goes_on() {
    killed_at_each(2, 2);
}

#[test]
fn killed_again_and_again_one_deployment_arrives() {
    let mut site = Site::new();
    site.world.staith(&Site::deploy(site.nth(0))).exits(0);
    site.arrived(0, "the first deployment");
    let load = site.load();
    let (mut ended, mut kills) = (site.dies_at(7, &Site::deploy(site.nth(1))), 0);
    let said = loop {
        if let Some(said) = ended {
            break said;
        }
        kills += 1;
        assert!(kills < 100, "it does not get anywhere");
        // Three entries are the ask to go on, the lease and something to do; some get further.
        ended = site.dies_at(6 + kills % 11, &["release", "resume", "production"]);
    };
    // One that is killed after its last entry leaves nothing to go on with.
    assert!(matches!(said.code, Some(0 | 64)), "{said:?}");
    println!("killed {kills} times");
    assert!(kills > 3);
    site.arrived(1, "killed again and again");
    nothing_lost(&site, load);
}

fn is_change(event: &Value, change: &str) -> bool {
    event["event"] == "changed" && event["change"] == change
}

fn is_of(event: &Value, kind: &str, work: &str, target: &str) -> bool {
    event["event"] == kind && event["work"]["do"] == work && event["work"]["target"] == target
}

/// Stopped while a hook blocks, and while machines hang that are being switched: both are heard at once, which the order of things in the
/// ledger shows, and neither leaves anything behind.
#[test]
fn a_deployment_is_stopped_while_machines_hang() {
    let mut site = Site::new();
    site.world.staith(&Site::deploy(site.nth(0))).exits(0);
    site.arrived(0, "the first deployment");
    let load = site.load();
    let gate = site.machines["green1"].at("/srv/bell/gate");
    for hanging in [None, Some("green2")] {
        let (begins, before) = (site.events().len(), notes_of(&site.machines["green1"]));
        fs::create_dir_all(gate.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
        let deployer = site.world.start(&Site::deploy(site.nth(1)));
        site.tells("the hook is under way", begins, |event| is_of(event, "intent", "hook", "green1"));
        wait::until("the hook blocks", || (notes_of(&site.machines["green1"]) != before).then_some(()));
        let go_on = || {
            fs::write(&gate, "go on").unwrap();
            fs::remove_file(&gate).unwrap();
        };
        let (slow, target) = match hanging {
            None => ("hook", "green1"),
            Some(target) => {
                site.machines[target].hangs();
                go_on();
                site.tells("it is switched", begins, |event| is_of(event, "intent", "switch", target));
                ("switch", target)
            }
        };
        let abort = site.world.start(&["release", "abort", "production", "--reason", "enough"]);
        let stopped = site.tells("it is stopped", begins, |event| is_change(event, "aborted"));
        // Only now may go on what hangs.
        match hanging {
            None => go_on(),
            Some(target) => site.machines[target].goes_on(),
        }
        let said = Said::of(&deployer.wait_with_output().unwrap()).exits(40);
        let heard = Said::of(&abort.wait_with_output().unwrap());
        assert!(matches!(heard.code, Some(0 | 40)), "{heard:?} {said:?}");
        let events = site.events();
        let asked = events.iter().skip(begins).position(|event| event["ask"]["ask"] == "abort").unwrap();
        assert!(begins + asked < stopped);
        let ended = events.iter().skip(begins).position(|event| is_of(event, "outcome", slow, target));
        assert!(ended.is_none_or(|ended| begins + ended > stopped), "it was waited for");
        assert!(events.iter().skip(stopped).any(|event| is_change(event, "restored")));
        let names: BTreeSet<Name> = site.pool(0).iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(runtime().block_on(serving(&site.node.balancer())), names);
    }
    nothing_lost(&site, load);
    // What hung is well again.
    site.expected = site.machines.iter().map(|(name, machine)| (name.clone(), notes_of(machine))).collect();
    site.world.staith(&Site::deploy(site.nth(2))).exits(0);
    for name in site.pool(1) {
        assert_eq!(notes_of(&site.machines[&name]).started.last().map(String::as_str), Some(site.nth(2)));
    }
    site.world.staith(&["audit", "verify"]).exits(0);
}
