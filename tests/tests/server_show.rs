//! All of it in one walk, with an example as it is in `examples/`: a server from an empty folder, a bare repository with its hook, a push, a
//! run watched on a second runner in a network of its own, the package pulled in two ways, its release agreed to by somebody else, and the
//! page that everybody sees. Needs root and nftables, and a network for what the example restores; says so and checks nothing where
//! network namespaces can't be made.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use serde_json::Value;
use staith_tests::{
    bare::{Bare, git},
    build_host::BuildHost,
    pair::free,
    scene::all,
    served::Served,
    wait,
    wires::{SERVER, Yard},
    world::{Said, World},
};
use tempfile::TempDir;

/// Where the example is released to by a server: this machine, below a folder.
const PRODUCTION: &str = r#"
[environments.production]
targets = [{ local = true, name = "here", serves-at = "SERVES" }]
folder = "PLACE"
service = { run = ["node", "serve.mjs"], supervisor = "staith" }
health = { path = "/", header = "x-staith-release", deadline = "60s" }
"#;
const OLD: &str = "What to do when the bow disappears.";
const NEW: &str = "What to do when the bow is gone.";

struct Walk {
    /// None only while it moves.
    server: Option<Served>,
    repository: Bare,
    /// Where the page is seen.
    page: SocketAddr,
    place: TempDir,
    world: World,
}

impl Walk {
    /// A server from an empty folder, which knows the example's repository.
    fn begins() -> Self {
        let world = World::with_example("soundings");
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let repository = Bare::empty(&world);
        let tar = world.scratch().join("example.tar").display().to_string();
        git(&world.project(), &["archive", "--output", &tar, "HEAD"]);
        let unpacked = Command::new("tar").args(["-xf", &tar, "-C"]).arg(&repository.clone).status().unwrap();
        assert!(unpacked.success());
        let page = free();
        let production = PRODUCTION
            .replace("SERVES", &page.to_string())
            .replace("PLACE", &place.path().display().to_string());
        let pipeline = repository.clone.join("runner.toml");
        fs::write(&pipeline, fs::read_to_string(&pipeline).unwrap() + &production).unwrap();
        git(&repository.clone, &["checkout", "--quiet", "-b", "main"]);
        let server = Served::with_a_runner(&world);
        let walk = Self { server: Some(server), repository, page, place, world };
        walk.repository.push_all("main", "the example");
        walk.staith(&["project", "add", "soundings", &walk.repository.path]).exits(0);
        walk
    }

    const fn server(&self) -> &Served {
        self.server.as_ref().unwrap()
    }

    fn staith(&self, words: &[&str]) -> Said {
        self.server().staith(&self.world, &[words, &["--insecure"]].concat())
    }

    /// The server is where this thread's network is, with all that it had, and without a runner of its own.
    fn moves(&mut self) {
        let data = self.server().data.clone();
        self.server.take().unwrap().terminate().exits(0);
        let elsewhere = Served::at(&format!("{SERVER}:8765"), &[], &self.world, &data);
        self.server = Some(elsewhere.unwrap_or_else(|said| panic!("the server did not start: {said:?}")));
    }

    /// From now on the repository tells the server of pushes.
    fn hooks(&self) {
        let hook = Path::new(&self.repository.path).join("hooks/post-receive");
        fs::write(&hook, self.staith(&["project", "hook", "soundings"]).exits(0).out).unwrap();
        fs::set_permissions(&hook, Permissions::from_mode(0o755)).unwrap();
        let header = format!("header = \"Authorization: Bearer {}\"\n", self.server().admin);
        fs::write(Path::new(&self.repository.path).join("staith-curl"), header).unwrap();
    }

    /// The run of a commit, which the hook told of.
    fn run_of(&self, commit: &str) -> Value {
        wait::until("the push has become a run", || {
            let runs = self.server().ask("GET", "/api/v1/runs", "").is(200)["runs"].clone();
            let is_it = |run: &&Value| run["commit"] == commit;
            let id = runs.as_array().unwrap().iter().find(is_it)?["id"].as_str()?.to_owned();
            Some(self.server().ask("GET", &format!("/api/v1/runs/{id}"), "").is(200))
        })
    }

    /// Watches a run to its end; how it is then.
    fn watched(&self, commit: &str) -> (Said, Value) {
        let run = self.run_of(commit);
        let name = format!("soundings#{}", run["number"]);
        let said = self.staith(&["runs", "watch", &name]).exits(0);
        (said, self.run_of(commit))
    }

