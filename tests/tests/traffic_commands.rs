//! `staith release deploy` moves requests by each provider: to HAProxy behind ssh with reloads in the middle, to BIND 9, and to what stands
//! in for Azure's Traffic Manager.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::Value;
use staith_tests::{
    balancing::hold_to_the_contract,
    bind::{Bind, KEY_BASE64},
    haproxy::{BACKEND, Node},
    load::{
        RELEASE,
        mixed::{Group, Mixed},
    },
    machines::{FOLDER, Files, Machines, word},
    traffic_manager::{PROFILE, Profile, TOKEN},
    wait,
    world::{Said, World},
};

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp word.txt dist/"
inputs = ["word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [
    { host = "blue1", name = "blue", pool = "blue", serves-at = "127.0.0.2:PORT" },
    { host = "green1", name = "green", pool = "green", serves-at = "127.0.0.3:PORT" },
]
folder = "FOLDER"
service = "files"
strategy = { blue-green = { pools = ["blue", "green"] } }
drain = "5s"
"#;

/// Two machines and whoever balances before them.
struct Site {
    world: World,
    machines: Machines,
    _files: [Files; 2],
    places: [SocketAddr; 2],
}

impl Site {
    fn new() -> Self {
        let machines = Machines::start(&["blue1", "green1", "lb"]);
        let world = machines.known_in(World::new());
        let port = port_of_both();
        let files = [("blue1", 2), ("green1", 3)].map(|(name, last)| {
            Files::serve(machines.folder(name), (Ipv4Addr::new(127, 0, 0, last), port).into())
        });
        let places = [files[0].address, files[1].address];
        Self { world, machines, _files: files, places }
    }

    /// Says who balances.
    fn balanced_by(self, traffic: &str) -> Self {
        let pipeline = PIPELINE.replace("PORT", &self.places[0].port().to_string()).replace("FOLDER", FOLDER);
        self.world.write("runner.toml", &format!("{pipeline}{traffic}\n"));
        self
    }

    fn with_secret(mut self, name: &str, value: &str) -> Self {
        self.world = self.world.with_env(&format!("STAITH_SECRET_{name}"), value);
        self
    }

    /// Makes a release whose word is this.
    fn says(&self, word: &str) {
        self.world.write("word.txt", word);
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        self.world.staith(&["release", "create"]).exits(0);
    }

    fn deploys(&self) -> Said {
        self.world.staith(&["release", "deploy", "--to", "production"])
    }

    fn word_on(&self, machine: &str) -> Option<String> {
        word(&self.machines.folder(machine))
    }
}

/// A port that is free at both addresses.
fn port_of_both() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.3", port)).is_ok() {
            return port;
        }
    }
}

/// The release that answers.
fn asked(front: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(front).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let release = |line: &str| Some(line.strip_prefix(RELEASE)?.strip_prefix(": ")?.to_owned());
    answer.lines().find_map(release)
}

/// What HAProxy says to a command.
fn haproxy_says(socket: &Path, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(format!("{command}\n").as_bytes()).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}

/// The administrative state of a server, as HAProxy counts it; 1 is maintenance.
fn state_of(node: &Node, server: &str) -> Option<u32> {
    let said = haproxy_says(&node.socket("admin.sock"), &format!("show servers state {BACKEND}"))?;
    let row = said.lines().find(|line| line.contains(&format!(" {server} ")))?;
    row.split(' ').nth(6)?.parse().ok()
}

/// Reloads, and waits until the new worker answers.
fn reload(node: &Node) {
    let pid = || {
        let said = haproxy_says(&node.socket("admin.sock"), "show info")?;
        said.lines().find(|line| line.starts_with("Pid:")).map(str::to_owned)
    };
    let before = wait::until("HAProxy answers", pid);
    node.reload();
    wait::until("another worker answers", || pid().filter(|now| *now != before));
    node.answers();
}

