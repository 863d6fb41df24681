//! `staith init`: what it writes for a small project is a pipeline that passes.

use std::fs;

use staith_tests::world::World;

fn project(files: &[(&str, &str)]) -> World {
    let world = World::new();
    files.iter().for_each(|(path, text)| world.write(path, text));
    world.commit("first");
    world
}

/// What is written runs from the start to a package.
fn passes(world: &World, says: &str) {
    world.staith(&["init"]).exits(0).says(says).says("runner.toml is written").says("staith run");
    let said = world.staith(&["run"]).exits(0).says("package");
    said.says("passed");
    world.staith(&["run"]).exits(0).says("cached");
}

#[test]
fn a_static_site_is_packed() {
    let page = "<!doctype html><html><link href=\"css/site.css\"><a href=\"/about.html\">about</a></html>\n";
    let world =
        project(&[("index.html", page), ("about.html", "<html></html>"), ("css/site.css", "body {}\n")]);
    passes(&world, "a static site");
    fs::remove_file(world.project().join("about.html")).unwrap();
    world.staith(&["run"]).exits(10).says("/about.html leads nowhere");
}

#[test]
fn a_node_project_is_restored_from_its_registry() {
    let package = r#"{"name": "demo", "version": "1.0.0", "type": "module",
        "scripts": {"test": "node --test"}, "dependencies": {"is-number": "7.0.0"}}"#;
    let world = project(&[
        ("package.json", package),
        ("demo.js", "import isNumber from 'is-number';\nexport const three = () => isNumber(3);\n"),
        (
            "test/demo.js",
            "import test from 'node:test';\nimport assert from 'node:assert';\nimport { three } from '../demo.js';\ntest('three', () => assert.ok(three()));\n",
        ),
    ]);
    passes(&world, "a Node project");
}

#[test]
fn a_node_project_without_dependencies_needs_no_network() {
    let world =
        project(&[("package.json", "{\"version\": \"1.0.0\"}"), ("server.js", "console.log('served');\n")]);
    passes(&world, "a Node project");
    world.write("server.js", "console.log(;\n");
    world.staith(&["run"]).exits(10).says("SyntaxError");
}

#[test]
fn a_python_project_is_restored_from_its_registry() {
    let world = project(&[
        ("pyproject.toml", "[project]\nname = \"demo\"\nversion = \"1.0.0\"\ndependencies = [\"idna\"]\n"),
        ("demo/__init__.py", "import idna\n\n\ndef host(name):\n    return idna.encode(name).decode()\n"),
        (
            "tests/test_demo.py",
            "from demo import host\n\n\ndef test_host():\n    assert host(\"b\\u00fc\") == \"xn--b-eha\"\n",
        ),
    ]);
    passes(&world, "a Python project");
}

#[test]
fn a_rust_project_is_restored_from_its_registry() {
    let lock = "version = 4\n\n[[package]]\nname = \"demo\"\nversion = \"1.0.0\"\ndependencies = [\"itoa\"]\n\n[[package]]\nname = \"itoa\"\nversion = \"1.0.15\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"4a5f13b858c8d314ee3e8f639011f7ccefe71f97f96e50151fb991f267928e2c\"\n";
    let main = "fn main() {\n    println!(\"{}\", itoa::Buffer::new().format(7));\n}\n\n#[test]\nfn seven() {\n    assert_eq!(itoa::Buffer::new().format(7), \"7\");\n}\n";
    let world = project(&[
        (
            "Cargo.toml",
            "[package]\nname = \"demo\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[dependencies]\nitoa = \"=1.0.15\"\n",
        ),
        ("Cargo.lock", lock),
        ("src/main.rs", main),
    ]);
    passes(&world, "a Rust project");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let world = project(&[("Cargo.toml", ""), ("runner.toml", "mine")]);
    world.staith(&["init"]).exits(64).says("runner.toml is there already");
    assert_eq!(fs::read_to_string(world.project().join("runner.toml")).unwrap(), "mine");
    fs::remove_file(world.project().join("runner.toml")).unwrap();
    std::os::unix::fs::symlink("/not/on/this/machine", world.project().join("runner.toml")).unwrap();
    world.staith(&["init"]).exits(64).says("is there already");
}

#[test]
fn an_unclear_folder_is_asked_about() {
    let world = project(&[("Cargo.toml", ""), ("package.json", "{}")]);
    let said = world.staith(&["init"]).exits(64).says("several kinds").says("a Rust project (Cargo.toml)");
    said.says("--kind, one of: rust, node");
    assert!(!world.project().join("runner.toml").exists());
    world.staith(&["init", "--kind", "node"]).exits(0).says("a Node project");
    let empty = World::new();
    empty.staith(&["init"]).exits(64).says("not clear").says("dotnet").says("static");
    empty.staith(&["init", "--kind", "cobol"]).exits(64).says("gradle");
    empty.staith(&["init", "nowhere"]).exits(30).says("nowhere");
    let other = project(&[("site/index.html", "<html></html>")]);
    other.staith(&["init", "site", "--json"]).exits(0).says("\"kind\":\"static\"");
    assert!(other.project().join("site/runner.toml").exists());
}

#[test]
fn a_folder_without_a_pipeline_hears_of_init() {
    let world = project(&[("index.html", "<html></html>\n")]);
    world.staith(&["run"]).exits(20).says("has no runner.toml").says("`staith init`");
    world.staith(&["run", "--clean"]).exits(20).says("`staith init`").says("commit it");
}

#[test]
fn what_the_project_still_lacks_is_told() {
    let world = World::new();
    world
        .staith(&["init", "--kind", "rust"])
        .exits(0)
        .says("the project needs Cargo.*, which is not there yet");
}
