//! Files of the home that a power failure, a full disk or somebody's hand has spoiled: the next run gets over it by itself.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use staith_tests::{
    registry::{Registry, small_system},
    world::World,
};

const STEPS: &str = r#"
name = "spoiled"
version = "1"
[steps.first]
run = "mkdir out && cp seed.txt out/copy && ln -s copy out/link && echo first-ran"
inputs = ["seed.txt"]
outputs = ["out"]
[steps.second]
needs = ["first"]
inputs = ["seed.txt"]
run = "cmp out/copy seed.txt && cmp out/link seed.txt && echo all is there > second.out"
outputs = ["second.out"]
[package]
root = "out"
from = ["first"]
"#;

type Spoiling = (&'static str, fn(&[u8]) -> Vec<u8>);

/// What is done to a file.
const SPOILINGS: [Spoiling; 3] = [
    ("cut off", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ("longer, with garbage", |bytes| [&b"\0\xffgarbage {\"\n"[..], bytes].concat()),
    ("zeros", |bytes| vec![0; bytes.len().max(1) + 7]),
];

/// One file of each kind below the home, by its path with ids left out.
fn kinds(home: &Path) -> BTreeMap<String, PathBuf> {
    let (mut kinds, mut open) = (BTreeMap::new(), vec![home.to_path_buf()]);
    while let Some(directory) = open.pop() {
        let mut entries: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let found = fs::symlink_metadata(&path).unwrap();
            if found.is_dir() {
                open.push(path);
            } else if found.is_file() {
                let inside = path.strip_prefix(home).unwrap();
                let named = inside.iter().map(|part| without_ids(part.to_str().unwrap()));
                kinds.entry(named.collect::<Vec<_>>().join("/")).or_insert(path);
            }
        }
    }
    kinds
}

fn without_ids(name: &str) -> String {
    let stem = name.split(['.', '-']).next().unwrap_or(name);
    let is_id = stem.len() >= 2 && stem.bytes().all(|byte| byte.is_ascii_hexdigit()) || stem.len() >= 20;
    if is_id { name.replacen(stem, "ID", 1) } else { name.to_owned() }
}

/// What was looked over since the machine was started is trusted; after a power failure nothing is, and the pool of contents
/// is another one.
fn as_after_a_restart(home: &Path) {
    for pool in fs::read_dir(home.join("store/blobs")).into_iter().flatten().flatten() {
        let user = pool.file_name().into_string().unwrap();
        let user: Vec<&str> = user.rsplitn(3, '-').take(2).collect();
        let other = format!("another-start-{}-{}", user[1], user[0]);
        fs::rename(pool.path(), pool.path().with_file_name(other)).unwrap();
    }
    for path in all_files(home) {
        if path.extension().is_some_and(|end| end == "seen") {
            fs::write(path, "another start").unwrap();
        }
    }
}

fn all_files(home: &Path) -> Vec<PathBuf> {
    let (mut all, mut open) = (Vec::new(), vec![home.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                all.push(entry.path());
            }
        }
    }
    all
}

