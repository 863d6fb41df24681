//! What a good `runner.toml` means.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use staith_builder::pipeline::{Pipeline, Step, render};
use staith_model::{Command, Limits, Network, StepKind, Tool};

fn parse(text: &str) -> Pipeline {
    Pipeline::parse("runner.toml", text).unwrap_or_else(|errors| panic!("{}", render(&errors, false, 100)))
}

fn step<'p>(pipeline: &'p Pipeline, name: &str) -> &'p Step {
    pipeline.steps().iter().find(|step| step.name.as_str() == name).unwrap()
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

const SMALLEST: &str = "name = \"x\"\nversion = \"1\"\n[steps.build]\nrun = \"make\"\n";

const EVERYTHING: &str = r#"
name = "guestbook"
version = "1.0.0"
tools = ["rust", { name = "jdk", path = "/opt/jdk/" }]

[steps.lint]
run = ["cargo", "fmt", "--check"]
network = "none"

[steps.restore]
run = "cargo fetch --locked"
network = "outbound"
inputs = ["Cargo.*"]
outputs = ["vendor"]

[steps.compile]
kind = "build"
needs = ["restore", "lint"]
run = """
cargo build --release
strip target/release/guestbook
"""
outputs = ["target/release/guestbook"]
env = { CARGO_HOME = "/workspace/.cargo-home" }
timeout = "10m"
workdir = "app"
memory = "2GiB"
cpu = 1.5
processes = 512
reports = ["target/junit.xml"]

[package]
name = "guestbook-server"
from = ["restore", "compile"]
root = "target/release"
include = ["**"]
exclude = ["*.d"]
source = ["static/**"]

[environments.local]
listen = "127.0.0.1:8080"
run = ["./guestbook", "--log", "info debug"]
env = { LOG = "info" }
drain = "0s"
stop = "5s"
keep = 0
health = { path = "/healthz?full=1", header = "x-staith-release", deadline = "1m", successes = 3 }

[environments.other]
listen = "[::1]:8081"
run = "./guestbook --quiet"
"#;

#[test]
fn the_smallest_file_has_all_defaults() {
    let pipeline = parse(SMALLEST);
    let build = step(&pipeline, "build");
    assert_eq!(
        (build.kind.clone(), build.network, build.timeout_seconds),
        (StepKind::Build, Network::Loopback, 1800)
    );
    assert_eq!((build.limits.clone(), build.workdir.clone()), (Limits::default(), None));
    assert!(
        build.needs.is_empty()
            && build.inputs.is_empty()
            && build.outputs.is_empty()
            && build.reports.is_empty()
    );
    assert!(build.env.is_empty() && pipeline.tools().is_empty());
    assert!(pipeline.packages().is_empty() && pipeline.environments().next().is_none());
}

#[test]
fn every_key_of_a_step_arrives() {
    let pipeline = parse(EVERYTHING);
    assert_eq!((pipeline.name().as_str(), pipeline.version()), ("guestbook", "1.0.0"));
    let jdk = Tool::Directory { name: "jdk".parse().unwrap(), path: "/opt/jdk".into() };
    assert_eq!(pipeline.tools(), [Tool::Known("rust".parse().unwrap()), jdk]);
    let names: Vec<_> = pipeline.steps().iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["lint", "restore", "compile"]);

    let lint = step(&pipeline, "lint");
    assert_eq!(lint.command, Command::Argv(vec!["cargo".into(), "fmt".into(), "--check".into()]));
    assert_eq!((lint.kind.clone(), lint.network), (StepKind::Lint, Network::None));

    let restore = step(&pipeline, "restore");
    assert_eq!(restore.network, Network::Outbound);
    assert_eq!(
        (texts(&restore.inputs), texts(&restore.outputs)),
        (vec!["Cargo.*".to_owned()], vec!["vendor".to_owned()])
    );

    let compile = step(&pipeline, "compile");
    assert_eq!(compile.kind, StepKind::Build);
    assert_eq!(
        compile.command,
        Command::Shell("cargo build --release\nstrip target/release/guestbook\n".into())
    );
    assert_eq!(texts(&compile.needs), ["restore", "lint"]);
    assert_eq!(compile.env["CARGO_HOME"], "/workspace/.cargo-home");
    assert_eq!((compile.timeout_seconds, compile.workdir.as_ref().unwrap().as_str()), (600, "app"));
    let limits = Limits { memory: Some(2 << 30), processes: Some(512), cpu_milli: Some(1500), disk: None };
    assert_eq!(
        (compile.limits.clone(), texts(&compile.reports)),
        (limits, vec!["target/junit.xml".to_owned()])
    );
}

