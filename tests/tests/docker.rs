//! `staith run --engine docker`: the same project in containers, and what is left when Staith is killed. Needs root and the
//! package `docker.io`, which tests/run installs.

use std::{
    ops::Deref,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{
    container_engine::{ContainerEngine, Kind},
    terminal::Person,
    wait,
    world::{Said, World},
};

/// The image of the tests' own engine, under the name that a pipeline gives it.
const IMAGE: &str = "staith.test/host:1";

/// The engine, for one test at a time: they ask what is left in it, and any run removes what a killed one has left.
struct Turn {
    engine: Arc<ContainerEngine>,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for Turn {
    type Target = ContainerEngine;

    fn deref(&self) -> &ContainerEngine {
        &self.engine
    }
}

fn engine() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed leaves its turn to the next one.
    let alone = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = ContainerEngine::shared(Kind::Docker);
    engine.take_image("staith.test/host", "1");
    Turn { engine, _alone: alone }
}

fn project(image: &str, steps: &str) -> World {
    let world = World::new();
    world.write("runner.toml", &format!("name = \"boxed\"\nversion = \"1\"\nimage = \"{image}\"\n{steps}"));
    world.commit("first");
    world
}

/// A command of Staith's with this container engine.
fn command(world: &World, engine: &ContainerEngine, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.env("DOCKER_HOST", engine.host());
    command
}

fn said(command: &mut Command) -> Said {
    Said::of(&command.output().unwrap())
}

#[test]
fn a_project_runs_in_containers_and_is_remembered_for_them() {
    let engine = engine();
    let steps = "[steps.build]\nrun = \"id -un > made; ls -d /.staith\"\n\
                 outputs = [\"made\"]\n\
                 [steps.check]\nneeds = [\"build\"]\nrun = \"grep builder made && echo it works\"\n";
    let world = project(IMAGE, steps);
    let docker = ["run", "--engine", "docker"];
    said(&mut command(&world, &engine, &docker)).exits(0).says("it works").says("/.staith");
    said(&mut command(&world, &engine, &docker)).exits(0).never_says("it works").says("cached");
    // By the variable, too; and what ran in a container is not what runs on the host's own root.
    said(command(&world, &engine, &["run"]).env("STAITH_ENGINE", "docker")).exits(0).says("cached");
    // What is known of a plan is known of an engine, too.
    said(&mut command(&world, &engine, &["why", "build", "--engine", "docker"])).exits(0).says("cached");
    assert_eq!(engine.says("/containers/json?all=1"), "[]");
    assert!(engine.says("/volumes").contains("\"Volumes\":[]"), "{}", engine.says("/volumes"));
}

#[test]
fn a_failing_step_fails_the_same() {
    let engine = engine();
    let world = project(IMAGE, "[steps.only]\nrun = \"echo no luck; exit 7\"\n");
    said(&mut command(&world, &engine, &["run", "--engine", "docker"])).exits(10).says("no luck").says("7");
}

#[test]
fn a_shell_in_a_container_shows_what_the_step_left() {
    let engine = engine();
    let world = project(IMAGE, "[steps.only]\nrun = \"echo trace > left; mkdir sub; exit 7\"\n");
    said(&mut command(&world, &engine, &["run", "--engine", "docker"])).exits(10);
    let shell = ["shell", "only", "--engine", "docker"];
    let of_left = [&shell[..], &["--", "sh", "-c", "cat left; echo more >> left"]].concat();
    let cat = said(&mut command(&world, &engine, &of_left)).exits(0);
    assert_eq!(cat.out, "trace\n", "{}", cat.err);
    let mut person = Person::starts(&command(&world, &engine, &shell));
    person.sees("in the workspace that it left").sees("only:/workspace$ ");
    person.types("cat left; sh ~/run-step; echo ended: $?\r");
    person.sees("trace").sees("more").sees("ended: 1").sees("only:/workspace$ ");
    person.types("sleep 98715\r");
    wait::until("it sleeps", || processes_with("98715").then_some(()));
    person.types("\u{3}");
    person.sees("^C").sees("only:/workspace$ ").types("exit 6\r");
    assert_eq!(person.ends(), Some(6));
    assert_eq!(engine.says("/containers/json?all=1"), "[]");
}

#[test]
fn without_an_image_the_step_and_the_remedy_are_named() {
    let world = World::new();
    world.write("runner.toml", "name = \"x\"\nversion = \"1\"\n[steps.lint]\nrun = \"true\"\n");
    world.commit("first");
    // Found out without any container engine.
    let said = world.staith(&["run", "--engine", "docker"]);
    said.exits(20).says("step `lint` names no image").says("image = \"...\"");
}

#[test]
fn without_an_engine_it_is_said_how_to_get_one() {
    let world = project("debian:12", "[steps.only]\nrun = \"true\"\n");
    let mut absent = world.command(&["run", "--engine", "docker"]);
    said(absent.env("DOCKER_HOST", "unix:///not/on/this/machine.sock"))
        .exits(30)
        .says("docker.io")
        .says("podman");
    let mut remote = world.command(&["run", "--engine", "docker"]);
    said(remote.env("DOCKER_HOST", "tcp://127.0.0.1:1")).exits(30).says("behind a network");
    world.staith(&["run", "--engine", "kubernetes"]).exits(64).says("built-in").says("docker");
}

#[test]
fn what_a_killed_run_leaves_the_next_one_removes() {
    let engine = engine();
    let marker = format!("staith-marker-{}", std::process::id());
    let steps = format!("[steps.long]\nrun = \"sleep 1000; : {marker}\"\n");
    let world = project(IMAGE, &steps);
    let mut run = start(&mut command(&world, &engine, &["run", "--engine", "docker"]));
    let containers = || engine.says("/containers/json?all=1&filters={%22label%22:[%22staith.owner%22]}");
    wait::until("the step runs in a container", || processes_with(&marker).then_some(()));
    kill_process(Pid::from_child(&run), Signal::KILL).unwrap();
    run.wait().unwrap();
    wait::until("the step's processes are gone", || (!processes_with(&marker)).then_some(()));
    assert!(containers().contains(&format!("{}-", run.id())), "its name is left: {}", containers());
    // Any other run on this machine does it, beside its own work.
    world.edit("runner.toml", |text| text.replace(&format!("sleep 1000; : {marker}"), "sleep 1"));
    said(&mut command(&world, &engine, &["run", "--engine", "docker"])).exits(0);
    assert!(!containers().contains(&format!("{}-", run.id())), "{}", containers());
    assert!(engine.says("/volumes").contains("\"Volumes\":[]"), "{}", engine.says("/volumes"));
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether a process of this machine, but for Staith itself, has this text in its arguments.
fn processes_with(marker: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    arguments
        .into_iter()
        .any(|arguments| arguments.windows(marker.len()).any(|part| part == marker.as_bytes()))
}