    /// A command of somebody with a token that is made now.
    fn by(&self, who: &str) -> impl Fn(&[&str]) -> Said {
        let data = self.server().data.display().to_string();
        let make =
            ["server", "token", "create", who, "--role", "releaser", "--project", "soundings", "--json"];
        let made = self.world.staith(&[&make[..], &["--data", &data]].concat()).exits(0).values().remove(0);
        let token = made["token"].as_str().unwrap().to_owned();
        move |words| {
            let mut command = self.world.command(&[&["server", "release"], words, &["--insecure"]].concat());
            command.env("STAITH_TOKEN", &token).env("STAITH_PROJECT", "soundings");
            command.env("STAITH_SERVER", format!("http://{}", self.server().address));
            Said::of(&command.output().unwrap())
        }
    }

    /// The page that everybody sees, with the release that it says.
    fn seen(&self) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(self.page).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: soundings\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, page) = answer.split_once("\r\n\r\n")?;
        let release = head.lines().find_map(|line| line.strip_prefix("x-staith-release: "))?;
        Some((release.to_owned(), page.to_owned()))
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        let folder = self.place.path().join("here");
        let program = folder.join(".staith-machine");
        let _ = Command::new(program).arg("stop").arg("--folder").arg(&folder).status();
    }
}

#[test]
fn from_an_empty_folder_to_a_page_that_everybody_sees() {
    all(1, &[("the walk", ())], |()| walk());
}

fn walk() {
    let mut walk = Walk::begins();
    // What it fetches is fetched by the server's own runner, which has a network for that.
    walk.hooks();
    let first = walk.repository.push_all("main", "the first push");
    walk.watched(&first);

    // The second runner has a wire to the server, and nothing else.
    let mut yard = Yard::enter();
    walk.moves();
    let mut host = BuildHost::registered(&walk.world, walk.server(), "second", "default", Some(yard.wire()));
    host.starts(1);
    walk.hooks();
    let fog = walk.repository.clone.join("content/fog.md");
    fs::write(&fog, fs::read_to_string(&fog).unwrap().replace(OLD, NEW)).unwrap();
    let second = walk.repository.push_all("main", "a note is changed");
    let (said, run) = walk.watched(&second);
    said.says("integration-test");
    assert_eq!((&run["state"], &run["asked_by"]), (&"passed".into(), &"hook:soundings".into()), "{run}");
    assert_eq!(run["jobs"][0]["attempts"][0]["runner_name"], "second", "{run}");

    has_its_package(&walk);
    is_released(&walk, &format!("soundings#{}", run["number"]));
}

/// The same package, by two programs.
fn has_its_package(walk: &Walk) {
    let scratch = walk.world.scratch();
    let to = scratch.join("pulled").display().to_string();
    let pulled = walk.staith(&["pull", "soundings@latest", "--to", &to]).exits(0).out;
    let content = scratch.join("content").display().to_string();
    walk.world.staith(&["extract", pulled.trim(), "--to", &content]).exits(0);
    let page = fs::read_to_string(Path::new(&content).join("index.html")).unwrap();
    assert!(page.contains(NEW), "{page}");

    let image = format!("docker://{}/soundings/soundings:latest", walk.server().address);
    let layout = scratch.join("image");
    let by = format!("x:{}", walk.server().admin);
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--src-tls-verify=false", "--src-creds", &by, &image]);
    let copied = skopeo.arg(format!("dir:{}", layout.display())).env("HOME", scratch).output();
    Said::of(&copied.expect("skopeo is needed: apt-get install skopeo")).exits(0);
    let zip = fs::read(pulled.trim()).unwrap();
    let files = fs::read_dir(layout).unwrap().flatten();
    let is_there = files.into_iter().any(|file| fs::read(file.path()).is_ok_and(|bytes| bytes == zip));
    assert!(is_there, "what skopeo has copied is not what was pulled");
}

/// Asked for by one, agreed to by another, seen by all.
fn is_released(walk: &Walk, run: &str) {
    walk.staith(&["project", "protect", "soundings", "production", "--needed", "1"]).exits(0);
    let (ann, ben) = (walk.by("ann"), walk.by("ben"));
    let made = ann(&["create", run, "--json"]).exits(0).values().remove(0);
    let release = made["digest"].as_str().unwrap();
    ann(&["deploy", "--to", "production", "--no-wait"]).exits(41).says("waits");
    assert_ne!(ann(&["approve", "production"]).code, Some(0), "who asked does not agree");
    assert_eq!(walk.seen(), None, "nobody has agreed");
    ben(&["approve", "production"]).exits(0);
    let page = wait::until("the release is seen", || {
        walk.seen().filter(|(said, _)| said == release).map(|(_, page)| page)
    });
    assert!(page.contains(NEW), "{page}");
}
