#!/usr/bin/env python3
"""From a push that a bare repository's hook hears of to the first command of the first step: Staith's server with its own runner beside
a hook that checks the commit out and runs a script with `sh`, in turn. Prints least, median and most of the milliseconds, and the ratio.

    push.py STAITH PLACE [ROUNDS]

Both hooks write down when they begin, and both scripts when they do, by the same clock. The script is new in each round, so that its
step is not known.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.request

staith, place, rounds = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 15
WHO = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "init.defaultBranch=main"]
PIPELINE = 'name = "shop"\nversion = "1"\n[steps.first]\nrun = "sh step.sh"\n'
BARE = """#!/bin/sh
date +%s%N >{heard}
tree=$(mktemp -d {place}/tree.XXXXXX)
while read -r old new ref; do git archive "$new" | tar -x -C "$tree"; done
cd "$tree" && sh step.sh >{began}
"""


def git(directory, *words):
    done = subprocess.run(["git", *WHO, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def hook(repository, text):
    path = repository / "hooks/post-receive"
    path.write_text(text)
    path.chmod(0o755)


def ask(url, token, path):
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def repository(name):
    git(place, "init", "-q", "--bare", name)
    git(place, "clone", "-q", name, f"{name}.clone")
    clone = place / f"{name}.clone"
    (clone / "runner.toml").write_text(PIPELINE)
    (clone / "step.sh").write_text("date +%s%N\n")
    push(clone, "first")
    return place / name, clone


def push(clone, word):
    (clone / "step.sh").write_text(f"date +%s%N\n# {word}\n")
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", word)
    git(clone, "push", "-q", "origin", "HEAD:main")
    return git(clone, "rev-parse", "HEAD")


def first_line(url, token, commit):
    """What the first step of the run of a commit printed, once it has."""
    while True:
        runs = json.loads(ask(url, token, "/api/v1/runs"))["runs"]
        run = next((run for run in runs if run.get("commit") == commit and run.get("ended")), None)
        if run:
            streams = json.loads(ask(url, token, f"/api/v1/runs/{run['id']}/streams"))
            log = next(stream for stream in streams if stream["name"] == "log.first")
            text = ask(url, token, f"/api/v1/attempts/{log['attempt']}/streams/log.first")
            return int(next(word for word in text.split() if len(word) == 19 and word.isdigit()))
        time.sleep(0.05)


def main():
    (bare, bare_clone), (served, clone) = repository("bare"), repository("served")
    hook(bare, BARE.format(place=place, heard=place / "heard.bare", began=place / "began.bare"))
    data = place / "server"
    words = [staith, "server", "start", "--json", "--listen", "127.0.0.1:0", "--data", str(data)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(server.stdout.readline())["serving"]
        token = (data / "admin.token").read_text().strip()
        by = ["--server", url, "--token-file", str(data / "admin.token")]
        subprocess.run([staith, "project", "add", "shop", str(served), *by], check=True, capture_output=True)
        told = subprocess.run([staith, "project", "hook", "shop", *by], check=True, capture_output=True, text=True).stdout
        (served / "staith-curl").write_text(f'header = "Authorization: Bearer {token}"\n')
        shell, rest = told.split("\n", 1)
        hook(served, f"{shell}\ndate +%s%N >{place / 'heard.served'}\n{rest}")
        ours, theirs = [], []
        for number in range(rounds + 2):
            began = first_line(url, token, push(clone, f"round {number}"))
            ours.append((began - int((place / "heard.served").read_text())) / 1e6)
            push(bare_clone, f"round {number}")
            theirs.append((int((place / "began.bare").read_text()) - int((place / "heard.bare").read_text())) / 1e6)
        ours, theirs = ours[2:], theirs[2:]
    finally:
        server.terminate()
        server.wait()
    for name, values in [("push to first step, staith server", ours), ("push to first step, a hook that runs sh", theirs)]:
        print(f"{name:<49} {min(values):8.1f} {statistics.median(values):8.1f} {max(values):8.1f}")
    ratios = sorted(one / other for one, other in zip(ours, theirs))
    quarter = len(ratios) // 4
    print(f"# push: ratio {statistics.median(ratios):.2f} [{ratios[quarter]:.2f}, {ratios[-1 - quarter]:.2f}]; goal 150 ms in the median")


if os.environ.get("STAITH_HOME"):
    main()
else:
    sys.exit("push.py: set STAITH_HOME to a directory of its own")
