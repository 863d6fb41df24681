//! Releases to virtual machines with systemd, over ssh, behind HAProxy: swapped under load, killed, undone.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{
    haproxy::{BACKEND, Node},
    vm::VirtualMachine,
    wait,
    world::World,
};

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir -p dist/www; cp busybox dist/; cp word.txt dist/www/index.html; cp word.txt dist/www/healthz; chmod +x dist/busybox"
inputs = ["busybox", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [
    { host = "blue1", pool = "blue", host-key = "BLUE_KEY" },
    { host = "green1", pool = "green", host-key = "GREEN_KEY" },
]
service = { unit = "bell", run = ["./busybox", "httpd", "-f", "-p", "8080", "-h", "www"] }
port = 8080
health = { path = "/", deadline = "60s", successes = 2 }
strategy = { blue-green = { pools = ["blue", "green"] } }
traffic = { haproxy = { nodes = ["unix:SOCKET"], backend = "BACKEND" } }
drain = "5s"
"#;

struct Site {
    world: World,
    node: Node,
    machines: Vec<VirtualMachine>,
}

impl Site {
    fn new() -> Self {
        let machines = VirtualMachine::several(2);
        let node = Node::start_checking(
            &[("blue1", machines[0].web), ("green1", machines[1].web)],
            // Emulated machines answer late when everything else runs, too.
            "inter 500ms rise 1 fall 6",
        );
        let world = World::new();
        let config = world.scratch().join("ssh_config");
        let host = |name: &str, machine: &VirtualMachine| {
            format!(
                "Host {name}\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n",
                machine.ssh.port(),
                machine.key().display()
            )
        };
        fs::write(&config, host("blue1", &machines[0]) + &host("green1", &machines[1])).unwrap();
        let pipeline = PIPELINE
            .replace("BLUE_KEY", &machines[0].host_key())
            .replace("GREEN_KEY", &machines[1].host_key())
            .replace("SOCKET", &node.socket("admin.sock").display().to_string())
            .replace("BACKEND", BACKEND);
        world.write("runner.toml", &pipeline);
        fs::copy("/bin/busybox", world.project().join("busybox")).unwrap();
        let world = world.with_env("STAITH_SSH_CONFIG", &config.display().to_string());
        Self { world, node, machines }
    }

    /// A release whose page says this.
    fn says(&self, word: &str) {
        self.world.write("word.txt", word);
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        self.world.staith(&["release", "create"]).exits(0);
    }

    fn deploys(&self) -> staith_tests::world::Said {
        self.world.staith(&["release", "deploy", "--to", "production"])
    }

    /// A client that asks from now on, again and again.
    fn load(&self) -> Client {
        let (front, stop) = (self.node.front, Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut words, mut failures) = (BTreeMap::new(), Vec::new());
            while !told.load(Ordering::Relaxed) {
                match ask(front) {
                    Ok(word) => *words.entry(word).or_insert(0) += 1,
                    Err(why) => failures.push(why),
                }
                // Emulated machines would only be measured otherwise.
                std::thread::park_timeout(Duration::from_millis(20));
            }
            (words, failures)
        });
        Client { stop, thread }
    }
}

/// Somebody who asks all the time, as an emulated machine can take it.
struct Client {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(BTreeMap<String, u64>, Vec<String>)>,
}

/// What the client saw, with nothing lost.
fn nothing_lost(client: Client, words: &[&str]) {
    client.stop.store(true, Ordering::Relaxed);
    let (seen, failures) = client.thread.join().unwrap();
    assert!(failures.is_empty(), "{failures:?} beside {seen:?}");
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), words, "{seen:?}");
}

#[test]
fn a_blue_green_release_to_virtual_machines_loses_no_request() {
    let mut site = Site::new();
    site.says("one");
    let first = site.deploys().exits(0);
    first.says("serves in production");
    assert_eq!(wait::until("the first release is asked", || asked(&site)), "one");

    // Under load, to the other pool and back.
    let load = site.load();
    site.says("two");
    site.deploys().exits(0).says("serves in production");
    assert_eq!(asked(&site).as_deref(), Some("two"));
    site.world.staith(&["release", "swap", "production"]).exits(0);
    assert_eq!(asked(&site).as_deref(), Some("one"));
    site.world.staith(&["release", "rollback", "production"]).exits(0);
    assert_eq!(asked(&site).as_deref(), Some("two"));
    nothing_lost(load, &["one", "two"]);

    // A deployer that is killed again and again, and asked to go on, arrives, and no request is lost.
    let load = site.load();
    site.says("three");
    let mut deployer = site.world.start(&["release", "deploy", "--to", "production"]);
    wait::until("the deployment is under way", || {
        let status = site.world.staith(&["release", "status", "production", "--json"]).exits(0);
        let status: serde_json::Value = serde_json::from_str(status.out.lines().next()?).ok()?;
        let is_open = |one: &serde_json::Value| one["state"]["state"] != "succeeded";
        status["deployments"].as_array()?.iter().any(is_open).then_some(())
    });
    assert!(killed_within(&mut deployer, Duration::ZERO), "it was over before it could be killed");
    for delay in [100u64, 300, 500, 700, 900, 1100, 1300, 1500, 1700] {
        let mut deployer = site.world.start(&["release", "resume", "production"]);
        if !killed_within(&mut deployer, Duration::from_millis(delay)) {
            break;
        }
    }
    let resumed = site.world.staith(&["release", "resume", "production"]);
    assert!(matches!(resumed.code, Some(0 | 64)), "{resumed:?}");
    assert_eq!(asked(&site).as_deref(), Some("three"));
    nothing_lost(load, &["three", "two"]);

    // A machine that loses its power starts into a whole release.
    for machine in &mut site.machines {
        machine.power_off();
        machine.power_on();
    }
    for machine in &site.machines {
        machine.wait_until_ready();
        let page = "cd /srv/bell/current && cat www/index.html";
        let word = machine.says(page);
        assert!(["one", "two", "three"].contains(&word.as_str()), "{word}");
        let serves = || (machine.sh("systemctl is-active bell").stdout == b"active\n").then_some(());
        wait::until("the service is up after a start", serves);
    }
    site.world.staith(&["audit", "verify"]).exits(0);
}

/// Ends a process the hard way when its time is up; whether it was.
fn killed_within(process: &mut Child, time: Duration) -> bool {
    let end = std::time::Instant::now() + time;
    while std::time::Instant::now() < end {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(process), Signal::KILL).unwrap();
    process.wait().unwrap();
    true
}

/// What a client is answered.
fn asked(site: &Site) -> Option<String> {
    ask(site.node.front).ok()
}

fn ask(front: SocketAddr) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(front).map_err(said)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(said)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(body.to_owned()) } else { Err(status.to_owned()) }
}
