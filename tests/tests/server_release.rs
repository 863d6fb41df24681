//! A push becomes a run, its package a release, and the release what serves: agreed to by people, deployed by a process that steps can't
//! reach, also when that process is killed, and taken back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use staith_tests::{
    bare::Bare,
    invariants::serve_one_release,
    pair::free,
    pools::{Pools, SERVE},
    served::Served,
    station::{BACKEND, StationNode},
    wait,
    world::{Said, World},
};
use tempfile::TempDir;

/// Beside the two pools: where what is to be promoted serves first.
const QA: &str = r#"
[environments.qa]
targets = [{ local = true, name = "here" }]
folder = "PLACE/qa"
service = "files"
"#;

/// A repository, a server with its own runner and deployer, and a proxy in front of two pools on this machine.
struct Town {
    world: World,
    server: Served,
    place: TempDir,
    node: StationNode,
    repository: Bare,
}

impl Town {
    fn new() -> Self {
        let (blue, green) = (free(), free());
        let node = StationNode::start(&[("blue", blue), ("green", green)]);
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World::new();
        let repository = Bare::empty(&world);
        let more = format!(
            "traffic = {{ built-in = {{ nodes = [\"unix:{}\"], backend = \"{BACKEND}\" }} }}\ndrain = \"1s\"\n{}",
            node.control().display(),
            QA.replace("PLACE", &place.path().display().to_string())
        );
        let (at, place_of) = ([blue, green], place.path());
        let pools = Pools { name: "shop", at, place: place_of, successes: 1, more: &more };
        fs::write(repository.clone.join("runner.toml"), pools.pipeline()).unwrap();
        fs::write(repository.clone.join("serve"), SERVE).unwrap();
        let server = Served::with_a_runner(&world);
        let town = Self { world, server, place, node, repository };
        town.pushes("main", "one");
        town.staith(&town.server.admin, &["project", "add", "shop", &town.repository.path]).exits(0);
        town
    }

    fn pushes(&self, branch: &str, word: &str) {
        fs::write(self.repository.clone.join("word.txt"), word).unwrap();
        self.repository.push_all(branch, word);
    }

    /// A command of somebody's.
    fn command(&self, token: &str, words: &[&str]) -> Command {
        let mut command = self.world.command(words);
        command.env("STAITH_TOKEN", token).env("STAITH_PROJECT", "shop");
        command.env("STAITH_SERVER", format!("http://{}", self.server.address));
        command
    }

    fn staith(&self, token: &str, words: &[&str]) -> Said {
        Said::of(&self.command(token, words).output().unwrap())
    }

    fn release(&self, token: &str, words: &[&str]) -> Said {
        self.staith(token, &[&["server", "release"], words].concat())
    }

    fn token(&self, name: &str, role: &str) -> String {
        self.token_with_id(name, role).0
    }

    fn revoke(&self, id: &str) {
        let data = self.server.data.display().to_string();
        self.world.staith(&["server", "token", "revoke", id, "--data", &data]).exits(0);
    }

    /// A token, and that by which it is revoked.
    fn token_with_id(&self, name: &str, role: &str) -> (String, String) {
        let data = self.server.data.display().to_string();
        let words = [
            "server",
            "token",
            "create",
            name,
            "--role",
            role,
            "--project",
            "shop",
            "--data",
            &data,
            "--json",
        ];
        let made = self.world.staith(&words).exits(0).values().remove(0);
        let word = |key: &str| made[key].as_str().unwrap().to_owned();
        (word("token"), word("id"))
    }

    /// Runs a branch to its end; the run as people call it.
    fn runs(&self, branch: &str) -> String {
        let token = &self.server.admin;
        let said = self.staith(token, &["project", "run", "shop", "--ref", branch]).exits(0);
        self.server.run_told_of(&said)
    }

    /// A release of what a branch is now; its digest.
    fn releases(&self, token: &str, branch: &str) -> String {
        // The run says of which project it is.
        let run = self.runs(branch);
        let mut create = self.command(token, &["server", "release", "create", &run, "--json"]);
        let made =
            Said::of(&create.env_remove("STAITH_PROJECT").output().unwrap()).exits(0).values().remove(0);
        made["digest"].as_str().unwrap().to_owned()
    }

    /// The environment's deployments, the newest first.
    fn deployments(&self) -> Vec<Value> {
        let at = "/api/v1/projects/shop/environments/production";
        self.server.ask("GET", at, "").is(200)["deployments"].as_array().unwrap().clone()
    }

    fn waits_until(&self, state: &str) -> Value {
        wait::until(&format!("the deployment is {state}"), || {
            let newest = self.deployments().into_iter().next()?;
            (newest["state"]["state"] == state).then_some(newest)
        })
    }

