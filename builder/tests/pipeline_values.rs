//! What a good `runner.toml` means.

// A test says what went wrong by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::PathBuf};

use staith_builder::pipeline::{Pipeline, Step, render};
use staith_model::{
    Access, Amount, Command, Comparison, HookPoint, Inventory, Limits, Network, Rollout, Service, StepKind,
    Tool, TrafficSpec, Watch, WindowsRelease, WindowsWay,
};

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
health = { path = "/healthz?full=1", header = "x-staith-release", file = "/release.txt", deadline = "1m", successes = 3 }

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

    let local = pipeline.environment("local").unwrap().local().unwrap();
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
    assert_eq!(local.health.release_file.as_deref(), Some("/release.txt"));

    let other = pipeline.environment("other").unwrap().local().unwrap();
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
        let is_without_package = part.contains("[environments.") && !part.contains("[package");
        let package = if is_without_package { "[package]\nsource = [\"**\"]\n" } else { "" };
        let rest = format!("{build}{package}");
        let (before, after) = if part.starts_with('[') { (rest.as_str(), "") } else { ("", rest.as_str()) };
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

fn fleets(text: &str) -> Pipeline {
    let head =
        "name = \"shop\"\nversion = \"1\"\n[steps.build]\nrun = \"b\"\noutputs = [\"web\"]\n[package]\n";
    parse(&format!("{head}{text}"))
}

const FLEETS: &str = r##"
[environments.production]
after = ["staging"]
targets = [
  "web1.example.net", "deploy@web2.example.net:2222",
  { host = "web3", name = "c", user = "u", port = 23, tags = ["eu"], roles = ["web"], variables = { REGION = "eu" }, serves-at = "10.0.0.3:8080" },
  { local = true, name = "here" }, { pull = true, name = "behind-nat" }, { host = "win1", site = "Shop" },
  { host = "win2", user = "deploy", port = 2222, site = "Shop", app-pool = "ShopPool", windows-service = "Shop worker", way = "msdeploy" },
]
inventory = { command = ["./hosts"] }
folder = "/opt/shop"
service = { unit = "shop-web", run = ["./server", "-v"], user = "shop", env = { A = "#{LOG_LEVEL}#" }, stop = "7s" }
port = 8080
health = { path = "/health", file = "/release.json?x=1", deadline = "40s", successes = 3, for = "5s" }
drain = "9s"
keep = 7
variables = { LOG_LEVEL = "info", "Service Url" = "x" }
secrets = { DB_PASSWORD = "shop/db" }
render = ["appsettings.json", "config/*.ini"]
hooks = [{ name = "migrate", at = "before-switch", run = ["./migrate"], once = true, roles = ["web"], timeout = "5m" }]
[environments.production.role-variables.web]
THREADS = "4"
[environments.production.strategy.canary]
steps = [{ targets = 1, bake = "0s" }, { targets = "10%", bake = "5m" }]
max-unavailable = 2
bake = "10m"
interval = "30s"
failure-limit = 1
metrics = [{ name = "errors", prometheus = "http://127.0.0.1:9090", query = "q", below = 0.010, dry-run = true }]
[environments.production.traffic.haproxy]
nodes = ["unix:/run/haproxy/admin.sock", "tcp:10.0.0.1:9999", { runtime = "ssh:root@lb1:/run/h.sock", master = "/run/m.sock", state-file = "/var/lib/haproxy/state" }]
backend = "shop"

[environments.staging]
targets = ["web.staging"]
service = "files"

[environments.blue-green]
targets = [{ host = "a", pool = "blue" }, { host = "b", pool = "green" }]
service = { existing-unit = "php-fpm" }
strategy = { blue-green = { keep-warm = "1h" } }
traffic = { dns = { server = "192.0.2.1:53", zone = "Example.net", record = "shop.example.net", key = "k" } }

[environments.watched]
targets = [{ host = "a", pool = "blue" }, { host = "b", pool = "green" }]
service = "files"
strategy = { blue-green = { bake = "5m", metrics = [{ name = "errors", prometheus = "http://127.0.0.1:9090", query = "q", below = 1 }], failure-limit = 2 } }
traffic = { built-in = { nodes = ["unix:/run/staith-proxy/control.sock"], backend = "shop" } }

