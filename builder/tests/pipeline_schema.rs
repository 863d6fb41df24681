//! The JSON Schema and the parser agree, as far as a schema can tell.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf, sync::LazyLock};

use boon::{Compiler, SchemaIndex, Schemas};
use proptest::prelude::*;
use serde_json::Value;
use staith_builder::pipeline::{Pipeline, schema};

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        compiler.add_resource("runner.json", schema).unwrap();
        // A schema that is none is refused here: the validator knows the schema of schemas.
        let index = compiler.compile("runner.json", &mut schemas).unwrap_or_else(|bad| panic!("{bad:#}"));
        Self { schemas, index }
    }

    /// What the schema has against a text that is TOML.
    fn refuses(&self, text: &str) -> Option<String> {
        let file: Value = toml::from_str(text).unwrap();
        self.schemas.validate(&file, self.index).err().map(|refused| format!("{refused:#}"))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Mistakes that no schema can tell: names that mean nothing, what goes in circles, what is in the way of something else. And two that
/// an editor need not: what a name or a folder must not begin with is no pattern that all of them know.
const ONLY_THE_PARSER_KNOWS: [&str; 16] = [
    "circle",
    "colliding_outputs",
    "conditions",
    "environment_reserved",
    "environments_in_a_circle",
    "environments_share_a_port",
    "machines_that_say_their_ports",
    "machines_twice",
    "line_too_long",
    "needs_itself",
    "package_empty",
    "package_from_unknown",
    "package_missing",
    "package_root_holds_nothing",
    "templates",
    "unknown_need",
];

#[test]
fn what_the_parser_refuses_the_schema_refuses_where_it_can() {
    let schema = Schema::new();
    let (mut checked, mut otherwise) = (0, Vec::new());
    for entry in fs::read_dir(root().join("builder/tests/pipeline_errors")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let is_input = path.extension().is_some_and(|end| end == "toml");
        if !is_input || toml::from_str::<Value>(&text).is_err() {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let refused = schema.refuses(&text);
        if refused.is_none() != ONLY_THE_PARSER_KNOWS.contains(&name) {
            otherwise.push(format!("{name}: {refused:?}"));
        }
        checked += 1;
    }
    assert!(otherwise.is_empty(), "{otherwise:#?}");
    assert!(checked > 30, "{checked}");
}

fn good_files() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let page = read("docs/runner-toml.md");
    let first = page.split("```toml\n").nth(1).unwrap().split("```\n").next().unwrap().to_owned();
    let mut files = vec![read("runner.toml"), first, EVERYTHING.into()];
    for example in fs::read_dir(root().join("examples")).unwrap() {
        files.extend(fs::read_to_string(example.unwrap().path().join("runner.toml")));
    }
    assert!(files.len() >= 5, "{} files", files.len());
    files
}

#[test]
fn what_the_parser_takes_the_schema_takes() {
    let schema = Schema::new();
    for text in good_files() {
        assert!(Pipeline::parse("runner.toml", &text).is_ok(), "{text}");
        assert_eq!(schema.refuses(&text), None, "{text}");
    }
}

const EVERYTHING: &str = r##"name = "shop"
version = "1.0.0-{branch}+{commit}"
image = "node:{parameters.node}"
concurrency = { group = "deploy", newest = true }
tools = ["rust", { name = "jdk", path = "/opt/jdk" }]
[on.push]
branches = ["main", "!x/*"]
paths = ["src/**", "!docs"]
[on.pull-request]
[on.tag]
tags = ["v*"]
[on.schedule]
cron = ["0 3 * * *"]
always = true
[parameters.node]
type = "choice"
choices = ["22", "24"]
default = "24"
[parameters.full]
type = "bool"
default = false
[defaults]
memory = "1GiB"
cpu = 2
env = { A = "b" }
[services.db]
image = "./postgres.tar"
ready = { run = ["pg_isready"] }
ports = [5432, 5433]
within = "10s"
[services.web]
image = "host"
run = "serve"
ready = { port = 80 }
[steps.build]
run = ["make", "all"]
outputs = ["out/{matrix.v}"]
matrix = { v = ["1", "2"], exclude = [{ v = "1" }] }
retry = { attempts = 3, on = ["timeout"] }
secrets = ["TOKEN"]
network = "outbound"
allow = ["*.example.org"]
disk = "1GiB"
[steps.test]
needs = ["build"]
run = "make test"
when = 'failed("build") or parameters.full'
retry = 1
continue-on-failure = true
services = ["db", "web"]
secrets = { A = "b/c" }
matcher = "gcc"
kind = "mine"
[package]
when = 'tag'
[environments.local]
listen = "127.0.0.1:8080"
run = "./x"
health = { path = "/" }
[environments.far]
after = ["local"]
targets = [{ host = "a@b:1", pool = "green" }, { host = "c", pool = "blue", roles = ["w"] }, { local = true, name = "d", pool = "green" }]
inventory = { file = "h.json" }
provision = { kind = "terraform", folder = "infra", program = "tofu", time-to-live = "4h", variables = { a = "b" }, secrets = { C = "d/e" }, cloud-init = { template = "u.yaml", machines = ["c"], wait = "1m" }, timeout = "1m" }
service = { run = ["./x"], env = { A = "#{B}#" } }
port = 80
health = { path = "/", for = "1s" }
strategy = { blue-green = { pools = ["blue", "green"], keep-warm = "1h", bake = "5m", interval = "10s", failure-limit = 1, metrics = [{ name = "m", prometheus = "http://p", query = "q", below = 1 }] } }
traffic = { haproxy = { nodes = ["unix:/a", { runtime = "ssh:b:/c", master = "/d", state-file = "/e", state = "local", host-key = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }], backend = "d" } }
variables = { "B c" = "c" }
secrets = { D = "e" }
render = ["*.json"]
schema = "contract"
rollback-floor = "1.4"
hooks = [{ name = "h", at = "before-switch", run = ["./h"], roles = ["w"], once = true }]
[environments.canary]
provision = { kind = "command", folder = "i", apply = ["./a", "b"], destroy = ["d"], plan = ["p"], outputs = ["o"], ephemeral = true }
targets = ["x"]
service = "files"
strategy = { canary = { steps = [{ targets = "10%", bake = "1m" }, { targets = 9, bake = "1h" }], metrics = [{ name = "m", prometheus = "http://p", query = "q", above = -1.5 }] } }
traffic = { dns = { server = "a:53", zone = "b.c", record = "a.b.c", key = "k", secret = "s", ttl = "5s" } }
[environments.plain]
provision = { kind = "bicep", folder = "i", template = "m.bicep", group = "g", stack = "s" }
service = { restart = ["a"], stop = ["b"] }
strategy = { rolling = { max-unavailable = 2, bake = "1m" } }
traffic = { built-in = { nodes = ["unix:/p.sock"], backend = "shop" } }
[environments.unit]
targets = ["x"]
service = { existing-unit = "a" }
strategy = { all-at-once = { bake = "1m" } }
traffic = { traffic-manager = { profile = "/subscriptions/x", token = "t" } }
[environments.azure]
targets = ["x"]
service = "files"
strategy = "all-at-once"
traffic = { traffic-manager = { profile = "/subscriptions/x", tenant = "a", client = "b", secret = "c", management = "https://m", login = "http://127.0.0.1:1" } }
"##;

/// Made once: a property asks it thousands of times.
static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::new);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// The schema never refuses what the parser takes: an editor must not mark what works.
    #[test]
    fn the_schema_is_never_stricter_than_the_parser(
        start in 0..EVERYTHING.len(), length in 0..12usize, piece in "[a-z\\[\\]{}\"'=.,\n 0-9*/!:-]{0,6}", dropped in 0..60usize,
    ) {
        let end = (start + length).min(EVERYTHING.len());
        let edited = format!("{}{piece}{}", &EVERYTHING[..start], &EVERYTHING[end..]);
        let shorter: String = EVERYTHING.lines().enumerate().filter(|(line, _)| *line != dropped).map(|(_, line)| format!("{line}\n")).collect();
        for text in [edited, shorter] {
            if Pipeline::parse("runner.toml", &text).is_ok() {
                let schema = &*SCHEMA;
                prop_assert_eq!(schema.refuses(&text), None, "{}", text);
            }
        }
    }
}
