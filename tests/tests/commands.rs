//! The commands that look before they leap: `plan`, `why`, `doctor`, completions.

use std::{fs, path::Path};

use serde_json::Value;
use staith_tests::world::World;

const SHOP: &str = r#"
name = "shop"
version = "1.0.0"
[steps.restore]
run = "cp deps.txt deps.lock; cp deps.txt other.lock"
inputs = ["deps.txt"]
outputs = ["*.lock"]
[steps.lint]
run = "cat *.c"
inputs = ["*.c"]
[steps.build]
needs = ["restore"]
run = "cat deps.lock *.c > shop"
inputs = ["*.c"]
outputs = ["shop"]
env = { FLAGS = "-O1" }
"#;

fn shop() -> World {
    let world = World::new();
    world.write("runner.toml", SHOP);
    world.write("deps.txt", "one");
    for file in ["a.c", "b.c", "c.c"] {
        world.write(file, file);
    }
    world.commit("first");
    world
}

fn json(world: &World, arguments: &[&str]) -> Value {
    serde_json::from_str(&world.staith(&[arguments, &["--json"]].concat()).exits(0).out).unwrap()
}

fn standings(plan: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    plan["steps"].as_array().unwrap().iter().map(|one| (text(&one["step"]), text(&one["standing"]))).collect()
}

