//! Runs that are interrupted anywhere, and steps that take all they can get: nothing of them is left, and the next run is
//! whole.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::Child,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_model::{Event, EventKind, RunState, StepOutcome};
use staith_tests::{
    leavings::{processes_with, wait_until_nothing_is_left},
    wait,
    world::World,
};

fn one_step(run: &str, more: &str) -> World {
    let world = World::new();
    world.write(
        "runner.toml",
        &format!("name = \"one\"\nversion = \"1\"\n[steps.only]\nrun = '''{run}'''\n{more}\n"),
    );
    world.commit("first");
    world
}

/// A project whose run has every phase: a checkout, steps beside and after each other, layers of many files, a package.
fn every_phase(marker: &str) -> World {
    let world = World::new();
    for number in 0..200 {
        world.write(&format!("source/{number}.txt"), "x");
    }
    world.write(
        "runner.toml",
        &format!(
            r#"
name = "phases"
version = "1"
[steps.restore]
run = "mkdir deps; for i in $(seq 300); do echo $i > deps/$i; done; setsid sleep {marker} & echo restored ROUND"
outputs = ["deps"]
[steps.lint]
run = "cat source/*.txt | wc -l; echo ROUND"
[steps.build]
needs = ["restore"]
run = "mkdir out; cp deps/* out; echo ROUND > out/round; echo built"
outputs = ["out"]
[package]
from = ["build"]
"#
        ),
    );
    world
}

