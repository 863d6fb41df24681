"""The built application from outside: started as Staith starts it, and talked to over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

DIST = Path(__file__).parents[2] / "dist"
RELEASE = "sha256:0123456789abcdef"


class Site:
    """The application in a process of its own, on a free port."""

    def __init__(self):
        env = {**os.environ, "PORT": "0", "STAITH_RELEASE": RELEASE}
        env.pop("PYTHONPATH", None)  # What was built has to bring the libraries that it needs.
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-m", "gunicorn"], cwd=DIST, env=env, stderr=subprocess.PIPE, text=True
        )
        said = ""
        for line in self.process.stderr:
            said += line
            if match := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line):
                self.address = ("127.0.0.1", int(match[1]))
                return
        pytest.fail(f"the application did not start:\n{said}")

    def ask(self, path, method="GET", body=None):
        connection = HTTPConnection(*self.address)
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response, text

    def wait_until_closed(self):
        while True:
            try:
                socket.create_connection(self.address).close()
            except ConnectionError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()


@pytest.fixture(scope="module")
def site():
    with Site() as site:
        yield site


def test_every_response_says_which_release_answered(site):
    for path, method, status in [
        ("/healthz", "GET", 200),
        ("/", "GET", 200),
        ("/", "HEAD", 200),
        ("/style.css", "GET", 200),
        ("/nowhere", "GET", 404),
        ("/", "POST", 405),
        ("/?latitude=north", "GET", 400),
        ("/?latitude=%ff", "GET", 400),
        ("/api/daylight", "GET", 400),
    ]:
        response, text = site.ask(path, method)
        assert response.status == status, (path, text)
        assert response.getheader("x-staith-release") == RELEASE, path


def test_a_visitor_asks_and_is_answered(site):
    _, greenwich = site.ask("/")
    assert 'value="51.48"' in greenwich
    response, text = site.ask("/?latitude=51.5&longitude=-0.12&date=2024-06-20")
    assert response.getheader("content-type").lower() == "text/html; charset=utf-8"
    assert "<dt>Sunrise</dt><dd>03:43 UTC</dd>" in text
    assert "0123456789ab" in text


def test_an_unclear_question_is_shown_again_and_as_text(site):
    attack = '"><script>'
    response, text = site.ask(f"/?latitude={quote(attack)}&longitude=7&date=2024-06-20")
    assert response.status == 400
    assert "Latitude should be a number" in text
    assert 'value="&quot;&gt;&lt;script&gt;"' in text
    assert "<script" not in text


def test_programs_ask_and_are_answered(site):
    _, text = site.ask("/api/daylight?latitude=51.5&longitude=-0.12&date=2024-06-20")
    answer = json.loads(text)
    assert answer["sunrise"].startswith("2024-06-20T03:4")
    assert answer["sunrise"].endswith("Z")
    assert answer["daylight_minutes"] == 998
    _, text = site.ask("/api/daylight?latitude=80&longitude=0&date=2024-12-21")
    assert json.loads(text)["sunrise"] is None
    _, text = site.ask("/api/daylight?latitude=north&longitude=0")
    assert list(json.loads(text)["problems"]) == ["latitude"]


def test_a_request_in_flight_is_finished_before_the_end():
    with Site() as site, socket.create_connection(site.address) as visitor:
        visitor.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        # Connections are taken in the order in which they come: the first is known once the second is answered.
        assert site.ask("/healthz")[0].status == 200
        site.process.send_signal(signal.SIGTERM)
        site.wait_until_closed()
        visitor.sendall(b"connection: close\r\n\r\n")
        assert visitor.makefile("rb").read().startswith(b"HTTP/1.1 200 ")
        assert site.process.wait() == 0


def test_serving_leaves_the_release_as_it_is(site):
    before = sorted(DIST.rglob("*"))
    assert site.ask("/")[0].status == 200
    assert sorted(DIST.rglob("*")) == before
    assert not [path for path in before if path.suffix == ".pyc"]
