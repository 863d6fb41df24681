//! Releases to a machine that is this one: plan, deploy, again, forward, back, refused, aborted, and what protects it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
};

use staith_tests::world::World;
use tempfile::TempDir;

const PIPELINE: &str = r#"
name = "bell"
version = "1.0.0"

[steps.build]
run = "mkdir dist; cp ring check word.txt dist/; chmod +x dist/ring dist/check"
inputs = ["ring", "check", "word.txt"]
outputs = ["dist"]

[package]
root = "dist"

[environments.qa]
targets = [{ local = true, name = "here" }]
folder = "PLACE/qa"
service = { restart = ["./ring"] }
render = ["word.txt"]
variables = { GREETING = "hello qa" }
hooks = [{ name = "check", at = "after-switch", run = ["./check"], timeout = "20s" }]

[environments.production]
targets = [{ local = true, name = "here" }]
folder = "PLACE/production"
service = { restart = ["./ring"] }
render = ["word.txt"]
variables = { GREETING = "hello production" }
"#;

struct Site {
    world: World,
    place: TempDir,
}

impl Site {
    fn new() -> Self {
        // Where releases live is no folder of the system, and what is below /tmp is gone after a start of the machine.
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let world = World::new();
        world.write("runner.toml", &PIPELINE.replace("PLACE", &place.path().display().to_string()));
        world.write("ring", "#!/bin/sh\necho \"$(cat word.txt)\" >> \"$STAITH_FOLDER/rung\"\n");
        // A file that is called as the package is must not be taken for one.
        world.write("bell", "no package");
        world.write("check", "#!/bin/sh\n! grep -q sick word.txt\n");
        let site = Self { world, place };
        site.says("one");
        site
    }

    /// Makes a package and a release whose word is this; the release.
    fn says(&self, word: &str) -> String {
        self.world.write("word.txt", &format!("{word} #{{GREETING}}#\n"));
        self.world.commit(word);
        self.world.staith(&["run"]).exits(0);
        let made = self.world.staith(&["release", "create", "--json"]).exits(0);
        let value: serde_json::Value = serde_json::from_str(made.out.lines().next().unwrap()).unwrap();
        value["release"].as_str().unwrap().to_owned()
    }

