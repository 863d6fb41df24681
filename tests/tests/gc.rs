//! `staith gc`, and the budget that runs keep to.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use staith_tests::{
    app,
    registry::{Registry, small_system},
    wait,
    world::World,
};

const STEPS: &str = r#"
name = "heavy"
version = "1"
[steps.first]
run = "cat seed.txt > first.out; head -c 1000000 /dev/zero >> first.out"
inputs = ["seed.txt"]
outputs = ["first.out"]
[steps.second]
needs = ["first"]
inputs = ["seed.txt"]
run = "cat first.out | wc -c > second.out"
outputs = ["second.out"]
"#;

fn heavy(steps: &str) -> World {
    let world = World::new();
    world.write("runner.toml", steps);
    world.write("seed.txt", "0");
    world.commit("first");
    world
}

fn json(world: &World, arguments: &[&str]) -> Value {
    serde_json::from_str(&world.staith(&[arguments, &["--json"]].concat()).exits(0).out).unwrap()
}

/// Things in a directory, without the files that belong to them.
fn things(directory: PathBuf) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
}

fn layers(world: &World) -> usize {
    things(world.home().join("store/layers"))
}

/// Bytes below a directory, each file once.
fn bytes_below(directory: &Path) -> u64 {
    let (mut bytes, mut seen, mut open) =
        (0, std::collections::BTreeSet::new(), vec![directory.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                open.push(entry.path());
            } else if seen.insert(found.ino()) {
                bytes += found.len();
            }
        }
    }
    bytes
}

#[test]
fn everything_may_go_and_nothing_breaks() {
    let world = heavy(STEPS);
    world.staith(&["run"]).exits(0);
    assert_eq!(layers(&world), 2);
    let would = json(&world, &["gc", "--budget", "0", "--dry-run"]);
    assert_eq!((layers(&world), &would["dry_run"]), (2, &true.into()));
    world.staith(&["run"]).exits(0).says("first").never_says("error");
    let did = json(&world, &["gc", "--budget", "0"]);
    assert_eq!(did["kept"], 0, "{did}");
    assert!(did["removed"].as_u64().unwrap() > 1_000_000);
    assert_eq!((layers(&world), things(world.home().join("store/checkouts"))), (0, 0));
    assert_eq!(bytes_below(&world.home().join("store/blobs")), 0);
    assert_eq!(things(world.home().join("runs")), 0);
    world.staith(&["gc"]).exits(0).says("nothing to remove");
    let plan = json(&world, &["plan"]);
    assert_eq!(plan["steps"][0]["standing"], "runs");
    world.staith(&["run"]).exits(0);
    assert_eq!(json(&world, &["plan"])["steps"][1]["standing"], "cached");
}

fn imaged(registry: &Registry, run: &str) -> World {
    registry.push("team/app", "1", &small_system("hello"), "{}");
    let image = registry.name("team/app:1");
    heavy(&format!(
        "name = \"imaged\"\nversion = \"1\"\n[steps.greet]\nimage = \"{image}\"\nrun = '''{run}'''\n"
    ))
    .with_env("STAITH_ALLOW_HOSTS", "127.0.0.1")
}

fn image_layers(world: &World) -> usize {
    things(world.home().join("sandbox/images/layers"))
}

#[test]
fn images_are_within_the_budget() {
    let registry = Registry::open();
    let world = imaged(&registry, "cat /etc/greeting");
    world.staith(&["run"]).exits(0).says("hello");
    assert_eq!(image_layers(&world), 2, "its own and the one that goes on top");
    let did = json(&world, &["gc", "--budget", "0"]);
    assert_eq!(
        (did["kept"].as_u64(), did["kinds"]["image layers"]["things"].as_u64()),
        (Some(0), Some(2)),
        "{did}"
    );
    assert_eq!((image_layers(&world), bytes_below(&world.home().join("sandbox/images/known"))), (0, 0));
    world.staith(&["run"]).exits(0).says("hello").says("fetching");
    // One that is larger than all that may be kept is refused, and its beginning does not stay for ever.
    world.staith(&["gc", "--budget", "0"]).exits(0);
    fs::write(world.home().join("config.toml"), "[caches]\nbudget = \"512KiB\"\n").unwrap();
    world.staith(&["run"]).exits(30).says("may be kept").says("raise `budget` in [caches] of config.toml");
    assert!(bytes_below(&world.home().join("sandbox/images")) <= 512 << 10);
    fs::remove_file(world.home().join("config.toml")).unwrap();
    world.staith(&["run"]).exits(0).says("hello");
}

