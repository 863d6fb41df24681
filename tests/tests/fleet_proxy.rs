//! `staith release deploy` says through the control socket of `staith proxy` who gets requests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use staith_tests::{
    station::{BACKEND, StationNode},
    world::World,
};
use tempfile::TempDir;

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
targets = [{ local = true, name = "here", serves-at = "ADDRESS" }]
folder = "PLACE/production"
service = "files"
traffic = { built-in = { nodes = ["unix:SOCKET"], backend = "BACKEND" } }
drain = "5s"
"#;

struct Site {
    world: World,
    place: TempDir,
    node: StationNode,
}

/// Answers every request with the file, as long as the test lives.
fn serve_file(path: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let path = path.clone();
            thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let (status, text) = match fs::read_to_string(&path) {
                    Ok(text) => ("200 OK", text),
                    Err(_) => ("404 Not Found", String::new()),
                };
                let length = text.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}"
                );
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

fn asked(front: SocketAddr) -> (String, String) {
    let mut stream = TcpStream::connect(front).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: bell\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.trim().to_owned())
}

impl Site {
    fn new() -> Self {
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let address = serve_file(place.path().join("production/current/word.txt"));
        let (world, node) = (World::new(), StationNode::start(&[]));
        let pipeline = PIPELINE
            .replace("ADDRESS", &address.to_string())
            .replace("PLACE", &place.path().display().to_string())
            .replace("SOCKET", &node.control().display().to_string())
            .replace("BACKEND", BACKEND);
        world.write("runner.toml", &pipeline);
        Self { world, place, node }
    }

    fn says(&self, word: &str) {
        self.world.write("word.txt", word);
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        self.world.staith(&["release", "create"]).exits(0);
    }

    fn status(&self) -> serde_json::Value {
        let control = self.node.control().display().to_string();
        let said = self.world.staith(&["proxy", "status", BACKEND, "--control", &control, "--json"]).exits(0);
        serde_json::from_str(&said.out).unwrap()
    }
}

#[test]
fn a_deployment_brings_its_machine_before_clients_and_goes_back_without_losing_one() {
    let mut site = Site::new();
    assert_eq!(asked(site.node.front).0, "503", "nobody was ever to serve");
    site.says("one");
    site.world.staith(&["release", "deploy", "--to", "production"]).exits(0).says("serves in production");
    assert_eq!(asked(site.node.front), ("200".into(), "one".into()));
    let status = site.status();
    assert_eq!(status["members"]["here"]["admitted"], true);
    let epoch = status["epoch"].as_u64().unwrap();

    let (front, stop) = (site.node.front, Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&stop);
    let client = thread::spawn(move || {
        let mut answers = Vec::new();
        while !told.load(Ordering::Relaxed) {
            answers.push(asked(front));
        }
        answers
    });
    site.says("two");
    site.world.staith(&["release", "deploy", "--to", "production"]).exits(0);
    assert_eq!(asked(front).1, "two");
    site.world.staith(&["release", "rollback", "production"]).exits(0);
    assert_eq!(asked(front).1, "one");
    stop.store(true, Ordering::Relaxed);
    let answers = client.join().unwrap();
    assert!(!answers.is_empty() && answers.iter().all(|(status, _)| status == "200"), "{answers:?}");

    // What it was told outlives it.
    site.node.kill();
    site.node.starts();
    assert_eq!(asked(front), ("200".into(), "one".into()));
    assert!(site.status()["epoch"].as_u64().unwrap() >= epoch);
    drop(site.place);
}

#[test]
fn a_proxy_that_is_not_there_is_told_and_nothing_is_deployed() {
    let mut site = Site::new();
    site.node.kill();
    site.says("one");
    let said = site.world.staith(&["release", "deploy", "--to", "production"]).exits(30);
    said.says("control.sock");
    assert!(!site.place.path().join("production/current").exists());
    let control = site.node.control().display().to_string();
    site.world
        .staith(&["proxy", "status", BACKEND, "--control", &control])
        .exits(30)
        .says("staith proxy serve");
    site.world.staith(&["proxy", "serve", "--config", "/not/on/this/machine"]).exits(64);
    site.world.write("wrong.toml", "control = \"/c\"\nfolder = \"/f\"\nbackend = 1\n");
    let wrong = site.world.project().join("wrong.toml").display().to_string();
    site.world.staith(&["proxy", "serve", "--config", &wrong]).exits(20).says("backend");
}
