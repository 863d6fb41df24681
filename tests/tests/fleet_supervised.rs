//! Blue and green on this one machine, kept running by Staith's own program: no systemd, no superuser, nothing installed but the
//! balancer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    process::Command,
};

use staith_tests::{
    haproxy::{BACKEND, Node},
    load::mixed::{Group, Mixed},
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
targets = [
    { local = true, name = "blue", pool = "blue", serves-at = "BLUE" },
    { local = true, name = "green", pool = "green", serves-at = "GREEN" },
]
folder = "PLACE/production"
service = { run = ["./serve"], supervisor = "staith" }
health = { path = "/healthz", header = "x-staith-release", deadline = "60s", successes = 2 }
strategy = { blue-green = { pools = ["blue", "green"] } }
traffic = { haproxy = { nodes = ["unix:SOCKET"], backend = "BACKEND" } }
drain = "20s"
secrets = { TOKEN = "bell/token" }
"#;

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

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Site {
    fn new() -> Self {
        let (blue, green) = (free(), free());
        let node = Node::start_checking(&[("blue", blue), ("green", green)], "inter 100ms rise 1 fall 10");
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World::new().with_env("STAITH_SECRET_BELL_TOKEN", "hunter2hunter2");
        let pipeline = PIPELINE
            .replace("BLUE", &blue.to_string())
            .replace("GREEN", &green.to_string())
            .replace("PLACE", &place.path().display().to_string())
            .replace("SOCKET", &node.socket("admin.sock").display().to_string())
            .replace("BACKEND", BACKEND);
        world.write("runner.toml", &pipeline);
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