#[test]
fn an_image_that_a_live_run_uses_stays() {
    let registry = Registry::open();
    let talk =
        "i=0; while test $i != 60000; do echo a line that nobody reads; i=$((i+1)); done; cat /etc/greeting";
    let world = imaged(&registry, talk);
    let mut run = world.start(&["run"]);
    wait::until("the log has many lines", || {
        let run = fs::read_dir(world.home().join("runs")).ok()?.flatten().next()?;
        (fs::metadata(run.path().join("events.jsonl")).ok()?.len() > 1 << 20).then_some(())
    });
    json(&world, &["gc", "--budget", "0"]);
    assert!(run.try_wait().unwrap().is_none(), "the run has ended before it was seen to be left alone");
    assert_eq!(image_layers(&world), 2);
    let mut out = String::new();
    run.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(run.wait().unwrap().success() && out.contains("hello"));
    assert_eq!(json(&world, &["gc", "--budget", "0"])["kept"], 0);
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let world = heavy(STEPS);
    for seed in ["a", "b", "c"] {
        world.write("seed.txt", seed);
        world.staith(&["run"]).exits(0);
    }
    // Used again, the first is the newest.
    world.write("seed.txt", "a");
    world.staith(&["run"]).exits(0);
    let kept = json(&world, &["gc"])["kept"].as_u64().unwrap();
    let one_less = format!("{}KiB", (kept - 1_000_000) / 1024);
    let did = json(&world, &["gc", "--budget", &one_less]);
    assert!(did["kept"].as_u64().unwrap() <= kept - 1_000_000, "{did}");
    let first = |seed: &str| {
        world.write("seed.txt", seed);
        json(&world, &["plan"])["steps"][0]["standing"].as_str().unwrap().to_owned()
    };
    assert_eq!((first("a"), first("b"), first("c")), ("cached".into(), "runs".into(), "cached".into()));
}

#[test]
fn what_a_live_run_uses_stays() {
    let third = "[steps.talk]\nneeds = [\"first\"]\nrun = \"yes 'a line that nobody reads' | head -n 300000\"\n\
                 [steps.last]\nneeds = [\"talk\", \"first\"]\ninputs = [\"seed.txt\"]\n\
                 run = \"test $(cat first.out | wc -c) -gt 1000000; cmp seed.txt seed.txt && echo all is there\"\n";
    let world = heavy(&format!("{STEPS}{third}"));
    world.staith(&["plan"]).exits(0);
    world.write("seed.txt", "not committed");
    let mut run = world.start(&["run", "--jobs", "1"]);
    // Nobody reads what it says, so it waits in the middle of a step, as long as it takes.
    wait::until("the log has many lines", || {
        let run = fs::read_dir(world.home().join("runs")).ok()?.flatten().next()?;
        (fs::metadata(run.path().join("events.jsonl")).ok()?.len() > 1 << 20).then_some(())
    });
    world.write("seed.txt", "changed meanwhile");
    let did = json(&world, &["gc", "--budget", "0"]);
    assert!(did["kept"].as_u64().unwrap() > 1_000_000, "{did}");
    assert!(run.try_wait().unwrap().is_none(), "the run has ended before it was seen to be left alone");
    assert!(layers(&world) > 0 && things(world.home().join("runs")) == 1);
    let mut out = String::new();
    run.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let ended = run.wait().unwrap();
    let end: Vec<&str> = out.lines().rev().take(8).collect();
    assert!(ended.success() && out.contains("all is there"), "{end:#?}");
    assert_eq!(json(&world, &["gc", "--budget", "0"])["kept"], 0);
}