#[test]
fn every_key_of_package_and_environments_arrives() {
    let pipeline = parse(EVERYTHING);
    let package = &pipeline.packages()[0];
    assert_eq!(
        (package.name.as_str(), texts(&package.from)),
        ("guestbook-server", vec!["restore".into(), "compile".into()])
    );
    assert_eq!(package.root.as_ref().unwrap().as_str(), "target/release");
    assert_eq!(
        [&package.include, &package.exclude, &package.source].map(|list| list[0].as_str()),
        ["**", "*.d", "static/**"]
    );

    let local = pipeline.environment("local").unwrap();
    assert_eq!(
        (local.listen.to_string().as_str(), local.drain_seconds, local.keep_releases),
        ("127.0.0.1:8080", 0, 0)
    );
    assert_eq!(local.process.command, ["./guestbook", "--log", "info debug"]);
    assert_eq!((local.process.env["LOG"].as_str(), local.process.stop_seconds), ("info", 5));
    assert_eq!(
        (local.health.path.as_str(), local.health.deadline_seconds, local.health.successes),
        ("/healthz?full=1", 60, 3)
    );
    assert_eq!(local.health.release_header.as_deref(), Some("x-staith-release"));

    let other = pipeline.environment("other").unwrap();
    assert_eq!(other.process.command, ["./guestbook", "--quiet"]);
    assert_eq!((other.drain_seconds, other.keep_releases, other.process.stop_seconds), (30, 3, 10));
    assert_eq!(
        (other.health.path.as_str(), other.health.deadline_seconds, other.health.successes),
        ("/", 30, 2)
    );
    assert_eq!((other.health.release_header.clone(), pipeline.environment("nowhere")), (None, None));
}

#[test]
fn a_package_is_made_from_the_build_steps_that_leave_something() {
    let text = "name = \"x\"\nversion = \"1\"\n[steps.a]\nkind = \"build\"\nrun = \"a\"\noutputs = [\"a\"]\n\
                [steps.build]\nrun = \"b\"\n[steps.test]\nrun = \"c\"\noutputs = [\"c\"]\n[package]\n";
    let package = parse(text).packages()[0].clone();
    assert_eq!((texts(&package.from), package.name.as_str()), (vec!["a".to_owned()], "x"));
}

#[test]
fn a_package_of_source_files_needs_no_build() {
    let text =
        "name = \"x\"\nversion = \"1\"\n[steps.test]\nrun = \"pytest\"\n[package]\nsource = [\"**\"]\n";
    assert!(parse(text).packages()[0].from.is_empty());
}

#[test]
fn steps_may_be_written_in_other_ways_of_toml() {
    let inline =
        "name = \"x\"\nversion = \"1\"\nsteps.b.run = \"b\"\nsteps.a = { run = \"a\", needs = [\"b\"] }\n";
    let names: Vec<_> = parse(inline).steps().iter().map(|step| step.name.to_string()).collect();
    assert_eq!(names, ["b", "a"]);
    let windows = SMALLEST.replace('\n', "\r\n");
    assert_eq!(parse(&windows), parse(SMALLEST));
}