    /// Which release answers at the proxy, and with which word.
    fn served(&self) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(self.node.front).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, word) = answer.split_once("\r\n\r\n")?;
        let release = head.lines().find_map(|line| line.strip_prefix("x-staith-release: "))?;
        Some((release.to_owned(), word.to_owned()))
    }

    fn serves(&self, release: &str) {
        wait::until("the release is served", || (self.served()?.0 == release).then_some(()));
    }

    fn serves_word(&self, word: &str) {
        wait::until("the word is served", || (self.served()?.1 == word).then_some(()));
    }

    /// The process that deploys.
    fn deployer(&self) -> Option<i32> {
        let children = format!("/proc/{0}/task/{0}/children", self.server.id());
        let all = fs::read_to_string(children).unwrap_or_default();
        // Started by any of its threads.
        let threads = fs::read_dir(format!("/proc/{}/task", self.server.id())).unwrap().flatten();
        let more =
            threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
        let all = more.fold(all, |all, some| all + " " + &some);
        let is_it = |id: &i32| {
            fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|words| words.contains("deployer"))
        };
        all.split_whitespace().filter_map(|id| id.parse().ok()).find(is_it)
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        for target in ["blue", "green"] {
            let folder = self.place.path().join("production").join(target);
            let program = folder.join(".staith-machine");
            let _ = Command::new(program).arg("stop").arg("--folder").arg(&folder).status();
        }
    }
}

#[test]
fn a_release_is_agreed_to_deployed_through_the_death_of_its_deployer_and_taken_back() {
    let town = Town::new();
    let (ann, ben) = (town.token("ann", "releaser"), town.token("ben", "releaser"));
    town.staith(&town.server.admin, &["project", "protect", "shop", "production", "--needed", "1"]).exits(0);

    let first = town.releases(&ann, "main");
    town.release(&ann, &["plan", "--to", "production"]).exits(0).says("plan sha256:");
    town.release(&ann, &["deploy", "--to", "production", "--no-wait"]).exits(41).says("waits");
    assert_eq!(town.served(), None, "nobody has agreed");
    // Who asked does not agree, and who may not release there does not either.
    let refused = town.release(&ann, &["approve", "production"]);
    assert!(refused.code != Some(0) && refused.err.contains("does not approve it"), "{refused:?}");
    let viewer = town.token("vic", "viewer");
    assert_ne!(town.release(&viewer, &["approve", "production"]).code, Some(0));
    town.release(&ben, &["approve", "production", "--comment", "looks right"]).exits(0);
    town.waits_until("succeeded");
    town.serves(&first);
    town.release(&ann, &["history", "production"]).exits(0).says("approved by ben");

    town.pushes("main", "slow");
    let second = town.releases(&ben, "main");
    town.release(&ben, &["deploy", "--to", "production", "--no-wait"]).exits(41);
    let deployer = town.deployer().unwrap();
    town.release(&ann, &["approve", "production"]).exits(0);
    wait::until("it has begun", || {
        let newest = town.deployments().into_iter().next()?;
        let state = newest["state"]["state"].as_str()?.to_owned();
        matches!(&*state, "staged" | "switching" | "soaking" | "staging").then_some(())
    });
    kill_process(Pid::from_raw(deployer).unwrap(), Signal::KILL).unwrap();
    town.waits_until("succeeded");
    town.serves(&second);
    assert_ne!(town.deployer(), Some(deployer));
    // Each machine has one release, whole: the one that was deployed there last.
    let machine = |name: &str, word: &str| {
        let folder = town.place.path().join("production").join(name);
        serve_one_release(&folder, &[("serve", SERVE.as_bytes()), ("word.txt", word.as_bytes())]);
    };
    machine("blue", "one");
    machine("green", "slow");

    town.release(&ann, &["rollback", "production", "--reason", "it is slow"]).exits(0);
    town.serves(&first);
    town.release(&ann, &["status", "production"]).exits(0).says("held");
    town.release(&ann, &["lift", "production"]).exits(0);

    // Where the protection says so, silence is a yes, and nobody's approval; but a no is a no.
    let silence = [
        "project",
        "protect",
        "shop",
        "production",
        "--needed",
        "1",
        "--deadline",
        "3",
        "--at-deadline",
        "deploy",
    ];
    town.staith(&town.server.admin, &silence).exits(0).says("if nobody says no");
    town.release(&ann, &["deploy", &second, "--to", "production", "--no-wait"]).exits(41);
    town.release(&ben, &["reject", "production", "--comment", "not today"]).exits(0);
    town.waits_until("rejected");
    town.release(&ann, &["deploy", &second, "--to", "production", "--no-wait"]).exits(41);
    town.waits_until("succeeded");
    town.serves(&second);
    let newest = town.deployments().into_iter().next().unwrap();
    assert!(
        newest["by_default"].is_string() && newest["approved_by"].as_array().unwrap().is_empty(),
        "{newest}"
    );
    town.release(&ann, &["history", "production"]).exits(0).says("by default at the deadline");

    let data = town.server.data.display().to_string();
    town.world.staith(&["server", "audit", "verify", "--data", &data]).exits(0);
    let audit = town.server.ask("GET", "/api/v1/audit?limit=1000", "").is(200).to_string();
    for what in ["protection-set", "release-asked", "deployment-asked", "deployment-voted", "rollback-asked"]
    {
        assert!(audit.contains(what), "the audit log does not tell {what}");
    }
}

