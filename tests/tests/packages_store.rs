//! `staith packages` and `staith publish`: what the store has, which version a channel means, and what goes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use staith_tests::world::World;

const PIPELINE: &str = r#"
name = "shop"
version = "1.4.0"
[steps.build]
run = "mkdir -p dist && cp page.txt dist/"
inputs = ["page.txt"]
outputs = ["dist"]
[package]
from = ["build"]
"#;

/// A project whose runs leave one package each.
fn shop() -> World {
    let world = World::new();
    world.write("runner.toml", PIPELINE);
    build(&world, "one");
    world
}

/// Builds a package with this page. Its version.
fn build(world: &World, page: &str) -> String {
    world.write("page.txt", page);
    world.commit(page);
    world.staith(&["run"]).exits(0);
    let newest =
        lines(world, &["packages"]).into_iter().max_by_key(|package| package["at"].as_u64()).unwrap();
    newest["version"].as_str().unwrap().to_owned()
}

fn lines(world: &World, arguments: &[&str]) -> Vec<Value> {
    let said = world.staith(&[arguments, &["--json"]].concat()).exits(0).out;
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn skopeo(arguments: &[&str]) -> String {
    let output =
        Command::new("skopeo").args(arguments).output().expect("skopeo is needed: apt-get install skopeo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_channel_stands_for_a_version_and_moves_only_as_expected() {
    let world = shop();
    let first = lines(&world, &["packages"])[0]["version"].as_str().unwrap().to_owned();
    let second = build(&world, "two");
    world
        .staith(&["publish", &format!("shop@{first}"), "stable", "--expect", "none"])
        .exits(0)
        .says("shop@stable is");
    world.staith(&["publish", "shop", "stable", "--expect", &second]).exits(20).says("stands for");
    let moved = &lines(&world, &["publish", &format!("shop@{second}"), "stable", "--expect", &first])[0];
    assert_eq!((&moved["from"], &moved["version"]), (&first.clone().into(), &second.clone().into()));
    let listed = lines(&world, &["packages", "shop"]);
    let channels =
        |version: &str| listed.iter().find(|it| it["version"] == version).unwrap()["channels"].clone();
    assert_eq!((channels(&first), channels(&second)), (serde_json::json!([]), serde_json::json!(["stable"])));
    world.staith(&["packages"]).exits(0).says("stable").says("ago");
    world.staith(&["publish", "shop@9.9", "stable"]).exits(64).says("has no version or channel `9.9`");
    world.staith(&["publish", "shpo@1.4", "stable"]).exits(64).says("did you mean `shop`");
    let none = world.scratch().join("none");
    let at = none.display().to_string();
    for looking in
        [&["packages", "--store", &at][..], &["pull", "shop", "--from", &at], &["registry", "--store", &at]]
    {
        world.staith(looking).exits(64).says("there is no store").says("there is no such directory");
        assert!(!none.exists(), "{looking:?} made a store");
    }
    world.staith(&["publish", "shop", "latest"]).exits(20).says("call the channel otherwise");
    world.staith(&["publish", "shop@", "stable"]).exits(64);
    world.staith(&["packages", "--store", "gs://bucket"]).exits(64).says("s3://BUCKET/PREFIX");
}

#[test]
fn what_is_pinned_or_in_a_channel_survives_every_collection() {
    let world = shop();
    let first = lines(&world, &["packages"])[0]["version"].as_str().unwrap().to_owned();
    let second = build(&world, "two");
    build(&world, "three");
    let fourth = build(&world, "four");
    world
        .staith(&["packages", "pin", &format!("shop@{first}"), "--why", "in the field"])
        .exits(0)
        .says("is pinned");
    world.staith(&["publish", &format!("shop@{second}"), "stable"]).exits(0);
    world.staith(&["packages", "collect", "--keep", "1"]).exits(0).says("after its time of grace");
    assert_eq!(lines(&world, &["packages"]).len(), 4);
    let would = &lines(&world, &["packages", "collect", "--keep", "1", "--grace", "0", "--dry-run"])[0];
    assert_eq!((would["removed"].as_array().unwrap().len(), lines(&world, &["packages"]).len()), (1, 4));
    // The same said once, for the machine; what the command says comes before it.
    let config = world.home().join("config.toml");
    fs::write(&config, "[packages]\nkeep = 1\ndays = 0\n").unwrap();
    assert_eq!(lines(&world, &["packages", "collect", "--grace", "0", "--dry-run"])[0], *would);
    let kept = &lines(&world, &["packages", "collect", "--keep", "9", "--grace", "0", "--dry-run"])[0];
    assert_eq!(kept["removed"].as_array().unwrap().len(), 0);
    fs::write(&config, "[packages]\nkept = 1\n").unwrap();
    world.staith(&["packages", "collect"]).exits(20).says("unknown field `kept`").says("config.toml");
    fs::remove_file(&config).unwrap();
    world.staith(&["packages", "collect", "--keep", "1", "--grace", "0"]).exits(0).says("removed shop@");
    let left: Vec<String> =
        lines(&world, &["packages"]).iter().map(|it| it["version"].as_str().unwrap().to_owned()).collect();
    assert!(left.len() == 3 && [&first, &second, &fourth].iter().all(|it| left.contains(it)), "{left:?}");
    world.staith(&["packages"]).exits(0).says("pinned (in the field)");
    // Making room takes what nobody holds, and nothing else.
    world.staith(&["gc", "--budget", "0"]).exits(0);
    assert_eq!(lines(&world, &["packages"]).len(), 2);
    world.staith(&["packages", "unpin", &format!("shop@{first}")]).exits(0).says("no longer pinned");
    world.staith(&["gc", "--budget", "0"]).exits(0);
    let left = lines(&world, &["packages"]);
    assert!(left.len() == 1 && left[0]["version"] == second.as_str(), "{left:?}");
}

#[test]
fn the_store_is_an_image_layout_for_everybody_else() {
    let world = shop();
    let package = lines(&world, &["packages"])[0].clone();
    let tag = package["version"].as_str().unwrap().replace('+', "_");
    let layout = format!("oci:{}:shop:{tag}", world.home().join("packages").display());
    let manifest: Value = serde_json::from_str(&skopeo(&["inspect", "--raw", &layout])).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.staith.package.v1");
    assert_eq!(manifest["layers"][0]["digest"], package["digest"]);
    let copy = world.scratch().join("copy");
    skopeo(&["copy", "--quiet", &layout, &format!("dir:{}", copy.display())]);
    let hex = package["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    assert_eq!(fs::read(copy.join(hex)).unwrap(), fs::read(blob(&world, hex)).unwrap());
}

fn blob(world: &World, hex: &str) -> std::path::PathBuf {
    world.home().join("packages/blobs/sha256").join(Path::new(hex))
}
