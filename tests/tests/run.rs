//! `staith run`: what runs, what is not run again, what it sees, and what is left when it ends.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_model::{Event, EventKind, RunState, StepOutcome};
use staith_tests::{wait, world::World};

/// Three steps: two with files of their own, and one that needs both.
const THREE_STEPS: &str = r#"
name = "three"
version = "1.0.0"
[steps.left]
run = "tr a-z A-Z < left.txt > left.out; echo left ran"
inputs = ["left.txt"]
outputs = ["left.out"]
[steps.right]
run = "tr a-z A-Z < right.txt > right.out; echo right ran"
inputs = ["right.txt"]
outputs = ["right.out"]
[steps.both]
needs = ["left", "right"]
inputs = ["both.txt"]
run = "cat left.out right.out both.txt > all.out; echo it says $(cat all.out)"
outputs = ["all.out"]
"#;

fn three_steps() -> World {
    let world = World::new();
    world.write("runner.toml", THREE_STEPS);
    for name in ["left", "right", "both"] {
        world.write(&format!("{name}.txt"), name);
    }
    world.commit("first");
    world
}

fn one_step(run: &str, more: &str) -> World {
    let world = World::new();
    world.write(
        "runner.toml",
        &format!("name = \"one\"\nversion = \"1\"\n[steps.only]\nrun = '''{run}'''\n{more}\n"),
    );
    world.commit("first");
    world
}

fn events(json_lines: &str) -> Vec<Event> {
    json_lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn outcomes(events: &[Event]) -> Vec<(String, StepOutcome)> {
    let mut outcomes: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            EventKind::StepFinished { step, outcome, .. } => Some((step.to_string(), *outcome)),
            _ => None,
        })
        .collect();
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    outcomes
}

fn run_json(world: &World, more: &[&str]) -> Vec<(String, StepOutcome)> {
    let said = world.staith(&[&["run", "--json"], more].concat());
    outcomes(&events(&said.exits(0).out))
}

#[test]
fn only_what_sees_a_change_runs_again() {
    use StepOutcome::{Cached, Passed};
    let world = three_steps();
    let of = |both, left, right| vec![("both".into(), both), ("left".into(), left), ("right".into(), right)];
    assert_eq!(run_json(&world, &[]), of(Passed, Passed, Passed));
    assert_eq!(run_json(&world, &[]), of(Cached, Cached, Cached));
    world.write("unseen.txt", "no step sees this");
    assert_eq!(run_json(&world, &[]), of(Cached, Cached, Cached));
    world.write("left.txt", "links");
    assert_eq!(run_json(&world, &[]), of(Passed, Passed, Cached));
    world.write("both.txt", "beide");
    assert_eq!(run_json(&world, &[]), of(Passed, Cached, Cached));
    world.write("left.txt", "left");
    world.write("both.txt", "both");
    assert_eq!(run_json(&world, &[]), of(Cached, Cached, Cached));
}

#[test]
fn what_is_on_the_screen_is_run_unless_asked_otherwise() {
    let world = three_steps();
    world.write("left.txt", "screen");
    world.staith(&["run"]).exits(0).says("it says SCREENRIGHTboth");
    world.staith(&["run", "--clean"]).exits(0).says("it says LEFTRIGHTboth");
    world.commit("second");
    world.write("left.txt", "unsaid");
    world.staith(&["run", "--clean"]).exits(0).never_says("UNSAID");
    let first = world.git(&["rev-parse", "HEAD~1"]);
    world.git(&["tag", "v1", &first]);
    for name in ["v1", &first, &first[..10]] {
        let said = world.staith(&["run", "--ref", name, "--json"]);
        let events = events(&said.exits(0).out);
        let EventKind::RunStarted { plan, .. } = &events[0].what else { panic!("{:?}", events[0]) };
        assert_eq!(plan.source.commit.as_deref(), Some(first.as_str()), "{name}");
        assert!(!plan.source.dirty);
    }
    let elsewhere = world.scratch().display().to_string();
    let url = format!("file://{}", world.project().display());
    let output = world.command(&["run", &url, "--ref", "main"]).current_dir(&elsewhere).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(world.git(&["status", "--porcelain"]).contains("left.txt"), "the working directory was touched");
}

