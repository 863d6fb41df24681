//! `staith logs`: all that steps wrote, of runs that ended, go on, or were killed; also when it was very much.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{wait, world::World};

fn project(steps: &str) -> World {
    let world = World::new();
    world.write("runner.toml", &format!("name = \"talk\"\nversion = \"1\"\n{steps}"));
    world
}

const TWO: &str = r#"
[steps.first]
run = "echo one; echo two >&2; printf 'no end'"
[steps.second]
needs = ["first"]
run = "printf '\\033[31mred\\033[0m \\033]0;title\\007 \\001\\n'; exit 3"
[steps.third]
needs = ["second"]
run = "true"
"#;

#[test]
fn each_line_has_its_time_and_step() {
    let world = project(TWO);
    world.staith(&["run"]).exits(10);
    let out = world.staith(&["logs"]).exits(0).out;
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].contains("talk") && lines[0].ends_with("failed"), "{out}");
    // Which of its two streams is read first nobody knows.
    for text in ["one", "two"] {
        let line = lines.iter().find(|line| line.ends_with(text)).expect(&out);
        let (time, rest) = line.split_at(12);
        assert!(time.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte)), "{out}");
        assert_eq!(rest.split_whitespace().collect::<Vec<_>>(), ["first", "|", text], "{out}");
    }
    assert!(out.contains("no end"), "{out}");
    let second =
        world.staith(&["logs", "sec"]).exits(0).never_says("one").never_says("title").never_says("\u{1b}");
    second.says("red").says("<U+0001>");
    world.staith(&["logs", "--failed"]).exits(0).never_says("one").says("red");
    world.staith(&["logs", "third"]).exits(0).says("step third was not run");
    let raw = world.staith(&["logs", "second", "--raw"]).exits(0).out;
    assert_eq!(raw, "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7} \u{1}\n");
    let json = world.staith(&["logs", "first", "--json"]).exits(0).out;
    let values: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 3);
    assert!(values.iter().any(|value| value["stream"] == "stderr" && value["line"] == "two"), "{json}");
}

#[test]
fn runs_are_listed_and_named_by_the_beginning_of_their_ids() {
    let world = project("[steps.a]\nrun = \"echo hello\"\n");
    world.staith(&["logs"]).exits(64).says("there are no runs");
    world.staith(&["run"]).exits(0);
    world.staith(&["run"]).exits(0);
    let list = world.staith(&["logs", "--list"]).exits(0).out;
    assert_eq!(list.lines().count(), 2, "{list}");
    let ids: Vec<&str> =
        list.lines().map(|line| line.split_whitespace().nth(2).unwrap().trim_end_matches(',')).collect();
    assert!(ids[0] > ids[1], "the newest comes first: {list}");
    world.staith(&["logs", ids[1]]).exits(0).says("hello");
    world.staith(&["logs", &ids[1][..24], "a"]).exits(0).says("hello");
    // The newest run found it in the cache.
    world.staith(&["logs", "a"]).exits(0).says("had passed before").never_says("hello");
    world.staith(&["logs", &ids[0][..2]]).exits(64).says("write more of the id");
    world.staith(&["logs", "zzz"]).exits(64).says("is no run").says("its steps are a");
    world.staith(&["logs", "zzz", "a"]).exits(64).says("--list");
}

/// Starts a run and waits until its step has said that it waits.
fn start_and_wait(world: &World) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut run = world.start(&["run"]);
    let mut lines = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the run ended");
    }
    (run, lines)
}

const WAITING: &str = "[steps.wait]\nrun = \"echo waiting; printf half; sleep 1000\"\n";

