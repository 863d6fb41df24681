//! People decide: a deployment stands still and goes on, and where it can't be told what became of a machine, what failed is tried again, done
//! without, or left as it is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::Value;
use staith_tests::{
    wait,
    world::{Said, World},
};
use tempfile::TempDir;

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp ring tell word.txt dist/; chmod +x dist/ring dist/tell"
inputs = ["ring", "tell", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.qa]
targets = [{ local = true, name = "a" }, { local = true, name = "b" }, { local = true, name = "c" }]
folder = "PLACE"
service = { restart = ["./ring"] }
strategy = { rolling = { max-unavailable = 1 } }
hooks = [{ name = "tell", at = "before-restart", run = ["./tell"], timeout = "50s" }]
"#;

/// Told once on each machine, before its service is started anew. It waits while the machine's file `wait` is there, and ends the machine's own program where `fatal` is: as a
/// machine that loses its power in the middle, nobody can tell then whether it was told.
const TELL: &str = r#"#!/bin/sh
cat word.txt >> "$STAITH_FOLDER/told"
while [ -e "$STAITH_FOLDER/wait" ]; do sleep 0.1; done
if [ -e "$STAITH_FOLDER/fatal" ]; then rm "$STAITH_FOLDER/fatal"; kill -9 $PPID; sleep 1; fi
"#;

/// Three machines, all of them this one, which change one after another.
struct Row {
    world: World,
    place: TempDir,
}

impl Row {
    fn new() -> Self {
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World::new();
        world.write("runner.toml", &PIPELINE.replace("PLACE", &place.path().display().to_string()));
        world.write("ring", "#!/bin/sh\ncat word.txt >> \"$STAITH_FOLDER/rung\"\n");
        world.write("tell", TELL);
        let row = Self { world, place };
        row.release("one");
        row.asks(&["deploy", "--to", "qa"]).exits(0);
        row
    }

    fn release(&self, word: &str) {
        self.world.write("word.txt", &format!("{word}\n"));
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        self.world.staith(&["release", "create"]).exits(0);
    }

    fn asks(&self, words: &[&str]) -> Said {
        self.world.staith(&[&["release"], words].concat())
    }

    fn at(&self, machine: &str, file: &str) -> PathBuf {
        self.place.path().join(machine).join(file)
    }

    /// A release with this word of which it can't be told whether `b` was told of it.
    fn comes_to_a_question(&self, word: &str) {
        self.release(word);
        fs::write(self.at("b", "fatal"), "").unwrap();
        let asked = self.asks(&["deploy", "--to", "qa", "--no-wait"]).exits(41);
        asked.says("b: ").says("is not repeatable").says("release retry qa");
        assert_eq!(self.state(), "needs-decision");
        self.says_on("a", word, (1, 1));
        self.says_on("b", word, (0, 1));
    }

    fn state(&self) -> String {
        let status = self.asks(&["status", "qa", "--json"]).exits(0).values().remove(0);
        let newest: &Value = status["deployments"].as_array().unwrap().last().unwrap();
        newest["state"]["state"].as_str().unwrap().to_owned()
    }

    /// How often the service of a machine was started with a word, and how often the machine was told of it.
    fn says_on(&self, machine: &str, word: &str, times: (usize, usize)) {
        let of = |file| fs::read_to_string(self.at(machine, file)).unwrap_or_default();
        let count = |text: String| text.lines().filter(|line| *line == word).count();
        assert_eq!((count(of("rung")), count(of("told"))), times, "{word} on {machine}");
    }
}

#[test]
fn what_failed_alone_is_tried_again_done_without_or_left_as_it_is() {
    let row = Row::new();
    row.comes_to_a_question("two");
    row.asks(&["retry", "qa"]).exits(0).says("serves in qa");
    row.says_on("a", "two", (1, 1));
    // A person looked, and had it told once more.
    row.says_on("b", "two", (1, 2));
    row.says_on("c", "two", (1, 1));

    row.comes_to_a_question("three");
    row.asks(&["skip", "qa", "d"]).exits(64).says("about a, b, c");
    assert_eq!(row.state(), "needs-decision");
    row.asks(&["skip", "qa", "b"]).exits(0).says("serves in qa");
    row.says_on("a", "three", (1, 1));
    row.says_on("b", "three", (0, 1));
    row.says_on("c", "three", (1, 1));

    row.comes_to_a_question("four");
    row.asks(&["accept", "qa"]).exits(0);
    row.says_on("b", "four", (0, 1));

    row.comes_to_a_question("five");
    row.asks(&["abort", "qa"]).exits(40);
    row.says_on("a", "four", (2, 1));
    let rung = fs::read_to_string(row.at("c", "rung")).unwrap();
    assert_eq!(rung.lines().last(), Some("four"), "c went back, or was left alone");
    row.asks(&["history", "qa"]).exits(0).says("went back");
}

#[test]
fn a_deployment_stands_still_until_somebody_says_to_go_on() {
    let row = Row::new();
    row.release("two");
    fs::write(row.at("a", "wait"), "").unwrap();
    let mut command = row.world.command(&["release", "deploy", "--to", "qa"]);
    let driving = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let told = row.at("a", "told");
    wait::until("the first machine is told", || {
        fs::read_to_string(&told).ok().filter(|text| text.contains("two"))
    });
    row.asks(&["pause", "qa"]).exits(0);
    wait::until("it stands still", || (row.state() == "paused").then_some(()));
    // What runs is finished, and that is all.
    fs::remove_file(row.at("a", "wait")).unwrap();
    wait::until("the first machine has told what came of it", || {
        let ledger = row.world.staith(&["audit", "show", "--environment", "qa"]).exits(0).out;
        let newest = ledger.rsplit("\"change\":\"paused\"").next()?;
        newest.contains("\"result\":\"done\"").then_some(())
    });
    row.says_on("a", "two", (0, 1));
    row.says_on("b", "two", (0, 0));
    assert_eq!(row.state(), "paused");
    row.asks(&["resume", "qa"]).exits(0);
    Said::of(&driving.wait_with_output().unwrap()).exits(0).says("asks: pause").says("asks: resume");
    for machine in ["a", "b", "c"] {
        row.says_on(machine, "two", (1, 1));
    }
}
