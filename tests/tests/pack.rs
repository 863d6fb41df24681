//! `[package.NAME]`, `staith pack`, `sbom`, `key`, and what lies beside packages.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use staith_model::Digest;
use staith_tests::world::World;

const TWO: &str = r#"
name = "shop"
version = "1.4.0"

[steps.build]
run = "mkdir web worker; echo page > web/index.html; echo job > worker/job"
inputs = ["src/**"]
outputs = ["web/**", "worker/**"]

[package.shop-web]
root = "web"
parameters = "deploy/parameters.xml"

[package.shop-worker]
root = "worker"
"#;

const PARAMETERS: &str = r#"<parameters><parameter name="Greeting" defaultValue="hello">
<parameterEntry kind="TextFile" scope="index\.html$" match="page" /></parameter></parameters>"#;

fn two_packages() -> World {
    let world = World::new();
    world.write("runner.toml", TWO);
    world.write("deploy/parameters.xml", PARAMETERS);
    world.write("src/a", "a");
    world.write("requirements.txt", "flask==3.0\n");
    world.commit("first");
    world
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of a run that tell of packages.
fn made(world: &World) -> Vec<Value> {
    let said = world.staith(&["run", "--json"]).exits(0);
    lines(&said.out).into_iter().filter(|event| event["event"] == "package-made").collect()
}

/// The path of what lies beside a package.
fn beside<'e>(event: &'e Value, kind: &str) -> &'e str {
    let all = event["companions"].as_array().unwrap();
    all.iter().find(|one| one["kind"] == kind).unwrap()["path"].as_str().unwrap()
}

