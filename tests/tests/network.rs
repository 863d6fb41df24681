//! Hosts that reach others through a proxy and trust an authority of their own: steps, images and repositories do, too.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use staith_tests::{
    front,
    registry::Registry,
    world::{World, repository},
};

/// `me:hunter2`
const WHO: &str = "Basic bWU6aHVudGVyMg==";

/// A company's network: a proxy that lets through who gives the password, and behind it a server for every name, with a
/// certificate of the company's own authority.
struct Company {
    proxy: SocketAddr,
    authority: String,
    /// A registry on this machine that the server is, where there is one.
    registry: Arc<Mutex<Option<SocketAddr>>>,
    /// The first lines of what the proxy was asked.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Company {
    fn new() -> Self {
        let mut named = rcgen::CertificateParams::new(vec!["*.far.test".to_owned()]).unwrap();
        named.distinguished_name.push(rcgen::DnType::CommonName, "company");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = named.self_signed(&key).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let (config, asked) = (Arc::new(config), Arc::<Mutex<Vec<String>>>::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = listener.local_addr().unwrap();
        let (told, registry) = (Arc::clone(&asked), Arc::<Mutex<Option<SocketAddr>>>::default());
        let behind = Arc::clone(&registry);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (config, told, behind) = (Arc::clone(&config), Arc::clone(&told), Arc::clone(&behind));
                thread::spawn(move || drop(serve(client, config, &told, &behind)));
            }
        });
        Self { proxy, authority: certificate.pem(), registry, asked }
    }

    /// A world whose host is in this network.
    fn world(&self) -> World {
        let world = World::new();
        let authority = world.scratch().join("company.pem");
        fs::write(&authority, &self.authority).unwrap();
        world
            .with_env("HTTPS_PROXY", &format!("http://me:hunter2@{}", self.proxy))
            .with_env("http_proxy", &format!("http://me:hunter2@{}", self.proxy))
            .with_env("NO_PROXY", "near.test")
            .with_env("SSL_CERT_FILE", &authority.display().to_string())
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// The first line of a request, and what it says of who asks.
fn head(from: &mut impl Read) -> std::io::Result<(String, bool)> {
    let mut lines = BufReader::with_capacity(1, from).lines();
    let first = lines.next().unwrap_or_else(|| Err(std::io::ErrorKind::UnexpectedEof.into()))?;
    let mut is_known = false;
    for line in lines {
        let line = line?;
        is_known |= line.eq_ignore_ascii_case(&format!("proxy-authorization: {WHO}"));
        if line.is_empty() {
            break;
        }
    }
    Ok((first, is_known))
}

fn serve(
    mut client: TcpStream,
    config: Arc<ServerConfig>,
    told: &Mutex<Vec<String>>,
    behind: &Mutex<Option<SocketAddr>>,
) -> std::io::Result<()> {
    let (first, is_known) = head(&mut client)?;
    told.lock().unwrap().push(first.clone());
    if !is_known {
        return client.write_all(b"HTTP/1.1 407 Who are you?\r\nContent-Length: 0\r\n\r\n");
    }
    if !first.starts_with("CONNECT ") {
        return answer(&mut client, "plainly");
    }
    client.write_all(b"HTTP/1.1 200 Established\r\n\r\n")?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), client);
    let registry = *behind.lock().unwrap();
    match registry {
        Some(registry) => {
            let asked = front::head(&mut stream)?;
            front::pass(&asked, &mut stream, registry, "X-Forwarded-Proto: https\r\n")?;
        }
        None => {
            head(&mut stream)?;
            answer(&mut stream, "through the tunnel")?;
        }
    }
    stream.conn.send_close_notify();
    stream.flush()
}

fn answer(to: &mut impl Write, text: &str) -> std::io::Result<()> {
    let length = text.len();
    write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")?;
    to.flush()
}

fn pipeline(run: &str) -> String {
    format!("name = \"far\"\nversion = \"1\"\n[steps.ask]\nnetwork = \"outbound\"\nrun = '''{run}'''\n")
}

