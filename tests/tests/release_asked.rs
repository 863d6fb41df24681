//! What people want of deployments reaches the one that they mean, whatever hangs or waits beside it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_tests::{bell::Bell, wait, world::Said};

/// The project with an inventory that hangs while the file `hang` is there, and a smoke test that waits while `wait` is.
fn bell() -> Bell {
    let bell = Bell::new();
    let hosts = bell.at("hosts");
    fs::write(&hosts, "#!/bin/sh\n: > \"${0%hosts}asked\"\nwhile [ -e \"${0%hosts}hang\" ]; do sleep 0.1; done\necho '[]'\n").unwrap();
    fs::set_permissions(&hosts, fs::Permissions::from_mode(0o755)).unwrap();
    bell.world.edit("runner.toml", |text| {
        let command = format!("inventory = {{ command = [{:?}] }}\n[environments.production]", hosts);
        text.replace("[environments.production]", &command)
    });
    let check = format!(
        "#!/bin/sh\nwhile [ -e {:?} ]; do sleep 0.1; done\n! grep -q sick word.txt\n",
        bell.at("wait")
    );
    bell.world.write("check", &check);
    bell
}

fn approved(bell: &Bell, is: bool) {
    fs::create_dir_all(bell.world.home()).unwrap();
    let people =
        "approvals = { people = [\"somebody\", \"another\"], needed = 1, deadline-seconds = 3600 }\n";
    let text = if is { format!("[environments.\"bell/qa\"]\n{people}") } else { String::new() };
    fs::write(bell.world.home().join("config.toml"), text).unwrap();
}

fn deployments(bell: &Bell) -> Vec<serde_json::Value> {
    let status = bell.world.staith(&["release", "status", "qa", "--json"]).exits(0).values().remove(0);
    status["deployments"].as_array().unwrap().clone()
}

fn is_at(deployment: &serde_json::Value, state: &str) -> bool {
    deployment["state"]["state"] == state
}

fn begins(bell: &Bell, arguments: &[&str]) -> Child {
    bell.world.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Said {
    Said::of(&child.wait_with_output().unwrap())
}

#[test]
fn abort_is_for_what_switches_and_waits_for_no_inventory() {
    let bell = bell();
    bell.release("one", "one");
    approved(&bell, true);
    bell.world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    approved(&bell, false);
    bell.release("two", "two");
    fs::write(bell.at("wait"), "").unwrap();
    let driving = begins(&bell, &["release", "deploy", "--to", "qa"]);
    let second = wait::until("the second deployment is at its smoke test", || {
        deployments(&bell).into_iter().find(|one| is_at(one, "soaking"))
    });
    fs::write(bell.at("hang"), "").unwrap();
    let aborted = bell.world.staith(&["release", "abort", "qa", "--reason", "bad"]).exits(0);
    aborted.says(second["deployment"].as_str().unwrap());
    fs::remove_file(bell.at("wait")).unwrap();
    ended(driving).exits(40).says("bad");
    let left = deployments(&bell);
    assert!(left.iter().any(|one| is_at(one, "awaiting-gates")), "{left:?}");
}

#[test]
fn what_is_wanted_is_written_down_before_anything_is_looked_at() {
    let bell = bell();
    bell.release("one", "one");
    approved(&bell, true);
    bell.world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    fs::write(bell.at("hang"), "").unwrap();
    // Nobody drives it, so this process has to, and hangs.
    let aborting = begins(&bell, &["release", "abort", "qa"]);
    let ledger = bell.world.home().join("environments/bell/qa");
    wait::until("the abort is in the ledger", || {
        let files =
            fs::read_dir(&ledger).unwrap().flatten().filter_map(|file| fs::read_to_string(file.path()).ok());
        files.into_iter().any(|text| text.contains("\"abort\"")).then_some(())
    });
    let pid = Pid::from_raw(i32::try_from(aborting.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    ended(aborting).exits(130).says("written down");
    fs::remove_file(bell.at("hang")).unwrap();
    // Whoever comes next heeds it.
    bell.world.staith(&["release", "resume", "qa"]).exits(40);
    bell.world.staith(&["release", "history", "qa"]).exits(0).says("cancelled");
    bell.world.staith(&["release", "approve", "qa"]).exits(64).says("no deployment");
}

#[test]
fn whoever_stops_a_command_has_nothing_written_down() {
    let bell = bell();
    bell.release("one", "one");
    fs::write(bell.at("hang"), "").unwrap();
    let _ = fs::remove_file(bell.at("asked"));
    for command in
        [&["targets", "quarantine", "here", "-e", "qa", "--reason", "smoke"][..], &["targets", "qa"]]
    {
        let asking = begins(&bell, command);
        let pid = Pid::from_raw(i32::try_from(asking.id()).unwrap()).unwrap();
        // Once the inventory's program runs, Staith listens for signals.
        wait::until("the inventory is asked", || fs::exists(bell.at("asked")).unwrap().then_some(()));
        kill_process(pid, Signal::INT).unwrap();
        ended(asking).exits(130);
        fs::remove_file(bell.at("asked")).unwrap();
    }
    fs::remove_file(bell.at("hang")).unwrap();
    bell.world.staith(&["targets", "qa", "--json"]).exits(0).never_says("smoke");
}
