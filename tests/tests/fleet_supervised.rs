//! Blue and green on this one machine, kept running by Staith's own program: no systemd, no superuser, nothing installed but the
//! balancer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeMap, fs, process::Command};

use staith_tests::{
    haproxy::{BACKEND, Node},
    load::mixed::{Group, Mixed},
    pair::free,
    pools::Pools,
    wait,
    world::{Said, World},
};
use tempfile::TempDir;

/// Says the path that it was asked for, and which release it is; one whose word is `sick` says why it ends.
const SERVE: &str = r#"#!/usr/bin/env python3
import http.server, os, socket, sys, time
if "sick" in open("word.txt").read():
    sys.exit("no database for " + os.environ["TOKEN"])
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    def do_GET(self):
        if self.path.startswith("/long/"):
            time.sleep(int(self.path[6:]) / 1000)
        body = self.path.encode()
        head = "HTTP/1.1 200 OK\r\nx-staith-release: %s\r\ncontent-length: %d\r\n\r\n" % (os.environ["STAITH_RELEASE"], len(body))
        self.wfile.write(head.encode() + body)
    do_POST = do_GET
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

struct Site {
    world: World,
    place: TempDir,
    node: Node,
}

impl Site {
    fn new() -> Self {
        let (blue, green) = (free(), free());
        let node = Node::start_checking(&[("blue", blue), ("green", green)], "inter 100ms rise 1 fall 10");
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World::new().with_env("STAITH_SECRET_BELL_TOKEN", "hunter2hunter2");
        let socket = node.socket("admin.sock");
        let more = format!(
            "traffic = {{ haproxy = {{ nodes = [\"unix:{}\"], backend = \"{BACKEND}\" }} }}\ndrain = \"20s\"\n\
             secrets = {{ TOKEN = \"bell/token\" }}",
            socket.display()
        );
        let (at, place_of) = ([blue, green], place.path());
        let pools = Pools { name: "bell", at, place: place_of, successes: 2, more: &more };
        world.write("runner.toml", &pools.pipeline());
        world.write("serve", SERVE);
        Self { world, place, node }
    }

    /// From a commit whose word is this to what serves.
    fn releases(&self, word: &str) -> Said {
        self.world.write("word.txt", word);
        self.world.commit(word);
        self.world.staith(&["run", "--release", "production"])
    }

    fn folder(&self, target: &str) -> std::path::PathBuf {
        self.place.path().join("production").join(target)
    }

    fn pid(&self, target: &str) -> Option<i64> {
        let text = fs::read(self.folder(target).join(".running")).ok()?;
        serde_json::from_slice::<serde_json::Value>(&text).ok()?["pid"].as_i64()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for target in ["blue", "green"] {
            let folder = self.folder(target);
            let _ = Command::new(folder.join(".staith-machine"))
                .arg("stop")
                .arg("--folder")
                .arg(&folder)
                .status();
        }
    }
}

fn load() -> Vec<Group> {
    vec![
        Group::reading(3, true, "/short"),
        Group::reading(2, false, "/short"),
        Group::reading(1, true, "/long/300"),
    ]
}

#[test]
fn two_pools_on_one_machine_swap_and_go_back_without_a_lost_request() {
    let site = Site::new();
    let world = &site.world;
    site.releases("one").exits(0).says("serves in production");
    let load = Mixed::start(site.node.front, &load());
    let more = || {
        let far = load.asked() + 100;
        wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
    };
    more();
    site.releases("two").exits(0).says("serves in production");
    more();
    let (blue, green) = (site.pid("blue").unwrap(), site.pid("green").unwrap());
    // The other pool has stayed as it was: going back is only who gets requests.
    world.staith(&["release", "swap", "production"]).exits(0);
    more();
    world.staith(&["release", "swap", "production"]).exits(0);
    more();
    assert_eq!((site.pid("blue"), site.pid("green")), (Some(blue), Some(green)), "nothing was restarted");
    // Each is asked at its own port, which only `serves-at` says.
    world.staith(&["env", "status", "production", "--check"]).exits(0).says("healthy");
    world.staith(&["release", "rollback", "production"]).exits(0);
    more();
    world.staith(&["release", "lift", "production"]).exits(0);
    site.releases("three").exits(0);
    more();
    let report = load.stop();
    assert_eq!(report.failures, BTreeMap::new(), "of {}", report.all());
    assert_eq!(report.by_release.len(), 3, "{:?}", report.by_release);
}

