//! A machine that can ask the server and can't be reached by anybody pulls its deployments: planned, deployed, served, taken back, also when
//! its runner, the deployer or the server is killed in the middle. Needs root and nftables, which tests/run installs; says so and checks
//! nothing where network namespaces can't be made.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, process::Command};

use serde_json::Value;
use staith_tests::{
    bare::Bare,
    build_host::BuildHost,
    pools,
    served::Served,
    wait,
    wires::{Fault, SERVER, Yard, are_permitted},
    world::{Said, World},
};
use tempfile::TempDir;

const PIPELINE: &str = r#"
name = "shop"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp serve word.txt dist/; chmod +x dist/serve; head -c 3000000 /dev/urandom > dist/much"
inputs = ["serve", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.production]
targets = [{ pull = true, name = "web-1" }]
folder = "PLACE/shop"
port = 8080
service = { run = ["./serve"], supervisor = "staith" }
health = { path = "/healthz", header = "x-staith-release", deadline = "60s", successes = 1 }
secrets = { API_KEY = "shop/api-key" }
"#;

/// What asks it, where it runs.
const ASK: &str = "import urllib.request\n\
                   a = urllib.request.urlopen('http://127.0.0.1:8080/', timeout=5)\n\
                   print(a.headers['x-staith-release'], a.read().decode().strip())";

/// A server in a network of its own with a build host beside it, and a machine behind a wire through which nobody comes in.
struct Coast {
    machine: BuildHost,
    _builder: BuildHost,
    server: Option<Served>,
    _yard: Yard,
    place: TempDir,
    repository: Bare,
    admin: String,
    world: World,
}

impl Coast {
    fn new() -> Self {
        let (world, mut yard) = (World::new(), Yard::enter());
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let repository = Bare::empty(&world);
        let pipeline = PIPELINE.replace("PLACE", &place.path().display().to_string());
        fs::write(repository.clone.join("runner.toml"), pipeline).unwrap();
        // Beside what it is in other scenarios, it needs its secret.
        let serve = format!(
            "#!/usr/bin/env python3\nimport os\nassert len(os.environ[\"API_KEY\"]) == 14\n{}",
            pools::SERVE
        );
        fs::write(repository.clone.join("serve"), serve).unwrap();
        let server = served(&world);
        let mut builder = BuildHost::registered(&world, &server, "builder", "default", None);
        builder.starts(1);
        let project = serde_json::json!({ "name": "shop", "origin": repository.path }).to_string();
        server.ask("POST", "/api/v1/projects", &project).is(201);
        let wire = yard.wire();
        // Connections begin on the machine only.
        for words in [
            "add table inet shut",
            "add chain inet shut coming { type filter hook input priority -1; policy accept; }",
            "add rule inet shut coming iifname eth0 ct state new drop",
        ] {
            let mut nft = vec!["nft"];
            nft.extend(words.split(' '));
            Said::of(&wire.command(&nft).output().unwrap()).exits(0);
        }
        let target = "shop/production/web-1";
        let machine = BuildHost::of_target(&world, &server, "web-1", target, Some(wire));
        let admin = server.admin.clone();
        let coast = Self {
            machine,
            _builder: builder,
            server: Some(server),
            _yard: yard,
            place,
            repository,
            admin,
            world,
        };
        coast.keeps_a_secret();
        coast.pushes("one");
        coast
    }

    /// The deployer's home of the project has what its release needs.
    fn keeps_a_secret(&self) {
        let home = self.server().data.join("deployer/projects/shop");
        fs::create_dir_all(&home).unwrap();
        let mut set = self.world.command(&["secret", "set", "shop/api-key"]);
        set.env("STAITH_HOME", &home).stdin(std::process::Stdio::piped());
        let mut child = set.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"hunter2hunter2").unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn server(&self) -> &Served {
        self.server.as_ref().unwrap()
    }

    fn pushes(&self, word: &str) {
        fs::write(self.repository.clone.join("word.txt"), word).unwrap();
        self.repository.push_all("main", word);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.world.command(words);
        command.arg("--insecure").env("STAITH_TOKEN", &self.admin).env("STAITH_PROJECT", "shop");
        command.env("STAITH_SERVER", format!("http://{SERVER}:8765"));
        command
    }

