#!/usr/bin/env python3
"""Runs commands in turn (A B C, A B C, ...) and prints medians and the ratio of the first to each of the others.

    pairs.py LABEL [--rounds N] [--warmup N] [--memory] SIDE SIDE...

With --memory, the most memory that was resident in the command's own process is printed, too; it is looked at every few
milliseconds, so the command has to take longer than that.

A SIDE is `--side NAME COMMAND`, followed by what belongs to it:

    --prepare COMMAND   runs before each measured run of this side and is not measured; may be given again
    --in DIRECTORY      where the command runs
    --also WHAT         another figure of the same runs, read from the events that `staith --json` prints:
                        `EVENT` the sum of `millis` of these events; `until:EVENT` from the command's start to the first one
                        (or to the first change of a deployment that has this name). Ratios are to a peer's last figure
    --goal TEXT         said beside the figure before it, for the reader; nothing is asserted

Commands are split as a shell would split them, but no shell runs them: what is measured is one posix_spawn and all that the
command does until it has been waited for. Comparing neighbours in time cancels most of what else the machine does, so the
ratio is the median of the ratios of each round, and the middle half of these ratios is printed with it. Processor time is the
command's and that of all it waited for; it says what a busy machine hides.
"""

import json
import os
import shlex
import statistics
import sys
import tempfile
import time


class Side:
    def __init__(self, name, command):
        self.name, self.command = name, shlex.split(command)
        self.prepares, self.directory = [], None
        self.events, self.goals = [], {}
        self.values = {}


def stop(message):
    sys.exit(f"pairs.py: {message}")


def parse(arguments):
    if not arguments:
        stop("what is measured? Give a label and at least one --side")
    label, rounds, warmup, memory, sides = arguments[0], 15, 2, False, []
    rest = iter(arguments[1:])

    def value(option):
        try:
            return next(rest)
        except StopIteration:
            stop(f"{option} needs a value")

    for option in rest:
        if option == "--rounds":
            rounds = int(value(option))
        elif option == "--warmup":
            warmup = int(value(option))
        elif option == "--memory":
            memory = True
        elif option == "--side":
            sides.append(Side(value(option), value(option)))
        elif not sides:
            stop(f"{option} belongs to a side; give --side first")
        elif option == "--prepare":
            sides[-1].prepares.append(shlex.split(value(option)))
        elif option == "--in":
            sides[-1].directory = value(option)
        elif option == "--also":
            sides[-1].events.append(value(option))
        elif option == "--goal":
            sides[-1].goals[["wall", *sides[-1].events][-1]] = value(option)
        else:
            stop(f"{option} is not known")
    if not sides:
        stop("there is nothing to run; give --side")
    return label, rounds, warmup, memory, sides


def peak(process):
    """MiB that were resident in a process at most, as long as it lives; read again and again, because it dies with it."""
    seen = 0
    while True:
        try:
            with open(f"/proc/{process}/status") as status:
                found = [line for line in status if line.startswith("VmHWM:")]
        except OSError:
            found = []
        if not found:
            return seen / 1024
        seen = int(found[0].split()[1])
        time.sleep(0.005)


def spawn(argv, output, directory, memory):
    """Runs a command to its end: its exit status, its milliseconds of time and of processors, its memory, the time of its start."""
    actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
    if directory:
        os.chdir(directory)
    at, began = time.time(), time.perf_counter()
    child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    resident = peak(child) if memory else 0
    _, status, used = os.wait4(child, 0)
    took = (time.perf_counter() - began) * 1000
    cpu = (used.ru_utime + used.ru_stime) * 1000
    return os.waitstatus_to_exitcode(status), took, cpu, resident, at * 1000


def run(argv, directory, memory=False):
    with tempfile.TemporaryFile() as output:
        code, took, cpu, memory, at = spawn(argv, output, directory, memory)
        output.seek(0)
        said = output.read().decode(errors="replace")
    if code != 0:
        stop(f"`{shlex.join(argv)}` ended with {code}, so there is nothing to measure:\n{said}")
    return took, cpu, memory, at, said


def figure(what, at, events):
    if what.startswith("until:"):
        kind = what.removeprefix("until:")
        for event in events:
            if "at" in event and kind in (event.get("event"), event.get("change")):
                return event["at"] - at
        stop(f"no `{kind}` among the events")
    found = [event["millis"] for event in events if event.get("event") == what]
    if not found:
        stop(f"no `{what}` among the events")
    return sum(found)


def measure(side, keep, memory):
    for prepare in side.prepares:
        run(prepare, side.directory)
    took, cpu, memory, at, said = run(side.command, side.directory, memory)
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")] if side.events else []
    values = {"wall": took, "cpu": cpu, "memory": memory} | {what: figure(what, at, events) for what in side.events}
    if keep:
        for what, value in values.items():
            side.values.setdefault(what, []).append(value)


def milliseconds(values):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{low:8.1f} {middle:8.1f} {high:8.1f} ms"


def ratio(ours, theirs):
    ratios = sorted(a / b for a, b in zip(ours, theirs) if b)
    quarter = len(ratios) // 4
    return f"{statistics.median(ratios):7.2f} x [{ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}]"


def named(side, what):
    return side.name if what == "wall" else f"{side.name}, {what}"


def report(label, sides):
    first, *peers = sides
    for side in sides:
        for what in ["wall", *side.events]:
            cpu = f" cpu {statistics.median(side.values['cpu']):7.1f} ms" if what == "wall" else ""
            resident = max(side.values["memory"])
            cpu += f", {resident:.0f} MiB" if resident and what == "wall" else ""
            goal = f"   goal: {side.goals[what]}" if what in side.goals else ""
            print(f"{label:12} {named(side, what):36} {milliseconds(side.values[what])}{cpu}{goal}")
    for what in ["wall", *first.events]:
        for peer in peers:
            against = ["wall", *peer.events][-1]
            pair = f"{named(first, what)} / {named(peer, against)}"
            print(f"{label:12} {pair:60} {ratio(first.values[what], peer.values[against])}", flush=True)


def main():
    label, rounds, warmup, memory, sides = parse(sys.argv[1:])
    for turn in range(warmup + rounds):
        for side in sides:
            measure(side, turn >= warmup, memory)
    report(label, sides)


main()
