//! What people ask a server from a shell: runs, their logs, runners, packages and secrets; in clear text and with TLS.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
};

use serde_json::Value;
use staith_tests::{
    bare::Bare,
    cutting::Cutting,
    served::Served,
    wait,
    world::{Said, World},
};

const PIPELINE: &str = r#"
name = "shop"
version = "1.0.0"
[steps.build]
run = "mkdir dist; cp src/* dist/; echo the files are there; printf '\\033]0;title\\007\\033[2Jhostile\\n'; printf 'no end'"
outputs = ["dist"]
[package]
root = "dist"
"#;

/// A project `shop` on a server.
struct Shop {
    world: World,
    server: Served,
    bare: Bare,
}

impl Shop {
    fn with(pipeline: &str) -> Self {
        let world = World::new();
        let bare = Bare::with(&world, pipeline);
        let server = Served::with_a_runner(&world);
        let shop = Self { world, server, bare };
        shop.staith(&["project", "add", "shop", &shop.bare.path]).exits(0);
        shop
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    fn command_at(&self, url: &str, words: &[&str]) -> Command {
        let token = self.server.data.join("admin.token").display().to_string();
        self.world.command(&[words, &["--server", url, "--token-file", &token]].concat())
    }

    fn staith(&self, words: &[&str]) -> Said {
        Said::of(&self.command_at(&self.url(), words).output().unwrap())
    }

    /// Asks for a run; its id.
    fn run(&self) -> String {
        let said = self.staith(&["project", "run", "shop", "--ref", "main"]).exits(0);
        let hint = said.out.lines().find_map(|line| line.split_once("staith runs watch ")).expect(&said.out);
        hint.1.trim().to_owned()
    }

    fn is_over(&self, run: &str) -> Value {
        wait::until("the run is over", || {
            let view = self.server.ask("GET", &format!("/api/v1/runs/{run}"), "").is(200);
            (!view["ended"].is_null()).then_some(view)
        })
    }
}

#[test]
fn a_run_is_followed_listed_and_shown_with_all_that_its_steps_wrote() {
    let shop = Shop::with(PIPELINE);
    shop.staith(&["runs"]).exits(0).says("no runs yet").says("staith project add");
    let run = shop.run();
    let watched = shop.staith(&["runs", "watch", &run]).exits(0);
    watched.says("build").says("the files are there").says("shop#1");
    let plan = shop.is_over(&run)["plan_digest"].as_str().unwrap().to_owned();
    shop.staith(&["runs", "list", "--state", "passed"]).exits(0).says("shop#1").says(&run);
    shop.staith(&["runs", "--state", "failed"]).exits(0).never_says("shop#1").says("no run is failed");
    let shown = shop.staith(&["runs", "show", "shop#1"]).exits(0);
    shown.says(&plan).says("attempt 1").says("built-in").says("person:administrator");
    let value = shop.staith(&["runs", "show", "shop#1", "--json"]).exits(0).values().remove(0);
    assert_eq!((&value["id"], &value["state"]), (&run.as_str().into(), &"passed".into()));

    let log = shop.staith(&["runs", "logs", "shop#1", "build"]).exits(0);
    let log = log.says("| the files are there").says("hostile").says("no end").never_says("\u{1b}");
    log.never_says("title");
    let raw = shop.staith(&["runs", "logs", &run, "--raw"]).exits(0).out;
    assert_eq!(raw, "the files are there\n\u{1b}]0;title\u{7}\u{1b}[2Jhostile\nno end");
    let lines = shop.staith(&["runs", "logs", &run, "--json"]).exits(0).values();
    assert!(lines.iter().any(|line| line["line"] == "the files are there" && line["stream"] == "stdout"));
    let followed = shop.staith(&["runs", "logs", &run, "--follow", "--raw"]).exits(0);
    assert_eq!(followed.out, raw);
    shop.staith(&["runs", "logs", &run, "nowhere"]).exits(64).says("there are logs of build");
    shop.staith(&["runs", "show", "shop#7"]).exits(64).says("no run shop#7");
    shop.staith(&["runs", "retry", "shop#1"]).exits(20);

    // A second one, so that there is another page.
    let second = shop.run();
    shop.staith(&["runs", "watch", &second, "--json"]).exits(0).says("\"event\":\"run-finished\"");
    let page = shop.staith(&["runs", "list", "--limit", "1", "--project", "shop"]).exits(0).says("shop#2");
    let older = page.never_says("shop#1 ").out.lines().last().unwrap().to_owned();
    let words: Vec<&str> = older.split_once("staith ").unwrap().1.split(' ').collect();
    shop.staith(&words).exits(0).says("shop#1");
    shop.staith(&["project", "show", "shop"]).exits(0).says("protected_branches").never_says("{");
}

#[test]
fn a_pipelines_group_and_the_priority_that_was_asked_for_are_the_runs() {
    let shop = Shop::with(&PIPELINE.replace("[steps.build]", "concurrency = \"deploy\"\n[steps.build]"));
    let asks = |more: &[&str]| shop.staith(&[&["project", "run", "shop", "--ref", "main"], more].concat());
    asks(&["--priority", "101"]).exits(64).says("from -100 to 100");
    asks(&["--priority", "-7"]).exits(0);
    let run = shop.run();
    shop.is_over(&run);
    let shown = shop.staith(&["runs", "show", "shop#1"]).exits(0);
    shown.says("named/deploy").says("priority").says("-7");
    shop.staith(&["runs", "show", &run]).exits(0).says("named/deploy").never_says("priority");
    let explained =
        shop.staith(&["triggers", "explain", "shop", "--event", "push", "--branch", "main"]).exits(0);
    explained.says("the group `named/deploy`").says("one after the other");
}

#[test]
fn a_run_that_fails_is_tried_again_and_one_that_does_not_end_is_ended() {
    let failing = PIPELINE.replace("echo the files are there", "echo it breaks; exit 3");
    let shop = Shop::with(&failing);
    let run = shop.run();
    shop.staith(&["runs", "watch", &run]).exits(10).says("it breaks");
    shop.staith(&["runs", "show", &run]).exits(0).says("attempt 1").says("failed").says("build");
    shop.staith(&["runs", "retry", &run]).exits(0).says("shop#1");
    shop.staith(&["runs", "watch", &run]).exits(10).says("attempt 2");
    let view = shop.is_over(&run);
    assert_eq!(view["jobs"][0]["attempts"].as_array().unwrap().len(), 2, "{view}");
    shop.staith(&["runs", "logs", &run, "--attempt", "1"]).exits(0).says("it breaks");

    // All steps passed, and the package can't be made: that is what `staith run` ends with, too.
    let empty = PIPELINE.replace("cp src/* dist/; echo the files are there", "echo nothing is there");
    fs::write(shop.bare.clone.join("runner.toml"), &empty).unwrap();
    shop.bare.push("empty");
    shop.world.staith(&["run", &shop.bare.path, "--ref", "main"]).exits(20).says("would be empty");
    let run = shop.run();
    shop.staith(&["runs", "watch", &run]).exits(20).says("would be empty");

    let endless = PIPELINE.replace("echo the files are there", "echo it begins; exec tail -f /dev/null");
    fs::write(shop.bare.clone.join("runner.toml"), endless).unwrap();
    shop.bare.push("two");
    let run = shop.run();
    let mut follow = shop.command_at(&shop.url(), &["runs", "logs", &run, "--follow"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("it begins")), "it is told while the step goes on");
    let mut watch = shop.command_at(&shop.url(), &["runs", "watch", &run]);
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(seen.any(|line| line.unwrap().contains("it begins")));
    shop.staith(&["runs", "cancel", &run, "--why", "it does not end"]).exits(0);
    assert_eq!(follow.wait().unwrap().code(), Some(0), "the log is whole: the runner closed it");
    assert_eq!(watch.wait().unwrap().code(), Some(130), "as `staith run` that somebody ended");
    shop.staith(&["runs", "show", &run]).exits(0).says("it does not end");
}

#[test]
fn a_mistake_in_a_pipeline_is_told_in_a_line() {
    let shop = Shop::with(PIPELINE);
    fs::write(shop.bare.clone.join("runner.toml"), format!("{PIPELINE}colour = 1\n")).unwrap();
    shop.bare.push("two");
    let told = shop.staith(&["project", "run", "shop", "--ref", "main"]).exits(20).err;
    let line = told.lines().find(|line| line.contains("colour")).expect(&told);
    assert!(line.contains("line 9, column 1: "), "{told}");
    assert!(!told.contains('\u{2502}') && !told.contains("1 mistake:"), "no picture of the file: {told}");
}

#[test]
fn a_log_is_whole_over_connections_that_break() {
    let many = "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo line $i of what is written here; done";
    let shop = Shop::with(&PIPELINE.replace("echo the files are there", many));
    let run = shop.run();
    let view = shop.is_over(&run);
    let attempt = view["jobs"][0]["attempts"][0]["id"].as_str().unwrap().to_owned();
    let expected = shop.staith(&["runs", "logs", &run, "--raw"]).exits(0).out;
    assert!(expected.lines().nth(39_999).unwrap().contains("line 40000 of"), "{}", expected.len());
    for more in [&["--raw"][..], &["--raw", "--follow"]] {
        let cutting = Cutting::before(&shop.server.address, "/streams/log.", 5, 200_000);
        let url = format!("http://{}", cutting.address);
        let words = [&["runs", "logs", &run][..], more].concat();
        let said = Said::of(&shop.command_at(&url, &words).output().unwrap()).exits(0);
        assert!(said.out == expected, "{more:?}: {} of {} bytes", said.out.len(), expected.len());
        assert_eq!(cutting.left(), 0, "{more:?}: connections broke");
    }

    // What is not as it was closed is no log, and said so on one line of the server's own.
    let stream = walk(&shop.server.data)
        .into_iter()
        .find(|path| path.contains(&attempt) && path.contains("log.build"))
        .unwrap();
    let mut bytes = fs::read(&stream).unwrap();
    // In what the step wrote: a flipped bit of the log's own form would be a log that can't be read.
    let written = b"line 900 of";
    let at = bytes.windows(written.len()).position(|part| part == written).unwrap();
    bytes[at] ^= 1;
    fs::write(&stream, &bytes).unwrap();
    shop.staith(&["runs", "logs", &run]).exits(30).says("not what its runner had closed");
    fs::remove_file(&stream).unwrap();
    let at = format!("/api/v1/attempts/{attempt}/streams/log.build");
    shop.server.ask("GET", &at, "").is(500);
    let said = shop.server.terminate().exits(0);
    let told: Vec<&str> = said.err.lines().filter(|line| line.contains("a stream can't be read")).collect();
    assert!(told.len() == 1 && told[0].contains("ERROR"), "{}", said.err);
}

fn walk(at: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(at).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path()),
            _ => vec![entry.path().display().to_string()],
        })
        .collect()
}