#[test]
fn haproxy_behind_ssh_is_reloaded_in_the_middle_and_nothing_is_lost() {
    let site = Site::new();
    let servers = [("blue", site.places[0]), ("green", site.places[1])];
    // One on another machine, and one on this.
    // A busy machine answers checks late, and what is watched here is not its speed.
    let start = || Node::start_checking(&servers, "inter 500ms rise 1 fall 6");
    let (node, other) = (start(), start());
    let said = |node: &Node, way: &str, keeps: bool| {
        let at = |name: &str| node.socket(name).display().to_string();
        let plain = format!("runtime = \"{way}:{}\", master = \"{}\"", at("admin.sock"), at("master.sock"));
        let state = if keeps { format!(", state-file = \"{}\"", at("state")) } else { String::new() };
        format!("{{ {plain}{state} }}")
    };
    let traffic = |keeps: bool| {
        let nodes = [said(&node, "ssh:lb", keeps), said(&other, "unix", keeps)].join(", ");
        format!("traffic = {{ haproxy = {{ nodes = [{nodes}], backend = \"{BACKEND}\" }} }}")
    };
    let site = site.balanced_by(&traffic(true));
    site.says("one");
    site.deploys().exits(0).says("requests go to");
    assert_eq!(wait::until("the first release is asked", || asked(node.front)), "one");

    let load = Mixed::start(node.front, &[Group::reading(3, true, "/"), Group::reading(3, false, "/")]);
    for word in ["two", "three", "four"] {
        site.says(word);
        let is_out = |server: &&str| state_of(&node, server).is_some_and(|state| state & 1 == 1);
        let server = ["blue", "green"].into_iter().find(is_out).expect("one of them is out");
        let mut deployer = site.world.start(&["release", "deploy", "--to", "production"]);
        // In the middle: the new one is on its way in.
        wait::until("it is brought in", || (state_of(&node, server)? & 1 == 0).then_some(()));
        reload(&node);
        let ended = deployer.wait().unwrap();
        assert!(ended.success(), "{ended}");
        assert_eq!(asked(node.front).as_deref(), Some(word));
        // And after: what was decided stays.
        for node in [&node, &other] {
            reload(node);
            assert_eq!(asked(node.front).as_deref(), Some(word));
        }
    }
    let report = load.stop();
    println!("{} requests, 3 swaps, 9 reloads, failed: {:?}", report.all(), report.failures);
    assert!(report.failures.is_empty(), "{}\n{:?}", node.said(), report.failures);
    assert_eq!(
        report.by_release.keys().map(String::as_str).collect::<Vec<_>>(),
        ["four", "one", "three", "two"]
    );

    // Who does not name the file is told what that means, and it is so: a reload forgets.
    let site = site.balanced_by(&traffic(false));
    site.says("five");
    site.deploys().exits(0).says("forgets who serves");
    assert_eq!(asked(node.front).as_deref(), Some("five"));
    reload(&node);
    assert_eq!(wait::until("somebody answers", || asked(node.front)), "four");
    site.world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn haproxy_that_is_not_there_and_keys_that_changed_are_told() {
    let site = Site::new();
    let nowhere =
        "traffic = { haproxy = { nodes = [\"ssh:lb:/not/on/this/machine.sock\"], backend = \"app\" } }";
    let site = site.balanced_by(nowhere);
    site.says("one");
    let said = site.world.staith(&["release", "plan", "--to", "production"]).exits(30);
    said.says("ssh:lb:/not/on/this/machine.sock").says("nobody answers there");
    let pinned = nowhere.replace(
        "\"ssh:lb:/not/on/this/machine.sock\"",
        "{ runtime = \"ssh:lb:/x\", host-key = \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\" }",
    );
    let site = site.balanced_by(&pinned);
    site.world.staith(&["release", "plan", "--to", "production"]).says("THE KEY OF");
}

#[test]
fn bind_is_told_by_release_deploy_and_the_time_to_live_is_waited_for() {
    let (site, bind) = (Site::new(), Bind::start_with_ttl(2));
    let traffic = format!(
        "traffic = {{ dns = {{ server = \"{}\", zone = \"staith.test\", record = \"app.staith.test\", ttl = \"2s\", key = \"staith\", \
         secret = \"dns/key\" }} }}",
        bind.address
    );
    let site = site.balanced_by(&traffic);
    site.says("one");
    // Its key is needed, and told apart from a wrong one.
    site.deploys().exits(20).says("dns/key").says("staith secret set");
    let site = site.with_secret("DNS_KEY", "bm90IHRoZSBrZXkgdGhhdCBpcyB0aGVyZSBhdCBhbGw=");
    let said = site.world.staith(&["release", "plan", "--to", "production"]).exits(30);
    said.says("NOTAUTH (BADSIG)").says("set the secret anew").never_says("bm90IHRo");
    let site = site.with_secret("DNS_KEY", KEY_BASE64);
    assert_eq!(bind.serving(), ["blue".to_owned()].into());
    // The plan says how long earlier answers are believed, and so does whoever watches.
    site.deploys()
        .exits(0)
        .says("then 2 s in which clients may still believe earlier answers")
        .says("requests go to green")
        .says("clients may believe earlier answers for 2 s more");
    assert_eq!(bind.serving(), ["green".to_owned()].into());
    assert_eq!((site.word_on("blue1"), site.word_on("green1").as_deref()), (None, Some("one")));
    site.says("two");
    let before = last_shift(&site);
    site.deploys().exits(0);
    assert_eq!(bind.serving(), ["blue".to_owned()].into());
    assert_eq!(
        (site.word_on("blue1").as_deref(), site.word_on("green1").as_deref()),
        (Some("two"), Some("one"))
    );
    // By the ledger: the machine that clients may still have asked was touched two seconds after the shift at the earliest.
    let touched = first_switch_after(&site, before);
    assert!(touched >= before + 2_000, "{before} {touched}");
    site.world.staith(&["release", "rollback", "production"]).exits(0);
    assert_eq!(bind.serving(), ["green".to_owned()].into());
}

/// The ledger's entries, as they are exported for others.
fn entries(site: &Site) -> Vec<Value> {
    let mut found = Vec::new();
    let mut folders = vec![site.world.home()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.to_string_lossy().contains("/production/") {
                let text = fs::read_to_string(&entry).unwrap_or_default();
                found.extend(text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()));
            }
        }
    }
    found
}

