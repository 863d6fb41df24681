//! What machines serve, asked of them: environments, targets, drift and quarantine.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;
use staith_tests::{
    bell::Bell,
    world::{World, repository},
};

/// Writes into a file of a release as somebody would who logs in to change just one thing.
fn edit_by_hand(file: &Path, text: &str) {
    let mode = fs::metadata(file).unwrap().permissions();
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(file, text).unwrap();
    fs::set_permissions(file, mode).unwrap();
}

#[test]
fn nothing_deployed_yet_is_no_drift() {
    let bell = Bell::new();
    let world = &bell.world;
    world.staith(&["env", "status", "qa", "--check"]).exits(0).says("qa: no release was deployed here yet");
    assert!(!bell.at("qa").exists(), "looking makes nothing");
    assert!(!world.home().join("environments/bell/qa").exists(), "looking makes nothing");
    world.staith(&["env", "list"]).exits(0).says("qa").says("production").says("rolling");
    let listed = world.staith(&["targets", "--json"]).exits(0).values();
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|one| one["release"].is_null() && one["heard_at"].is_null()), "{listed:?}");
}

#[test]
fn what_was_changed_by_hand_is_told() {
    let bell = Bell::new();
    let world = &bell.world;
    let first = bell.release("one", "one");
    bell.deploy("qa");
    world.staith(&["env", "status", "qa", "--check"]).exits(0).says("healthy").says("right");
    let seen = world.staith(&["env", "status", "qa", "--json"]).exits(0).values().remove(0);
    let target = &seen["targets"][0];
    assert_eq!((&target["should"], &target["serves"]), (&seen["release"], &seen["release"]));
    assert_eq!(seen["release"], format!("sha256:{first}"));
    assert_eq!((seen["as_it_should_be"].as_bool(), target["health"].as_str()), (Some(true), Some("healthy")));

    let word = bell.at("qa/current/word.txt");
    let before = fs::read_to_string(&word).unwrap();
    edit_by_hand(&word, "one hello QA\n");
    for more in [None, Some("--every-byte")] {
        let arguments = ["env", "status", "qa", "--check"].into_iter().chain(more).collect::<Vec<_>>();
        world.staith(&arguments).exits(41).says("word.txt").says("content differs");
    }
    world.staith(&["env", "status", "qa"]).exits(0).says("word.txt");
    let seen = world.staith(&["env", "status", "--json", "qa"]).exits(0).values().remove(0);
    assert_eq!(seen["targets"][0]["drift"][0]["drift"], "other-files", "{seen}");
    // Put back as it was it is right, although it was touched.
    edit_by_hand(&word, &before);
    world.staith(&["env", "status", "qa", "--check"]).exits(0);
    fs::remove_file(&word).unwrap();
    world.staith(&["env", "status", "qa", "--check"]).exits(41).says("it is missing");
}

#[test]
fn a_machine_that_was_switched_by_hand_is_told_also_after_somebody_planned() {
    let bell = Bell::new();
    let world = &bell.world;
    let first = bell.release("one", "one");
    bell.deploy("qa");
    let second = bell.release("two", "two");
    bell.deploy("qa");
    let current = bell.at("qa/current");
    let to = fs::read_link(&current).unwrap().display().to_string().replace(&second, &first);
    assert!(to.contains(&first), "{to}");
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(&to, &current).unwrap();
    let drifted = format!("has release {} in place", &first[..12]);
    world.staith(&["env", "status", "qa", "--check"]).exits(41).says(&drifted);
    world.staith(&["release", "plan", "--to", "qa"]).exits(0);
    let seen = world.staith(&["env", "status", "qa", "--json"]).exits(0).values().remove(0);
    assert_eq!(seen["targets"][0]["should"], format!("sha256:{second}"));
    assert_eq!(seen["targets"][0]["serves"], format!("sha256:{first}"));
    // The remedy is to deploy again.
    bell.deploy("qa");
    world.staith(&["env", "status", "qa", "--check"]).exits(0);
}

