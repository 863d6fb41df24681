//! Environments that mix Linux and Windows machines: what a plan says of them. No Windows machine is there to deploy to.

use std::fs;

use staith_tests::world::World;

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp word.txt dist/"
inputs = ["word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [
    { local = true, name = "here" },
    { host = "win1", site = "Shop" },
    { host = "win2", site = "Shop", windows-service = "Shop worker", way = "msdeploy" },
]
folder = "PLACE/production"
service = "files"
"#;

#[test]
fn a_plan_says_what_is_different_about_windows_machines_and_nothing_shows_while_they_are_away() {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let world = World::new();
    world.write("runner.toml", &PIPELINE.replace("PLACE", &place.path().display().to_string()));
    world.write("word.txt", "one");
    world.commit("one");
    let config = world.scratch().join("ssh_config");
    fs::write(&config, "Host win1 win2\n  ProxyCommand false\n").unwrap();
    let world = world.with_env("STAITH_SSH_CONFIG", &config.display().to_string());
    world.staith(&["run"]).exits(0);
    world.staith(&["release", "create"]).exits(0);
    world
        .staith(&["release", "plan", "--to", "production"])
        .exits(0)
        .says("here: first release, files to bring\n")
        .says("win1: unreachable now; nothing shows anywhere before it answers; Windows, site Shop\n")
        .says("; Windows, site Shop, service Shop worker by msdeploy, not at one instant\n")
        .says("warning: Windows machines were never verified against a real one: win1, win2;")
        .says("warning: msdeploy changes files one after the other on win2:");
    let refused = world.staith(&["release", "deploy", "--to", "production"]);
    assert_ne!(refused.code, Some(0), "{}", refused.out);
    assert!(!place.path().join("production/current").exists(), "nothing shows");
}