/// Times of what was done, by what it was.
fn times(site: &Site, event: &str, what: &str) -> Vec<u64> {
    fn find<'a>(value: &'a Value, event: &str, what: &str) -> Option<&'a Value> {
        let is = value["event"] == event && value["work"]["do"] == what;
        match value {
            _ if is => Some(value),
            Value::Object(fields) => fields.values().find_map(|value| find(value, event, what)),
            _ => None,
        }
    }
    let all = entries(site);
    let mut times: Vec<u64> = all
        .iter()
        .filter(|entry| find(entry, event, what).is_some())
        .filter_map(|entry| entry["at"].as_u64())
        .collect();
    times.sort_unstable();
    times
}

fn last_shift(site: &Site) -> u64 {
    *times(site, "outcome", "serve").last().expect("somebody was told who serves")
}

fn first_switch_after(site: &Site, time: u64) -> u64 {
    *times(site, "intent", "switch").iter().find(|at| **at > time).expect("a machine was switched")
}

#[test]
fn traffic_manager_is_told_by_release_deploy() {
    let (site, profile) = (Site::new(), Profile::start(&["blue", "green"]));
    let traffic = format!(
        "traffic = {{ traffic-manager = {{ profile = \"{PROFILE}\", token = \"AZURE_TOKEN\", management = \"http://{}\" }} }}",
        profile.address
    );
    let site = site.balanced_by(&traffic).with_secret("AZURE_TOKEN", "another");
    site.says("one");
    let said = site.world.staith(&["release", "plan", "--to", "production"]).exits(30);
    said.says("InvalidAuthenticationToken").says("has not expired");
    let site = site.with_secret("AZURE_TOKEN", TOKEN);
    site.deploys().exits(0).says("requests go to green");
    assert_eq!(profile.enabled(), ["green"]);
    site.says("two");
    site.deploys().exits(0).says("requests go to blue");
    assert_eq!(profile.enabled(), ["blue"]);
    assert!(profile.story().iter().all(|enabled| !enabled.is_empty()), "{:?}", profile.story());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sign_in =
        staith_releaser::fleet::balancer::traffic_manager::SignIn::Token(staith_model::Secret::new(TOKEN));
    let manager = staith_releaser::fleet::balancer::traffic_manager::TrafficManager::new(
        &format!("http://{}", profile.address),
        PROFILE,
        sign_in,
    );
    runtime.block_on(hold_to_the_contract(&manager.unwrap(), "blue", "green"));
}