#[test]
fn a_machine_that_does_not_answer_is_told_as_that_and_hides_no_other() {
    let bell = Bell::new();
    let world = &bell.world;
    bell.release("one", "one");
    world.staith(&["env", "status", "production", "--check"]).exits(30).says("gone can't be reached");
    world.staith(&["env", "status", "production"]).exits(0).says("here").says("gone");
    let seen = world.staith(&["env", "status", "--json"]).exits(0).values();
    assert_eq!(seen.len(), 2, "all environments, the one line each");
    let targets = seen.iter().find(|seen| seen["environment"] == "production").unwrap()["targets"].clone();
    assert_eq!((&targets[0]["answers"], &targets[1]["answers"]), (&true.into(), &false.into()), "{targets}");
    assert_eq!(targets[1]["drift"].as_array().unwrap().len(), 0, "not known is not drifted");

    // The one with the tag is well; that nobody has a tag is told, and is not that all is well.
    let tagged = world.staith(&["targets", "--tag", "small", "--json"]).exits(0).values();
    assert_eq!((tagged.len(), &tagged[0]["environment"]), (1, &"qa".into()), "{tagged:?}");
    world.staith(&["targets", "check", "--tag", "small"]).exits(0).says("here").never_says("gone");
    for words in [&["targets", "check", "--tag", "smal"][..], &["targets", "--tag", "small", "--tag", "smal"]]
    {
        world.staith(words).exits(64).says("no machine has the tag").says("there are `small`");
    }
    world
        .staith(&["targets", "check", "production", "--tag", "small"])
        .exits(64)
        .says("no machine has any tags");
    let checked = world.staith(&["targets", "check"]).exits(30);
    checked.says("gone can't be reached").says("do:").says("qa here:");
    world.staith(&["targets", "check", "qa"]).exits(0).says("free");
    world.staith(&["targets", "check", "production", "--target", "here"]).exits(0);
    let checked = world.staith(&["targets", "check", "production", "--json"]).exits(30).values();
    let well = |name: &str| checked.iter().find(|one| one["target"] == name).unwrap()["well"].clone();
    assert_eq!((well("here"), well("gone")), (true.into(), false.into()));
}

#[test]
fn a_machine_in_quarantine_is_left_alone_and_shown_everywhere() {
    let bell = Bell::new();
    let world = &bell.world;
    bell.release("one", "one");
    // Nothing shows anywhere while a machine is silent, unless it is taken out.
    world.staith(&["release", "plan", "--to", "production"]).exits(0).says("gone: unreachable now");
    world
        .staith(&["targets", "quarantine", "gone", "--reason", "its disk is dying"])
        .exits(0)
        .says("quarantine");
    world.staith(&["release", "plan", "--to", "production"]).exits(0).says("gone: quarantined");
    bell.deploy("production");
    assert_eq!(fs::read_to_string(bell.at("production/current/word.txt")).unwrap(), "one hello production\n");
    let seen = world.staith(&["env", "status", "production", "--check"]).exits(0);
    seen.says("in quarantine: its disk is dying");
    world.staith(&["targets"]).exits(0).says("in quarantine: its disk is dying").says("ssh 127.0.0.1:1");
    world.staith(&["release", "status", "production"]).exits(0).says("its disk is dying");
    world.staith(&["env", "list"]).exits(0).says("1 in quarantine");
    world.staith(&["audit", "show", "--environment", "production"]).exits(0).says("its disk is dying");
    world.staith(&["audit", "verify"]).exits(0);
    world
        .staith(&["targets", "quarantine", "gone", "--reason", "its disk is dying"])
        .exits(0)
        .says("already");

    world.staith(&["targets", "reinstate", "gone", "--reason", "a new disk"]).exits(0).says("is back");
    world.staith(&["targets", "reinstate", "gone"]).exits(0).says("is in no quarantine");
    world.staith(&["release", "plan", "--to", "production"]).exits(0).says("gone: unreachable now");
    let listed = world.staith(&["targets", "production", "--json"]).exits(0).values();
    assert!(listed.iter().all(|one| one["quarantined"].is_null()), "{listed:?}");
    let here = listed.iter().find(|one| one["target"] == "here").unwrap();
    assert!(here["release"].is_string() && here["heard_at"].is_number(), "{here}");
}

