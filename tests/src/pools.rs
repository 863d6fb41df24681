//! A project that is released to two pools on this machine, kept running by Staith's own program.

use std::{net::SocketAddr, path::Path};

const PIPELINE: &str = r#"
name = "NAME"
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
health = { path = "/healthz", header = "x-staith-release", deadline = "60s", successes = SUCCESSES }
strategy = { blue-green = { pools = ["blue", "green"] } }
"#;

/// What such a project runs: says which release it is, and its word, to this machine only. One whose word is `slow` takes its time before
/// it is healthy.
pub const SERVE: &str = r#"#!/usr/bin/env python3
import http.server, os, time
if "slow" in open("word.txt").read():
    time.sleep(4)
class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = open("word.txt", "rb").read()
        head = "HTTP/1.1 200 OK\r\nx-staith-release: %s\r\ncontent-length: %d\r\n\r\n" % (os.environ["STAITH_RELEASE"], len(body))
        self.wfile.write(head.encode() + body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"#;

/// What a scenario chooses of such a project.
#[derive(Debug, Clone, Copy)]
pub struct Pools<'a> {
    /// What the project is called.
    pub name: &'a str,
    /// Where blue and green listen.
    pub at: [SocketAddr; 2],
    /// The folder below which releases are.
    pub place: &'a Path,
    /// Good answers in a row that are asked for.
    pub successes: u32,
    /// More lines of the environment: who balances, at least.
    pub more: &'a str,
}

impl Pools<'_> {
    /// Its `runner.toml`.
    pub fn pipeline(&self) -> String {
        let [blue, green] = self.at;
        let pipeline = PIPELINE
            .replace("NAME", self.name)
            .replace("BLUE", &blue.to_string())
            .replace("GREEN", &green.to_string())
            .replace("PLACE", &self.place.display().to_string())
            .replace("SUCCESSES", &self.successes.to_string());
        format!("{pipeline}{}\n", self.more)
    }
}
