"""A small application for the keeper's tests: says which release it is, and does what it is told."""

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RELEASE = os.environ["STAITH_RELEASE"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *args):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/exit":
            print("told to exit", flush=True)
            os._exit(int(query.get("code", "1")))
        if url.path == "/wait":
            while not os.path.exists(query["for"]):
                time.sleep(0.005)
        if url.path == "/slow":
            time.sleep(int(query["ms"]) / 1000)
        body = (query.get("say") or RELEASE).encode()
        self.send_response(200)
        self.send_header("x-staith-release", RELEASE)
        self.send_header("x-pid", str(os.getpid()))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.do_GET()


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def main():
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if "fail" in sys.argv:
        print("no configuration, no service", file=sys.stderr, flush=True)
        sys.exit(3)
    if "daemon" in sys.argv:
        # Leaves the process group, as daemons do.
        subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True, stdout=subprocess.DEVNULL)
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
    print("listening", flush=True)
    threading.Thread(target=server.serve_forever).start()


main()