#[test]
fn an_environment_all_of_whose_machines_are_out_is_refused() {
    let bell = Bell::new();
    let world = &bell.world;
    bell.release("one", "one");
    bell.deploy("qa");
    let out = ["targets", "quarantine", "here", "--environment", "qa", "--reason", "being moved"];
    world.staith(&out).exits(0).says("no machine is left");
    for refused in [["release", "plan", "--to", "qa"], ["release", "deploy", "--to", "qa"]] {
        world.staith(&refused).exits(30).says("quarantined").says("reinstate");
    }
    world.staith(&["targets", "reinstate", "here"]).exits(0);
    bell.deploy("qa");
}

#[test]
fn what_is_mistyped_is_told_with_what_was_meant() {
    let bell = Bell::new();
    let world = &bell.world;
    world.staith(&["env", "status", "qaa"]).exits(20).says("did you mean `qa`?");
    world.staith(&["targets", "productoin"]).exits(20).says("did you mean `production`?");
    world.staith(&["targets", "check", "--target", "her"]).exits(64).says("did you mean `here`?");
    world.staith(&["targets", "quarantine", "gon", "--reason", "x"]).exits(64).says("did you mean `gone`?");
    world.staith(&["targets", "quarantine", "gone"]).exits(64).says("--reason");
    world.staith(&["targets", "quarantine", "gone", "--reason", " "]).exits(64).says("needs a reason");
    let several = world.staith(&["targets", "quarantine", "here", "--reason", "x"]).exits(64);
    several.says("--environment").says("qa, production");
    world.staith(&["targets", "reinstate", "nobody"]).exits(64).says("there are gone, here");
    world.staith(&["env", "status", "--within", "0"]).exits(64);
    world.staith(&["env"]).exits(64);
    assert!(!world.home().join("environments/bell/production").exists(), "nothing was written");
}

#[test]
fn a_deployment_repairs_files_where_it_is_asked_to() {
    let bell = Bell::new();
    let world = &bell.world;
    bell.release("one", "one");
    bell.deploy("qa");
    let word = bell.at("qa/current/word.txt");
    edit_by_hand(&word, "one hello QA\n");
    // The same release: cheap, and nothing changes.
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0).says("unchanged");
    assert_eq!(fs::read_to_string(&word).unwrap(), "one hello QA\n");
    let rung = || fs::read_to_string(bell.at("qa/rung")).unwrap().lines().count();
    let before = rung();
    world.staith(&["release", "plan", "--to", "qa", "--repair"]).exits(0).says("repaired: `word.txt`");
    world.staith(&["release", "deploy", "--to", "qa", "--repair"]).exits(0).says("repaired: `word.txt`");
    assert_eq!(fs::read_to_string(&word).unwrap(), "one hello qa\n");
    assert_eq!(rung(), before + 1, "it was restarted");
    world.staith(&["env", "status", "qa", "--check", "--every-byte"]).exits(0);
    // Nothing is left to repair.
    world.staith(&["release", "deploy", "--to", "qa", "--repair"]).exits(0).says("unchanged");
    assert_eq!(rung(), before + 1);
}

#[test]
fn one_inventory_that_fails_hides_no_other_environment() {
    let bell = Bell::new();
    let world = &bell.world;
    world.edit("runner.toml", |text| {
        text.replace(
            "[environments.production]",
            "inventory = { command = [\"./hosts\"] }\n[environments.production]",
        )
    });
    for command in [&["env", "status"][..], &["targets"]] {
        world.staith(command).exits(20).says("`qa` can't be shown").says("./hosts").says("gone");
    }
    world.staith(&["env", "status", "production"]).exits(0).never_says("hosts");
}

#[test]
fn a_commit_is_also_what_its_branch_is_called() {
    let bell = Bell::new();
    let world = &bell.world;
    bell.release("one", "one");
    bell.deploy("qa");
    for name in ["HEAD", "main"] {
        world.staith(&["where", name]).exits(0).says("here");
    }
    world.staith(&["where", "nowhere"]).exits(64).says("nothing in the repository");
    let first = bell.release("two", "two");
    let listed = world.staith(&["release", "list", "--json"]).exits(0).values();
    assert_eq!(listed[0]["release"], format!("sha256:{first}"), "the newest first");
}

