//! `staith audit`: what happened in an environment, and whether the record of it is whole.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use staith_model::Digest;
use staith_tests::world::{Said, World};

const ENVIRONMENT: [&str; 3] = ["shop", "--environment", "production"];

fn directory(world: &World) -> PathBuf {
    world.home().join("environments/shop/production")
}

/// A home in which three things have happened to `shop (production)`: written as docs/decisions/019-one-ledger-per-environment.md
/// says, and by none of the code that reads it.
fn audited() -> World {
    let world = World::new();
    let mut previous = Digest::of(b"staith.ledger.v1\n\"shop/production\"");
    let mut ledger = String::new();
    for (position, what) in (1..).zip(["requested", "approved", "\u{1b}[31mhostile\u{202e}"]) {
        let event = json!({ "event": what });
        let who = r#"{"user":"anna","host":"deploy1"}"#;
        let body = format!(
            r#"{{"position":{position},"at":1795262110123,"who":{who},"previous":"{previous}","event":{event}"#
        );
        previous = Digest::of(format!("staith.ledger-entry.v1\n{body}}}").as_bytes());
        ledger.push_str(&format!("{body},\"hash\":\"{previous}\"}}\n"));
    }
    fs::create_dir_all(directory(&world)).unwrap();
    fs::write(directory(&world).join("ledger.jsonl"), ledger).unwrap();
    world
}

fn audit(world: &World, arguments: &[&str]) -> Said {
    world.staith(&[&["audit", arguments[0]], &ENVIRONMENT[..], &arguments[1..]].concat())
}

#[test]
fn entries_are_shown_and_what_is_in_them_is_made_harmless() {
    let world = audited();
    audit(&world, &["show"])
        .exits(0)
        .says("anna@deploy1")
        .says("{\"event\":\"approved\"}")
        .never_says("\u{1b}")
        .never_says("\u{202e}");
    let said = audit(&world, &["show", "--last", "1", "--json"]).exits(0).out;
    let entry: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!((entry["position"].as_u64(), entry["who"]["user"].as_str()), (Some(3), Some("anna")));
}

#[test]
fn what_was_changed_or_cut_off_is_found() {
    let world = audited();
    let file = directory(&world).join("ledger.jsonl");
    let said = audit(&world, &["verify", "--json"]).exits(0).out;
    let verdict: Value = serde_json::from_str(said.trim()).unwrap();
    let head = verdict["verification"]["head"]["hash"].as_str().unwrap().to_owned();
    audit(&world, &["verify", "--head", &head]).exits(0).says("3 entries");
    world.staith(&["audit", "verify"]).exits(0).says("shop (production)");

    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("approved", "Approved")).unwrap();
    audit(&world, &["verify"]).exits(30).says("line 2: entry 2 was altered");
    audit(&world, &["show"]).exits(30).says("is damaged");

    let cut: String = whole.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&file, &cut).unwrap();
    audit(&world, &["verify"]).exits(0);
    audit(&world, &["verify", "--head", &head]).exits(30).says("its end was removed");
    fs::remove_file(&file).unwrap();
    audit(&world, &["verify", "--head", &head]).exits(30);
}

#[test]
fn a_signed_head_is_checked_with_the_keys_of_this_machine() {
    let world = audited();
    audit(&world, &["sign"]).exits(0).says("entry 3 of shop (production) is signed");
    audit(&world, &["verify"]).exits(0).says("1 signed head");
    let file = directory(&world).join("ledger.jsonl");
    let whole = fs::read_to_string(&file).unwrap();
    let cut: String = whole.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&file, &cut).unwrap();
    audit(&world, &["verify"]).exits(30).says("signed at entry 3 is not in it");
}

#[test]
fn a_ledger_that_is_not_there_is_told_as_that() {
    let world = World::new();
    world.staith(&["audit", "verify"]).exits(0);
    world.staith(&["audit", "show", "shop"]).exits(64);
    world.staith(&["audit", "verify", "--head", "no-hash"]).exits(64);
}

#[test]
fn a_protection_that_nobody_understands_is_told_before_anything_is_run() {
    let world = World::new();
    world.write("runner.toml", "name = \"shop\"\n[steps.build]\nrun = \"true\"\n");
    world.commit("one");
    fs::create_dir_all(world.home()).unwrap();
    let config = world.home().join("config.toml");
    fs::write(&config, "[environments.\"shop/production\"]\napprovers = [\"anna\"]\n").unwrap();
    world.staith(&["run"]).exits(20).says("approvers");
}
