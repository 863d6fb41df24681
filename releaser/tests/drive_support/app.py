"""An application whose package says, in mode.txt, how it behaves."""

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE = open("mode.txt").read().strip()
VERSION = open("version.txt").read().strip()
RELEASE = os.environ["STAITH_RELEASE"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *args):
        pass

    def do_GET(self):
        while MODE == "mute":
            time.sleep(1)
        broken = MODE == "broken" and self.path == "/health"
        # Works by itself, and not behind a proxy.
        broken = broken or (MODE == "shy" and "x-forwarded-for" in self.headers)
        if MODE == "slow" and self.path != "/health":
            time.sleep(0.02)
        body = f"{VERSION} {os.getpid()} {os.environ['STAITH_PACKAGE']}".encode()
        self.send_response(500 if broken else 200)
        self.send_header("X-Release", "sha256:" + "0" * 64 if MODE == "liar" else RELEASE)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.do_GET()


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


print(f"{VERSION} starts", flush=True)
if MODE == "crash":
    sys.exit("no configuration, no service")
if MODE == "nothing-to-do":
    sys.exit(0)
while MODE == "silent":
    time.sleep(1)
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
