//! Releases to a machine that is this one: plan, deploy, again, forward, back, refused, aborted, and what protects it.

use std::{fs, path::Path};

use staith_tests::world::World;
use tempfile::TempDir;

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp ring check word.txt dist/; chmod +x dist/ring dist/check"
inputs = ["ring", "check", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.qa]
targets = [{ local = true, name = "here" }]
folder = "PLACE/qa"
service = { restart = ["./ring"] }
render = ["word.txt"]
variables = { GREETING = "hello qa" }
hooks = [{ name = "check", at = "after-switch", run = ["./check"], timeout = "20s" }]

[environments.production]
targets = [{ local = true, name = "here" }]
folder = "PLACE/production"
service = { restart = ["./ring"] }
render = ["word.txt"]
variables = { GREETING = "hello production" }
"#;

struct Site {
    world: World,
    place: TempDir,
}

impl Site {
    fn new() -> Self {
        // Where releases live is no folder of the system, and what is below /tmp is gone after a start of the machine.
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World::new();
        world.write("runner.toml", &PIPELINE.replace("PLACE", &place.path().display().to_string()));
        world.write("ring", "#!/bin/sh\necho \"$(cat word.txt)\" >> \"$STAITH_FOLDER/rung\"\n");
        // A file that is called as the package is must not be taken for one.
        world.write("bell", "no package");
        world.write("check", "#!/bin/sh\n! grep -q sick word.txt\n");
        let site = Self { world, place };
        site.says("one");
        site
    }

    /// Makes a package and a release whose word is this; the release.
    fn says(&self, word: &str) -> String {
        self.world.write("word.txt", &format!("{word} #{{GREETING}}#\n"));
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        let made = self.world.staith(&["release", "create", "--json"]).exits(0);
        let value: serde_json::Value = serde_json::from_str(made.out.lines().next().unwrap()).unwrap();
        value["release"].as_str().unwrap().to_owned()
    }

