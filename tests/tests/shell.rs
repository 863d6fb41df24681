//! `staith shell STEP`: a shell in a step's own sandbox and workspace, on a real terminal.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{
    leavings::{processes_with, wait_until_nothing_is_left},
    terminal::Person,
    wait::until,
    world::{Said, World},
};

const TOKEN: &str = "tok-91f3c2-77";

/// `test` fails, and leaves a file; it passes where `good` is.
const PIPELINE: &str = r#"
name = "shop"
version = "1"
[steps.build]
run = "echo built > out"
outputs = ["out"]
[steps.test]
needs = ["build"]
workdir = "app"
env = { COLOUR = "blue" }
secrets = ["TOKEN"]
timeout = "1m"
run = """
echo trace of $COLOUR > trace.log
test -e good
"""
[steps.broken]
run = "exit 1"
[steps.after]
needs = ["broken"]
run = "true"
"#;

fn world() -> World {
    let world = World::new();
    world.write("runner.toml", PIPELINE);
    world.write("app/source.txt", "source");
    world.commit("first");
    world
}

fn shell(world: &World, arguments: &[&str]) -> std::process::Command {
    let mut command = world.command(&[&["shell"], arguments].concat());
    command.env("STAITH_SECRET_TOKEN", TOKEN);
    command
}

fn says(world: &World, arguments: &[&str]) -> Said {
    Said::of(&shell(world, arguments).output().unwrap())
}

fn fails(world: &World) {
    let mut run = world.command(&["run", "--step", "test"]);
    let said = run.env("STAITH_SECRET_TOKEN", TOKEN).output().unwrap();
    assert_eq!(said.status.code(), Some(10));
}

#[test]
fn a_command_without_a_terminal_is_where_the_step_is_and_its_output_is_its_own() {
    let world = world();
    let script = "pwd; cat ../out source.txt; echo $COLOUR $TOKEN; echo careful >&2; exit 7";
    let said = says(&world, &["test", "--", "sh", "-c", script]).exits(7);
    assert_eq!(said.out, "/workspace/app\nbuilt\nsourceblue ***\n");
    assert!(said.err.contains("build   > passed") && said.err.contains("careful"), "{}", said.err);
    // What it needs is known now, and nothing is said of it.
    says(&world, &["test", "--", "true"]).exits(0).never_says("build").says("in a fresh workspace");
    says(&world, &["test", "--", "sh", "-c", "kill -9 $$"]).exits(137);
    says(&world, &["test", "--", "no-such-program"]).exits(30).says("`no-such-program` could not be started");
    says(&world, &["test"]).exits(64).says("staith shell test -- COMMAND");
    says(&world, &["tset", "--", "true"]).exits(64).says("did you mean `test`?");
    says(&world, &["after", "--", "true"]).exits(10).says("`after` needs `broken`, which did not pass");
}

#[test]
fn after_a_failure_the_workspace_is_as_the_step_left_it_and_changes_stay() {
    let world = world();
    fails(&world);
    let cat = ["test", "--", "cat", "trace.log"];
    let said = says(&world, &cat).exits(0).says("in the workspace that it left in run");
    assert_eq!(said.out, "trace of blue\n");
    says(&world, &["test", "--", "sh", "-c", "echo more >> trace.log; rm ../out; echo mine > source.txt"])
        .exits(0);
    let said = says(&world, &["test", "--", "sh", "-c", "cat trace.log source.txt; ls .."]).exits(0);
    assert_eq!(said.out, "trace of blue\nmore\nmine\napp\nrunner.toml\n");
    assert_eq!(fs::read_to_string(world.project().join("app/source.txt")).unwrap(), "source");
    // A fresh one is thrown away, and what was left is not.
    says(&world, &["test", "--fresh", "--", "cat", "trace.log"]).exits(1);
    says(&world, &["test", "--fresh", "--", "touch", "trace.log"]).exits(0);
    assert_eq!(says(&world, &cat).out, "trace of blue\nmore\n");
    // Not taken for a run: it is run again, and another failure leaves another workspace.
    fails(&world);
    assert_eq!(says(&world, &cat).out, "trace of blue\n");
    // Once what it would see has changed, the workspace is fresh.
    world.write("app/source.txt", "other");
    says(&world, &cat).exits(1).says("what it would see has changed since run").says("--last opens");
    let said = says(&world, &["test", "--last", "--", "cat", "trace.log", "source.txt"]).exits(0);
    assert_eq!(said.out, "trace of blue\nsource");
    // When it passes, nothing is left of the failure.
    world.write("app/good", "");
    let passed =
        world.command(&["run", "--step", "test"]).env("STAITH_SECRET_TOKEN", TOKEN).output().unwrap();
    assert_eq!(passed.status.code(), Some(0));
    says(&world, &["test", "--last", "--", "true"]).exits(64).says("has left no workspace that is kept");
}