#[test]
fn a_run_makes_several_packages_and_vouches_for_each() {
    let world = two_packages();
    let first = made(&world);
    let names: Vec<&str> = first.iter().map(|event| event["package"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop-web", "shop-worker"]);
    for event in &first {
        let companions = event["companions"].as_array().unwrap();
        let kinds: Vec<&str> = companions.iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["content-manifest", "set-parameters", "sbom", "provenance"]);
        for one in companions {
            let bytes = fs::read(one["path"].as_str().unwrap()).unwrap();
            assert_eq!(one["digest"], Digest::of(&bytes).to_string());
        }
    }
    let parameters = fs::read_to_string(beside(&first[0], "set-parameters")).unwrap();
    assert!(parameters.contains("Greeting"), "{parameters}");
    let bill = fs::read_to_string(beside(&first[0], "sbom")).unwrap();
    assert!(bill.contains("pkg:pypi/flask@3.0"), "{bill}");
    world.staith(&["sbom", "shop-web"]).exits(0).says("pkg:pypi/flask@3.0");

    let again = made(&world);
    assert!(again.iter().all(|event| event["cached"] == true));
    assert_eq!(first[0]["companions"], again[0]["companions"], "what is known is said as it was");
}

#[test]
fn who_vouches_for_a_package_is_verified() {
    let world = two_packages();
    world.staith(&["run"]).exits(0);
    let own = world.home().join("keys/host.pub");
    let own = own.to_str().unwrap();
    world.staith(&["verify", "shop-web", "shop-worker", "--signed-by", own]).exits(0).says("signed by");
    let said = world.staith(&["verify", "shop-web", "--require-provenance", "--json"]).exits(0);
    let vouched = &lines(&said.out)[0]["vouched"];
    assert_eq!(vouched["commit"], world.git(&["rev-parse", "HEAD"]));
    assert_eq!(vouched["is_of_a_run"], true);

    // Somebody else's key.
    let other = World::new();
    let pem = other.staith(&["key", "show"]).exits(0).out;
    let key = world.scratch().join("other.pub");
    fs::write(&key, pem).unwrap();
    let key = key.to_str().unwrap();
    world.staith(&["verify", "shop-web", "--signed-by", key]).exits(20).says("no trusted key has signed");
    world.staith(&["key", "trust", key]).exits(0);
    assert_eq!(world.staith(&["key", "list"]).exits(0).out.lines().count(), 2);
    let id = world.staith(&["key", "list"]).out.lines().next().unwrap().to_owned();
    world.staith(&["key", "distrust", &id[..12]]).exits(0);
    world.staith(&["key", "distrust", &id[..12]]).exits(64);

    // The statement about another package.
    let to = world.scratch().join("pulled");
    let pull = |name: &str| {
        let out = world.staith(&["pull", name, "--all", "--json", "--to", to.to_str().unwrap()]).exits(0).out;
        PathBuf::from(lines(&out)[0]["path"].as_str().unwrap())
    };
    let (web, worker) = (pull("shop-web"), pull("shop-worker"));
    fs::copy(worker.with_extension("provenance.json"), web.with_extension("provenance.json")).unwrap();
    world.staith(&["verify", worker.to_str().unwrap(), "--signed-by", own]).exits(0);
    let said = world.staith(&["verify", web.to_str().unwrap(), "--signed-by", own]).exits(20);
    said.says("the provenance is signed, but it is about");
}

#[test]
fn a_step_can_not_read_the_key() {
    let world = World::new();
    world.staith(&["key", "show"]).exits(0);
    let key = world.home().join("keys/host.pem");
    let mode = fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    world.write(
        "runner.toml",
        &format!(
            "name = \"thief\"\nversion = \"1\"\n[steps.steal]\nrun = \"if cat {0} || ls -a {1}; then exit 1; fi; echo nothing there\"\n",
            key.display(),
            world.home().display()
        ),
    );
    world.staith(&["run"]).exits(0).says("nothing there").never_says("PRIVATE KEY");
}

/// A tree whose content is always the same; its owner's habits are not.
fn tree(at: &Path, private: bool) {
    fs::create_dir_all(at.join("sub/empty")).unwrap();
    fs::write(at.join("sub/größe.txt"), "text\n".repeat(5000)).unwrap();
    fs::write(at.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::write(at.join("Gemfile.lock"), "GEM\n  specs:\n    rack (3.0)\n").unwrap();
    symlink("run.sh", at.join("link")).unwrap();
    let mode =
        |path: &str, mode| fs::set_permissions(at.join(path), fs::Permissions::from_mode(mode)).unwrap();
    mode("run.sh", if private { 0o700 } else { 0o755 });
    mode("sub/größe.txt", if private { 0o600 } else { 0o664 });
    if private {
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        fs::File::open(at.join("run.sh")).unwrap().set_modified(long_ago).unwrap();
    }
}

#[test]
fn a_directory_packs_to_the_same_bytes_anywhere() {
    let world = World::new();
    let pack = |from: &str, to: &str, private: bool| -> (Vec<String>, PathBuf) {
        tree(&world.scratch().join(from), private);
        let (from, to) = (world.scratch().join(from), world.scratch().join(to));
        let (from, at) = (from.to_str().unwrap(), to.to_str().unwrap());
        world.staith(&["pack", from, "--name", "shop", "--version", "1.4.0", "--to", at]).exits(0);
        let mut names: Vec<String> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        (names, to)
    };
    let ((first, one), (second, two)) = (pack("here", "a", false), pack("else/where/deep", "b", true));
    assert_eq!(first, second);
    assert_eq!(first.len(), 5, "{first:?}");
    for name in &first {
        assert!(fs::read(one.join(name)).unwrap() == fs::read(two.join(name)).unwrap(), "{name} differs");
    }
    let package = one.join(first.iter().find(|name| name.ends_with(".zip")).unwrap());
    let program = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; \
                   print(*sorted(i.filename for i in z.infolist() if 'gr' in i.filename))";
    let read = Command::new("python3").args(["-c", program]).arg(&package).output().unwrap();
    assert!(String::from_utf8_lossy(&read.stdout).contains("größe.txt"), "{read:?}");
    let unzipped = Command::new("unzip").arg("-tqq").arg(&package).output().unwrap();
    assert!(unzipped.status.success(), "{unzipped:?}");
    world.staith(&["sbom", package.to_str().unwrap()]).exits(0).says("pkg:gem/rack@3.0");
}

#[test]
fn what_is_packed_by_hand_says_so() {
    let world = World::new();
    tree(&world.project(), false);
    let to = world.scratch().join("out");
    let out = to.to_str().unwrap();
    let pack = |more: &[&str]| {
        let arguments =
            [&["pack", ".", "--name", "shop", "--version", "1", "--json", "--to"], &[out][..], more];
        lines(&world.staith(&arguments.concat()).exits(0).out).remove(0)["path"].as_str().unwrap().to_owned()
    };
    let unsigned = pack(&[]);
    world.staith(&["verify", &unsigned, "--require-provenance"]).exits(20).says("nobody has signed");
    assert!(!world.home().join("keys").exists(), "nobody asked for a key");
    let signed = pack(&["--sign"]);
    assert_eq!(signed, unsigned, "a signature lies beside the package, not in it");
    let key = world.home().join("keys/host.pub");
    world.staith(&["verify", &signed, "--signed-by", key.to_str().unwrap()]).exits(0);
    world.staith(&["verify", &signed, "--require-provenance"]).exits(20).says("was not made by a run");
    let chosen = pack(&["--include", "sub/**"]);
    let listed = Command::new("unzip").args(["-Z1", &chosen]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("empty") && !listed.contains("run.sh"), "{listed}");
}

#[test]
fn what_can_not_be_packed_is_refused_with_a_reason() {
    let world = World::new();
    world.write("a", "a");
    let to = world.scratch().join("out");
    let out = to.to_str().unwrap();
    let pack = |more: &[&str]| world.staith(&[&["pack", "--name", "x", "--version", "1"], more].concat());
    pack(&["nowhere", "--to", out]).exits(64).says("there is no directory nowhere");
    pack(&[".", "--to", "."]).exits(64).says("--to");
    pack(&[".", "--to", out, "--include", "none"]).exits(20).says("would be empty");
    pack(&[".", "--to", out, "--parameters", "a"]).exits(20).says("does not declare parameters");
    world.write("aux.txt", "a device on Windows");
    pack(&[".", "--to", out]).exits(20).says("aux.txt");
    pack(&[&Digest::of(b"no layer").to_string(), "--to", out]).exits(64).says("nothing that a step left");
    world.write("yarn.lock", "odd\n");
    world.staith(&["sbom", "."]).exits(0).says("yarn.lock:1");
    world.staith(&["sbom", ".", "--strict"]).exits(20).says("yarn.lock:1");
}

#[test]
fn a_disk_that_is_full_takes_a_package_with_what_lies_beside_it_or_nothing() {
    let world = World::new();
    // Names alone: the list of them, beside the package, is larger than what else lies there.
    let directory = world.scratch().join("tree");
    fs::create_dir(&directory).unwrap();
    for nth in 0..3000 {
        fs::write(directory.join(format!("file-{nth}")), format!("{nth}")).unwrap();
    }
    let directory = directory.to_str().unwrap();
    let words = ["pack", directory, "--name", "names", "--version", "1.0", "--json", "--to"];
    let roomy = world.scratch().join("roomy").display().to_string();
    let told = &lines(&world.staith(&[&words[..], &[&roomy]].concat()).exits(0).out)[0];
    let (size, list) = (
        told["package"]["size"].as_u64().unwrap(),
        fs::metadata(beside(told, "content-manifest")).unwrap().len(),
    );
    let room = size + list / 2;
    let full = world.scratch().join("full");
    fs::create_dir(&full).unwrap();
    let script = r#"mount -t tmpfs -o size="$ROOM" staith-test "$FULL" && "$0" "$@" "$FULL"; code=$?
        ls -A "$FULL" >&2; exit $code"#;
    let output = Command::new("unshare")
        .args(if rustix::process::geteuid().is_root() { &[][..] } else { &["--map-root-user"] })
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(staith_tests::world::staith_binary())
        .args(words)
        .env("ROOM", room.to_string())
        .env("FULL", &full)
        .env("STAITH_HOME", world.home())
        .output()
        .unwrap();
    let said = staith_tests::world::Said::of(&output).exits(30).says("No space left");
    assert_eq!(said.err, "", "a part of it is there");
}

#[test]
fn what_a_step_left_can_be_packed() {
    let world = two_packages();
    let said = world.staith(&["run", "--json"]).exits(0);
    let events = lines(&said.out);
    let left = events.iter().find_map(|event| event["layer"].as_str()).unwrap();
    let to = world.scratch().join("out");
    world
        .staith(&["pack", left, "--name", "x", "--version", "1", "--to", to.to_str().unwrap()])
        .exits(0)
        .says("x 1");
}