#[test]
fn a_run_of_something_else_than_the_directory_asks_no_inventory() {
    let bell = Bell::new();
    let world = &bell.world;
    world.write("word.txt", "one");
    world.edit("runner.toml", |text| {
        text.replace(
            "[environments.production]",
            "inventory = { file = \"hosts.json\" }\n[environments.production]",
        )
    });
    world.write("hosts.json", "[]");
    world.commit("one");
    let refused = world.staith(&["run", "--clean", "--release", "qa"]).exits(20);
    refused.says("inventory").says("nothing was run");
    world.staith(&["run", "--release", "qa"]).exits(0).says("serves in qa");
}

/// What Azure says of the network of a scale set, cut down to what is looked at. Command lines of before 2023 write the address in the
/// second way.
const SCALE_SET: &str = r#"[
 {"primary": true, "ipConfigurations": [{"primary": false, "privateIPAddress": "10.0.9.4"}, {"primary": true, "privateIPAddress": "10.0.0.4"}],
  "virtualMachine": {"id": "/subscriptions/s/resourceGroups/shop/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/0"}},
 {"primary": false, "ipConfigurations": [{"primary": true, "privateIPAddress": "10.0.1.4"}],
  "virtualMachine": {"id": "/subscriptions/s/resourceGroups/shop/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/0"}},
 {"primary": true, "ipConfigurations": [{"primary": true, "privateIpAddress": "10.0.0.6"}],
  "virtualMachine": {"id": "/subscriptions/s/resourceGroups/shop/providers/Microsoft.Compute/virtualMachineScaleSets/web/virtualMachines/3"}}]"#;

/// The program of the documentation prints what the documentation shows, and both are understood.
#[test]
fn a_scale_set_is_named_as_the_documentation_does_it() {
    let page = fs::read_to_string(repository().join("docs/releases.md")).unwrap();
    let (_, section) = page.split_once("### Scale sets").unwrap();
    let block = |kind: &str| section.split_once(kind).unwrap().1.split_once("```").unwrap().0;
    let world = World::new();
    let programs = world.scratch().join("programs");
    fs::create_dir(&programs).unwrap();
    let program = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let said = world.scratch().join("said");
    fs::write(&said, SCALE_SET).unwrap();
    program(&programs.join("az"), &format!("#!/bin/sh\ncat {}\n", said.display()));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
    let world = world.with_env("PATH", &path);
    let environment = |name: &str, inventory: &str| {
        format!("[environments.{name}]\ninventory = {{ {inventory} }}\nservice = \"files\"\n")
    };
    let environments =
        environment("asked", "command = [\"./hosts\"]") + &environment("shown", "file = \"shown.json\"");
    let project = "name = \"shop\"\nversion = \"1.0.0\"\n[steps.lint]\nrun = \"true\"\ninputs = [\"runner.toml\"]\n[package]\nsource = [\"shown.json\"]\n";
    world.write("runner.toml", &format!("{project}{environments}"));
    world.write("shown.json", block("```json\n"));
    program(&world.project().join("hosts"), block("```sh\n"));
    let machines = |environment: &str| {
        let listed = world.staith(&["targets", environment, "--json"]).exits(0).values();
        let told = |one: &Value| [&one["target"], &one["access"], &one["roles"]].map(Value::to_string);
        listed.iter().map(told).collect::<Vec<_>>()
    };
    let shown = machines("shown");
    assert!(shown.len() == 2 && shown[1][0] == "\"web-3\"" && shown[1][1].contains("10.0.0.6"), "{shown:?}");
    assert_eq!(machines("asked"), shown);
    // A cloud that can't be asked is not one without machines.
    program(&programs.join("az"), "#!/bin/sh\nexit 1\n");
    let failed = world.staith(&["targets", "asked"]);
    assert_eq!((failed.code, failed.err.contains("./hosts")), (Some(20), true), "{failed:?}");
}