#[test]
fn a_shell_is_no_run_and_a_pull_request_leaves_nothing() {
    let world = world();
    says(&world, &["test", "--", "touch", "good"]).exits(0);
    fails(&world);
    // What was prepared for a shell is nothing to go on with.
    world.staith(&["run", "--step", "broken"]).exits(10);
    says(&world, &["build", "--", "true"]).exits(0);
    world.staith(&["run", "--resume"]).exits(10).says("where 0 of 1 steps passed");
    world.staith(&["run", "--event", "pull-request", "--step", "after"]).exits(10);
    let left = says(&world, &["after", "--last", "--", "true"]).exits(64);
    left.says("has left no workspace");
}

#[test]
fn what_was_left_counts_and_goes_when_room_is_made() {
    let world = world();
    fails(&world);
    let left = || fs::read_dir(world.home().join("store/left")).unwrap().count();
    assert_eq!(left(), 1);
    world.staith(&["gc", "--budget", "0KiB"]).exits(0).says("workspaces of failed steps");
    assert_eq!(left(), 0);
}

#[test]
fn a_person_types_and_sees_and_the_terminal_is_as_it_was() {
    let world = world();
    fails(&world);
    let mut person = Person::starts(&shell(&world, &["test"]));
    person
        .sees("step test of shop, in the workspace that it left")
        .sees("sh ~/run-step runs its command: echo trace");
    person.sees("test:/workspace/app$ ");
    assert!(person.is_raw());
    person.types("cat trace.log; tty\r");
    person.sees("trace of blue");
    person.types("echo it is $TOKEN\r");
    person.sees("it is ***");
    person.types("stty size\r");
    person.sees("24 80");
    // What is typed is seen as well, so it does not hold what is waited for.
    person.types(
        "sh -c 'trap \"echo win''dow; stty size\" WINCH; echo rea''dy; while :; do sleep 0.05; done'\r",
    );
    person.sees("ready");
    person.resizes(100, 30);
    person.sees("window").sees("30 100");
    person.types("\u{3}");
    person.sees("test:/workspace/app$ ");
    // Ctrl-C is for what runs in the foreground.
    person.types("sleep 98713; echo slept: $?\r");
    until("it sleeps", || (processes_with("98713") > 0).then_some(()));
    person.types("\u{3}");
    person.sees("^C").sees("test:/workspace/app$ ");
    person.types("sh ~/run-step; echo ended with $?\r");
    person.sees("ended with 1");
    person.types("exit 5\r");
    assert_eq!(person.ends(), Some(5));
    assert!(!person.all().contains(TOKEN), "{}", person.all());
    wait_until_nothing_is_left(&world, person.child.id(), "98713");
}

#[test]
fn whoever_closes_the_window_or_ends_staith_ends_the_sandbox() {
    let world = world();
    for signal in [Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut person = Person::starts(&shell(&world, &["build"]));
        person.sees("build:/workspace$ ");
        person.types("trap '' TERM; sleep 98714 &\r");
        person.sees("[1]").sees("build:/workspace$ ");
        kill_process(Pid::from_child(&person.child), signal).unwrap();
        assert_eq!(person.ends(), Some(130), "{signal:?}");
        wait_until_nothing_is_left(&world, person.child.id(), "98714");
    }
}

#[test]
fn services_are_beside_a_shell_as_they_are_beside_the_step() {
    let world = World::new();
    let pipeline = r#"
name = "shop"
version = "1"
[services.web]
run = ["/usr/bin/python3", "-m", "http.server", "8080"]
ready = { port = 8080 }
[services.late]
run = "echo out of ink; exit 3"
ready = { port = 8081 }
[steps.test]
services = ["web"]
run = "exit 1"
matrix = { size = ["s", "l"] }
[steps.print]
services = ["late"]
run = "true"
"#;
    world.write("runner.toml", pipeline);
    world.write("hello.txt", "hello from beside");
    world.commit("first");
    let look = "import urllib.request as u; print(u.urlopen('http://web:8080/hello.txt').read().decode())";
    let several = world.staith(&["shell", "test", "--", "true"]).exits(64).says("stands for several");
    let one = several.err.split("name one of ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let said = world.staith(&["shell", &one, "--", "/usr/bin/python3", "-c", look]).exits(0);
    assert_eq!(said.out, "hello from beside\n");
    world
        .staith(&["shell", "print", "--", "echo", "never"])
        .exits(10)
        .says("late | out of ink")
        .never_says("never");
    // A shell is no run, so nobody finds logs of one.
    assert!(
        !world.home().join("runs").exists() || fs::read_dir(world.home().join("runs")).unwrap().count() == 0
    );
    // Once one of them has failed, that one is meant; and once both have, it is not clear again.
    world.staith(&["run", "--step", &one]).exits(10);
    let said = world.staith(&["shell", "test", "--", "true"]).exits(0);
    said.says(&format!("the shell is in `{one}`"));
    world.staith(&["shell", "test", "--last", "--", "true"]).exits(0).says(&format!("`{one}`"));
    world.staith(&["shell", "Test", "--", "true"]).exits(64).says("did you mean `test`?");
    world.staith(&["run", "--keep-going", "--step", "test"]).exits(10);
    world.staith(&["shell", "test", "--", "true"]).exits(64).says("stands for several");
}
