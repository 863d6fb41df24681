//! `staith run --resume`: a run goes on where it failed or was ended, and nothing that passed is run again.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_model::{Event, EventKind};
use staith_tests::{app::bell, world::World};

/// `note` runs each time that a run comes to it, so the cache never answers for it. `test` passes where `good` is.
const PIPELINE: &str = r#"
name = "shop"
version = "1"
[steps.build]
run = "echo built > out"
outputs = ["out"]
[steps.note]
needs = ["build"]
when = "succeeded()"
run = "echo noted"
[steps.flaky]
run = "exit 3"
continue-on-failure = true
[steps.test]
needs = ["build", "note"]
run = "cat out; test -e good"
[steps.publish]
needs = ["test"]
run = "echo published"
"#;

fn world() -> World {
    let world = World::new();
    world.write("runner.toml", PIPELINE);
    world.commit("first");
    world
}

fn events(lines: &str) -> Vec<Event> {
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The steps that were started, in order of their names.
fn started(lines: &str) -> Vec<String> {
    let of = |event: Event| match event.what {
        EventKind::StepStarted { step, .. } => Some(step.to_string()),
        _ => None,
    };
    let mut started: Vec<String> = events(lines).into_iter().filter_map(of).collect();
    started.sort();
    started
}

fn run_of(lines: &str) -> String {
    let of = |event: &Event| match &event.what {
        EventKind::RunStarted { run, .. } => Some(run.to_string()),
        _ => None,
    };
    events(lines).iter().find_map(of).unwrap()
}

#[test]
fn after_a_failure_what_passed_is_not_run_again() {
    let world = world();
    let first = world.staith(&["run", "--json"]).exits(10);
    assert_eq!(started(&first.out), ["build", "flaky", "note", "test"]);
    // An ordinary run runs `note` again.
    let second = world.staith(&["run", "--json"]).exits(10);
    assert_eq!(started(&second.out), ["flaky", "note", "test"]);
    let third = world.staith(&["run", "--resume", "--json"]).exits(10);
    assert_eq!(started(&third.out), ["flaky", "test"]);
    // Also of a run that went on with another one.
    let fourth = world.staith(&["run", "--resume", "--json"]).exits(10);
    assert_eq!(started(&fourth.out), ["flaky", "test"]);
    let named = run_of(&first.out);
    let fifth = world.staith(&["run", "--resume", &named[..named.len() - 1], "--json"]).exits(10);
    assert_eq!(started(&fifth.out), ["flaky", "test"]);
}

#[test]
fn the_source_is_that_of_the_run_whatever_is_there_now() {
    let world = world();
    world.staith(&["run"]).exits(10);
    world.write("good", "");
    let resumed = world.staith(&["run", "--resume"]).exits(10).says("the directory has changed since");
    assert!(resumed.err.contains("where 2 of 5 steps passed"), "{}", resumed.err);
    fs::remove_file(world.project().join("good")).unwrap();
    world.staith(&["run", "--resume"]).exits(10).never_says("has changed since");
    // Uncommitted files that are gone from the directory are there all the same.
    world.write("good", "");
    world.edit("runner.toml", |text| text.replace("exit 3", "true").replace("echo published", "exit 1"));
    world.staith(&["run"]).exits(10);
    fs::remove_file(world.project().join("good")).unwrap();
    world.write("runner.toml", "no pipeline at all");
    world.edit("runner.toml", |_| "still none".to_owned());
    let resumed = world.staith(&["run", "--resume", "--json"]).exits(10);
    assert_eq!(started(&resumed.out), ["publish"]);
}

#[test]
fn what_has_nothing_to_go_on_with_is_refused() {
    let world = world();
    world.staith(&["run", "--resume"]).exits(64).says("there is no run of").says("`staith run` makes one");
    world.write("good", "");
    let passed = world.staith(&["run", "--json"]).exits(0);
    let run = run_of(&passed.out);
    world.staith(&["run", "--resume"]).exits(64).says(&format!("run {run} passed"));
    world.staith(&["run", "--resume", "0zzz"]).exits(64).says("there is no run `0zzz`");
    world.staith(&["run", "--resume", "--clean"]).exits(64);
    world.staith(&["run", "--resume", "--step", "test"]).exits(64);
    // A run that was known in full passed as well, and is the newest.
    world.staith(&["run"]).exits(0);
    world.staith(&["run", "--resume"]).exits(64).says("passed; there is nothing to go on with");
}

#[test]
fn steps_whose_layers_were_collected_are_named_and_run_again() {
    let world = world();
    world.staith(&["run"]).exits(10);
    let layers = world.home().join("store/layers");
    for entry in fs::read_dir(&layers).unwrap().flatten() {
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let resumed = world.staith(&["run", "--resume"]).exits(10);
    resumed
        .says("step build had passed and is run again: what it left is no longer kept")
        .never_says("note    > started");
}

/// Starts a run and gives its first lines, up to the start of a step.
fn starts_and_waits(world: &World, arguments: &[&str], step: &str) -> (Child, String) {
    let mut run = world.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap());
    let mut text = String::new();
    let is_there = |text: &str| started(text).iter().any(|one| one == step);
    while !is_there(&text) {
        assert!(lines.read_line(&mut text).unwrap() > 0, "{text}");
    }
    // The rest is not read; it is little.
    run.stdout = Some(lines.into_inner());
    (run, text)
}

#[test]
fn a_run_that_was_interrupted_or_killed_goes_on() {
    for signal in [Signal::INT, Signal::KILL] {
        let world = world();
        world.edit("runner.toml", |text| text.replace("test -e good", "sleep 1000"));
        let (mut run, _) = starts_and_waits(&world, &["run", "--json"], "test");
        world.staith(&["run", "--resume"]).exits(64).says("has not ended");
        kill_process(Pid::from_child(&run), signal).unwrap();
        run.wait().unwrap();
        let (mut again, text) = starts_and_waits(&world, &["run", "--resume", "--json"], "test");
        kill_process(Pid::from_child(&again), Signal::INT).unwrap();
        assert_eq!(again.wait().unwrap().code(), Some(130));
        assert!(!started(&text).iter().any(|step| step == "note" || step == "build"), "{text}");
    }
}

fn served(world: &World) -> String {
    let mut stream = TcpStream::connect(world.listen).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: bell\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn a_run_that_failed_after_its_build_is_released_when_it_goes_on() {
    let world = bell("ding");
    // What is checked is outside of the source, so that the same source fails first and passes then.
    let check = "[steps.check]\nneeds = [\"build\"]\nsecrets = [\"STATE\"]\nrun = 'test \"$STATE\" = all-is-well'\n\n";
    world.edit("runner.toml", |text| text.replace("[package]", &format!("{check}[package]")));
    world.commit("with a check");
    let world = world.with_env("STAITH_SECRET_STATE", "out-of-order");
    let first = world.staith(&["run", "--release", "local", "--json"]).exits(10);
    assert_eq!(started(&first.out), ["build", "check"]);
    assert!(TcpStream::connect(world.listen).is_err(), "something was released");
    // The directory has gone on meanwhile; what is released is what was built then.
    world.write("word.txt", "dong");
    let world = world.with_env("STAITH_SECRET_STATE", "all-is-well");
    let resumed = world.staith(&["run", "--resume", "--release", "local", "--json"]).exits(0);
    assert_eq!(started(&resumed.out), ["check"]);
    assert_eq!(served(&world), "ding");
    let nothing = world.staith(&["run", "--resume", "--release", "local"]).exits(64);
    nothing.says("passed; there is nothing to go on with");
    assert_eq!(served(&world), "ding");
}