    fn rung(&self, environment: &str) -> Vec<String> {
        let text = fs::read_to_string(self.at(environment).join("rung")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn at(&self, environment: &str) -> std::path::PathBuf {
        self.place.path().join(environment)
    }

    fn serves(&self, environment: &str) -> String {
        fs::read_to_string(self.at(environment).join("current/word.txt")).unwrap()
    }
}

#[test]
fn a_release_goes_through_environments_forward_and_back() {
    let site = Site::new();
    let world = &site.world;
    world.staith(&["release", "plan", "--to", "qa"]).exits(0).says("first release").says("plan sha256:");
    assert!(!site.at("qa").exists(), "a plan changes nothing");
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0).says("serves in qa");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa"]);
    // Again: nothing is restarted.
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    assert_eq!(site.rung("qa"), ["one hello qa"]);
    // The same release, with the other environment's values.
    world.staith(&["release", "promote", "--from", "qa", "--to", "production"]).exits(0);
    assert_eq!(site.serves("production"), "one hello production\n");
    site.says("two");
    world.staith(&["release", "deploy", "--to", "qa", "--reason", "because"]).exits(0);
    assert_eq!(site.serves("qa"), "two hello qa\n");
    assert_eq!(site.serves("production"), "one hello production\n");
    world.staith(&["release", "rollback", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa", "two hello qa", "one hello qa"]);
    world.staith(&["release", "history", "qa"]).exits(0).says("succeeded").says("because");
    world.staith(&["release", "status", "qa"]).exits(0).says("serves");
    world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn what_fails_its_smoke_test_goes_back_by_itself() {
    let site = Site::new();
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    site.says("sick");
    let failed = site.world.staith(&["release", "deploy", "--to", "qa"]).exits(40);
    failed.says("hook check");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa", "sick hello qa", "one hello qa"]);
    // The first release ever leaves nothing behind when it fails.
    site.world.staith(&["release", "deploy", "--to", "production"]).exits(0);
    assert_eq!(site.serves("production"), "sick hello production\n", "production has no smoke test");
}

#[test]
fn a_token_that_nobody_sets_is_told_before_anything_shows() {
    let site = Site::new();
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    let text = fs::read_to_string(site.world.project().join("runner.toml")).unwrap();
    site.world.write("runner.toml", &text.replace("GREETING = \"hello qa\"", "GREETINGS = \"hello qa\""));
    site.says("three");
    site.world.staith(&["release", "deploy", "--to", "qa"]).exits(40).says("GREETING").says("word.txt");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    assert_eq!(site.rung("qa"), ["one hello qa"]);
}

#[test]
fn an_approval_is_waited_for_and_counts_once_for_its_plan() {
    let site = Site::new();
    let world = &site.world;
    fs::create_dir_all(world.home()).unwrap();
    let me = whoami();
    let protect = |people: &str, needed: u32, requester: bool| {
        let text = format!(
            "[environments.\"bell/qa\"]\napprovals = {{ people = [{people}], needed = {needed}, requester-may = {requester}, deadline-seconds = 3600 }}\n"
        );
        fs::write(world.home().join("config.toml"), text).unwrap();
    };
    // Where nobody could ever approve, nothing is waited for.
    protect(&format!("{me:?}"), 1, false);
    world
        .staith(&["release", "deploy", "--to", "qa", "--no-wait"])
        .exits(40)
        .says("nobody may give one beside");
    // Not by who asked.
    protect(&format!("{me:?}, \"another\""), 1, false);
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41).says("approv");
    world.staith(&["release", "approve", "qa"]).exits(0);
    world.staith(&["release", "abort", "qa"]).exits(40);
    assert!(!site.at("qa").join("current").exists(), "nobody approves their own request");
    // Where that is allowed, it goes on after the approval.
    protect(&format!("{me:?}"), 1, true);
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    assert!(!site.at("qa").join("current").exists());
    world.staith(&["release", "approve", "qa"]).exits(0);
    world.staith(&["release", "resume", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
    // A rejection is final.
    site.says("two");
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41);
    world.staith(&["release", "reject", "qa", "--comment", "not on a Friday"]).exits(0);
    // What was refused is told as that, and not as something that is waited for.
    let rejected = world.staith(&["release", "resume", "qa"]).exits(40);
    rejected.says("not on a Friday").never_says("waits for");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    // Going back needs nobody.
    site.world.staith(&["release", "history", "qa"]).exits(0).says("was rejected");
}

#[test]
fn what_approvers_look_at_is_told_where_they_decide() {
    let site = Site::new();
    let world = &site.world;
    fs::create_dir_all(world.home()).unwrap();
    let text = format!(
        "[environments.\"bell/qa\"]\napprovals = {{ people = [{:?}], needed = 1, requester-may = true, deadline-seconds = 3600, \
         instructions = \"Look at \\u001b[31mthe dashboard\" }}\n",
        whoami()
    );
    fs::write(world.home().join("config.toml"), text).unwrap();
    for words in [&["plan", "--to", "qa"][..], &["deploy", "--to", "qa", "--no-wait"], &["status", "qa"]] {
        let said = world.staith(&[&["release"], words].concat());
        let line = said.out.lines().find(|line| line.contains("what approvers look at: Look at"));
        let line = line.unwrap_or_else(|| panic!("{words:?}: {said:?}"));
        assert!(line.contains("the dashboard") && !line.contains('\u{1b}'), "{line:?}");
    }
}

#[test]
fn another_release_than_the_one_that_was_looked_at_is_not_deployed() {
    let site = Site::new();
    let world = &site.world;
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    world.staith(&["release", "deploy", "--to", "qa", "--plan", other]).exits(41).says("not");
    assert!(!site.at("qa").exists());
    world.staith(&["release", "deploy", "nothing", "--to", "qa"]).exits(64).says("no release is called");
    world.staith(&["release", "deploy", "--to", "nowhere"]).exits(20).says("nowhere");
    world.staith(&["release", "rollback", "qa"]).exits(20);
    world.staith(&["release", "abort", "qa"]).exits(64).says("no deployment");
}

/// Serves the files of whatever `current` points to, as a web server does that knows nothing of releases; but `/release.txt` from another
/// folder, where that holds one.
fn serve(current: std::path::PathBuf, other: std::path::PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let folder = if path == "release.txt" && other.join(&path).exists() { &other } else { &current };
            let answer = match fs::read_to_string(folder.join(path)) {
                Ok(body) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
                Err(_) => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn a_file_proves_which_release_answers_where_somebody_else_serves_it() {
    let site = Site::new();
    let (world, other) = (&site.world, tempfile::tempdir().unwrap());
    let port = serve(site.at("web").join("current"), other.path().to_owned());
    let web = format!(
        "\n[environments.web]\ntargets = [{{ local = true, name = \"here\" }}]\nfolder = {:?}\nservice = \"files\"\n\
         port = {port}\nrender = [\"*.txt\"]\nvariables = {{ GREETING = \"hello web\" }}\n\
         health = {{ path = \"/word.txt\", file = \"/release.txt\", deadline = \"2s\" }}\n",
        site.at("web")
    );
    world.edit("runner.toml", |text| {
        text.replace("word.txt dist/", "*.txt dist/").replace("\"word.txt\"]\noutputs", "\"*.txt\"]\noutputs")
            + &web
    });
    world.write("release.txt", "#{STAITH_RELEASE}#\n");
    let first = site.says("one");
    world.staith(&["release", "deploy", "--to", "web"]).exits(0).says("serves in web");
    assert_eq!(fs::read_to_string(site.at("web").join("current/release.txt")).unwrap(), format!("{first}\n"));
    world.staith(&["env", "status", "web", "--check"]).exits(0);
    // One that names another release, or none, is taken back, however well it answers.
    let another = format!("sha256:{}\n", "0".repeat(64));
    for (word, file, said) in
        [("two", &another[..], "sha256:0000"), ("three", "1.0.0", "no release's digest")]
    {
        world.write("release.txt", file);
        site.says(word);
        world.staith(&["release", "deploy", "--to", "web"]).exits(40).says("/release.txt").says(said);
        assert_eq!(site.serves("web"), "one hello web\n");
    }
    // Drift: what answers is not what is in place any more.
    fs::write(other.path().join("release.txt"), another).unwrap();
    world.staith(&["env", "status", "web", "--check"]).exits(41).says("/release.txt");
    // With a proof that is right again, the next one is let in.
    fs::remove_file(other.path().join("release.txt")).unwrap();
    world.write("release.txt", "{\"release\": \"#{STAITH_RELEASE}#\"}");
    site.says("four");
    world.staith(&["release", "deploy", "--to", "web"]).exits(0);
    assert_eq!(site.serves("web"), "four hello web\n");
}

#[test]
fn silence_is_a_yes_where_the_protection_says_so_and_outvotes_nobody() {
    let site = Site::new();
    let world = &site.world;
    fs::create_dir_all(world.home()).unwrap();
    let protect = |seconds: u32, more: &str| {
        let text = format!(
            "[environments.\"bell/qa\"]\n{more}\napprovals = {{ people = [\"another\", {:?}], needed = 1, \
             deadline-seconds = {seconds}, at-deadline = \"deploy\" }}\n",
            whoami()
        );
        fs::write(world.home().join("config.toml"), text).unwrap();
    };
    // A no ends it, before and after the deadline.
    protect(1, "");
    world.staith(&["release", "deploy", "--to", "qa", "--no-wait"]).exits(41).says("nobody says no");
    world.staith(&["release", "reject", "qa", "--comment", "not on a Friday"]).exits(0);
    world.staith(&["release", "resume", "qa"]).exits(40).says("not on a Friday");
    // Nobody says anything; what else does not hold is waited for.
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let thaw = now() + 4;
    let date = Command::new("date").args(["-u", "-d", &format!("@{thaw}"), "+%Y-%m-%dT%H:%M:%SZ"]).output();
    let until = String::from_utf8(date.unwrap().stdout).unwrap();
    let frozen = format!("from = \"2020-01-01[UTC]\", until = {:?}, why = \"the sale\"", until.trim());
    protect(1, &format!("freezes = [{{ {frozen} }}]"));
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0).says("the sale").says("goes on by default");
    assert!(now() >= thaw, "the freeze was not waited for");
    assert_eq!(site.serves("qa"), "one hello qa\n");
    let told = world.staith(&["audit", "show", "--environment", "qa"]).exits(0);
    let told = told.says("by_default_at_the_deadline").says("1 approval of plan");
    assert_eq!(told.out.matches("\"event\":\"voted\"").count(), 1, "only the no: {}", told.out);
    world.staith(&["audit", "verify"]).exits(0);
}

fn whoami() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_run_goes_from_commit_to_deployed() {
    let site = Site::new();
    let world = &site.world;
    world.write("word.txt", "straight #{GREETING}#\n");
    world.commit("straight");
    let said = world.staith(&["run", "--release", "qa", "--reason", "at once"]).exits(0);
    said.says("is made").says("serves in qa");
    assert_eq!(site.serves("qa"), "straight hello qa\n");
    world.staith(&["release", "history", "qa"]).exits(0).says("at once");
    // The release is of this very commit, also where an earlier run packed the same.
    world.write("README.md", "no input of any step");
    world.commit("words only");
    let commit = world.git(&["rev-parse", "HEAD"]);
    let said = world.staith(&["run", "--release", "qa", "--json"]).exits(0);
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made = lines.iter().find(|line| line.get("already").is_some()).unwrap();
    assert_eq!(made["commit"].as_str(), Some(commit.as_str()));
    assert_eq!(lines.last().unwrap()["exit"].as_u64(), Some(0));
    // Again: it is the same release, and nothing is restarted.
    let rung = site.rung("qa");
    world.staith(&["run", "--release", "qa"]).exits(0).says("is there already");
    assert_eq!(site.rung("qa"), rung);
    // What fails is told, and what was there serves again.
    world.write("word.txt", "sick #{GREETING}#\n");
    world.commit("sick");
    world.staith(&["run", "--release", "qa"]).exits(40).says("hook check");
    assert_eq!(site.serves("qa"), "straight hello qa\n");
    // A run that does not pass releases nothing, and so does one of a pull request.
    world.edit("runner.toml", |text| text.replace("mkdir dist;", "exit 1; mkdir dist;"));
    let before = world.staith(&["release", "list", "--json"]).out;
    world.staith(&["run", "--release", "qa"]).exits(10);
    world.git(&["checkout", "--quiet", "runner.toml"]);
    world.staith(&["run", "--release", "qa", "--event", "pull-request"]).exits(64).says("pull request");
    world.staith(&["run", "--no-wait"]).exits(64).says("--release");
    assert_eq!(world.staith(&["release", "list", "--json"]).out, before);
    assert_eq!(site.serves("qa"), "straight hello qa\n");
}

#[test]
fn whoever_goes_back_holds_the_environment_until_somebody_lifts_it() {
    let site = Site::new();
    let world = &site.world;
    world.staith(&["run", "--release", "qa"]).exits(0);
    site.says("two");
    world.staith(&["run", "--release", "qa"]).exits(0);
    world.staith(&["release", "rollback", "qa", "--reason", "orders vanish"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
    // A run would only bring the newer one again.
    let refused = world.staith(&["run", "--release", "qa"]).exits(41);
    refused.says("orders vanish").says("release lift qa").never_says("build");
    world.staith(&["release", "status", "qa"]).exits(0).says("held: ").says("orders vanish");
    world.staith(&["release", "lift", "qa", "--reason", "mended"]).exits(0).says("again");
    world.staith(&["release", "lift", "qa"]).exits(0).says("nobody holds");
    world.staith(&["run", "--release", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "two hello qa\n");
    // Who deploys by hand has decided.
    world.staith(&["release", "rollback", "qa"]).exits(0);
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    world.staith(&["release", "status", "qa"]).exits(0).never_says("held");
    world.staith(&["audit", "verify"]).exits(0);
}

#[test]
fn a_run_waits_for_what_protects_an_environment() {
    let site = Site::new();
    let world = &site.world;
    let protect = |what: &str| {
        let text = format!("[environments.\"bell/qa\"]\n{what}\n");
        fs::write(world.home().join("config.toml"), text).unwrap();
    };
    let me = whoami();
    protect(&format!(
        "approvals = {{ people = [{me:?}], needed = 1, requester-may = true, deadline-seconds = 3600 }}"
    ));
    world.staith(&["run", "--release", "qa", "--no-wait"]).exits(41).says("approv");
    assert!(!site.at("qa").join("current").exists());
    world.staith(&["release", "approve", "qa"]).exits(0);
    world.staith(&["release", "resume", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
    // What can't be understood is told before anything runs.
    protect("approvals = 7");
    world.staith(&["run", "--release", "qa"]).exits(20).never_says("build");
    // A branch that is none of those that may.
    protect("branches = [\"release/*\"]");
    world.staith(&["run", "--release", "qa", "--no-wait"]).exits(40).says("branch `main` is none of");
}

#[test]
fn the_branch_of_a_pull_request_counts_for_nothing() {
    let site = Site::new();
    let world = &site.world;
    fs::write(world.home().join("config.toml"), "[environments.\"bell/qa\"]\nbranches = [\"main\"]\n")
        .unwrap();
    world.write("word.txt", "foreign #{GREETING}#\n");
    world.commit("somebody else's branch, which they called main");
    world.staith(&["run", "--event", "pull-request", "--branch", "main"]).exits(0);
    world.staith(&["release", "create"]).exits(0);
    world
        .staith(&["release", "deploy", "--to", "qa", "--no-wait"])
        .exits(40)
        .says("not known from which branch");
    assert!(!site.at("qa").join("current").exists());
}

#[test]
fn folders_of_the_system_are_refused() {
    let site = Site::new();
    let text = fs::read_to_string(site.world.project().join("runner.toml")).unwrap();
    let place = site.at("qa");
    site.world.write("runner.toml", &text.replace(&place.display().to_string(), "/etc"));
    site.world.staith(&["release", "plan", "--to", "qa"]).exits(20).says("folder");
    assert!(Path::new("/etc").is_dir());
}

#[test]
fn what_a_release_was_made_of_survives_every_collection() {
    let site = Site::new();
    let world = &site.world;
    // Two more packages: one that no release is made of, and the newest.
    for word in ["nobody's", "newest"] {
        world.write("word.txt", word);
        world.commit(word);
        world.staith(&["run"]).exits(0);
    }
    world.staith(&["packages", "collect", "--keep", "1"]).exits(0);
    world.staith(&["packages", "collect", "--keep", "1", "--grace", "0"]).exits(0).says("removed bell@");
    let left = world.staith(&["packages", "--json"]).exits(0);
    assert_eq!(left.out.lines().count(), 2, "{}", left.out);
    world.staith(&["release", "deploy", "--to", "qa"]).exits(0);
    assert_eq!(site.serves("qa"), "one hello qa\n");
}
