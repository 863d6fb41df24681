//! `staith apply`: packages onto directories.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use staith_tests::world::{Said, World, repository};

const NOTHING: &str =
    "Total changes: 0 (0 added, 0 deleted, 0 updated, 0 parameters changed, 0 bytes copied)";

fn sample(name: &str) -> String {
    repository().join("packager/tests/samples").join(name).display().to_string()
}

fn site(world: &World) -> PathBuf {
    world.scratch().join("site")
}

fn apply(world: &World, package: &str, arguments: &[&str]) -> Said {
    let (package, to) = (sample(package), site(world).display().to_string());
    world.staith(&[&["apply", &package, "--to", &to], arguments].concat())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_package_of_web_deploy_is_applied_and_then_there_is_nothing_to_do() {
    let world = World::new();
    let values = ["--set-file", &sample("contentpath.SetParameters.xml"), "--allow-unmatched"];
    let with = |more: &[&'static str]| apply(&world, "contentpath.zip", &[&values[..], more].concat());
    // The directory itself is one of the fifteen.
    with(&["--what-if"]).exits(0).says("What if: Total changes: 15 (15 added, 0 deleted, 0 updated");
    assert!(!site(&world).exists());
    with(&[]).exits(0).says("Total changes: 15 (15 added").never_says("robots.txt");
    with(&[]).exits(0).says("Nothing to change.").says(NOTHING);
    with(&["--checksum"]).exits(0).says(NOTHING);
    fs::write(site(&world).join("mine.log"), "x").unwrap();
    with(&["--no-delete"]).exits(0).says(NOTHING);
    with(&["--skip", r"objectName=filePath,absolutePath=\.log$"]).exits(0).says(NOTHING);
    let told = with(&["--what-if", "--json"]).exits(0);
    let lines: Vec<Value> = told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["change"]["path"], "mine.log");
    assert_eq!(lines.last().unwrap()["applied"]["counters"]["deleted"], 1);
    with(&["--verbose", "--app-offline"]).exits(0).says("deleting file mine.log");
    assert_eq!(
        names(&site(&world)),
        ["data", "default.htm", "news", "private", "robots.txt", "settings.xml"]
    );
}

#[test]
fn what_a_directory_cannot_take_is_refused_until_it_is_named() {
    let world = World::new();
    let said = apply(&world, "setacl.zip", &[]).exits(20);
    said.says("--skip-provider createApp --skip-provider setAcl").says("setAcl (C:\\build\\kiosk)");
    assert!(!site(&world).exists());
    let named = ["--skip-provider", "createApp", "--skip", "objectName=setAcl"];
    apply(&world, "setacl.zip", &named).exits(0).says("left out: setAcl").says("(9 added");
    apply(&world, "setacl.zip", &[&named[..], &["--skip", "objectName=x,foo=y"]].concat())
        .exits(64)
        .says("it has no setting `foo`");
}

#[test]
fn parameters_that_are_lacking_unknown_or_without_effect_stop_everything() {
    let world = World::new();
    let skip = ["--skip-provider", "createApp"];
    apply(&world, "iisapp.zip", &skip).exits(20).says("`Host Name` has no default and was not set");
    let unknown = sample("iisapp.SetParameters.xml");
    apply(&world, "iisapp.zip", &[&skip[..], &["--set-file", &unknown]].concat())
        .exits(20)
        .says("there is no parameter `Not Declared`")
        .never_says("not;a'secret");
    let set = [&skip[..], &["--set", "Host Name=staging-7"]].concat();
    apply(&world, "iisapp.zip", &set).exits(20).says("the parameter `Nothing` changed nothing");
    assert!(!site(&world).exists());
    apply(&world, "iisapp.zip", &[&set[..], &["--allow-unmatched"]].concat()).exits(0).says("(64 added");
    let mail = fs::read_to_string(site(&world).join("templates/mail.txt")).unwrap();
    assert!(mail.contains("staging-7.lanternlane.example"), "{mail}");
}

#[test]
fn a_backup_brings_back_what_was_there() {
    let world = World::new();
    let (backups, to) = (world.scratch().join("backups"), site(&world));
    fs::create_dir(&to).unwrap();
    fs::write(to.join("before.txt"), "before").unwrap();
    let (kept, at) = (backups.display().to_string(), to.display().to_string());
    apply(&world, "dirpath.zip", &["--backup", &kept]).exits(0).says("Backup: ").says("1 deleted");
    assert!(!to.join("before.txt").exists());
    world.staith(&["apply", "--restore", &kept, "--to", &at]).exits(0).says("restored from");
    assert_eq!(names(&to), ["before.txt"]);
    assert_eq!(fs::read(to.join("before.txt")).unwrap(), b"before");
    let inside = to.join("backups").display().to_string();
    apply(&world, "dirpath.zip", &["--backup", &inside]).exits(64).says("lies in the destination");
    assert_eq!(names(&to), ["before.txt"]);
    let none = to.join("none").display().to_string();
    world.staith(&["apply", "--restore", &none, "--to", &at]).exits(64).says("there is no backup");
    apply(&world, "dirpath.zip", &["--backup", &kept, "--keep", "0"]).exits(64);
}

#[test]
fn damaged_packages_leave_the_directory_as_it_is() {
    let world = World::new();
    fs::create_dir(site(&world)).unwrap();
    fs::write(site(&world).join("there-before.txt"), "x").unwrap();
    for (package, why) in [
        ("errors/03-bad-crc.zip", "Content/kiosk/index.html"),
        ("errors/04-traversal-backslash.zip", "evil-backslash.txt"),
        ("errors/12-bad-xpath.zip", "line 6"),
    ] {
        apply(&world, package, &["--skip-provider", "createApp", "--app-offline"]).exits(20).says(why);
        assert_eq!(names(&site(&world)), ["there-before.txt"]);
    }
}

#[test]
fn a_single_file_goes_where_it_is_told_to() {
    let world = World::new();
    let file = site(&world).join("tag.txt").display().to_string();
    let package = sample("filepath.zip");
    world.staith(&["apply", &package, "--to", &file, "--set", "Price=12.50"]).exits(0).says("(2 added");
    fs::write(site(&world).join("neighbour"), "x").unwrap();
    world.staith(&["apply", &package, "--to", &file, "--set", "Price=12.50"]).exits(0).says(NOTHING);
    assert_eq!(names(&site(&world)), ["neighbour", "tag.txt"]);
    let directory = site(&world).display().to_string();
    world
        .staith(&["apply", &package, "--to", &directory, "--set", "Price=1"])
        .exits(64)
        .says("a single file");
}

#[test]
fn a_package_of_a_run_is_applied_by_its_name() {
    let world = World::new();
    world.write(
        "runner.toml",
        r#"
name = "shop"
version = "1"
[steps.build]
run = "mkdir out; echo hello > out/index.html; echo 'exec true' > out/serve; chmod 755 out/serve; ln -s serve out/link"
outputs = ["out"]
[package]
from = ["build"]
"#,
    );
    world.commit("first");
    world.staith(&["run"]).exits(0);
    let to = site(&world).display().to_string();
    world.staith(&["apply", "shop", "--to", &to]).exits(0).says("Total changes: ");
    let out = site(&world).join("out");
    assert_eq!(fs::read_to_string(out.join("index.html")).unwrap(), "hello\n");
    assert_eq!(fs::metadata(out.join("serve")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("serve"));
    world.staith(&["apply", "shop", "--to", &to]).exits(0).says(NOTHING);
}