    fn staith(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    fn release(&self, words: &[&str]) -> Said {
        self.staith(&[&["server", "release"], words].concat())
    }

    /// A release of what `main` is now; its digest.
    fn releases(&self) -> String {
        let run =
            self.server().run_told_of(&self.staith(&["project", "run", "shop", "--ref", "main"]).exits(0));
        let made = self.release(&["create", &run, "--json"]).exits(0);
        made.values().remove(0)["digest"].as_str().unwrap().to_owned()
    }

    fn newest(&self) -> Option<Value> {
        let at = "/api/v1/projects/shop/environments/production";
        let answered = self.server().ask("GET", at, "");
        let all = (answered.status == 200).then(|| answered.is(200))?;
        all["deployments"].as_array().unwrap().first().cloned()
    }

    fn waits_until(&self, states: &[&str]) {
        wait::until(&format!("the deployment is {states:?}"), || {
            let newest = self.newest()?;
            let state = newest["state"]["state"].as_str()?.to_owned();
            assert!(
                states.contains(&&*state) || !["failed", "rolled-back", "aborted"].contains(&&*state),
                "{newest}"
            );
            states.contains(&&*state).then_some(())
        });
    }

    /// A deployment begins, and has got somewhere.
    fn begins(&self) -> Asking {
        let before = self.newest().map(|newest| newest["deployment"].clone());
        assert_ne!(before, Some(Value::Null));
        let mut asks = self.command(&["server", "release", "deploy", "--to", "production"]);
        let quiet = || std::process::Stdio::null();
        let asking = asks.stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().unwrap();
        wait::until("the deployment is there", || {
            let newest = self.newest()?["deployment"].clone();
            (Some(&newest) != before.as_ref()).then_some(())
        });
        self.waits_until(&["staging", "staged", "switching", "soaking"]);
        Asking(asking)
    }

    /// What answers on the machine.
    fn served(&self) -> Option<(String, String)> {
        let asked = self.machine.wire.as_ref().unwrap().command(&["python3", "-c", ASK]).output().unwrap();
        let said = String::from_utf8(asked.stdout).unwrap();
        said.trim().split_once(' ').map(|(release, word)| (release.to_owned(), word.to_owned()))
    }

    #[track_caller]
    fn serves(&self, release: &str) {
        wait::until("the release is served", || (self.served()?.0 == release).then_some(()));
    }
}

/// Whoever asked for a deployment. Whether they stay is nothing to it.
struct Asking(std::process::Child);

impl Drop for Asking {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Coast {
    fn drop(&mut self) {
        let folder = self.place.path().join("shop");
        let program = folder.join(".staith-machine");
        let _ = Command::new(program).arg("stop").arg("--folder").arg(&folder).status();
    }
}

fn served(world: &World) -> Served {
    Served::at(&format!("{SERVER}:8765"), &[], world, &world.scratch().join("server")).expect("it starts")
}

#[test]
fn a_machine_that_nobody_reaches_pulls_its_deployments_through_all_kills() {
    if !are_permitted() {
        return;
    }
    let mut coast = Coast::new();
    let first = coast.releases();
    // It is not there: that is told within seconds, with since when and what to do.
    let began = std::time::Instant::now();
    let away = coast.release(&["plan", "--to", "production"]);
    assert!(began.elapsed().as_secs() < 20, "{away:?}");
    let told = format!("{}{}", away.out, away.err);
    assert!(told.contains("last heard of") && told.contains("staith runner start"), "{away:?}");
    // Nor does anybody deploy to it without the server.
    let mut here = coast.world.command(&["release", "rollback", "production", "--project-dir"]);
    let here = Said::of(&here.arg(&coast.repository.clone).output().unwrap()).exits(20);
    assert!(here.err.contains("deploy through the server"), "{here:?}");

    coast.machine.starts(1);
    coast.release(&["plan", "--to", "production"]).exits(0).says("plan sha256:");
    coast.release(&["deploy", "--to", "production"]).exits(0);
    coast.serves(&first);
    let from_outside = std::net::TcpStream::connect_timeout(
        &"10.99.1.2:8080".parse().unwrap(),
        std::time::Duration::from_millis(500),
    );
    assert!(from_outside.is_err(), "the machine is reached by nobody");

    // Its runner is killed while the deployment is under way, and started again.
    coast.pushes("slow");
    let second = coast.releases();
    let _asking = coast.begins();
    coast.machine.dies();
    coast.machine.starts(1);
    coast.waits_until(&["succeeded"]);
    coast.serves(&second);

    // The server, with its deployer.
    coast.pushes("slow again");
    let third = coast.releases();
    let _asking = coast.begins();
    coast.server.take().unwrap().kill();
    coast.server = Some(served(&coast.world));
    coast.waits_until(&["succeeded"]);
    coast.serves(&third);

    coast.release(&["rollback", "production", "--reason", "it is slow"]).exits(0);
    coast.serves(&second);

    // Who became the machine is in the audit log, and what the release keeps to itself is nowhere in the server's own files.
    let audit = coast.server().ask("GET", "/api/v1/audit?limit=1000", "").is(200).to_string();
    assert!(audit.contains("target shop/production/web-1") && audit.contains("runner-enrolled"), "{audit}");
    let looked = Command::new("grep")
        .args(["--recursive", "--text", "--files-with-matches", "hunter2hunter2"])
        .arg(&coast.server().data)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&looked.stdout), "");

    // A key that is revoked ends it.
    coast.staith(&["server", "runners", "revoke", "web-1"]).exits(0);
    let refused = coast.release(&["plan", "--to", "production"]);
    let told = format!("{}{}", refused.out, refused.err);
    assert!(told.contains("no host is registered as shop/production/web-1"), "{refused:?}");
}

#[test]
fn a_wire_that_fails_delays_a_deployment_and_does_no_more() {
    if !are_permitted() {
        return;
    }
    let mut coast = Coast::new();
    let first = coast.releases();
    coast.machine.starts(1);
    // Half of what the machine says breaks its connection.
    coast.machine.wire().has(Fault::Resets);
    coast.release(&["deploy", "--to", "production"]).exits(0);
    coast.machine.wire().heals();
    coast.serves(&first);

    // Nothing passes until the runner has noticed.
    coast.pushes("slow");
    let second = coast.releases();
    let away = |coast: &Coast| coast.machine.said().iter().filter(|said| said["news"] == "away").count();
    let before = away(&coast);
    let _asking = coast.begins();
    coast.machine.wire().has(Fault::Cut);
    wait::until("the runner has noticed", || (away(&coast) > before).then_some(()));
    coast.machine.wire().heals();
    coast.waits_until(&["succeeded"]);
    coast.serves(&second);

    // Connections that there are carry nothing any more, and nobody is told.
    coast.pushes("slow again");
    let third = coast.releases();
    let _asking = coast.begins();
    coast.machine.wire().has(Fault::HalfOpen);
    coast.waits_until(&["succeeded"]);
    coast.serves(&third);
}
