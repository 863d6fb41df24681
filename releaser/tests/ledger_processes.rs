//! A ledger that several processes append to while they are killed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use staith_releaser::ledger::{Ledger, Who};

/// Where the child appends; set by the test that starts it.
const FILE: &str = "STAITH_TEST_LEDGER";
/// Where it writes down what was acknowledged.
const ACKNOWLEDGED: &str = "STAITH_TEST_ACKNOWLEDGED";
const PROCESSES: usize = 4;
const ROUNDS: usize = 12;

fn ledger(path: &Path) -> Ledger<String> {
    Ledger::open(path, "shop/production")
}

/// The child: appends for as long as it lives, and writes down what was acknowledged.
#[test]
#[ignore = "started by the other test, as a process that is killed"]
fn appends_until_it_is_killed() {
    let (Some(file), Some(acknowledged)) = (env::var_os(FILE), env::var_os(ACKNOWLEDGED)) else { return };
    let ledger = ledger(Path::new(&file));
    let mut told = fs::OpenOptions::new().append(true).create(true).open(acknowledged).unwrap();
    for number in 0_u64.. {
        let name = format!("{}-{number}", std::process::id());
        // Now and then one that takes many pages, so that there is something to be interrupted.
        let filler = if number % 3 == 0 { 300_000 } else { 10 };
        ledger.append(&format!("{name}:{}", "x".repeat(filler)), &Who::of_this_process()).unwrap();
        told.write_all(format!("{name}\n").as_bytes()).unwrap();
    }
}

fn start(file: &Path, acknowledged: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "appends_until_it_is_killed", "--ignored", "--test-threads=1"])
        .env(FILE, file)
        .env(ACKNOWLEDGED, acknowledged)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn acknowledged(files: &[PathBuf]) -> Vec<String> {
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Waits until so many more are acknowledged.
fn until_more(files: &[PathBuf], more: usize) {
    let (began, before) = (Instant::now(), acknowledged(files).len());
    while acknowledged(files).len() < before + more {
        assert!(began.elapsed() < Duration::from_secs(120), "the processes append nothing");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn processes_that_are_killed_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.jsonl");
    let told: Vec<PathBuf> = (0..PROCESSES).map(|one| dir.path().join(format!("told-{one}"))).collect();
    let mut children: Vec<Child> = told.iter().map(|told| start(&file, told)).collect();
    for round in 0..ROUNDS {
        until_more(&told, 5 + round % 3);
        let victim = round % PROCESSES;
        children[victim].kill().unwrap();
        children[victim].wait().unwrap();
        children[victim] = start(&file, &told[victim]);
    }
    until_more(&told, 5);
    for child in &mut children {
        child.kill().unwrap();
    }
    for child in &mut children {
        child.wait().unwrap();
    }
    let ledger = ledger(&file);
    ledger.append(&"after:".to_owned(), &Who::of_this_process()).unwrap();
    let verification = ledger.verify(&[], None).unwrap();
    assert!(verification.is_whole(), "{:?}", verification.flaws);
    let entries = ledger.read().unwrap();
    let recorded: BTreeSet<String> =
        entries.iter().map(|entry| entry.event.split_once(':').unwrap().0.to_owned()).collect();
    assert_eq!(recorded.len(), entries.len(), "nothing is recorded twice");
    let lost: Vec<String> = acknowledged(&told).into_iter().filter(|name| !recorded.contains(name)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let killed_in_between = entries.len() - 1 - acknowledged(&told).len();
    assert!(killed_in_between <= ROUNDS + PROCESSES, "{killed_in_between} entries that nobody was told of");
}
