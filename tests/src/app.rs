//! A project whose application is one small server in Python: for scenarios about releasing, not about building.

use crate::world::World;

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"
tools = ["python"]

[steps.build]
run = "mkdir dist; cp app.py word.txt dist/"
inputs = ["app.py", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.local]
listen = "LISTEN"
run = ["python3", "app.py"]
health = { path = "/healthz", header = "x-staith-release", deadline = "20s" }
"#;

/// Answers every request with its word, and says which release it is. `/slow` takes as long as the query says.
const APP: &str = r#"
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORD = open("word.txt").read().strip()

class Bell(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path.startswith("/slow?"):
            time.sleep(float(self.path.split("?")[1]))
        sick = WORD == "sick" and self.path == "/healthz"
        body = WORD.encode()
        self.send_response(500 if sick else 200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-staith-release", "another" if WORD == "liar" else os.environ["STAITH_RELEASE"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False

if WORD == "broken":
    sys.exit("the bell is broken")
server = Server(("127.0.0.1", int(os.environ["PORT"])), Bell)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server.serve_forever()
"#;

/// A world with this project, its application answering `word`, committed.
pub fn bell(word: &str) -> World {
    let world = World::new();
    world.write("runner.toml", PIPELINE);
    world.write("app.py", APP);
    world.write("word.txt", word);
    world.commit("first");
    world
}