/// Starts a run that knows nothing from earlier rounds, and reads its first events.
fn begin(
    world: &World,
    round: usize,
    events: usize,
) -> (Child, Vec<String>, BufReader<std::process::ChildStdout>) {
    let text = fs::read_to_string(world.project().join("runner.toml")).unwrap();
    let before = (0..round).rev().map(|round| format!("round-{round}.")).find(|before| text.contains(before));
    let before = before.unwrap_or_else(|| "ROUND".to_owned());
    world.write("runner.toml", &text.replace(&before, &format!("round-{round}.")));
    let mut child = world.start(&["run", "--json"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    while lines.len() < events {
        let mut line = String::new();
        if out.read_line(&mut line).unwrap() == 0 {
            break;
        }
        lines.push(line);
    }
    (child, lines, out)
}

fn signal(child: &Child, signal: Signal) {
    // It may have ended by itself by now.
    let _ = kill_process(Pid::from_child(child), signal);
}

/// Interrupts runs after their first event, their second, and so on, until one has ended before it could be.
fn interrupt_everywhere(
    marker: &str,
    interrupt: impl Fn(&Child),
    check: impl Fn(&World, &Child, Option<i32>),
) {
    let world = every_phase(marker);
    for round in 0.. {
        let (mut child, lines, mut out) = begin(&world, round, round);
        interrupt(&child);
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let code = child.wait().unwrap().code();
        check(&world, &child, code);
        if lines.len() < round {
            assert!(round > 8, "{lines:?}");
            break;
        }
    }
    world.staith(&["run"]).exits(0);
}

/// Whether nothing had begun: a process that does not listen to signals yet is ended by them.
fn is_too_early(world: &World) -> bool {
    !world.home().join("runs").exists()
}

#[test]
fn ctrl_c_at_any_point_leaves_nothing() {
    let marker = "86411.25";
    interrupt_everywhere(
        marker,
        |child| signal(child, Signal::INT),
        |world, child, code| {
            assert!(matches!(code, Some(0 | 130)) || is_too_early(world), "{code:?}");
            wait_until_nothing_is_left(world, child.id(), marker);
        },
    );
}

#[test]
fn ctrl_c_twice_at_any_point_leaves_nothing() {
    let marker = "86412.25";
    interrupt_everywhere(
        marker,
        |child| {
            signal(child, Signal::INT);
            signal(child, Signal::INT);
        },
        |world, child, code| {
            assert!(matches!(code, Some(0 | 130)) || is_too_early(world), "{code:?}");
            wait_until_nothing_is_left(world, child.id(), marker);
        },
    );
}

#[test]
fn a_run_that_is_killed_at_any_point_leaves_a_readable_log_and_no_process() {
    let marker = "86413.25";
    interrupt_everywhere(
        marker,
        |child| signal(child, Signal::KILL),
        |world, _, _| {
            wait::until("its step is gone", || (processes_with(marker) == 0).then_some(()));
            for run in fs::read_dir(world.home().join("runs")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(run.path().join("events.jsonl")).unwrap();
                // The last line may be half written; it is the only one.
                let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
                let events: Vec<Event> =
                    whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
                if !events.is_empty() {
                    RunState::replay(&events).unwrap();
                }
            }
        },
    );
}

#[test]
fn a_fork_bomb_is_bounded_and_ends_with_its_step() {
    let marker = "86414.25";
    let bomb = format!("exec bash -c 'bomb() {{ bomb | bomb & }}; bomb; sleep {marker}' 2>/dev/null");
    let world = one_step(&bomb, "processes = 64\ntimeout = \"2s\"");
    let mut child = world.start(&["run"]);
    let most =
        wait::until("the bomb has gone off", || Some(processes_with(marker)).filter(|many| *many > 16));
    // The program under test holds the text, too; its helper does not.
    assert!(most <= 70, "{most} processes");
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(10));
    wait_until_nothing_is_left(&world, child.id(), marker);
}

#[test]
fn too_much_memory_is_called_that_whatever_the_exit_code() {
    let world = one_step("(tail /dev/zero || true) 2>/dev/null; exit 0", "memory = \"64MiB\"");
    let said = world.staith(&["run"]);
    match said.code {
        // Where the host can't enforce it, nothing is run and it says why.
        Some(30) => drop(said.says("memory")),
        _ => drop(said.exits(10).says("it wanted more memory than it may have")),
    }
}

#[test]
fn what_a_step_leaves_running_is_ended_and_counted() {
    let marker = "86415.25";
    let world = one_step(&format!("setsid sleep {marker} & printf 'half a line' >&2; echo done"), "");
    let said = world.staith(&["run"]).exits(0).says("done").says("half a line");
    said.says("| staith: 1 process that the step had started was still running; it was ended");
    assert_eq!(processes_with(marker), 0);
}

#[test]
fn what_reads_a_steps_output_may_finish() {
    let world = one_step("exec bash -c 'exec > >(sleep 0.05; cat); echo last words'", "");
    world.staith(&["run"]).exits(0).says("last words").never_says("still running");
}

/// Two steps that need nothing of each other, one after the other.
fn two_steps() -> World {
    let world = World::new();
    world.write(
        "runner.toml",
        r#"
name = "two"
version = "1"
[steps.bad]
run = "echo the reason; exit 3"
[steps.other]
run = "echo other ran"
[steps.after]
needs = ["other"]
run = "cat out; echo after ran"
[steps.package-me]
run = "echo x > file"
outputs = ["file"]
[package]
from = ["package-me"]
"#,
    );
    world.commit("first");
    world
}

#[test]
fn a_run_ends_at_the_first_failure_unless_told_to_keep_going() {
    let world = two_steps();
    let said = world.staith(&["run", "--jobs", "1"]).exits(10).says("the reason");
    said.never_says("other ran")
        .says("other      > skipped: `bad` failed; `--keep-going` runs it all the same");
    let world = two_steps();
    world.edit("runner.toml", |text| text.replace("cat out; ", ""));
    let said = world.staith(&["run", "--jobs", "1", "--keep-going"]).exits(10);
    said.says("other ran").says("after ran").never_says("skipped: `bad`");
}

#[test]
fn only_the_steps_that_are_named_run_with_what_they_need() {
    let world = two_steps();
    world.edit("runner.toml", |text| text.replace("cat out; ", ""));
    let said = world.staith(&["run", "--json", "--step", "after"]).exits(0);
    let ended = |line: &str| match serde_json::from_str::<Event>(line).unwrap().what {
        EventKind::StepFinished { step, outcome, .. } => Some((step.to_string(), outcome)),
        EventKind::PackageMade { .. } => panic!("a part of a plan made a package"),
        _ => None,
    };
    let ended: Vec<_> = said.out.lines().filter_map(ended).collect();
    assert_eq!(ended, [("other".into(), StepOutcome::Passed), ("after".into(), StepOutcome::Passed)]);
    world.staith(&["run", "--step", "afer"]).exits(64).says("no step `afer`").says("did you mean `after`?");
    world.staith(&["run", "--step", "after", "--release", "local"]).exits(64);
}

#[test]
fn a_step_is_ended_before_it_fills_the_hosts_disk() {
    if !rustix::process::geteuid().is_root() {
        // Only root can make a small file system to be filled.
        return;
    }
    let world = one_step("i=0; while :; do i=$((i+1)); head -c 300000 /dev/zero > $i; done", "");
    fs::create_dir_all(world.home()).unwrap();
    let staith = staith_tests::world::staith_binary();
    // In a mount namespace of its own, so that nothing of it outlives the command.
    let script = r#"mount -t tmpfs -o size=96m staith-test "$STAITH_HOME" && "$0" run; code=$?
df --output=avail -B1 "$STAITH_HOME" | tail -n 1 > "$1"; exit $code"#;
    let left = world.scratch().join("left");
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .args([&staith, &left])
        .current_dir(world.project())
        .env("STAITH_HOME", world.home())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(30), "{output:?}");
    assert!(said.contains("the disk with") && said.contains("make room"), "{said}");
    let left: u64 = fs::read_to_string(left).unwrap().trim().parse().unwrap();
    assert!(left > 90 << 20, "{left} bytes are free of what was taken");
}
