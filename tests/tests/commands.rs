//! The commands that look before they leap: `plan`, `why`, `doctor`, completions.

use std::{fs, path::Path};

use serde_json::Value;
use staith_tests::world::{World, repository, staith_binary};

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

/// What bash offers when a person types these words and the tab key in the project, and whether anything is said beside.
fn offered(world: &World, words: &[&str]) -> Vec<String> {
    let script = world.scratch().join("staith.bash");
    if !script.exists() {
        fs::write(&script, world.staith(&["completions", "bash"]).exits(0).out).unwrap();
    }
    let (line, place) = (words.join(" "), words.len() - 1);
    let asked = format!(
        ". {}; COMP_WORDS=({line} {}); COMP_CWORD={place}; COMP_TYPE=9; _clap_complete_staith staith '{}' x; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        if words[place].is_empty() { "''" } else { "" },
        words[place]
    );
    let directory = staith_binary();
    let path = format!("{}:/usr/bin:/bin", directory.parent().unwrap().display());
    let bash = std::process::Command::new("bash")
        .args(["--norc", "-c", &asked])
        .env_clear()
        .envs([("PATH", path.as_str()), ("STAITH_HOME", world.home().to_str().unwrap())])
        .current_dir(world.project())
        .output()
        .unwrap();
    assert!(bash.status.success() && bash.stderr.is_empty(), "{bash:?}");
    String::from_utf8(bash.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn shells_learn_the_commands() {
    let world = World::new();
    for (shell, word) in [("bash", "complete "), ("zsh", "compdef "), ("fish", "complete ")] {
        world.staith(&["completions", shell]).exits(0).says(word).says("STAITH_COMPLETE");
    }
    world.staith(&["completions", "tcsh"]).exits(64).says("fish");
    assert_eq!(offered(&world, &["staith", "pl"]), ["plan"]);
    assert_eq!(offered(&world, &["staith", "gc", "--dr"]), ["--dry-run"]);
    assert_eq!(offered(&world, &["staith", "run", "--event", "pul"]), ["pull-request"]);
    // Without a pipeline or a run there is nothing to offer, and nothing is said.
    for words in [["run", "--step", ""], ["run", "--release", ""], ["run", "--resume", ""]] {
        let offered = offered(&world, &[&["staith"], words.as_slice()].concat());
        assert!(offered.iter().all(|one| one.starts_with('-')), "{offered:?}");
    }
    assert_eq!(offered(&world, &["staith", "no-such-command", "x"]), [] as [&str; 0]);
}

#[test]
fn shells_know_the_packages_and_their_channels() {
    let world = World::new();
    let offers = |words: &[&str]| offered(&world, &[&["staith"], words].concat());
    assert_eq!(offers(&["inspect", "sho"]), [] as [&str; 0]);
    assert!(!world.home().exists(), "asking made something");
    let sample = repository().join("packager/tests/samples/contentpath.zip").display().to_string();
    let store = world.home().join("packages").display().to_string();
    for version in ["shop@1.0", "shop@1.1"] {
        world.staith(&["push", &sample, version, "--to", &store]).exits(0);
    }
    world.staith(&["publish", "shop@1.0", "stable"]).exits(0);
    let all = ["shop", "shop@stable", "shop@1.1", "shop@1.0"];
    for command in ["pull", "inspect", "verify", "apply", "push", "diff", "publish"] {
        assert_eq!(offers(&[command, "sho"]), all, "{command}");
    }
    assert_eq!(offers(&["publish", "shop", "sta"]), ["stable"]);
    // A file comes before the store, and is offered beside it.
    world.write("shop.zip", "");
    assert!(offers(&["verify", "shop"]).contains(&"shop.zip".to_owned()));
}

#[test]
fn shells_know_the_steps_environments_and_runs() {
    let world = World::new();
    let steps =
        "[steps.build]\nrun = \"true\"\n[steps.test]\nrun = \"exit 1\"\nmatrix = { size = [\"s\", \"l\"] }\n";
    world.write("runner.toml", &format!("name = \"shop\"\nversion = \"1\"\n{steps}"));
    world.commit("first");
    assert_eq!(offered(&world, &["staith", "run", "--step", "te"]), ["test", "test-s", "test-l"]);
    for command in ["why", "shell"] {
        assert_eq!(offered(&world, &["staith", command, "b"]), ["build"], "{command}");
    }
    world.staith(&["run"]).exits(10);
    let run = fs::read_dir(world.home().join("runs")).unwrap().next().unwrap().unwrap().file_name();
    let run = run.to_str().unwrap();
    assert_eq!(offered(&world, &["staith", "logs", &run[..2]]), [run]);
    assert_eq!(offered(&world, &["staith", "run", "--resume", &run[..2]]), [run]);
    assert_eq!(offered(&world, &["staith", "logs", run, "bu"]), ["build"]);
    // A file that is just being written still has names.
    world.edit("runner.toml", |text| format!("{text}[environments.local]\nunknown = 3\n"));
    assert_eq!(offered(&world, &["staith", "run", "--release", "lo"]), ["local"]);
    assert_eq!(offered(&world, &["staith", "why", "b"]), ["build"]);
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
    world.staith(&["run", "--step", "Other"]).exits(64).says("did you mean `other`?");
    world.staith(&["why", "OTHER"]).exits(64).says("did you mean `other`?").says("lower-case");
    world.staith(&["why", "M"]).exits(64).says("did you mean `m`?");
    world.staith(&["why", "no name"]).exits(64).says("there is no step `no name`");
}