#[test]
fn a_step_goes_through_the_hosts_proxy_and_trusts_its_authority() {
    let company = Company::new();
    let world = company.world();
    // Every one of these programs has a variable of its own for authorities.
    let run = "curl -sS https://a.far.test/x; echo; curl -sS http://a.far.test/y; echo; \
               python3 -c \"import urllib.request as r; print('python', r.urlopen('https://b.far.test/').read())\"; \
               git ls-remote https://c.far.test/x.git || true; env";
    world.write("runner.toml", &pipeline(run));
    world.commit("first");
    let said = world.staith(&["run"]).exits(0);
    said.says("through the tunnel")
        .says("plainly")
        .says("python b'through the tunnel'")
        .never_says("hunter2")
        .never_says("a request to the network");
    let asked = company.take_asked();
    for expected in [
        "CONNECT a.far.test:443 ",
        "GET http://a.far.test/y ",
        "CONNECT b.far.test:443 ",
        "CONNECT c.far.test:443 ",
    ] {
        assert!(asked.iter().any(|asked| asked.starts_with(expected)), "{expected}: {asked:?}");
    }
}

#[test]
fn what_the_network_refuses_is_in_the_log() {
    let company = Company::new();
    let world = company.world();
    world.write(
        "runner.toml",
        &pipeline("set +e; curl -sS https://169.254.169.254/; curl -sS http://localhost:1/ --noproxy nobody; curl -sS https://near.test/; exit 3"),
    );
    world.commit("first");
    let said = world.staith(&["run"]).exits(10);
    said.says("169.254.169.254 is a link-local address")
        .says("loopback")
        .says("near.test:443 can't be reached");
    assert_eq!(company.take_asked(), Vec::<String>::new());
    world.write("runner.toml", &pipeline("curl -sS https://a.far.test/"));
    world.commit("second");
    let socks = world.with_env("HTTPS_PROXY", "socks5://127.0.0.1:9");
    socks.staith(&["run"]).exits(10).says("HTTPS_PROXY names a SOCKS proxy");
    socks.staith(&["doctor"]).says("HTTPS_PROXY names a SOCKS proxy");
}

#[test]
fn images_and_repositories_are_asked_for_through_the_hosts_proxy() {
    let company = Company::new();
    let world = company.world();
    world.write(
        "runner.toml",
        "name = \"far\"\nversion = \"1\"\n[steps.ask]\nimage = \"registry.far.test/app:1\"\nrun = 'true'\n",
    );
    world.commit("first");
    let said = world.staith(&["run"]).exits(30);
    said.says("registry.far.test").never_says("hunter2");
    let asked = company.take_asked();
    assert!(asked.iter().any(|asked| asked.starts_with("CONNECT registry.far.test:443 ")), "{asked:?}");
    let said = world.staith(&["run", "https://git.far.test/x.git"]);
    said.says("not as a git server").never_says("hunter2");
    let asked = company.take_asked();
    assert!(asked.iter().any(|asked| asked.starts_with("CONNECT git.far.test:443 ")), "{asked:?}");
    let wrong = world.with_env("HTTPS_PROXY", &format!("http://me:wrong@{}", company.proxy));
    wrong.staith(&["run"]).exits(30).says("407");
    wrong.staith(&["run", "https://git.far.test/x.git"]).says("the proxy refused");
}

#[test]
fn packages_go_to_a_registry_and_come_from_it_through_the_hosts_proxy() {
    let (company, registry) = (Company::new(), Registry::open());
    *company.registry.lock().unwrap() = Some(registry.address());
    let world = company.world();
    let sample = repository().join("packager/tests/samples/contentpath.zip");
    let push = ["push", sample.to_str().unwrap(), "shop@1.0", "--to", "oci://registry.far.test/team"];
    world.staith(&push).exits(0).says("sent").never_says("hunter2");
    let to = world.scratch().join("to");
    let pull = ["pull", "shop@1.0", "--from", "oci://registry.far.test/team", "--to", to.to_str().unwrap()];
    let pulled = world.staith(&pull).exits(0).never_says("hunter2");
    assert_eq!(fs::read(pulled.out.trim()).unwrap(), fs::read(&sample).unwrap());
    let asked = company.take_asked();
    assert!(asked.iter().all(|asked| asked.starts_with("CONNECT registry.far.test:443 ")), "{asked:?}");
    let wrong = world.with_env("HTTPS_PROXY", &format!("http://me:wrong@{}", company.proxy));
    wrong.staith(&pull).exits(30).says("407").never_says("wrong@");
}