#[test]
fn steps_after_one_another_may_write_to_the_same_place() {
    let text = "name = \"x\"\nversion = \"1\"\n[steps.a]\nrun = \"a\"\noutputs = [\"out\"]\n\
                [steps.b]\nneeds = [\"a\"]\nrun = \"b\"\n[steps.c]\nneeds = [\"b\"]\nrun = \"c\"\noutputs = [\"out/c\"]\n";
    assert_eq!(parse(text).steps().len(), 3);
}

fn reference() -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/runner-toml.md")).unwrap()
}

/// The blocks of a language on the page.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let after = page.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
    after.into_iter().map(|rest| rest.split("```\n").next().unwrap()).collect()
}

/// A newcomer copies the examples of the reference; they must work.
#[test]
fn a_service_is_reached_at_the_port_of_its_readiness_and_those_that_it_lists() {
    let ports = |keys: &str| {
        let text = format!(
            "name = \"x\"\nversion = \"1\"\n[services.db]\nrun = \"db\"\n{keys}\n[steps.a]\nrun = \"a\"\nservices = [\"db\"]\n"
        );
        parse(&text).services()[0].ports.clone()
    };
    assert_eq!(ports("ready = { port = 5432 }"), [5432]);
    assert_eq!(ports("ready = { port = 5432 }\nports = [9000, 80, 5432, 80]"), [80, 5432, 9000]);
    assert_eq!(ports("ready = { run = \"true\" }\nports = [2, 1]"), [1, 2]);
    assert_eq!(ports("ready = { port = 0xffff }"), [65_535]);
}

#[test]
fn the_examples_of_the_reference_are_good() {
    let page = reference();
    let blocks = blocks(&page, "toml");
    assert!(blocks[0].lines().count() <= 20, "the complete example has {} lines", blocks[0].lines().count());
    parse(blocks[0]);
    for part in &blocks[1..] {
        // Each of the others shows some keys of a file, whose rest is not the point.
        let head = "name = \"x\"\nversion = \"1\"\n";
        let build = if part.contains("[steps.") { "" } else { "[steps.x]\nrun = \"make\"\n" };
        let (before, after) = if part.starts_with('[') { (build, "") } else { ("", build) };
        parse(&format!("{head}{before}{part}\n{after}"));
    }
}

/// What the reference shows of mistakes is what is really told.
#[test]
fn the_mistakes_of_the_reference_are_told_so() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pipeline_errors");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let expected = files.filter(|path| path.extension().is_some_and(|end| end == "expected"));
    let told: String = expected.map(|path| fs::read_to_string(path).unwrap()).collect();
    let page = reference();
    let shown = blocks(&page, "text");
    assert!(shown.len() >= 3);
    for mistake in shown {
        assert!(told.contains(mistake), "nothing is told as the reference says:\n{mistake}");
    }
}

const SEVERAL: &str = "name = \"x\"\nversion = \"1\"\n[steps.build]\nrun = \"b\"\noutputs = [\"web\", \"worker\"]\n\
    [package.web]\nroot = \"web\"\n[package.worker]\nroot = \"worker\"\nwhen = \"branch == 'main'\"\n";

#[test]
fn several_packages_are_named_by_their_tables() {
    let pipeline = parse(&format!(
        "{SEVERAL}[environments.e]\nlisten = \"127.0.0.1:8080\"\nrun = [\"./p\"]\npackage = \"worker\"\n"
    ));
    let packages: Vec<_> =
        pipeline.packages().iter().map(|package| (package.name.as_str(), texts(&package.from))).collect();
    assert_eq!(packages, [("web", vec!["build".to_owned()]), ("worker", vec!["build".to_owned()])]);
    assert_eq!(pipeline.package_for("e").unwrap().as_str(), "worker");
    assert_eq!(pipeline.package_for("nowhere"), None);
    let one = parse(EVERYTHING);
    assert_eq!(one.package_for("local").unwrap().as_str(), "guestbook-server");
}
