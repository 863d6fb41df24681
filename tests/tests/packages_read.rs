//! `staith inspect`, `diff`, `verify`, `extract`: of packages in files, whoever made them, and of those in the store.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use staith_tests::{
    app::bell,
    world::{Said, World, repository},
};

/// A package that Web Deploy, or somebody with bad intentions, made.
fn sample(name: &str) -> String {
    repository().join("packager/tests/samples").join(format!("{name}.zip")).display().to_string()
}

fn json(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

/// Two versions of a package in the store.
fn two_builds() -> World {
    let world = bell("ding");
    world.staith(&["run", "--release", "local"]).exits(0);
    world.write("word.txt", "dong");
    world.staith(&["run", "--release", "local"]).exits(0);
    world.staith(&["stop"]).exits(0);
    world
}

#[test]
fn packages_of_the_store_are_found_by_name_version_and_digest() {
    let world = two_builds();
    let inspected =
        |package: &str| json(&world.staith(&["inspect", "--json", package]).exits(0)).pop().unwrap();
    let latest = inspected("bell");
    assert!(latest["package"].as_str().is_some_and(|called| called.starts_with("bell@1.0.0+c.")), "{latest}");
    assert_eq!((&latest["writer"], &latest["warnings"]), (&"staith".into(), &Value::Array(Vec::new())));
    assert_eq!(inspected("bell@1.0.0"), latest);
    assert_eq!(inspected(&format!("bell@{}", latest["digest"].as_str().unwrap())), latest);
    world.staith(&["inspect", "bell@2"]).exits(64).says("there is no package `bell@2`").says("1.0.0+c.");
    world.staith(&["inspect", "bell@sha256:1"]).exits(64).says("is not a digest");
    world.staith(&["inspect", "cat"]).exits(64).says("nothing is published as `cat`");
    world.staith(&["inspect", "./cat"]).exits(64).says("can't open the package");

    let other = two(&world).into_iter().find(|version| latest["package"] != version.as_str()).unwrap();
    world.staith(&["publish", &other, "stable"]).exits(0);
    for (said, called) in [("bell@stable", other.as_str()), ("bell@1.0", latest["package"].as_str().unwrap())]
    {
        assert_eq!(inspected(said)["package"], called, "{said}");
        world.staith(&["verify", said]).exits(0).says(called);
        world.staith(&["diff", said, &other]).exits(0);
        world.staith(&["parameters", said]).exits(0);
        world.staith(&["extract", said, "--to", &said.replace('@', "-")]).exits(0);
        world.staith(&["apply", said, "--to", &format!("applied-{}", said.replace('@', "-"))]).exits(0);
    }
    let said = world.staith(&["diff", &other, "bell"]).exits(0);
    said.says("~ word.txt  4 B, other bytes").says("1 changed").never_says("provider");
    let told =
        json(&world.staith(&["diff", "--json", "--exit-code", &other, "bell"]).exits(10)).pop().unwrap();
    assert_eq!((&told["equal"], &told["files"][0]["name"]), (&false.into(), &"word.txt".into()));
    world.staith(&["diff", "--exit-code", "bell", "bell@1.0.0"]).exits(0).says("the same content");

    world.staith(&["extract", &other, "--to", "before"]).exits(0).says("before");
    assert_eq!(fs::read_to_string(world.project().join("before/word.txt")).unwrap(), "ding");
    world.staith(&["verify", "bell", &other]).exits(0).says("content ");

    // One flipped bit in the store.
    let blob = world
        .home()
        .join("packages/blobs/sha256")
        .join(&latest["digest"].as_str().unwrap()["sha256:".len()..]);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    for command in [&["verify", "bell"][..], &["inspect", "bell"], &["extract", "bell", "--to", "never"]] {
        world.staith(command).exits(30).says("is damaged");
    }
    assert!(!world.project().join("never").exists());
}

/// All versions of `bell` in the store.
fn two(world: &World) -> Vec<String> {
    let names = names(&world.home().join("packages/names/bell"));
    assert_eq!(names.len(), 2, "{names:?}");
    names.iter().map(|name| format!("bell@{}", name.trim_end_matches(".json"))).collect()
}

#[test]
fn genuine_packages_are_told_of() {
    let world = World::new();
    let said = world.staith(&["inspect", &sample("iisapp")]).exits(0);
    said.says("made by  Web Deploy")
        .says("createApp C:\\build\\shop, isDest False, managedRuntimeVersion v4.0")
        .says("ShopDb-Web.config Connection String: (hidden)")
        .says("warning: it has options blobs (contentPath, iisApp)");
    let said = world.staith(&["inspect", "--entries", &sample("contentpath")]).exits(0);
    said.says("2024-04-01T07:00:06").says("Content/C_C/build/pages/news/новости.htm");
    let told = json(&world.staith(&["inspect", "--json", &sample("gallery")]).exits(0)).pop().unwrap();
    assert_eq!((&told["dialect"], &told["files"]), (&"gallery".into(), &5.into()));
    assert!(told["warnings"].as_array().is_some_and(|all| all.iter().all(|one| one["text"].is_string())));
    let said = world.staith(&["diff", &sample("contentpath"), &sample("contentpath-v2")]).exits(0);
    said.says("~ data/rand.bin  900 B, other bytes").says("~ news/2024/april.htm  432 B to 135 B");
}

#[test]
fn verify_says_of_each_package_what_it_is_worth() {
    let world = World::new();
    let (good, bad) = (sample("sdk"), sample("errors/03-bad-crc"));
    let said = world.staith(&["verify", &bad, &good]).exits(20);
    said.says("Content/kiosk/index.html").says("by checksums only");
    let said = world.staith(&["verify", "--json", &good, &bad, &sample("errors/10-truncated")]).exits(20);
    let told = json(&said);
    assert_eq!((told.len(), &told[0]["content"]), (3, &Value::Null));
    assert_eq!(told[1]["error"]["place"]["file"], "Content/kiosk/index.html");
    assert_eq!(told[2]["error"]["exit"], 20);
    // What could never be applied is not sound, though each byte is what it was when the package was made.
    let said = world.staith(&["verify", "--json", &sample("errors/12-bad-xpath")]).exits(20);
    let place = json(&said)[0]["error"]["place"].clone();
    assert_eq!(place, serde_json::json!({"file": "parameters.xml", "line": 6, "column": 64}));
    world.staith(&["verify"]).exits(64);
}

#[test]
fn extracting_makes_one_directory_and_touches_nothing_else() {
    let world = World::new();
    let before = names(&world.project());
    let samples: PathBuf = repository().join("packager/tests/samples/errors");
    for name in names(&samples) {
        // Of this one, the parameters are wrong.
        if name == "12-bad-xpath.zip" {
            continue;
        }
        let package = samples.join(&name).display().to_string();
        let said = world.staith(&["extract", &package, "--to", "out"]).exits(20);
        said.says(&name);
        assert_eq!(names(&world.project()), before, "{name}");
    }
    assert!(!Path::new("/evil-absolute.txt").exists());

    world.staith(&["extract", &sample("setacl")]).exits(0).says("setacl").says("5 files");
    assert_eq!(
        names(&world.project().join("setacl")),
        ["App_Data", "Web.config", "bin", "kiosk.html", "lamp.gif"]
    );
    world.staith(&["extract", &sample("setacl")]).exits(64).says("is there already");
    let some = ["extract", &sample("setacl"), "--to", "some", "bin\\Kiosk.dll"];
    let told = json(&world.staith(&[&some[..], &["--json"]].concat()).exits(0)).pop().unwrap();
    assert_eq!((&told["files"], &told["to"]), (&1.into(), &"some".into()));
    assert_eq!(names(&world.project().join("some")), ["bin"]);
    world
        .staith(&["extract", &sample("setacl"), "--to", "none", "bin/Kiosk"])
        .exits(64)
        .says("inspect --entries");
    world
        .staith(&["extract", &sample("setacl"), "--to", "none", "../bin"])
        .exits(64)
        .says("is not a path below");
    world.staith(&["extract", "--raw", &sample("gallery"), "--to", "raw"]).exits(0);
    let expected = ["LanternKiosk", "install.sql", "manifest.xml", "parameters.xml"];
    assert_eq!(names(&world.project().join("raw")), expected);
    assert_eq!(world.project().join("none").exists(), before.contains(&"none".to_owned()));
}