#[test]
fn what_is_released_or_may_be_again_stays() {
    let world = app::bell("one");
    let package = |word: &str, arguments: &[&str]| {
        world.write("word.txt", word);
        world.staith(&[&["run"], arguments].concat()).exits(0);
    };
    package("one", &["--release", "local"]);
    package("two", &["--release", "local"]);
    package("three", &[]);
    let files = |below: &str| fs::read_dir(world.home().join("packages").join(below)).unwrap().count();
    let (packages, blobs) = (|| files("names/bell"), || files("blobs/sha256"));
    let before = blobs();
    assert_eq!(packages(), 3);
    world.staith(&["gc", "--budget", "0"]).exits(0).says("1  packages").says("rolled back");
    // With it goes what lies beside it: its manifest, its content manifest, and who vouches for it.
    assert!(packages() == 2 && blobs() + 5 <= before, "{} of {before} blobs are left", blobs());
    world.staith(&["rollback"]).exits(0);
    world.staith(&["status"]).exits(0).says("bell");
    package("three", &["--release", "local"]);
}

#[test]
fn a_budget_is_never_exceeded() {
    let world = heavy(STEPS);
    let budget = 4 << 20;
    fs::create_dir_all(world.home()).unwrap();
    fs::write(world.home().join("config.toml"), "[caches]\nbudget = \"4MiB\"\n").unwrap();
    let kept = || -> u64 {
        let rooms =
            ["store/layers", "store/checkouts", "store/blobs", "store/trees", "runs", "steps", "packages"];
        rooms.iter().map(|room| bytes_below(&world.home().join(room))).sum()
    };
    let mut told = false;
    for seed in 0..8 {
        world.write("seed.txt", &format!("{seed}"));
        let said = world.staith(&["run"]).exits(0);
        told |= said.err.contains("removed") && said.err.contains("4.0 MiB");
        assert!(kept() <= budget, "{} after run {seed}", kept());
    }
    assert!(told, "nobody was told that anything was removed");
    world.staith(&["run"]).exits(0);
    assert_eq!(json(&world, &["plan"])["steps"][1]["standing"], "cached", "what is new is kept");
    world.edit("runner.toml", |text| text.replace("head -c 1000000", "head -c 9000000"));
    world.staith(&["run"]).exits(30).says("8.5 MiB more").says("raise `budget` in [caches] of config.toml");
    assert!(kept() <= budget);
}

#[test]
fn killed_at_any_time_it_leaves_what_works() {
    let world = heavy(STEPS);
    for round in 0..6 {
        world.write("seed.txt", &format!("{round}"));
        world.staith(&["run"]).exits(0);
        let mut gc = world.start(&["gc", "--budget", "0"]);
        if round > 0 {
            // Somewhere in the middle: as soon as something is gone.
            let before = layers(&world);
            wait::until("something is gone", || {
                (layers(&world) < before || gc.try_wait().unwrap().is_some()).then_some(())
            });
        }
        gc.kill().unwrap();
        gc.wait().unwrap();
        world.staith(&["run"]).exits(0);
    }
    assert_eq!(json(&world, &["gc", "--budget", "0"])["kept"], 0);
}

#[test]
fn settings_that_nobody_understands_are_refused() {
    let world = heavy(STEPS);
    fs::create_dir_all(world.home()).unwrap();
    fs::write(world.home().join("config.toml"), "[caches]\nbudjet = \"4MiB\"\n").unwrap();
    world.staith(&["gc"]).exits(20).says("budjet").says("config.toml");
    world.staith(&["gc", "--budget", "4MB"]).exits(64).says("MiB");
}