#[test]
fn deployments_that_wait_come_in_order_or_the_newest_takes_their_place() {
    let town = Town::new();
    let (ann, ben) = (town.token("ann", "releaser"), town.token("ben", "releaser"));
    let protect = |queue: &str| {
        let rules =
            format!("{{\"needed\":1,\"queue\":{queue:?},\"instructions\":\"Look at the dashboard\"}}");
        let words = ["project", "protect", "shop", "production", "--rules", &rules];
        town.staith(&town.server.admin, &words).exits(0);
    };
    let asks = |release: &str| {
        let words = ["deploy", release, "--to", "production", "--no-wait"];
        town.release(&ann, &words).exits(41);
    };
    // The oldest first.
    let seen = |place: usize| {
        let all = town.deployments();
        all[all.len() - 1 - place].clone()
    };
    let is = |place: usize, state: &str| {
        let what = format!("deployment {place} is {state}");
        wait::until(&what, || (seen(place)["state"]["state"] == state).then_some(()));
    };
    protect("in-order");
    let first = town.releases(&ann, "main");
    town.pushes("main", "two");
    let second = town.releases(&ann, "main");
    let told = "what approvers look at: Look at the dashboard";
    town.release(&ann, &["plan", &first, "--to", "production"]).exits(0).says(told);
    asks(&first);
    asks(&second);
    let status = town.release(&ben, &["status", "production"]).exits(0);
    // Among what protects it, and for each that waits.
    assert_eq!(status.out.matches(told).count(), 3, "{}", status.out);
    let plan = seen(1)["plan"].as_str().unwrap().to_owned();
    town.release(&ben, &["approve", "production", "--plan", &plan]).exits(0);
    let turn = format!("its turn: deployment {} comes first", seen(0)["deployment"].as_str().unwrap());
    wait::until("the second waits for its turn alone", || (seen(1)["gates"] == json!([turn])).then_some(()));
    assert_eq!(town.served(), None, "the first one comes first");
    town.release(&ben, &["approve", "production"]).exits(0);
    is(0, "succeeded");
    town.serves(&first);
    // Machines are others now, so people have to look at the plan of the second again.
    wait::until("the second has a plan for what is there", || (seen(1)["plan"] != plan).then_some(()));
    is(1, "awaiting-gates");
    town.release(&ben, &["approve", "production"]).exits(0);
    is(1, "succeeded");
    town.serves(&second);

    protect("newest-wins");
    asks(&first);
    asks(&second);
    is(2, "superseded");
    town.release(&ben, &["approve", "production"]).exits(0);
    is(3, "succeeded");
    town.release(&ann, &["history", "production"]).exits(0).says("took its place");
}

