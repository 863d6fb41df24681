//! Stores in buckets, reached as others reach them: by an address on the command line, and the usual variables of the environment.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use staith_model::Digest;
use staith_tests::{
    wait,
    world::{World, repository},
};
use tempfile::TempDir;

/// The account that Azure's emulator has, and its key, which is no secret: Microsoft's documentation tells it.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A bucket has to be there; making one is nothing that Staith does.
const MAKE_BUCKET: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.request
url, account, key = sys.argv[1:]
request = urllib.request.Request(url, method='PUT', headers={'Content-Length': '0'})
if account:
    date = email.utils.formatdate(usegmt=True)
    told = f'x-ms-date:{date}\nx-ms-version:2021-12-02\n/{account}/{account}/packages\nrestype:container'
    told = 'PUT' + '\n' * 12 + told
    signed = base64.b64encode(hmac.new(base64.b64decode(key), told.encode(), hashlib.sha256).digest()).decode()
    for name, value in (('x-ms-date', date), ('x-ms-version', '2021-12-02'), ('Authorization', f'SharedKey {account}:{signed}')):
        request.add_header(name, value)
urllib.request.urlopen(request)
"#;

/// A server on loopback, which ends when it is dropped.
struct Server {
    address: SocketAddr,
    process: Child,
    _place: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(program: &str, arguments: impl Fn(SocketAddr) -> Vec<String>) -> Self {
        let program = repository().join("target/tools").join(program);
        assert!(program.exists(), "{} is not installed; `tests/run` does that", program.display());
        let place = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(program)
            .args(arguments(address))
            .env("AZURITE_TELEMETRY", "false")
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { address, process, _place: place };
        wait::until("the server answers", || TcpStream::connect(address).ok());
        server
    }

    fn make_bucket(&self, path: &str, account: &str, key: &str) {
        let url = format!("http://{}/{path}", self.address);
        let made =
            Command::new("/usr/bin/python3").args(["-c", MAKE_BUCKET, &url, account, key]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

fn sample() -> PathBuf {
    repository().join("packager/tests/samples/contentpath.zip")
}

/// All that is done with a store in a bucket, by commands.
fn carries(world: &World, place: &str) {
    let sample = sample();
    let (path, digest) = (sample.to_str().unwrap(), Digest::of(&fs::read(&sample).unwrap()));
    world.staith(&["pull", "shop@1.0", "--from", place]).exits(64);
    world.staith(&["push", path, "shop@1.0", "--to", place]).exits(0).says("sent");
    world.staith(&["push", path, "shop@1.0", "--to", place]).exits(0).says("all of it was there");
    let other = repository().join("packager/tests/samples/sdk.zip");
    world
        .staith(&["push", other.to_str().unwrap(), "shop@1.0", "--to", place])
        .exits(20)
        .says("never changes its meaning");
    // From another machine.
    let to = world.scratch().join("to");
    let by_digest = format!("shop@{digest}");
    for wanted in ["shop@1.0", "shop@latest", "shop", &by_digest] {
        let pulled = world.staith(&["pull", wanted, "--from", place, "--to", to.to_str().unwrap()]).exits(0);
        assert_eq!(fs::read(pulled.out.trim()).unwrap(), fs::read(&sample).unwrap());
        fs::remove_dir_all(&to).unwrap();
    }
    world.staith(&["pull", "shop@9", "--from", place]).exits(64);
}

#[test]
fn a_bucket_of_s3_is_a_store() {
    let server = Server::start("moto/bin/moto_server", |at| {
        ["-H", "127.0.0.1", "-p", &at.port().to_string()].map(str::to_owned).into()
    });
    server.make_bucket("packages", "", "");
    let world = World::new()
        .with_env("AWS_ACCESS_KEY_ID", "ada")
        .with_env("AWS_SECRET_ACCESS_KEY", "secret")
        .with_env("AWS_REGION", "us-east-1")
        .with_env("AWS_ENDPOINT_URL", &format!("http://{}", server.address))
        .with_env("AWS_ALLOW_HTTP", "true");
    carries(&world, "s3://packages/team/web");
}

#[test]
fn a_container_of_azure_is_a_store() {
    let server = Server::start("azurite/node_modules/.bin/azurite-blob", |at| {
        let port = at.port().to_string();
        let all = ["--blobHost", "127.0.0.1", "--blobPort", &port, "--silent", "--skipApiVersionCheck"];
        all.map(str::to_owned).into()
    });
    server.make_bucket(&format!("{ACCOUNT}/packages?restype=container"), ACCOUNT, KEY);
    let world = World::new()
        .with_env("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
        .with_env("AZURE_STORAGE_ACCOUNT_KEY", KEY)
        .with_env("AZURE_STORAGE_ENDPOINT", &format!("http://{}/{ACCOUNT}", server.address))
        .with_env("AZURE_ALLOW_HTTP", "true");
    carries(&world, "az://packages/team/web");
    // Somebody who may not.
    let stranger = world.with_env("AZURE_STORAGE_ACCOUNT_KEY", "bm9ib2R5");
    let refused = stranger.staith(&["pull", "shop@1.0", "--from", "az://packages/team/web"]);
    refused.exits(30).never_says("bm9ib2R5");
}