    fn rung(&self, environment: &str) -> Vec<String> {
        let text = fs::read_to_string(self.at(environment).join("rung")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn at(&self, environment: &str) -> std::path::PathBuf {
        self.place.path().join(environment)
    }

    fn serves(&self, environment: &str) -> String {
        fs::read_to_string(self.at(environment).join("current/word.txt")).unwrap()
    }
}

#[test]
fn a_release_goes_through_environments_forward_and_back() {
    let site = Site::new();
    let world = &site.world;
    world.staith(&["release", "plan", "--to", "qa"]).exits(0).says("first release").says("plan sha256:");
    assert!(!site.at("qa").exists(), "a plan changes nothing");
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0).says("serves in qa");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa"]);
    // Again: nothing is restarted.
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    assert_eq!(site.rung("qa"), ["one hello qa"]);
    // The same release, with the other environment's values.
    world.staith(&["release", "promote", "--from", "qa", "--to", "production"]).exits(0);
    assert_eq!(site.serves("production"), "one hello production\n");
    site.says("two");
    world.staith(&["release", "deploy", "--to", "qa", "--reason", "because"]).exits(0);
    assert_eq!(site.serves("qa"), "two hello qa\n");
    assert_eq!(site.serves("production"), "one hello production\n");
    world.staith(&["release", "rollback", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa", "two hello qa", "one hello qa"]);
    world.staith(&["release", "history", "qa"]).exits(0).says("succeeded").says("because");
    world.staith(&["release", "status", "qa"]).exits(0).says("serves");
    world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn what_fails_its_smoke_test_goes_back_by_itself() {
    let site = Site::new();
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    site.says("sick");
    let failed = site.world.staith(&["release", "deploy", "--to", "qa"]).exits(40);
    failed.says("hook check");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa", "sick hello qa", "one hello qa"]);
    // The first release ever leaves nothing behind when it fails.
    site.world.staith(&["release", "deploy", "--to", "production"]).exits(0);
    assert_eq!(site.serves("production"), "sick hello production\n", "production has no smoke test");
}

#[test]
fn a_token_that_nobody_sets_is_told_before_anything_shows() {
    let site = Site::new();
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    let text = fs::read_to_string(site.world.project().join("runner.toml")).unwrap();
    site.world.write("runner.toml", &text.replace("GREETING = \"hello qa\"", "GREETINGS = \"hello qa\""));
    site.says("three");
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(40).says("GREETING").says("word.txt");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa"]);
}

#[test]
fn an_approval_is_waited_for_and_counts_once_for_its_plan() {
    let site = Site::new();
    let world = &site.world;
    fs::create_dir_all(world.home()).unwrap();
    let me = whoami();
    let protect = |people: &str, needed: u32, requester: bool| {
        let text = format!(
            "[environments.\"bell/qa\"]\napprovals = {{ people = [{people}], needed = {needed}, requester-may = {requester}, deadline-seconds = 3600 }}\n"
        );
        fs::write(world.home().join("config.toml"), text).unwrap();
    };
    // Where nobody could ever approve, nothing is waited for.
    protect(&format!("{me:?}"), 1, false);
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(40).says("there are 0 who may");
    // Not by who asked.
    protect(&format!("{me:?}, \"another\""), 1, false);
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41).says("approv");
    world.staith(&["release", "approve", "qa"]).exits(0);
    world.staith(&["release", "abort", "qa"]).exits(40);
    assert!(!site.at("qa").join("current").exists(), "nobody approves their own request");
    // Where that is allowed, it goes on after the approval.
    protect(&format!("{me:?}"), 1, true);
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    assert!(!site.at("qa").join("current").exists());
    world.staith(&["release", "approve", "qa"]).exits(0);
    world.staith(&["release", "resume", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
    // A rejection is final.
    site.says("two");
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    world.staith(&["release", "reject", "qa", "--comment", "not on a Friday"]).exits(0);
    world.staith(&["release", "resume", "qa"]).exits(40).says("not on a Friday");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    // Going back needs nobody.
    site.world.staith(&["release", "history", "qa"]).exits(0).says("was rejected");
}

#[test]
fn another_release_than_the_one_that_was_looked_at_is_not_deployed() {
    let site = Site::new();
    let world = &site.world;
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    world.staith(&["release", "deploy", "--to", "qa", "--plan", other]).exits(41).says("not");
    assert!(!site.at("qa").exists());
    world.staith(&["release", "deploy", "nothing", "--to", "qa"]).exits(64).says("no release is called");
    world.staith(&["release", "deploy", "--to", "nowhere"]).exits(20).says("nowhere");
    world.staith(&["release", "rollback", "qa"]).exits(20);
    world.staith(&["release", "abort", "qa"]).exits(64).says("no deployment");
}

fn whoami() -> String {
    let id = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

#[test]
fn folders_of_the_system_are_refused() {
    let site = Site::new();
    let text = fs::read_to_string(site.world.project().join("runner.toml")).unwrap();
    let place = site.at("qa");
    site.world.write("runner.toml", &text.replace(&place.display().to_string(), "/etc"));
    site.world.staith(&["release", "plan", "--to", "qa"]).exits(20).says("folder");
    assert!(Path::new("/etc").is_dir());
}

#[test]
fn what_a_release_was_made_of_survives_every_collection() {
    let site = Site::new();
    let world = &site.world;
    // Two more packages: one that no release is made of, and the newest.
    for word in ["nobody's", "newest"] {
        world.write("word.txt", word);
        world.commit(word);
        world.staith(&["run"]).exits(0);
    }
    world.staith(&["packages", "collect", "--keep", "1"]).exits(0);
    world.staith(&["packages", "collect", "--keep", "1", "--grace", "0"]).exits(0).says("removed bell@");
    let left = world.staith(&["packages", "--json"]).exits(0);
    assert_eq!(left.out.lines().count(), 2, "{}", left.out);
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
}