#[test]
fn what_a_branch_says_of_itself_weakens_nothing() {
    let town = Town::new();
    let (ann, ben) = (town.token("ann", "releaser"), town.token("ben", "releaser"));
    let protect = ["project", "protect", "shop", "production", "--needed", "1"];
    town.staith(&town.server.admin, &protect).exits(0);
    // The branch says that nobody has to agree: no such thing can be said there.
    let pipeline = fs::read_to_string(town.repository.clone.join("runner.toml")).unwrap();
    fs::write(
        town.repository.clone.join("runner.toml"),
        format!("{pipeline}approvals = {{ people = [], needed = 0 }}\n"),
    )
    .unwrap();
    town.pushes("feature", "open");
    let asked = town.staith(&town.server.admin, &["project", "run", "shop", "--ref", "feature"]);
    assert!(asked.code != Some(0) && asked.err.contains("approvals"), "{asked:?}");
    // It names another folder and other machines; that much can be said. Its code is not trusted there.
    fs::write(town.repository.clone.join("runner.toml"), pipeline.replace("/production\"", "/elsewhere\""))
        .unwrap();
    town.pushes("feature", "elsewhere");
    town.releases(&ann, "feature");
    let refused = town.release(&ann, &["deploy", "--to", "production", "--no-wait"]);
    assert!(refused.code != Some(0) && refused.err.contains("may not go"), "{refused:?}");
    // The server does not even pass it on, to whom it would be refused once more.
    let at = "/api/v1/projects/shop/environments/production/deployments";
    let refused = town.server.ask("POST", at, r#"{"release":"latest"}"#).is(403);
    assert_eq!(refused["type"], "not-trusted", "{refused}");
    assert!(town.deployments().is_empty());
    assert!(!town.place.path().join("elsewhere").exists());
    // Nor do people who release weaken it.
    let open = town.staith(&ben, &["project", "protect", "shop", "production", "--needed", "0"]);
    assert_ne!(open.code, Some(0));
    town.staith(&ben, &["project", "protect", "shop", "production"]).exits(0).says("needs 1 approval");
}

#[test]
fn what_counts_is_how_an_environment_is_protected_when_it_is_deployed() {
    let town = Town::new();
    let there = "/api/v1/projects/shop/environments/production";
    let protect = |trust: &str| {
        let words = ["project", "protect", "shop", "production", "--trust", trust];
        town.staith(&town.server.admin, &words).exits(0);
    };
    protect("branch");
    town.pushes("feature", "early");
    town.releases(&town.server.admin, "feature");
    let latest = r#"{"release":"latest"}"#;
    let deployer = Pid::from_raw(wait::until("the deployer runs", || town.deployer())).unwrap();
    kill_process(deployer, Signal::STOP).unwrap();
    // The question that is on its way to the deployer has this one, and the protection of this moment.
    town.server.ask("POST", &format!("{there}/plans"), latest).is(202);
    let asked = town.server.ask("POST", &format!("{there}/deployments"), latest).is(202);
    protect("protected");
    kill_process(deployer, Signal::CONT).unwrap();
    let at = format!("/api/v1/projects/shop/orders/{}", asked["order"]);
    let answer = wait::until("the deployer has answered", || {
        let seen = town.server.ask("GET", &at, "").is(200);
        (!seen["answer"].is_null()).then(|| seen["answer"].clone())
    });
    assert_eq!(answer["outcome"], "refused", "{answer}");
    assert!(answer["what"].as_str().unwrap().contains("may not go"), "{answer}");
    assert!(town.deployments().is_empty());
    assert_eq!(town.served(), None);
}

#[test]
fn a_step_reaches_nothing_of_the_deployer() {
    let town = Town::new();
    let home = town.server.data.join("deployer");
    let deployer = wait::until("the deployer runs", || town.deployer().filter(|_| home.is_dir()));
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    let environ = fs::read(format!("/proc/{deployer}/environ")).unwrap_or_default();
    assert!(
        !String::from_utf8_lossy(&environ).contains("staith_deployer_"),
        "the token is not in its environment"
    );
    let secret = home.join("projects/shop/secrets");
    fs::create_dir_all(secret.parent().unwrap()).unwrap();
    fs::write(&secret, "a key of machines").unwrap();
    // The same look finds it outside of a sandbox.
    let look = format!(
        "for path in {} {}/deployer.lock /proc/{deployer}/root{} {}/control.sock; do \
         if [ -e \"$path\" ]; then echo \"$path is there\"; exit 1; fi; done; \
         if grep -lPa 'server\\x00deploye[r]' /proc/[0-9]*/cmdline 2>/dev/null; then exit 1; fi; \
         mkdir -p dist; echo unseen > dist/seen",
        secret.display(),
        home.display(),
        home.display(),
        town.server.data.display(),
    );
    let outside = Command::new("sh").arg("-c").arg(&look).current_dir(town.place.path()).status().unwrap();
    assert!(!outside.success(), "the look would see it if it were there");
    let steps = format!(
        "name = \"shop\"\nversion = \"1.0.0\"\n[steps.build]\nrun = '''{look}'''\noutputs = [\"dist\"]\n[package]\nroot = \"dist\"\n"
    );
    fs::write(town.repository.clone.join("runner.toml"), steps).unwrap();
    town.pushes("main", "look");
    town.runs("main");
}

#[test]
fn what_passes_on_a_protected_branch_is_released_by_itself_where_that_was_said() {
    let town = Town::new();
    let protect = ["project", "protect", "shop", "production", "--automatic"];
    town.staith(&town.server.admin, &protect).exits(0);
    town.pushes("feature", "not this");
    town.runs("feature");
    town.pushes("main", "this");
    town.runs("main");
    town.serves_word("this");
    let done = town.waits_until("succeeded");
    assert_eq!(done["by"], "server");
    assert!(done["reason"].as_str().unwrap().ends_with(" passed"), "{done}");
    // Somebody goes back: nothing newer comes by itself from then on.
    let ann = town.token("ann", "releaser");
    town.pushes("main", "that");
    town.runs("main");
    town.serves_word("that");
    town.waits_until("succeeded");
    town.release(&ann, &["rollback", "production"]).exits(0);
    town.serves_word("this");
    let before = town.deployments().len();
    town.pushes("main", "not yet");
    town.runs("main");
    let audit = || town.server.ask("GET", "/api/v1/audit?limit=1000", "").is(200).to_string();
    wait::until("it is refused", || audit().contains("runs don't release to").then_some(()));
    assert_eq!(town.deployments().len(), before);
}

#[test]
fn releases_are_promoted_past_gates_by_another_administrator_and_pools_exchanged() {
    let town = Town::new();
    let (ann, ben) = (town.token("ann", "releaser"), town.token("ben", "releaser"));
    let (cleo, (dora, of_dora)) = (town.token("cleo", "admin"), town.token_with_id("dora", "admin"));
    let frozen = "2020-01-01[UTC]..2120-01-01[UTC]=the sale";
    let protect = ["project", "protect", "shop", "production", "--needed", "1", "--freeze", frozen];
    town.staith(&town.server.admin, &protect).exits(0);

    let first = town.releases(&ann, "main");
    let nothing = town.release(&ann, &["promote", "--from", "qa", "--to", "production"]);
    assert!(nothing.code != Some(0) && nothing.err.contains("no release serves in `qa`"), "{nothing:?}");
    town.release(&ann, &["deploy", "--to", "qa"]).exits(0);
    town.release(&ann, &["promote", "--from", "qa", "--to", "production", "--no-wait"]).exits(41);
    let why = ["--reason", "the shop is down"];
    for releaser in [&ann, &ben] {
        let refused = town.release(releaser, &[&["override", "production"][..], &why].concat());
        assert_ne!(refused.code, Some(0), "{refused:?}");
    }
    town.release(&cleo, &["override", "production", "--reason", "?"]).exits(64);
    assert_eq!(town.served(), None, "nobody went past the gates");
    town.release(&cleo, &[&["override", "production"][..], &why].concat()).exits(0);
    town.waits_until("succeeded");
    town.serves(&first);
    town.release(&ann, &["history", "production"])
        .exits(0)
        .says("cleo went past the gates: the shop is down");

    town.pushes("main", "two");
    let second = town.releases(&dora, "main");
    town.release(&dora, &["deploy", "--to", "production", "--no-wait"]).exits(41);
    let own = town.release(&dora, &[&["override", "production"][..], &why].concat());
    assert!(own.code != Some(0) && own.err.contains("does not go past its gates"), "{own:?}");
    let nowhere = town.release(&ann, &["skip", "production", "nowhere"]);
    assert!(nowhere.code != Some(0) && nowhere.err.contains("blue, green"), "{nowhere:?}");
    // The freeze is lifted for it; people still have to agree.
    town.release(&dora, &[&["override", "production", "--freeze"][..], &why].concat()).exits(0);
    let only_people_are_waited_for = || {
        let gates = town.deployments()[0]["gates"].to_string();
        (gates.contains("approvals") && !gates.contains("freeze")).then_some(())
    };
    wait::until("only people are waited for", only_people_are_waited_for);
    // What somebody said who may not say it any more counts for nothing.
    town.revoke(&of_dora);
    wait::until("the freeze is there again", || {
        town.deployments()[0]["gates"].to_string().contains("freeze").then_some(())
    });
    town.release(&ben, &["approve", "production"]).exits(0);
    wait::until("people have agreed, and it is frozen", || {
        let gates = town.deployments()[0]["gates"].to_string();
        (!gates.contains("approvals") && gates.contains("freeze")).then_some(())
    });
    town.release(&cleo, &[&["override", "production", "--freeze"][..], &why].concat()).exits(0);
    town.waits_until("succeeded");
    town.serves(&second);
    tells_of_what_was_released(&town, &ben, (&first, &second));
    tells_of_machines(&town, &ben, &second);

    for release in [&first, &second] {
        town.release(&ann, &["swap", "production", "--reason", "as it was"]).exits(0);
        town.serves(release);
    }
    town.release(&ann, &["plan", "--to", "production", "--repair"]).exits(0).says("plan sha256:");
    let audit = town.server.ask("GET", "/api/v1/audit?limit=1000", "").is(200).to_string();
    assert!(audit.contains("gates-overridden") && audit.contains("swap-asked"), "{audit}");
}

/// As `staith where`, `trace`, and `staith targets quarantine` do at home; and what is done on the server's host by who has the keys.
fn tells_of_machines(town: &Town, who: &str, release: &str) {
    let machine = serving_machine(town);
    let traced = town.release(who, &["trace", &machine, "--json"]).exits(0).values().remove(0);
    assert_eq!((&traced["release"], &traced["environment"]), (&release.into(), &"production".into()));
    let commit = traced["origin"]["commit"].as_str().unwrap().to_owned();
    let found = town.release(who, &["where", &commit[..12], "--environment", "production"]).exits(0);
    found.says(&machine).says(&commit[..12]);
    town.release(who, &["where", "0123abcd"]).exits(0).says("no machine runs commit 0123abcd");
    let unknown = town.release(who, &["trace", "nowhere"]);
    assert!(unknown.code != Some(0) && unknown.err.contains(&machine), "{unknown:?}");

    let viewer = town.token("val", "viewer");
    town.release(&viewer, &["trace", &machine]).exits(0).says("production");
    let out = ["quarantine", "production", &machine, "--reason", "its disk fails"];
    assert_ne!(town.release(&viewer, &out).code, Some(0));
    town.release(who, &out).exits(0);
    let said = format!("{machine} is in quarantine: its disk fails");
    // Who is answered sees it.
    town.release(who, &["status", "production"]).exits(0).says(&said);
    on_the_host(town, &["targets", "production"]).exits(0).says("its disk fails");
    town.release(who, &["reinstate", "production", &machine]).exits(0);
    let after = town.release(who, &["status", "production"]).exits(0);
    assert!(!after.out.contains(&said), "{after:?}");
    on_the_host(town, &["env", "status", "production", "--check"]).exits(0).says(&machine);
    on_the_host(town, &["targets", "check", "production"]).exits(0);
}

/// The machine that gets requests.
fn serving_machine(town: &Town) -> String {
    let (release, _) = town.served().unwrap();
    let of = |name: &&str| {
        let current = fs::read_link(town.place.path().join("production").join(name).join("current"));
        current.is_ok_and(|link| release.ends_with(&*link.file_name().unwrap().to_string_lossy()))
    };
    ["blue", "green"].into_iter().find(of).unwrap().to_owned()
}

/// A command that is given where the deployer's keys are, with a checkout of the project.
fn on_the_host(town: &Town, words: &[&str]) -> Said {
    let mut command = town.world.command(words);
    command.env("STAITH_HOME", town.server.data.join("deployer/projects/shop"));
    command.current_dir(&town.repository.clone);
    Said::of(&command.output().unwrap())
}

/// As `staith release diff`, `notes`, `docs` and `metrics` do at home.
fn tells_of_what_was_released(town: &Town, who: &str, (first, second): (&str, &str)) {
    let found = town.release(who, &["diff", first, second, "--json"]).exits(0).values().remove(0);
    assert_eq!((&found["from"], &found["to"]), (&first.into(), &second.into()));
    assert_eq!(found["files_compared"], true);
    let whats: Vec<&str> =
        found["differences"].as_array().unwrap().iter().filter_map(|one| one["what"].as_str()).collect();
    assert!(whats.contains(&"source.commit") && whats.contains(&"files.word.txt"), "{whats:?}");
    town.release(who, &["diff", first, second, "--exit-code"]).exits(10).says("files.word.txt");
    town.release(who, &["diff", "latest", "--exit-code"]).exits(0).says("are the same");

    let range = format!("{first}..{second}");
    let notes = town.release(who, &["notes", &range, "--json"]).exits(0).values().remove(0);
    assert_eq!(notes["groups"][0]["changes"][0]["what"], "two");
    assert_eq!((&notes["people"], &notes["remarks"]), (&serde_json::json!(["Ann"]), &serde_json::json!([])));
    town.release(who, &["notes", "--since", first, "--markdown"]).exits(0).says("# shop&#64;1");

    let book = town.release(who, &["docs", "production", "--release", second]).exits(0);
    for word in [
        "# Releasing shop to production",
        "staith server release rollback production",
        "protected",
        "the sale",
    ] {
        assert!(book.out.contains(word), "{word}: {}", book.out);
    }
    let measured = town.release(who, &["metrics", "production", "--json"]).exits(0).values().remove(0);
    assert_eq!((&measured["changes"], &measured["failed"]), (&2.into(), &0.into()));
    assert!(measured["lead_time_millis"].is_u64(), "when the commits were made is known: {measured}");
    town.release(who, &["metrics"]).exits(0).says("production");
    let viewer = town.token("vic", "viewer");
    town.release(&viewer, &["diff", first, second]).exits(0);
    assert_ne!(town.release("staith_person_guessed", &["metrics"]).code, Some(0));
}

#[test]
fn machines_are_named_by_a_file_of_the_commit_and_by_no_program() {
    let town = Town::new();
    let ann = town.token("ann", "releaser");
    let pipeline = fs::read_to_string(town.repository.clone.join("runner.toml")).unwrap();
    let named = |inventory: &str| {
        format!(
            "{pipeline}\n[environments.fleet]\ninventory = {inventory}\nservice = \"files\"\nfolder = \"/srv/shop\"\n"
        )
    };
    fs::write(
        town.repository.clone.join("hosts.json"),
        r#"[{"host": "deploy@127.0.0.1:1", "name": "web1"}]"#,
    )
    .unwrap();
    fs::write(town.repository.clone.join("runner.toml"), named(r#"{ file = "hosts.json" }"#)).unwrap();
    town.pushes("main", "by a file");
    let release = town.releases(&ann, "main");
    // What the branch says later is another release's.
    fs::write(
        town.repository.clone.join("hosts.json"),
        r#"[{"host": "deploy@127.0.0.1:1", "name": "web2"}]"#,
    )
    .unwrap();
    town.pushes("main", "elsewhere");
    let planned = town.release(&ann, &["plan", &release, "--to", "fleet"]);
    let said = format!("{}{}", planned.out, planned.err);
    assert!(said.contains("web1") && !said.contains("web2"), "{planned:?}");

    fs::write(town.repository.clone.join("runner.toml"), named(r#"{ command = ["./hosts"] }"#)).unwrap();
    let ran = town.world.scratch().join("the-program-ran");
    fs::write(
        town.repository.clone.join("hosts"),
        format!("#!/bin/sh\ntouch {}\necho '[]'\n", ran.display()),
    )
    .unwrap();
    town.pushes("main", "by a program");
    town.releases(&ann, "main");
    let refused = town.release(&ann, &["plan", "--to", "fleet"]);
    assert!(refused.code != Some(0) && refused.err.contains("where the keys of machines are"), "{refused:?}");
    assert!(!ran.exists(), "a program of the commit ran on the server");
}

#[test]
fn a_command_line_deploys_only_packages_whose_label_is_high_enough() {
    let town = Town::new();
    let (world, mine) = (&town.world, town.world.scratch().join("mine"));
    let (at, folder) =
        (format!("http://{}", town.server.address), town.repository.clone.display().to_string());
    let in_home = |home: &std::path::Path, words: &[&str]| {
        let mut command = world.command(words);
        command.env("STAITH_TOKEN", &town.server.admin).env("STAITH_HOME", home);
        Said::of(&command.output().unwrap())
    };
    let staith = |words: &[&str]| in_home(&mine, words);
    // The package of a branch, brought to a home of somebody's own.
    let brought = |branch: &str| {
        let run = town.runs(branch);
        let made = town.release(&town.server.admin, &["create", &run, "--json"]).exits(0).values().remove(0);
        let package = format!("shop@{}", made["version"].as_str().unwrap());
        let to = world.scratch().join(format!("from-{branch}"));
        staith(&["pull", &package, "--server", &at, "--to", to.to_str().unwrap(), "--all"]).exits(0);
        let files = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path());
        let file = files.filter(|path| path.extension().is_some_and(|end| end == "zip")).last().unwrap();
        let store = mine.join("packages").display().to_string();
        staith(&["push", file.to_str().unwrap(), &package, "--to", &store]).exits(0);
        package
    };
    let deploys = |package: &str| {
        let words = ["release", "create", package, "--project-dir", &folder, "--json"];
        let made = staith(&words).exits(0).values().remove(0);
        let release = made["release"].as_str().unwrap();
        staith(&["release", "deploy", release, "--to", "qa", "--project-dir", &folder, "--no-wait"])
    };
    fs::create_dir_all(&mine).unwrap();
    fs::write(mine.join("config.toml"), "[environments.\"shop/qa\"]\ntrust = \"protected\"\n").unwrap();

    town.pushes("feature", "not this");
    let feature = brought("feature");
    let refused = deploys(&feature);
    assert!(refused.code != Some(0) && refused.out.contains("made of branch code"), "{refused:?}");
    town.pushes("main", "this");
    let main = brought("main");
    // Anybody could say of a package that protected code has made it.
    let refused = deploys(&main);
    assert!(refused.code != Some(0) && refused.out.contains("nobody who is trusted"), "{refused:?}");
    let key = world.scratch().join("runner.pub");
    fs::write(&key, in_home(&town.server.data.join("host"), &["key", "show"]).exits(0).out).unwrap();
    staith(&["key", "trust", key.to_str().unwrap()]).exits(0);
    deploys(&main).exits(0);
    assert_eq!(fs::read_to_string(town.place.path().join("qa/current/word.txt")).unwrap(), "this");
    let refused = deploys(&feature);
    assert!(refused.code != Some(0) && refused.out.contains("made of branch code"), "{refused:?}");
}

/// Who says stop is heeded, also where the server only passes it on.
#[test]
fn a_deployment_that_is_aborted_while_it_waits_never_begins() {
    let town = Town::new();
    let (ann, ben) = (town.token("ann", "releaser"), town.token("ben", "releaser"));
    town.staith(&town.server.admin, &["project", "protect", "shop", "production", "--needed", "1"]).exits(0);
    town.releases(&ann, "main");
    town.release(&ann, &["deploy", "--to", "production", "--no-wait"]).exits(41);
    town.release(&ben, &["abort", "production", "--reason", "not today"]).exits(0);
    town.waits_until("cancelled");
    let late = town.release(&ben, &["approve", "production"]);
    assert_ne!(late.code, Some(0), "{late:?}");
    assert_eq!(town.served(), None);
}

/// What the program of the scenarios about secrets says: its word, and a digest of its password.
fn tells() -> String {
    SERVE.replace("import http.server, os, time", "import hashlib, http.server, os, time").replace(
        "body = open(\"word.txt\", \"rb\").read()",
        "body = open(\"word.txt\", \"rb\").read() + b\" \" + hashlib.sha256(os.environ[\"DB_PASSWORD\"].encode()).hexdigest().encode()",
    )
}

/// What such a program says.
fn told_by(word: &str, password: &str) -> String {
    format!("{word} {}", staith_model::Digest::of(password.as_bytes()).hex())
}

/// A file below a place that has these bytes.
fn below(place: &std::path::Path, text: &str) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(place).into_iter().flatten().map_while(Result::ok) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let has = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        let found = if kind.is_dir() {
            below(&path, text)
        } else {
            (kind.is_file() && has(fs::read(&path).unwrap_or_default())).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

const SECRET: &str = "/api/v1/projects/shop/secrets/db-password";

/// A town whose program wants a password, and whose hook says it and fails while a file is there.
fn town_with_a_password() -> Town {
    let town = Town::new();
    let place = town.place.path().display().to_string();
    let named = format!(
        "secrets = {{ DB_PASSWORD = \"db-password\" }}\n\
         hooks = [{{ name = \"tell\", at = \"before-switch\", run = [\"sh\", \"-c\", \"echo it is $DB_PASSWORD; test ! -e {place}/refuse\"] }}]\n\
         service = {{ run"
    );
    let pipeline = fs::read_to_string(town.repository.clone.join("runner.toml")).unwrap();
    fs::write(town.repository.clone.join("runner.toml"), pipeline.replacen("service = { run", &named, 1))
        .unwrap();
    fs::write(town.repository.clone.join("serve"), tells()).unwrap();
    town
}

/// A command that is told something on its standard input.
fn told(command: &mut Command, text: &str) -> Said {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Said::of(&child.wait_with_output().unwrap())
}

fn set(town: &Town, body: &str) {
    let set = town.server.ask("PUT", SECRET, body);
    assert_eq!(set.status, 204, "{set:?}");
}

#[test]
fn a_secret_of_an_environment_reaches_its_program_and_is_rotated_and_is_nowhere_else() {
    let town = town_with_a_password();
    let ann = town.token("ann", "releaser");
    let (first, second) = ("first-password-of-the-database", "second-password-of-the-database");
    town.pushes("main", "one");
    let run = town.runs("main");
    let refused = town.release(&ann, &["create", &run]);
    assert!(refused.code != Some(0) && refused.err.contains("is not set"), "{refused:?}");
    refused.says("--environment production");
    // What the server keeps comes before what is beside it.
    let home = town.server.data.join("deployer/projects/shop");
    let beside = ["secret", "set", "db-password"];
    let mut command = town.world.command(&beside);
    told(command.env("STAITH_HOME", &home), "password-beside-the-server").exits(0);
    set(&town, &format!(r#"{{"value":"{first}","environment":"production"}}"#));
    town.releases(&ann, "main");
    town.release(&ann, &["deploy", "--to", "production"]).exits(0);
    town.serves_word(&told_by("one", first));

    // A release has the values of when it was made; one that is rotated since is not given to it.
    town.pushes("main", "two");
    let stale = town.releases(&ann, "main");
    let rotated = format!(r#"{{"value":"{second}","environment":"production"}}"#);
    assert_eq!(town.server.ask("POST", &format!("{SECRET}/rotate"), &rotated).is(200)["version"], 2);
    let refused = town.release(&ann, &["deploy", &stale, "--to", "production"]);
    assert!(refused.code != Some(0), "{refused:?}");
    assert!(
        format!("{refused:?}").contains("has another value than when the release was made"),
        "{refused:?}"
    );
    town.serves_word(&told_by("one", first));
    let fresh = town.releases(&ann, "main");
    assert_ne!(fresh, stale);
    town.release(&ann, &["deploy", &fresh, "--to", "production"]).exits(0);
    town.serves_word(&told_by("two", second));

    // What says it is masked wherever it is told.
    fs::write(town.place.path().join("refuse"), "").unwrap();
    town.pushes("main", "three");
    let third = town.releases(&ann, "main");
    let failed = town.release(&ann, &["deploy", &third, "--to", "production"]);
    assert!(failed.code != Some(0), "{failed:?}");
    town.serves_word(&told_by("two", second));
    let ledger = town.server.ask("GET", "/api/v1/projects/shop/environments/production/ledger", "");
    assert!(ledger.body.contains("it is ***"), "the hook was heard, and masked");
    let audit = town.server.ask("GET", "/api/v1/audit?limit=1000", "");
    let reads: Vec<Value> = audit.is(200)["entries"].as_array().unwrap().clone();
    let is_read = |entry: &&Value| entry["what"] == "secret-read";
    assert!(reads.iter().filter(is_read).count() >= 2, "{reads:#?}");
    for read in reads.iter().filter(is_read) {
        assert_eq!(read["subject"], "secret shop/production/db-password");
        assert_eq!(read["who"], "deployer");
    }
    for value in [first, second] {
        assert!(
            ![&audit.body, &ledger.body, &failed.out, &failed.err, &refused.err]
                .iter()
                .any(|text| text.contains(value))
        );
        // The server's directory with its database, and the deployer's with its ledgers, among them.
        assert_eq!(below(town.world.scratch(), value), None);
    }
}

#[test]
fn a_branch_gets_no_secret_that_is_for_protected_branches_only() {
    let town = town_with_a_password();
    let admin = town.server.admin.clone();
    town.staith(&admin, &["project", "protect", "shop", "production", "--trust", "branch"]).exits(0);
    set(&town, r#"{"value":"password-of-protected-branches","protected":true,"environment":"production"}"#);
    town.pushes("feature", "one");
    // It goes where no such secret is needed.
    let release = town.releases(&admin, "feature");
    let refused = town.release(&admin, &["deploy", &release, "--to", "production"]);
    assert!(refused.code != Some(0) && refused.err.contains("does not go to `production`"), "{refused:?}");
    refused.says("protected");
    let audit = town.server.ask("GET", "/api/v1/audit?limit=1000", "");
    assert!(!audit.body.contains("secret-read"), "{}", audit.body);
    // The same code on a protected branch goes there.
    town.pushes("main", "one");
    let release = town.releases(&admin, "main");
    town.release(&admin, &["deploy", &release, "--to", "production"]).exits(0);
    town.serves_word(&told_by("one", "password-of-protected-branches"));
}