#[test]
fn events_are_the_truth_on_disk_and_on_the_screen() {
    let world = three_steps();
    let said = world.staith(&["run", "--json"]).exits(0);
    let shown = events(&said.out);
    let state = RunState::replay(&shown).unwrap();
    let journal = world.home().join("runs").join(state.run.as_str()).join("events.jsonl");
    assert_eq!(events(&fs::read_to_string(journal).unwrap()), shown);
}

#[test]
fn a_failed_step_fails_the_run_and_passes_over_what_needs_it() {
    let world = World::new();
    world.write(
        "runner.toml",
        r#"
name = "failing"
version = "1"
[steps.good]
run = "echo fine"
[steps.bad]
run = "echo the reason is this; exit 3"
[steps.after]
needs = ["bad"]
run = "echo must not run"
"#,
    );
    let said = world.staith(&["run"]).exits(10).says("the reason is this").says("exit code 3");
    said.never_says("must not run");
    let said = world.staith(&["run", "--json"]).exits(10);
    let events = events(
        said.out.lines().filter(|line| !line.contains("\"error\"")).collect::<Vec<_>>().join("\n").as_str(),
    );
    use StepOutcome::{Cached, Failed, Skipped};
    assert_eq!(
        outcomes(&events),
        [("after".into(), Skipped), ("bad".into(), Failed), ("good".into(), Cached)]
    );
}

#[test]
fn a_failed_test_fails_its_step_whatever_the_exit_code() {
    let report = r#"<testsuite name="s"><testcase name="good"/><testcase classname="shop.Cart" name="adds"><failure message="1 is not 2"/></testcase></testsuite>"#;
    let world = one_step("cp given.xml junit.xml", "reports = [\"junit.xml\"]");
    world.write("given.xml", report);
    world.staith(&["run"]).exits(10).says("1 of 2 tests failed").says("adds").says("1 is not 2");
    world.write("given.xml", "<testsuite><testcase name=\"good\"/></testsuite>");
    world.staith(&["run"]).exits(0).says("1 passed");
    world.write("given.xml", "not a report");
    world.staith(&["run"]).exits(10).says("junit.xml");
}