#[test]
fn a_package_is_pulled_by_version_channel_and_digest() {
    let shop = Shop::with(PIPELINE);
    let run = shop.run();
    shop.staith(&["runs", "watch", &run]).exits(0);
    let to = |name: &str| shop.world.scratch().join(name).display().to_string();
    let pull = |what: &str, to: &str| shop.staith(&["pull", what, "--to", to, "--json"]);
    let pulled = pull("shop@1.0.0", &to("one")).exits(0).values().remove(0);
    let file = walk(&shop.world.scratch().join("one")).remove(0);
    assert_eq!(pulled["path"], file.as_str());
    let (version, digest) = (pulled["version"].as_str().unwrap(), pulled["manifest"].as_str().unwrap());
    assert!(version.starts_with("1.0.0+c."), "what was said was completed: {version}");
    shop.world.staith(&["verify", &file]).exits(0);

    let user = format!("x:{}", shop.server.admin);
    let at = |tag: &str| format!("docker://{}/shop/shop:{tag}", shop.server.address);
    let copy = Command::new("skopeo")
        .args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds", &user])
        .args(["--dest-creds", &user, &at(&version.replace('+', "_")), &at("stable")])
        .output();
    Said::of(&copy.expect("skopeo is needed: apt-get install skopeo")).exits(0);
    for what in ["shop@stable".to_owned(), format!("shop@{digest}"), format!("shop@{version}")] {
        let place = to(&what.replace(['@', ':', '+'], "-"));
        pull(&what, &place).exits(0);
        let again = walk(std::path::Path::new(&place)).remove(0);
        assert_eq!(fs::read(&again).unwrap(), fs::read(&file).unwrap(), "{what}");
    }
    pull("shop@2.0.0", &to("none")).exits(64).says("1.0.0").says("--project");
    pull("other@1.0.0", &to("none")).exits(64).says("--project");
    shop.staith(&["pull", "shop@1.0.0", "--project", "shop", "--to", &to("two")]).exits(0);
    let nobody = ["pull", "shop@1.0.0", "--server", &shop.url(), "--to", &to("none")];
    shop.world.staith(&nobody).exits(30).says("--token-file");
    shop.world.staith(&["pull", "shop@1.0.0", "--token-file", "/x"]).exits(64).says("--server URL");
}

