//! Packages over the protocol of registries: pulled and pushed by Debian's skopeo, and by Staith from a registry of Debian's.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use staith_model::Digest;
use staith_tests::{
    front::{self, Turn},
    registry::{ADAS_CREDENTIALS, Registry},
    wait,
    world::{Said, World, repository},
};

/// A package that genuine Web Deploy wrote.
fn sample() -> PathBuf {
    repository().join("packager/tests/samples/contentpath.zip")
}

fn arguments<'a>(words: &[&'a str]) -> Vec<&'a str> {
    words.to_vec()
}

/// `staith registry`, which ends when it is dropped.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    fn of(world: &World, more: &[&str]) -> Self {
        let words = [&arguments(&["registry", "--json", "--listen", "127.0.0.1:0"])[..], more].concat();
        let mut process = world.start(&words);
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { process, address: told["listening"].as_str().unwrap().to_owned() }
    }

    fn place(&self) -> String {
        format!("oci://{}", self.address)
    }

    fn docker(&self, rest: &str) -> String {
        format!("docker://{}/{rest}", self.address)
    }

    fn begin(&self, head: &str, length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn ask(&self, head: &str, body: &[u8]) -> String {
        let mut stream = self.begin(head, body.len());
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn skopeo(arguments: &[&str]) -> Said {
    let skopeo = Command::new("skopeo").args(arguments).output();
    Said::of(&skopeo.expect("skopeo is needed: apt-get install skopeo"))
}

fn push_sample(world: &World, version: &str, to: &str) -> Said {
    world.staith(&["push", sample().to_str().unwrap(), version, "--to", to])
}

fn own_store(world: &World) -> String {
    world.home().join("packages").display().to_string()
}

fn blob(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

#[test]
fn skopeo_pulls_what_staith_has_and_pushes_what_staith_takes() {
    let world = World::new();
    push_sample(&world, "shop@1.0.0+b.1", &own_store(&world)).exits(0);
    let package = Digest::of(&fs::read(sample()).unwrap());
    let layout = world.scratch().join("layout");
    let tagged = format!("oci:{}:1.0.0_b.1", layout.display());
    {
        let served = Served::of(&world, &[]);
        let from = served.docker("shop:1.0.0_b.1");
        skopeo(&["copy", "--src-tls-verify=false", &from, &tagged]).exits(0);
        assert_eq!(fs::read(blob(&layout, &package)).unwrap(), fs::read(sample()).unwrap());
        skopeo(&["list-tags", "--tls-verify=false", &served.docker("shop")]).exits(0).says("latest");
        // Nobody may push here.
        skopeo(&["copy", "--dest-tls-verify=false", &tagged, &served.docker("shop:2.0")])
            .exits(1)
            .says("denied");
    }
    let other = World::new();
    let served = Served::of(&other, &["--writable"]);
    for tag in ["shop:1.0.0_b.1", "shop:stable"] {
        skopeo(&["copy", "--dest-tls-verify=false", &tagged, &served.docker(tag)]).exits(0);
    }
    let to = other.scratch().join("pulled");
    let pulled = other.staith(&["pull", "shop@stable", "--to", to.to_str().unwrap()]).exits(0);
    assert_eq!(fs::read(pulled.out.trim()).unwrap(), fs::read(sample()).unwrap());
    // And back out of there.
    let back = world.scratch().join("back");
    let to = format!("oci:{}:x", back.display());
    skopeo(&["copy", "--src-tls-verify=false", &served.docker("shop:stable"), &to]).exits(0);
    assert_eq!(fs::read(blob(&back, &package)).unwrap(), fs::read(sample()).unwrap());
}

#[test]
fn packages_go_through_a_registry_of_others() {
    let world = World::new();
    let registry = Registry::open();
    let place = format!("oci://{}", registry.name("team/packages"));
    push_sample(&world, "shop@1.4.0", &place).exits(0).says("sent");
    push_sample(&world, "shop@1.4.0", &place).exits(0).says("all of it was there");
    let to = world.scratch().join("pulled");
    let to = to.to_str().unwrap();
    let pulled = world.staith(&["pull", "shop@1.4.0", "--from", &place, "--to", to]).exits(0);
    assert_eq!(fs::read(pulled.out.trim()).unwrap(), fs::read(sample()).unwrap());
    assert!(pulled.out.contains("shop-1.4.0-"), "{}", pulled.out);
    world.staith(&["pull", "shop@9", "--from", &place, "--to", to]).exits(64).says("1.4.0");
    // Also where the registry itself would let a version change.
    let other = repository().join("packager/tests/samples/sdk.zip");
    let refused = world.staith(&["push", other.to_str().unwrap(), "shop@1.4.0", "--to", &place]);
    refused.exits(20).says("a version never changes its meaning");
    // What an interrupted pull has left is not fetched again, and is held against the digest all the same.
    let digest = Digest::of(&fs::read(sample()).unwrap());
    let name = format!("shop-1.4.0-{}.zip", digest.short());
    let partial = Path::new(to).join(format!(".{name}.{}.partial", digest.short()));
    for (left, resumed) in [(fs::read(sample()).unwrap()[..1000].to_vec(), 1000), (vec![7; 1000], 0)] {
        fs::remove_file(Path::new(to).join(&name)).unwrap();
        fs::write(&partial, left).unwrap();
        let again = world.staith(&["pull", "shop@1.4.0", "--from", &place, "--to", to, "--json"]).exits(0);
        let told: serde_json::Value = serde_json::from_str(&again.out).unwrap();
        assert_eq!(told["resumed"], resumed, "{told}");
        assert_eq!(fs::read(Path::new(to).join(&name)).unwrap(), fs::read(sample()).unwrap());
    }
}

#[test]
fn an_upload_goes_on_after_a_broken_connection_and_a_restart() {
    let world = World::new();
    let bytes = fs::read(sample()).unwrap();
    let served = Served::of(&world, &["--writable"]);
    let begun = served.ask("POST /v2/shop/blobs/uploads/", &[]);
    let place = begun.lines().find_map(|line| line.strip_prefix("location: ")).expect(&begun).to_owned();
    let mut stream = served.begin(&format!("PATCH {place}"), bytes.len());
    stream.write_all(&bytes[..3000]).unwrap();
    stream.shutdown(Shutdown::Both).unwrap();
    let here = |served: &Served| {
        let told = served.ask(&format!("GET {place}"), &[]);
        told.lines().find_map(|line| line.strip_prefix("range: 0-")?.parse::<usize>().ok())
    };
    let kept = wait::until("what came is kept", || here(&served).filter(|last| *last == 2999)) + 1;
    drop(served);
    let served = Served::of(&world, &["--writable"]);
    assert_eq!(here(&served), Some(kept - 1));
    let rest = served.ask(&format!("PATCH {place}"), &bytes[kept..]);
    assert!(rest.starts_with("HTTP/1.1 202"), "{rest}");
    let digest = Digest::of(&bytes);
    let made = served.ask(&format!("PUT {place}?digest={digest}"), &[]);
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    // The blob is there, so the push has only the rest to send.
    push_sample(&world, "shop@1.0", &served.place()).exits(0).says("was there");
}

#[test]
fn a_flipped_bit_is_refused_and_not_served() {
    let world = World::new();
    push_sample(&world, "shop@1.0", &own_store(&world)).exits(0);
    let digest = Digest::of(&fs::read(sample()).unwrap());
    let path = blob(&world.home().join("packages"), &digest);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, bytes).unwrap();
    let served = Served::of(&world, &[]);
    let to = format!("dir:{}", world.scratch().join("out").display());
    skopeo(&["copy", "--src-tls-verify=false", &served.docker("shop:1.0"), &to]).exits(1).says("500");
    let to = world.scratch().join("pulled");
    for from in [served.place(), own_store(&world)] {
        let pull = world.staith(&["pull", "shop@1.0", "--from", &from, "--to", to.to_str().unwrap()]);
        pull.exits(30).says("damaged");
    }
    assert!(
        !fs::read_dir(&to).unwrap().any(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
}

#[test]
fn what_vouches_for_a_package_goes_where_the_package_goes() {
    let maker = World::new();
    maker.write(
        "runner.toml",
        "name = \"shop\"\nversion = \"1.0\"\n[steps.build]\nrun = \"mkdir web; echo page > web/index.html\"\n\
         outputs = [\"web/**\"]\n[package]\nroot = \"web\"\n",
    );
    maker.write("requirements.txt", "flask==3.0\n");
    maker.commit("first");
    let run = || maker.staith(&["run", "--json"]).exits(0).out;
    let version = run().lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        Some(event["package"]["version"].as_str()?.to_owned())
    });
    let package = format!("shop@{}", version.unwrap());
    let blobs = || fs::read_dir(maker.home().join("packages/blobs/sha256")).unwrap().count();
    let after_first = blobs();
    run();
    assert_eq!(blobs(), after_first, "nothing is attached to a known package");

    let key = maker.home().join("keys/host.pub");
    let key = key.to_str().unwrap();
    let (serving, registry) = (World::new(), Registry::open());
    let served = Served::of(&serving, &["--writable"]);
    let directory = maker.scratch().join("store").display().to_string();
    let places = [directory, served.place(), format!("oci://{}", registry.name("team"))];
    for place in &places {
        maker.staith(&["push", &package, "--to", place]).exits(0);
        // Somebody else, with a home of his own.
        let other = World::new();
        let to = other.scratch().join("pulled");
        let pull = ["pull", &package, "--from", place, "--to", to.to_str().unwrap(), "--all", "--json"];
        let said = other.staith(&pull).exits(0);
        let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let file = PathBuf::from(told["path"].as_str().unwrap());
        let path = file.to_str().unwrap();
        other.staith(&["verify", path, "--signed-by", key]).exits(0).says("signed by");
        other.staith(&["sbom", path]).exits(0).says("pkg:pypi/flask@3.0");
        assert!(to.join("shop.SetParameters.xml").is_file() && file.with_extension("content.json").is_file());

        // The file is the same artifact as the package that it came from, whatever was written beside it meanwhile.
        fs::write(to.join("shop.SetParameters.xml"), "<parameters>a password</parameters>").unwrap();
        other.staith(&["push", path, "--to", place]).exits(0).says("all of it was there");
        let own = own_store(&other);
        other.staith(&["push", path, "--to", &own]).exits(0);
        other.staith(&["verify", &package, "--signed-by", key]).exits(0).says("signed by");
        other.staith(&["sbom", &package]).exits(0).says("pkg:pypi/flask@3.0");

        let statement = file.with_extension("provenance.json");
        let text = fs::read_to_string(&statement).unwrap();
        let at = text.find("\"payload\":\"").unwrap() + 60;
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        fs::write(&statement, changed).unwrap();
        other.staith(&["verify", path, "--signed-by", key]).exits(20).says("no trusted key has signed");
        fs::write(&statement, text).unwrap();
        other.staith(&["verify", path, "--signed-by", key]).exits(0);
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        other.staith(&["verify", path, "--signed-by", key]).exits(20);
    }
}

#[test]
fn a_registry_that_wants_a_token_gets_one_from_where_it_says() {
    let (world, registry) = (World::new(), Registry::open());
    let tokens = Arc::new(AtomicUsize::new(0));
    let given = Arc::clone(&tokens);
    let front = front::before(registry.address(), move |head| {
        let line = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let says = |wanted: &str| line("authorization").is_some_and(|said| said == wanted);
        if head.starts_with("GET /token?") {
            // One that asks for less than it needs is told so by the registry's answer.
            let is_asked_for =
                head.contains("service=far") && head.contains("scope=repository%3Ateam%2Fshop%3A");
            if !is_asked_for || !says(&format!("Basic {ADAS_CREDENTIALS}")) {
                return Turn::Answer("401 No".to_owned(), "{}".to_owned());
            }
            given.fetch_add(1, Ordering::Relaxed);
            return Turn::Answer("200 OK".to_owned(), "{\"token\":\"t0k3n\"}".to_owned());
        }
        if says("Bearer t0k3n") {
            return Turn::Pass;
        }
        let host = line("host").unwrap_or_default();
        let scope = "repository:team/shop:pull,push";
        let wanted = format!(
            "401 Who are you?\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"far\",scope=\"{scope}\""
        );
        Turn::Answer(wanted, "{}".to_owned())
    });
    let place = format!("oci://{front}/team");
    push_sample(&world, "shop@1.0", &place).exits(30).says("docker login");
    let docker = world.scratch().join("docker");
    fs::create_dir(&docker).unwrap();
    let config = format!("{{\"auths\":{{\"{front}\":{{\"auth\":\"{ADAS_CREDENTIALS}\"}}}}}}");
    fs::write(docker.join("config.json"), config).unwrap();
    let world = world.with_env("DOCKER_CONFIG", docker.to_str().unwrap());
    push_sample(&world, "shop@1.0", &place).exits(0).says("sent").never_says("t0k3n");
    let to = world.scratch().join("pulled");
    let pulled = world.staith(&["pull", "shop@1.0", "--from", &place, "--to", to.to_str().unwrap()]).exits(0);
    assert_eq!(fs::read(pulled.out.trim()).unwrap(), fs::read(sample()).unwrap());
    assert!(tokens.load(Ordering::Relaxed) >= 2);
}

#[test]
fn a_push_that_was_killed_goes_on_where_it_was() {
    let (world, other) = (World::new(), World::new());
    let served = Served::of(&other, &["--writable"]);
    // Of several chunks.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(13 << 20)
    .collect();
    fs::create_dir(world.scratch().join("site")).unwrap();
    fs::write(world.scratch().join("site/noise"), noise).unwrap();
    let (site, to) = (world.scratch().join("site"), world.scratch().join("packed"));
    let packed = ["pack", site.to_str().unwrap(), "--name", "noise", "--version", "1.0", "--json"];
    let packed = world.staith(&[&packed[..], &["--to", to.to_str().unwrap()]].concat()).exits(0).out;
    let told: serde_json::Value = serde_json::from_str(&packed).unwrap();
    let (path, size) = (told["path"].as_str().unwrap(), told["package"]["size"].as_u64().unwrap());
    let chunks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&chunks);
    let front = front::before(served.address.parse().unwrap(), move |head| {
        let is_third = head.starts_with("PATCH ") && seen.fetch_add(1, Ordering::SeqCst) == 2;
        if is_third { Turn::Silence } else { Turn::Pass }
    });
    let place = format!("oci://{front}");
    let mut push = world.start(&["push", path, "--to", &place]);
    wait::until("two chunks are through", || (chunks.load(Ordering::SeqCst) == 3).then_some(()));
    push.kill().unwrap();
    push.wait().unwrap();
    let again = world.staith(&["push", path, "--to", &place, "--json"]).exits(0);
    let told: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert!(told["known"].as_u64().unwrap() >= 8 << 20 && told["sent"].as_u64().unwrap() < size, "{told}");
    let back = world.scratch().join("back");
    let back = ["pull", "noise@1.0", "--from", &place, "--to", back.to_str().unwrap()];
    let pulled = world.staith(&back).exits(0);
    assert_eq!(fs::read(pulled.out.trim()).unwrap(), fs::read(path).unwrap());
}