#[test]
fn a_run_that_goes_on_can_be_read_and_followed_to_its_end() {
    let world = project(WAITING);
    let (mut run, _lines) = start_and_wait(&world);
    world.staith(&["logs"]).exits(0).says("goes on").says("waiting");
    let mut following = world.start(&["logs", "--follow"]);
    let mut followed = BufReader::new(following.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("waiting") {
        assert!(followed.read_line(&mut text).unwrap() > 0, "{text}");
    }
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    followed.read_to_string(&mut text).unwrap();
    assert!(text.contains("half"), "{text}");
    assert!(following.wait().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

#[test]
fn what_a_killed_run_wrote_is_there() {
    let world = project(WAITING);
    let (mut run, _lines) = start_and_wait(&world);
    run.kill().unwrap();
    run.wait().unwrap();
    world.staith(&["logs", "--follow"]).exits(0).says("ended without a word").says("waiting");
    let said = world.staith(&["status"]);
    said.exits(0)
        .says("was killed before it ended; `staith logs 0")
        .says("`staith run --resume` goes on with it");
    // A block that was being written.
    let runs = world.home().join("runs");
    let directory = fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
    let log = directory.join("logs/wait.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(b"1700000000000 out 100\nthis is to");
    fs::write(&log, bytes).unwrap();
    let events = directory.join("events.jsonl");
    let mut bytes = fs::read(&events).unwrap();
    bytes.extend_from_slice(b"{\"v\":1,\"seq\":9,\"at");
    fs::write(&events, bytes).unwrap();
    world.staith(&["logs"]).exits(0).says("this is to");
}

/// What a process holds of its own now, in bytes: not the pages of its executable, which are the more the larger the program is.
fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Runs a flood with its output going nowhere fast; the most memory that Staith took.
fn flood(world: &World, arguments: &[&str]) -> u64 {
    let mut run = world.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = run.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        out.read_to_end(&mut all).unwrap();
        all.len()
    });
    let mut most = 0;
    let code = wait::until("the flood is over", || {
        most = most.max(memory(run.id()).unwrap_or_default());
        run.try_wait().unwrap()
    });
    assert!(code.success(), "{code}");
    assert!(reader.join().unwrap() < 64 << 20, "a flood on the screen");
    most
}

#[test]
fn a_flood_is_whole_in_the_log_and_takes_no_memory() {
    const LINES: u64 = 1_000_000;
    let text = "x".repeat(91);
    let world = project(&format!(
        "[steps.flood]\nsecrets = [\"TOKEN\"]\nrun = \"seq -f '%08.0f {text}' 1 {LINES}; echo the last words\"\n"
    ));
    let mut command = world.command(&["secret", "set", "TOKEN"]);
    let mut setting = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut setting.stdin.take().unwrap(), b"00999999 is masked").unwrap();
    assert!(setting.wait().unwrap().success());
    let most = flood(&world, &["run"]);
    assert!(most < 64 << 20, "{} MiB", most >> 20);
    let mut raw = world.command(&["logs", "--raw"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(raw.stdout.take().unwrap());
    let (mut line, mut number) = (String::new(), 0);
    while lines.read_line(&mut line).unwrap() > 0 && line.starts_with('0') {
        number += 1;
        assert_eq!(line.trim_end(), format!("{number:08} {text}"));
        line.clear();
    }
    assert_eq!((number, line.as_str()), (LINES, "the last words\n"));
    assert!(raw.wait().unwrap().success());
    let events =
        fs::read_dir(world.home().join("runs")).unwrap().next().unwrap().unwrap().path().join("events.jsonl");
    assert!(fs::metadata(&events).unwrap().len() < 32 << 20);
    let journal = fs::read_to_string(events).unwrap();
    assert!(journal.contains("the last words") && journal.contains("staith logs "), "what people see of it");
}

#[test]
fn a_line_without_end_takes_no_memory() {
    const BYTES: usize = 100_000_000;
    let world = project(&format!("[steps.flood]\nrun = \"head -c {BYTES} /dev/zero\"\n"));
    let most = flood(&world, &["run", "--json"]);
    assert!(most < 64 << 20, "{} MiB", most >> 20);
    let raw = world.command(&["logs", "--raw"]).output().unwrap().stdout;
    assert!(raw.len() == BYTES && raw.iter().all(|byte| *byte == 0), "{}", raw.len());
    world.staith(&["logs"]).exits(0).says("more bytes)");
}