fn files_below(directory: &Path) -> Vec<String> {
    let mut found = vec![];
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            found.push(entry.path().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn one_commit_is_one_plan_wherever_it_is() {
    let world = shop();
    let digest =
        |world: &World, arguments: &[&str]| json(world, arguments)["digest"].as_str().unwrap().to_owned();
    let here = digest(&world, &["plan"]);
    let elsewhere = World::new();
    let url = format!("file://{}", world.project().display());
    elsewhere.git(&["fetch", "--quiet", &url, "main"]);
    elsewhere.git(&["reset", "--quiet", "--hard", "FETCH_HEAD"]);
    assert_eq!(digest(&elsewhere, &["plan"]), here, "a clone");
    assert_eq!(digest(&elsewhere, &["plan", &url, "--ref", "main"]), here, "a repository that is named");
    assert_eq!(digest(&world, &["plan", "--clean"]), here, "HEAD");
    let said = world.staith(&["plan"]).exits(0).says(&here).says("commit").says("branch main");
    said.says("depends on the outputs of restore");
    assert_ne!(digest(&world, &["plan", "--event", "push"]), here, "the event is part of the plan");
    world.write("a.c", "other");
    assert_ne!(digest(&world, &["plan"]), here, "so is the source");
    assert_eq!(digest(&world, &["plan", "--clean"]), here);
}

#[test]
fn a_plan_runs_nothing_and_writes_nothing_to_the_project() {
    let world = shop();
    world.write("a.c", "uncommitted");
    let before = files_below(&world.project());
    let told = json(&world, &["plan"]);
    let all = |restore: &str, lint: &str, build: &str| {
        [("restore", restore), ("lint", lint), ("build", build)].map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    assert_eq!(standings(&told), all("runs", "runs", "depends"));
    assert_eq!(told["plan"]["source"]["dirty"], true);
    assert_eq!(files_below(&world.project()), before);
    assert!(!world.home().join("runs").exists() && !world.home().join("steps").exists());
    world.staith(&["run"]).exits(0);
    assert_eq!(standings(&json(&world, &["plan"])), all("cached", "cached", "cached"));
    world.write("b.c", "changed");
    assert_eq!(standings(&json(&world, &["plan"])), all("cached", "runs", "runs"));
    world.write("deps.txt", "two");
    assert_eq!(standings(&json(&world, &["plan"])), all("runs", "runs", "depends"));
}

#[test]
fn the_graph_is_a_tree_or_for_graphviz() {
    let world = shop();
    world.staith(&["plan", "--graph"]).exits(0).says("restore\n").says("build");
    world.staith(&["plan", "--graph=dot"]).exits(0).says("\"restore\" -> \"build\";");
    world.staith(&["plan", "--graph=svg"]).exits(64).says("dot");
}

#[test]
fn why_names_what_has_changed_since_the_last_run() {
    let world = shop();
    world.staith(&["why", "build"]).exits(0).says("build will run").says("no run on this machine");
    world.staith(&["run"]).exits(0);
    world.staith(&["why", "build"]).exits(0).says("build is cached: it ran");
    world.write("b.c", "changed");
    world.staith(&["why", "build"]).exits(0).says("build will run").says("b.c changed").never_says("a.c");
    world.staith(&["why", "restore"]).exits(0).says("restore is cached");
    world.edit("runner.toml", |text| text.replace("-O1", "-O2"));
    let said = world.staith(&["why", "build"]).exits(0).says("env FLAGS was `-O1`, and is `-O2`");
    said.says("b.c changed");
    fs::remove_file(world.project().join("c.c")).unwrap();
    world.staith(&["why", "lint"]).exits(0).says("b.c changed, c.c is gone");
    world.staith(&["run"]).exits(0);
    world.edit("runner.toml", |text| text.replace("cp deps.txt other.lock", "echo > other.lock"));
    let said = world.staith(&["why", "build"]).exits(0).says("build may run").says("outputs of `restore`");
    said.never_says("since run");
    let told = json(&world, &["why", "restore"]);
    assert_eq!((&told["standing"], &told["changes"][0]["what"]), (&"runs".into(), &"command".into()));
}

#[test]
fn why_names_the_step_that_left_other_files() {
    let world = shop();
    world.staith(&["run"]).exits(0);
    // The steps before run, and the one that is asked about does not: it fails to start in a folder that is not there.
    world.edit("runner.toml", |text| text.replace("cp deps.txt other.lock", "echo > other.lock"));
    world.write("only/runner.toml", "");
    world.edit("runner.toml", |text| {
        text.replace("[steps.build]", "[steps.stop]\nneeds = [\"restore\"]\nrun = \"exit 3\"\n[steps.build]")
    });
    world.edit("runner.toml", |text| {
        text.replace("needs = [\"restore\"]\nrun = \"cat", "needs = [\"restore\", \"stop\"]\nrun = \"cat")
    });
    world.staith(&["run"]).exits(10);
    let said =
        world.staith(&["why", "build"]).exits(0).says("step `restore` left other files: other.lock changed");
    said.never_says("deps.lock");
    world.staith(&["why", "stop"]).exits(0).says("stop will run").says("failed there");
}

#[test]
fn a_step_that_is_not_there_is_a_mistake() {
    let world = shop();
    let said = world
        .staith(&["why", "biuld"])
        .exits(64)
        .says("there is no step `biuld`")
        .says("did you mean `build`?");
    said.says("restore, lint, build");
    world.staith(&["why", "x"]).exits(64).says("restore, lint, build");
}

#[test]
fn mistakes_on_the_command_line_are_refused_before_anything_is_read() {
    let world = shop();
    world.staith(&["plan", "--event", "merge"]).exits(64).says("pull-request");
    world.staith(&["plan", "--set", "novalue"]).exits(64).says("NAME=VALUE");
    world.staith(&["plan", "--set", "a=1", "--set", "a=2"]).exits(64).says("two values");
    world.staith(&["plan", "--event", "tag"]).exits(64).says("no tag points to the commit");
    world.git(&["tag", "v1"]);
    assert_eq!(json(&world, &["plan", "--event", "tag"])["plan"]["trigger"]["tag"], "v1");
    world.staith(&["plan", "--base", "mian"]).exits(30).says("mian").says("main");
}

#[test]
fn the_doctor_says_what_works_and_what_does_not() {
    let world = World::new();
    let said = world.staith(&["doctor"]).exits(0).says("the built-in sandbox works on this host");
    let said = said.says("seccomp").says("landlock").says("memory limit").says("/proc masks").says("kernel");
    // Of this world's Docker Engine it is known that it is not there.
    said.says("Docker Engine").says("127.0.0.1:1").says("do: ");
    let told = json(&world, &["doctor"]);
    assert_eq!(told["works"], true);
    let findings = told["findings"].as_array().unwrap();
    let health = |of: &str| findings.iter().find(|found| found["of"] == of).unwrap()["health"].clone();
    assert_eq!((health("overlay"), health("Docker Engine")), ("ok".into(), "missing".into()));
    // The sandbox has no place for what it needs.
    fs::remove_dir_all(world.home().join("sandbox")).unwrap();
    fs::write(world.home().join("sandbox"), "").unwrap();
    let said = world.staith(&["doctor"]).exits(30).says("the built-in sandbox does not work on this host");
    said.says("no sandbox could be made to see it at work");
    world.staith(&["doctor", "--json"]).exits(30).says("\"works\":false");
}

#[test]
fn shells_learn_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = world.staith(&["completions", shell]).exits(0);
        said.says("rollback").says("dry-run").says("pull-request");
    }
    world.staith(&["completions", "tcsh"]).exits(64).says("fish");
    let script = world.scratch().join("staith.bash");
    fs::write(&script, world.staith(&["completions", "bash"]).out).unwrap();
    // What bash does when a person types `staith pl` and the tab key.
    let typed = "COMP_WORDS=(staith pl); COMP_CWORD=1; _staith staith pl staith; echo \"${COMPREPLY[@]}\"";
    let asked = format!(". {}; {typed}", script.display());
    let bash = std::process::Command::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "plan", "{bash:?}");
}

#[test]
fn a_step_with_a_matrix_is_named_with_all_of_its_variants() {
    let world = World::new();
    let matrix =
        "[steps.m]\nrun = \"true\"\nmatrix = { size = [\"s\", \"l\"] }\n[steps.other]\nrun = \"true\"\n";
    world.write("runner.toml", &format!("name = \"many\"\nversion = \"1\"\n{matrix}"));
    world.commit("first");
    let said = world.staith(&["why", "m"]).exits(0);
    assert_eq!(said.out.matches("no run on this machine has run it before").count(), 2, "{}", said.out);
    let run = world.staith(&["run", "--step", "m"]).exits(0);
    assert!(!run.out.contains("other") && run.out.contains("m-s") && run.out.contains("m-l"), "{}", run.out);
    world.staith(&["run", "--step", "othre"]).exits(64).says("did you mean `other`?");
    world.staith(&["why", "othre"]).exits(64).says("did you mean `other`?");
}