/// Writes in place, as a failing disk would: other names of the file see it, too.
fn spoil(path: &Path, how: fn(&[u8]) -> Vec<u8>) {
    let before = fs::read(path).unwrap();
    let mode = fs::metadata(path).unwrap().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, how(&before)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What trees and contents hold is looked at when the machine was started anew, or by `gc --verify`; all else at each use.
fn is_content(kind: &str) -> bool {
    ["store/checkouts/ID/", "store/layers/ID/", "store/blobs/", "sandbox/images/layers/ID/"]
        .iter()
        .any(|folder| kind.starts_with(folder))
}

/// Each kind of file is spoiled in each way; then what was made before is asked for, and something new.
fn survives(world: &World, is_restarted: bool, make_new: impl Fn(usize)) {
    let (mut round, mut failed) = (0, Vec::new());
    world.staith(&["run"]).exits(0);
    // The host's key is nobody's to make anew: see `a_spoiled_key_is_told`.
    let spoils = |kind: &String| !kind.starts_with("keys/") && (is_restarted || !is_content(kind));
    for kind in kinds(&world.home()).into_keys().filter(spoils) {
        for (what, how) in SPOILINGS {
            // What an earlier round has spoiled may be gone or another file by now.
            let Some(path) = kinds(&world.home()).remove(&kind) else { continue };
            spoil(&path, how);
            if is_restarted {
                as_after_a_restart(&world.home());
            }
            // Others that read these files; what they make of one spoiling they make of all.
            let others = [&["plan"][..], &["why", "second"], &["logs"], &["gc", "--dry-run"]];
            let others = others.into_iter().filter(|_| what == "zeros");
            for command in others.chain([&["run"][..]]) {
                let said = world.staith(command);
                let code = said.code;
                let is_well = code == Some(0) || (command != ["run"] && code != Some(70) && code.is_some());
                if !is_well {
                    failed.push(format!("{kind} {what}, {command:?}: {code:?}\n{}\n{}", said.out, said.err));
                }
            }
            round += 1;
            make_new(round);
            let said = world.staith(&["run"]);
            if said.code != Some(0) {
                failed.push(format!("{kind} {what}, then something new:\n{}\n{}", said.out, said.err));
            }
        }
    }
    assert!(round > 20, "hardly anything was there to be spoiled");
    assert!(failed.is_empty(), "{} of {round}:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_kind_of_file_may_be_spoiled_by_a_power_failure() {
    a_project_survives(true);
}

#[test]
fn every_record_may_be_spoiled_at_any_time() {
    a_project_survives(false);
}

#[test]
fn a_spoiled_key_is_told() {
    let world = World::new();
    world.write("runner.toml", STEPS);
    world.write("seed.txt", "0 is the seed\n");
    world.commit("first");
    world.staith(&["run"]).exits(0);
    // With garbage before it, it is still all there.
    for (_, how) in [SPOILINGS[0], SPOILINGS[2]] {
        spoil(&world.home().join("keys/host.pem"), how);
        world.write("seed.txt", "another seed\n");
        world.staith(&["run"]).exits(30).says("keys/host.pem").says("restore it, or remove it");
    }
    fs::remove_file(world.home().join("keys/host.pem")).unwrap();
    world.staith(&["run"]).exits(0);
}

fn a_project_survives(is_restarted: bool) {
    let world = World::new();
    world.write("runner.toml", STEPS);
    world.write("seed.txt", "0 is the seed, which is a line that is long enough to be cut off\n");
    world.commit("first");
    survives(&world, is_restarted, |round| {
        world.write("seed.txt", &format!("{round} is the seed, and long enough\n"))
    });
}

#[test]
fn every_kind_of_file_of_images_may_be_spoiled_by_a_power_failure() {
    an_image_survives(true);
}

#[test]
fn every_record_of_images_may_be_spoiled_at_any_time() {
    an_image_survives(false);
}

fn an_image_survives(is_restarted: bool) {
    let registry = Registry::open();
    registry.push("team/app", "1", &small_system("hello"), "{}");
    let world = World::new().with_env("STAITH_ALLOW_HOSTS", "127.0.0.1");
    let pipeline = |run: &str| {
        let image = registry.name("team/app:1");
        format!("name = \"imaged\"\nversion = \"1\"\n[steps.second]\nimage = \"{image}\"\nrun = \"{run}\"\n")
    };
    world.write("runner.toml", &pipeline("cat /etc/greeting"));
    world.commit("first");
    survives(&world, is_restarted, |round| {
        world.write("runner.toml", &pipeline(&format!("cat /etc/greeting; echo {round}")))
    });
}

#[test]
fn what_somebody_has_changed_is_found_when_it_is_looked_for() {
    let world = World::new();
    world.write("runner.toml", STEPS);
    let seed = "a seed whose length will be the same\n";
    world.write("seed.txt", seed);
    world.commit("first");
    world.staith(&["run"]).exits(0);
    let verified = |expected: usize| {
        let said = world.staith(&["gc", "--verify", "--json"]).exits(0).out;
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["unsound"].as_array().unwrap().len(), expected, "{said}");
    };
    verified(0);
    // The layer of the first step; and the content of the seed, which is in the pool and in a checkout.
    for (inside, wrong) in [("layers/", 1), ("checkouts/", 2)] {
        let place = all_files(&world.home().join("store").join(inside));
        let path = place.iter().find(|path| fs::read(path).unwrap() == seed.as_bytes()).unwrap();
        spoil(path, |bytes| bytes.iter().map(|byte| byte.to_ascii_uppercase()).collect());
        world.staith(&["gc", "--verify", "--dry-run"]).exits(0).says("would be removed");
        verified(wrong);
        verified(0);
        world.staith(&["run"]).exits(0);
    }
}