[environments.in-turn]
targets = ["a"]
service = "files"
strategy = { rolling = { bake = "90s" } }

[environments.last]
inventory = { file = "hosts.toml" }
service = { restart = ["systemctl", "reload", "nginx"], stop = ["true"] }
strategy = { all-at-once = { bake = "0s" } }
traffic = { built-in = { nodes = ["unix:/run/staith-proxy/control.sock"], backend = "shop" } }
"##;

#[test]
fn every_key_of_an_environment_of_machines_arrives() {
    let pipeline = fleets(FLEETS);
    let fleet = pipeline.environment("production").unwrap().fleet().unwrap();
    let names: Vec<_> = fleet.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["web1.example.net", "web2.example.net", "c", "here", "behind-nat", "win1", "win2"]);
    let ssh = |host: &str, user: Option<&str>, port| Access::Ssh {
        host: host.into(),
        user: user.map(Into::into),
        port,
        host_key: None,
        superuser: false,
    };
    assert_eq!(fleet.targets[1].access, ssh("web2.example.net", Some("deploy"), Some(2222)));
    let third = &fleet.targets[2];
    assert_eq!(third.access, ssh("web3", Some("u"), Some(23)));
    assert_eq!((third.tags.len(), third.roles.len(), third.variables["REGION"].as_str()), (1, 1, "eu"));
    assert_eq!(third.serves_at.as_deref(), Some("10.0.0.3:8080"));
    assert_eq!((&fleet.targets[3].access, &fleet.targets[4].access), (&Access::Local, &Access::Pull));
    let gets = WindowsRelease { site: Some("Shop".into()), ..WindowsRelease::default() };
    let windows = Access::Windows { host: "win1".into(), user: None, port: None, host_key: None, gets };
    assert_eq!(fleet.targets[5].access, windows);
    let gets = WindowsRelease {
        site: Some("Shop".into()),
        app_pool: Some("ShopPool".into()),
        service: Some("Shop worker".into()),
        way: WindowsWay::Msdeploy,
    };
    let (host, user) = ("win2".into(), Some("deploy".into()));
    assert_eq!(
        fleet.targets[6].access,
        Access::Windows { host, user, port: Some(2222), host_key: None, gets }
    );
    assert_eq!(fleet.inventory, Some(Inventory::Command(vec!["./hosts".into()])));
    assert_eq!((fleet.drain_seconds, fleet.keep_releases), (9, 7));
    let setting = &fleet.setting;
    assert_eq!(
        (setting.folder.as_str(), setting.port, setting.min_healthy_seconds),
        ("/opt/shop", Some(8080), 5)
    );
    let service = Service::Systemd {
        unit: "shop-web".into(),
        command: vec!["./server".into(), "-v".into()],
        env: [("A".to_owned(), "#{LOG_LEVEL}#".to_owned())].into(),
        user: Some("shop".into()),
        stop_seconds: 7,
    };
    assert_eq!(setting.service, service);
    let health = setting.health.as_ref().unwrap();
    assert_eq!((health.path.as_str(), health.deadline_seconds, health.successes), ("/health", 40, 3));
    assert_eq!(
        (health.release_header.as_ref(), health.release_file.as_deref()),
        (None, Some("/release.json?x=1"))
    );
    assert_eq!(setting.variables["Service Url"], "x");
    assert_eq!(setting.role_variables["web"]["THREADS"], "4");
    assert_eq!(
        (setting.secrets["DB_PASSWORD"].name.as_str(), setting.secrets["DB_PASSWORD"].version.as_str()),
        ("shop/db", "")
    );
    assert_eq!(setting.rendered, ["appsettings.json", "config/*.ini"]);
    let hook = &setting.hooks[0];
    assert_eq!(
        (hook.at, hook.once, hook.repeatable, hook.timeout_seconds),
        (HookPoint::BeforeSwitch, true, false, 300)
    );
    let Rollout::Canary { steps, max_unavailable, analysis: Some(analysis), bake_seconds: 600 } =
        &fleet.rollout
    else {
        panic!()
    };
    assert_eq!((steps.len(), steps[1].bake_seconds, *max_unavailable), (2, 300, Amount::Count(2)));
    assert_eq!((analysis.interval_seconds, analysis.failure_limit), (30, 1));
    let metric = &analysis.metrics[0];
    assert_eq!((metric.limit.as_str(), metric.holds, metric.dry_run), ("0.01", Comparison::Below, true));
    let Some(TrafficSpec::Haproxy { nodes, backend }) = &fleet.traffic else { panic!() };
    assert_eq!((nodes.len(), backend.as_str()), (3, "shop"));
    assert_eq!((&nodes[0].master, &nodes[0].state, &nodes[0].host_key), (&None, &None, &None));
    // What is beside a socket is on the same machine.
    let far = &nodes[2];
    assert_eq!(
        (far.runtime.as_str(), far.master.as_deref()),
        ("ssh:root@lb1:/run/h.sock", Some("ssh:root@lb1:/run/m.sock"))
    );
    let state = far.state.as_ref().unwrap();
    assert_eq!(
        (state.path.as_str(), state.host.as_deref(), state.whole),
        ("/var/lib/haproxy/state", Some("root@lb1"), true)
    );
}