#[test]
fn a_code_makes_a_runner_that_is_seen_and_revoked() {
    let shop = Shop::with(PIPELINE);
    let code = |valid: &str| shop.staith(&["server", "runner-code", "--label", "gpu", "--valid", valid]);
    let said = code("15m").exits(0).says("15 m").says("--token staith_");
    let command = said.out.lines().next().unwrap();
    let home = shop.world.scratch().join("host");
    let staith = staith_tests::world::staith_binary().display().to_string();
    let command = format!("{} --name second", command.replacen("staith", &staith, 1));
    let register = Command::new("sh").args(["-c", &command]).env("STAITH_HOME", &home).output().unwrap();
    Said::of(&register).exits(0);
    shop.staith(&["server", "runners"]).exits(0).says("second").says("gpu").says("built-in");
    shop.staith(&["server", "runners", "revoke", "second"]).exits(0).says("revoked");
    shop.staith(&["server", "runners", "resume", "second"]).exits(20);
    shop.staith(&["server", "runners", "drain", "third"]).exits(64).says("no runner `third`");
    let status = shop.staith(&["server", "status"]).exits(0).says("version").says("1 get jobs");
    status.says(&shop.url());
    code("3d").exits(64);
    code("48h").exits(64).says("a day at most");
}

#[test]
fn secrets_are_set_and_rotated_and_still_reach_their_steps() {
    let pipeline =
        PIPELINE.replace("outputs = [\"dist\"]", "outputs = [\"dist\"]\nsecrets = { TOKEN = \"npm-token\" }");
    let pipeline = pipeline.replace("echo the files are there", "echo \\\"it has ${#TOKEN} letters\\\"");
    let shop = Shop::with(&pipeline);
    let fed = |words: &[&str], value: &str| {
        let mut command = shop.command_at(&shop.url(), words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        process.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        Said::of(&process.wait_with_output().unwrap())
    };
    let of = ["--project", "shop"];
    fed(&[&["secret", "set", "npm-token"][..], &of].concat(), "correct-horse").exits(0);
    fed(&[&["secret", "rotate", "npm-token"][..], &of].concat(), "battery-staple-9")
        .exits(0)
        .says("version 2");
    fed(&[&["secret", "rotate", "absent"][..], &of].concat(), "battery-staple-9").exits(64);
    shop.staith(&[&["secret", "list"][..], &of].concat()).exits(0).says("version 2").never_says("staple");
    let key = || fs::read(shop.server.data.join("secrets.key")).unwrap();
    let before = key();
    shop.staith(&["secret", "rotate"]).exits(0).says("1 secrets are sealed with a new key");
    assert_ne!(key(), before);
    assert!(!shop.server.data.join("secrets.key.next").exists());
    shop.world.staith(&["secret", "rotate"]).exits(64).says("--server URL");

    let run = shop.run();
    shop.staith(&["runs", "watch", &run]).exits(0);
    shop.staith(&["runs", "logs", &run]).exits(0).says("it has 16 letters");
    let audit = shop.server.ask("GET", "/api/v1/audit?limit=1000", "").body;
    for what in ["secret-set", "secret-rotated", "secrets-resealed", "secrets-read"] {
        assert!(audit.contains(what), "{what}: {audit}");
    }
    // Whoever starts it next reads them by the new key.
    let Shop { world, server, bare } = shop;
    let data = server.data.clone();
    server.terminate().exits(0);
    let server = Served::try_start(Served::command(&[], &world, &data), &data).unwrap();
    let shop = Shop { world, server, bare };
    shop.staith(&["secret", "rotate"]).exits(0);
}

#[test]
fn a_server_with_a_certificate_is_believed_by_its_authority_only() {
    let world = World::new();
    // As certificates are: for a name, and not for the address that the server listens on.
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (world.scratch().join("server.pem"), world.scratch().join("server.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let bare = Bare::with(&world, PIPELINE);
    // The runner of its own was enrolled when there was no certificate yet, and at another address.
    let server = Served::with_a_runner(&world);
    wait::until("the server's own runner is there", || {
        let runners = server.ask("GET", "/api/v1/runners", "").is(200);
        (!runners["runners"].as_array().unwrap().is_empty()).then_some(())
    });
    server.terminate().exits(0);
    let server = Served::saying(&["--tls-cert", &certificate, "--tls-key", &key], &world);
    let (url, token) = (format!("https://{}", server.address), server.data.join("admin.token"));
    let by = ["--server", &url, "--token-file", token.to_str().unwrap()];
    let staith = |words: &[&str]| world.staith(&[words, &by[..], &["--ca", &certificate]].concat());
    let unbelieved = |words: &[&str]| world.staith(&[words, &by[..]].concat());

    unbelieved(&["runs"]).exits(30).says("certificate").says("--ca FILE");
    unbelieved(&["pull", "shop@1.0.0"]).exits(30).says("certificate");
    staith(&["project", "add", "shop", &bare.path]).exits(0);
    let said = staith(&["project", "run", "shop", "--ref", "main"]).exits(0);
    let run = said.out.lines().find_map(|line| line.split_once("staith runs watch ")).unwrap().1;
    // Its own runner brings the package through the same certificate.
    staith(&["runs", "watch", run]).exits(0);
    staith(&["runs", "logs", run, "--follow"]).exits(0).says("the files are there");
    let to = world.scratch().join("pulled").display().to_string();
    staith(&["pull", "shop@1.0.0", "--to", &to]).exits(0);
    let code = staith(&["server", "runner-code"]).exits(0);
    code.says(&format!("--ca '{certificate}'"));
}

#[test]
fn a_token_goes_to_nobody_in_clear_text() {
    let world = World::new();
    let token = world.scratch().join("token");
    fs::write(&token, "staith_person_x").unwrap();
    let token = token.display().to_string();
    let by = ["--server", "http://ci.example.org", "--token-file", &token];
    let commands: [&[&str]; 8] = [
        &["runs"],
        &["project", "list"],
        &["triggers", "explain", "shop", "--event", "push"],
        &["pull", "shop@1.0.0"],
        &["secret", "list", "--project", "shop"],
        &["server", "status"],
        &["server", "runners"],
        &["server", "runner-code"],
    ];
    for words in commands {
        world.staith(&[words, &by[..]].concat()).exits(64).says("clear text").says("--insecure");
    }
    let server = Served::of(&world);
    let url = format!("http://{}", server.address);
    for (words, why) in [
        (vec!["runs", "--server", &url], "no token"),
        (vec!["runs", "--server", &url, "--token-file", &token], "expired"),
    ] {
        let said = world.staith(&words).exits(30).says("does not know who asks").says("admin.token");
        said.says(why).says("--token-file").never_says("Bearer");
    }
}

#[test]
fn a_projects_hook_tells_how_to_see_what_comes_of_a_push() {
    let shop = Shop::with(PIPELINE);
    let script = shop.staith(&["project", "hook", "shop"]).exits(0).out;
    assert!(script.contains(&format!("staith runs list --project shop --server {}", shop.url())), "{script}");
    let mut said = String::new();
    let refused = shop.command_at("http://x'y", &["project", "hook", "shop"]).output().unwrap();
    refused.stderr.as_slice().read_to_string(&mut said).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{said}");
}
