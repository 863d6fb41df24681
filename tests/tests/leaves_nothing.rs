//! However a step ends, nothing of it is left: in the built-in sandbox and in containers of Docker, which tests/run installs.
//! What is left by runs that are interrupted or killed in the built-in sandbox is in `abuse.rs`.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{
    container_engine::{ContainerEngine, Kind},
    leavings::{processes_with, wait_until_nothing_is_in, wait_until_nothing_is_left},
    wait,
    world::World,
};

const IMAGE: &str = "staith.test/host:1";

/// A step that does not end well, or does not want to end; what else stands in the pipeline; which exit codes are right.
/// `MARKER` is how long its processes sleep, and by which they are found.
const STEPS: [(&str, &str, &str, &[i32]); 6] = [
    (
        "86421.25",
        "trap '' TERM; setsid sleep MARKER & while :; do sleep MARKER; done",
        "timeout = \"1s\"",
        &[10],
    ),
    // Where the host can't limit memory nothing is begun.
    ("86422.25", "setsid sleep MARKER & tail /dev/zero; exit 0", "memory = \"64MiB\"", &[10, 30]),
    (
        "86423.25",
        "exec bash -c 'bomb() { bomb | bomb & }; bomb; sleep MARKER' 2>/dev/null",
        "processes = 64\ntimeout = \"2s\"",
        &[10],
    ),
    (
        "86424.25",
        "setsid sleep MARKER & i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > $i; done",
        "disk = \"16MiB\"",
        &[10],
    ),
    ("86425.25", "setsid sleep MARKER & seq 1 2000000; echo the end", "", &[0]),
    ("86426.25", "(setsid sh -c 'trap \"\" TERM HUP; sleep MARKER & sleep MARKER' &) ; echo done", "", &[0]),
];

fn world(marker: &str, run: &str, more: &str, image: Option<&str>) -> World {
    let world = World::new();
    let image = image.map(|image| format!("image = \"{image}\"\n")).unwrap_or_default();
    let run = run.replace("MARKER", marker);
    let text = format!("name = \"one\"\nversion = \"1\"\n{image}[steps.only]\nrun = {run:?}\n{more}\n");
    world.write("runner.toml", &text);
    world.commit("first");
    world
}

/// Runs a command to its end; its id and its exit code.
fn ended(command: &mut Command) -> (u32, Option<i32>) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    (child.id(), child.wait().unwrap().code())
}

fn docker() -> Arc<ContainerEngine> {
    let engine = ContainerEngine::shared(Kind::Docker);
    engine.take_image("staith.test/host", "1");
    engine
}

#[test]
fn a_step_leaves_nothing_however_it_ends() {
    for (marker, run, more, codes) in STEPS {
        let world = world(marker, run, more, None);
        let (pid, code) = ended(&mut world.command(&["run"]));
        assert!(code.is_some_and(|code| codes.contains(&code)), "{run}: {code:?}");
        // At the end of the run, not some time later.
        assert_eq!(processes_with(marker), 0, "{run}");
        wait_until_nothing_is_left(&world, pid, marker);
    }
}

#[test]
fn a_container_leaves_nothing_however_its_step_ends() {
    let engine = docker();
    for (marker, run, more, codes) in STEPS {
        // Not those of the test above, which runs at the same time.
        let marker = &marker.replace(".25", ".75");
        let world = world(marker, run, more, Some(IMAGE));
        let mut command = world.command(&["run", "--engine", "docker"]);
        let (pid, code) = ended(command.env("DOCKER_HOST", engine.host()));
        assert!(code.is_some_and(|code| codes.contains(&code)), "{run}: {code:?}");
        assert_eq!(processes_with(marker), 0, "{run}");
        wait_until_nothing_is_left(&world, pid, marker);
        wait_until_nothing_is_in(&engine, pid);
    }
}

/// Interrupts runs after their first event, their second, and so on, until one has ended before it could be.
#[test]
fn ctrl_c_at_any_point_leaves_no_container() {
    let (engine, marker) = (docker(), "86427.25");
    let run = "setsid sleep MARKER & for i in 1 2 3 4; do echo $i; done";
    let more = "[steps.next]\nneeds = [\"only\"]\nrun = \"echo next\"";
    for round in 0.. {
        // Nothing is known from an earlier round.
        let world = world(marker, &format!("{run}; : round {round}"), more, Some(IMAGE));
        let mut command = world.command(&["run", "--json", "--engine", "docker"]);
        command.env("DOCKER_HOST", engine.host()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let events = (0..round).take_while(|_| out.read_line(&mut String::new()).unwrap() > 0).count();
        // It may have ended by itself by now.
        let _ = kill_process(Pid::from_child(&child), Signal::INT);
        out.read_to_string(&mut String::new()).unwrap();
        let code = child.wait().unwrap().code();
        let too_early = !world.home().join("runs").exists();
        assert!(matches!(code, Some(0 | 130)) || too_early, "{code:?}");
        wait::until("its processes are gone", || (processes_with(marker) == 0).then_some(()));
        wait_until_nothing_is_left(&world, child.id(), marker);
        wait_until_nothing_is_in(&engine, child.id());
        if events < round {
            assert!(round > 6, "{events} events");
            break;
        }
    }
}