#[test]
fn an_environment_of_machines_has_usual_values() {
    let pipeline = fleets(FLEETS);
    let staging = pipeline.environment("staging").unwrap().fleet().unwrap();
    assert_eq!((staging.setting.folder.as_str(), &staging.setting.service), ("/srv/shop", &Service::Files));
    assert_eq!(staging.rollout, Rollout::Rolling { max_unavailable: Amount::Percent(25), watch: None });
    assert_eq!((staging.drain_seconds, staging.keep_releases, &staging.traffic), (30, 3, &None));
    assert_eq!((&staging.setting.health, staging.setting.port), (&None, None));
    let swapped = pipeline.environment("blue-green").unwrap().fleet().unwrap();
    let pools = ["blue", "green"].map(|pool| pool.parse().unwrap());
    assert_eq!(swapped.rollout, Rollout::BlueGreen { pools, keep_warm_seconds: Some(3600), watch: None });
    let Some(TrafficSpec::Dns { zone, ttl_seconds: 60, key, secret, .. }) = &swapped.traffic else {
        panic!()
    };
    assert_eq!((zone.as_str(), key), ("example.net", secret));
    let last = pipeline.environment("last").unwrap().fleet().unwrap();
    assert!(last.targets.is_empty() && last.inventory == Some(Inventory::File("hosts.toml".into())));
    assert_eq!(last.rollout, Rollout::AllAtOnce { watch: None });
}

#[test]
fn every_strategy_says_how_all_machines_are_watched() {
    let pipeline = fleets(FLEETS);
    let rollout = |name: &str| &pipeline.environment(name).unwrap().fleet().unwrap().rollout;
    let Rollout::BlueGreen { watch: Some(watch), .. } = rollout("watched") else { panic!() };
    let analysis = watch.analysis.as_ref().unwrap();
    assert_eq!((watch.bake_seconds, analysis.interval_seconds, analysis.failure_limit), (300, 60, 2));
    assert_eq!(analysis.metrics[0].limit, "1");
    let in_turn = Rollout::Rolling {
        max_unavailable: Amount::Percent(25),
        watch: Some(Watch { bake_seconds: 90, analysis: None }),
    };
    assert_eq!(*rollout("in-turn"), in_turn);
    // What says nothing of it is written down as it always was.
    let old = serde_json::json!({ "strategy": "rolling", "max_unavailable": { "percent": 25 } });
    assert_eq!(serde_json::to_value(rollout("staging")).unwrap(), old);
    assert_eq!(
        serde_json::to_value(rollout("last")).unwrap(),
        serde_json::json!({ "strategy": "all-at-once" })
    );
    assert_eq!(serde_json::from_value::<Rollout>(old).unwrap(), *rollout("staging"));
}

#[test]
fn environments_come_after_those_that_they_name_and_otherwise_as_the_file_has_them() {
    let pipeline = fleets(FLEETS);
    let order: Vec<_> =
        pipeline.destinations().into_iter().map(|to| to.environment.name().to_string()).collect();
    assert_eq!(order, ["staging", "production", "blue-green", "watched", "in-turn", "last"]);
}