#[test]
fn a_step_sees_its_inputs_and_nothing_of_the_host() {
    let world = one_step("true", "");
    world.write("seen.txt", "");
    world.write("unseen.txt", "");
    let probe = r#"
ls; test -e seen.txt; test ! -e unseen.txt
test "$(id -u)" = 1000
env | grep -q PLANTED && exit 41
ls -A "$HOME" | grep . && exit 42
ls -d /root/* /home/[!b]* /var/lib 2>/dev/null && exit 43
test "$(ls /proc | grep -c '^[0-9]')" -lt 10
touch /usr/x 2>/dev/null && exit 44
grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status
echo well isolated
"#;
    world.write(
        "runner.toml",
        &format!(
            "name = \"one\"\nversion = \"1\"\n[steps.only]\nrun = '''{probe}'''\ninputs = [\"seen.txt\"]\n"
        ),
    );
    let output = world.command(&["run"]).env("PLANTED", "hunter2").output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("well isolated"), "{out}");
}

#[test]
fn steps_that_do_not_need_each_other_run_at_once() {
    let world = World::new();
    let step = |name| format!("[steps.{name}]\nrun = \"echo begun; sleep 0.3\"\n");
    world.write("runner.toml", &format!("name = \"two\"\nversion = \"1\"\n{}{}", step("a"), step("b")));
    let events = events(&world.staith(&["run", "--json", "--jobs", "2"]).exits(0).out);
    let place = |kind: fn(&EventKind) -> bool| {
        events.iter().map(|event| &event.what).filter(|what| kind(what)).count()
    };
    assert_eq!(place(|what| matches!(what, EventKind::StepStarted { .. })), 2);
    let last_start = events.iter().rposition(|e| matches!(e.what, EventKind::StepStarted { .. })).unwrap();
    let first_end = events.iter().position(|e| matches!(e.what, EventKind::StepFinished { .. })).unwrap();
    assert!(last_start < first_end, "{events:#?}");
}

#[test]
fn two_parallel_steps_that_write_one_path_are_an_error_that_names_both() {
    let world = World::new();
    world.write(
        "runner.toml",
        r#"
name = "clash"
version = "1"
[steps.one]
run = "mkdir out; echo 1 > out/same"
outputs = ["out/*"]
[steps.two]
run = "mkdir out; echo 2 > out/same"
outputs = ["out/same*"]
[steps.three]
needs = ["one", "two"]
run = "cat out/same"
"#,
    );
    world.staith(&["run"]).exits(10).says("out/same").says("one").says("two");
}

#[test]
fn what_can_not_work_is_refused_before_anything_runs() {
    let refused = |world: &World, arguments: &[&str], code| {
        let said = world.staith(arguments).exits(code);
        assert!(!world.home().join("runs").exists(), "something ran");
        said
    };
    let world = one_step("echo hello", "need = [\"x\"]");
    refused(&world, &["run"], 20).says("runner.toml:5:1").says("needs").says("^");
    let world = one_step("no-such-linter --strict", "");
    refused(&world, &["run"], 30).says("no-such-linter").says("only");
    let world = one_step("cargo build", "");
    refused(&world, &["run"], 30).says("tools = [\"rust\"]");
    let world = one_step("echo hello", "");
    refused(&world, &["run", "--release", "local"], 20).says("environments.local");
    refused(&world, &["run", "--ref", "mian"], 30).says("mian").says("main");
    refused(&world, &["run", "/no/such/place"], 30).says("/no/such/place");
    refused(&world, &["run", "ext::sh -c true", "--ref", "main"], 30).says("ext");
    refused(&world, &["rum"], 64).says("run");
    let empty = World::new();
    refused(&empty, &["run"], 20).says("runner.toml").says("[steps.test]");
    empty.write("shop/runner.toml", "name = \"shop\"\nversion = \"1\"\n[steps.only]\nrun = \"true\"\n");
    refused(&empty, &["run"], 20).says("it has one in shop");
    let world = one_step("echo hello", "inputs = [\"typo.txt\"]");
    refused(&world, &["run"], 20).says("typo.txt").says("only");
    let world = one_step("echo hello", "inputs = [\"*.none\"]");
    refused(&world, &["run"], 20).says("no file of the source matches");
}

#[test]
fn a_pipeline_that_is_a_link_shows_nothing_of_the_host() {
    let world = World::new();
    std::os::unix::fs::symlink("/etc/passwd", world.project().join("runner.toml")).unwrap();
    world.staith(&["run"]).exits(20).says("symbolic link").never_says("root:");
}

#[test]
fn a_home_that_is_relative_or_in_the_project_is_refused() {
    let world = one_step("echo hello", "");
    let run = |home: &std::path::Path| world.command(&["run"]).env("STAITH_HOME", home).output().unwrap();
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let relative = run("some/where".as_ref());
    assert!(
        relative.status.code() == Some(30) && said(&relative).contains("no absolute path"),
        "{relative:?}"
    );
    let inside = run(&world.project().join("home"));
    assert!(
        inside.status.code() == Some(20) && said(&inside).contains("in the project itself"),
        "{inside:?}"
    );
}

#[test]
fn whoever_does_not_read_can_not_keep_a_run_from_being_stopped() {
    let marker = "86404.25";
    let world = one_step(&format!("yes 'a line that nobody reads' | head -n 300000; sleep {marker}"), "");
    let mut child = world.start(&["run"]);
    // Far more than the pipe holds: whoever writes to it waits by now.
    wait::until("the log has many lines", || {
        let run = fs::read_dir(world.home().join("runs")).ok()?.flatten().next()?;
        (fs::metadata(run.path().join("events.jsonl")).ok()?.len() > 1 << 20).then_some(())
    });
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    // Nothing is read from its pipe until it has ended.
    let ended = wait::until("the run has ended", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(130));
    wait::until("its step is gone", || (alive(marker) == 0).then_some(()));
}

#[test]
fn output_that_can_not_be_written_is_no_success() {
    let world = one_step("echo hello", "");
    for arguments in [["run"], ["status"]] {
        let full = fs::File::create("/dev/full").unwrap();
        let output = world.command(&arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(30), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("could not be written"), "{output:?}");
    }
}

#[test]
fn a_step_that_writes_without_end_does_not_fill_the_disk_with_its_log() {
    let world = one_step("yes | head -c 4000000", "");
    world.staith(&["run"]).exits(0).says("shows all of it");
    let runs = fs::read_dir(world.home().join("runs")).unwrap().flatten();
    let sizes: u64 = runs.map(|run| fs::metadata(run.path().join("events.jsonl")).unwrap().len()).sum();
    assert!(sizes < 200 << 20, "{sizes}");
}

#[test]
fn what_a_step_could_not_leave_is_said() {
    let world = one_step("mkdir out; mkfifo out/pipe; echo x > out/file", "outputs = [\"out\"]");
    world.staith(&["run"]).exits(0).says("out/pipe");
}

#[test]
fn an_empty_package_is_refused() {
    let world = one_step(
        "echo x > file",
        "outputs = [\"file\"]\n[package]\nfrom = [\"only\"]\ninclude = [\"nomatch/**\"]",
    );
    world.staith(&["run"]).exits(20).says("would be empty");
}

#[test]
fn a_command_that_is_not_in_the_sandbox_is_named_with_a_remedy() {
    let world = one_step("x=no-such; $x-thing", "");
    world.staith(&["run"]).exits(10).says("no-such-thing").says("tools");
}

#[test]
fn a_step_that_takes_too_long_is_ended_with_all_it_started() {
    let marker = "86401.25";
    let world = one_step(&format!("setsid sleep {marker} & sleep {marker}"), "timeout = \"1s\"");
    world.staith(&["run"]).exits(10).says("still running after 1 s");
    assert_eq!(alive(marker), 0);
}

/// Processes of the whole machine that have a text in their command line.
fn alive(marker: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
    let has = |path: &std::path::PathBuf| {
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(marker)
    };
    processes.filter(has).count()
}

/// Starts a run whose one step sleeps, and waits until it does.
fn asleep(marker: &str) -> (World, Child, BufReader<ChildStdout>) {
    let world = one_step(&format!("trap '' TERM; echo asleep; setsid sleep {marker} & sleep {marker}"), "");
    let mut child = world.start(&["run"]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("asleep") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "the run ended early");
    }
    (world, child, out)
}

#[test]
fn ctrl_c_twice_ends_at_once_and_leaves_nothing() {
    let marker = "86402.25";
    let (world, mut child, mut out) = asleep(marker);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    // Killed by the kernel when its first process was; the last of them may take a moment to go.
    wait::until("its step is gone", || (alive(marker) == 0).then_some(()));
    assert_no_scratch(&world);
}

#[test]
fn a_killed_run_leaves_no_process_and_the_next_is_whole() {
    let marker = "86403.25";
    let (world, mut child, _out) = asleep(marker);
    child.kill().unwrap();
    child.wait().unwrap();
    wait::until("the killed run's step is gone", || (alive(marker) == 0).then_some(()));
    world.write("runner.toml", "name = \"one\"\nversion = \"1\"\n[steps.only]\nrun = \"echo well\"\n");
    world.staith(&["run"]).exits(0).says("well");
    assert_no_scratch(&world);
}

/// Nothing that a step wrote is left, and nothing is mounted below the home.
fn assert_no_scratch(world: &World) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(world.home().to_str().unwrap()), "{mounts}");
    let cgroups =
        walkdir("/sys/fs/cgroup").into_iter().filter(|path| path.contains("staith-")).collect::<Vec<_>>();
    let ours = |path: &&String| path.contains(&format!("-{}-", std::process::id()));
    assert!(!cgroups.iter().any(|path| ours(&path)), "{cgroups:?}");
}

fn walkdir(root: &str) -> Vec<String> {
    let mut found = vec![];
    let mut open = vec![std::path::PathBuf::from(root)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path().display().to_string());
                open.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_project_below_the_repositorys_root_is_run_as_its_own() {
    let world = World::new();
    world.write(
        "shop/runner.toml",
        "name = \"shop\"\nversion = \"1\"\n[steps.only]\nrun = \"ls; test ! -e shop\"\n",
    );
    world.write("other/file", "");
    world.commit("two projects");
    world.staith(&["run", "shop"]).exits(0).says("runner.toml").never_says("other");
}