/// Whether the service of a target runs, as the kernel has it.
fn runs(pid: i64) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}

#[test]
fn a_pool_is_stopped_when_it_was_kept_long_enough_and_started_again_for_going_back() {
    let site = Site::new();
    let world = &site.world;
    let kept = "pools = [\"blue\", \"green\"], keep-warm = \"5s\"";
    world.edit("runner.toml", |text| text.replace("pools = [\"blue\", \"green\"]", kept));
    site.releases("one").exits(0);
    world.staith(&["release", "docs", "production"]).exits(0).says("then its services are stopped");
    site.releases("two").exits(0).says("stays as it is for 5 s, then its services are stopped");
    let (blue, green) = (site.pid("blue").unwrap(), site.pid("green").unwrap());
    world.staith(&["release", "status", "production"]).exits(0).says("pool blue ");
    let load = Mixed::start(site.node.front, &load());
    // Nobody waits for it: it is stopped by who comes by when its time is over.
    wait::until("the pool is stopped", || {
        world.staith(&["env", "sweep"]).exits(0);
        (!runs(blue)).then_some(())
    });
    assert!(runs(green));
    world.staith(&["release", "status", "production"]).exits(0).says("pool blue was stopped");
    world.staith(&["env", "status", "production", "--check"]).exits(0);
    world.staith(&["env", "sweep"]).exits(0).says("no machines are due");
    // It has kept the release, and proves it before it gets the requests.
    world.staith(&["release", "swap", "production"]).exits(0).says("starts the release, which is there");
    let back = site.pid("blue").unwrap();
    assert!(runs(back) && back != blue);
    let far = load.asked() + 50;
    wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
    let report = load.stop();
    assert_eq!(report.failures, BTreeMap::new(), "of {}", report.all());
    assert_eq!(report.by_release.len(), 2, "{:?}", report.by_release);
    world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn a_rollback_below_the_floor_is_refused_without_a_reason() {
    let site = Site::new();
    let world = &site.world;
    site.releases("one").exits(0);
    world.edit("runner.toml", |text| {
        let text = text.replace("version = \"1.0.0\"", "version = \"2.0.0\"");
        text.replace("drain = ", "schema = \"expand\"\nrollback-floor = \"2.0.0\"\ndrain = ")
    });
    site.releases("two").exits(0).says("rollback floor 2.0.0").says("does not go back by itself");
    world.staith(&["release", "rollback", "production"]).exits(41).says("below the rollback floor 2.0.0");
    world.staith(&["release", "swap", "production"]).exits(41).says("--override-floor");
    let words = ["release", "rollback", "production", "--override-floor", "the data were restored"];
    world.staith(&words).exits(0).says("serves in production");
    world.staith(&["audit", "show", "--json"]).exits(0).says("the data were restored");
}

#[test]
fn a_service_that_falls_over_is_there_again_and_a_sick_one_is_told_with_its_last_words() {
    let site = Site::new();
    site.releases("one").exits(0);
    let serving = if site.pid("blue").is_some() { "blue" } else { "green" };
    let before = site.pid(serving).unwrap();
    let victim = rustix::process::Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    wait::until("it runs again", || site.pid(serving).filter(|now| *now != before));
    site.world.staith(&["release", "deploy", "--to", "production"]).exits(0);
    site.world.edit("runner.toml", |text| text.replace("deadline = \"60s\"", "deadline = \"2s\""));
    let failed = site.releases("sick").exits(40);
    failed.says("| no database for ").says("service.log").never_says("hunter2");
    // Clients never saw it.
    let load = Mixed::start(site.node.front, &[Group::reading(1, true, "/short")]);
    wait::until("they are answered", || (load.asked() >= 20).then_some(()));
    assert_eq!(load.stop().failures, BTreeMap::new());
}
