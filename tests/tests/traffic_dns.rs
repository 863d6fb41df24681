//! Addresses of a name are exchanged on a real BIND 9, as one compare-and-swap.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_releaser::{
    fleet::balancer::{
        Balancer, Shift, Shifted,
        dns::{Dns, DnsSpec},
    },
    traffic::TrafficError,
};
use staith_tests::{
    balancing::{hold_to_the_contract, name, order},
    wait,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const KEY_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const RECORD: &str = "app.staith.test";

struct Bind {
    _place: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Bind {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        fs::write(place.path().join("named.conf"), config(place.path(), address.port())).unwrap();
        let zone = "$TTL 60\n@ IN SOA ns.staith.test. admin.staith.test. 1 60 60 60 60\n@ IN NS ns\nns IN A 127.0.0.1\napp 300 IN A 127.0.0.2\nalias IN CNAME app\n";
        fs::write(place.path().join("zone.db"), zone).unwrap();
        let said = fs::File::create(place.path().join("said")).unwrap();
        let child = Command::new("/usr/sbin/named")
            .args(["-g", "-n", "1", "-c"])
            .arg(place.path().join("named.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("BIND 9 is installed (tests/run does that)");
        wait::until("BIND listens", || std::net::TcpStream::connect(address).ok().map(drop));
        let bind = Self { _place: place, child, address };
        wait::until("BIND has the zone", || runtime().block_on(bind.dns().observe()).ok().map(drop));
        bind
    }

    fn dns(&self) -> Dns {
        dns(self.address, RECORD, KEY).unwrap()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Nothing outside its folder is written, and nobody but this machine reaches it.
fn config(place: &Path, port: u16) -> String {
    let place = place.display();
    format!(
        "options {{ directory \"{place}\"; pid-file \"{place}/pid\"; session-keyfile none; lock-file none; recursion no; \
         dnssec-validation no; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; allow-transfer {{ none; }}; }};\n\
         controls {{ }};\n\
         key \"staith\" {{ algorithm hmac-sha256; secret \"{KEY_BASE64}\"; }};\n\
         zone \"staith.test\" {{ type primary; file \"zone.db\"; allow-update {{ key \"staith\"; }}; }};\n"
    )
}

fn dns(server: SocketAddr, record: &str, key: &[u8]) -> Result<Dns, TrafficError> {
    let members = [("blue", "127.0.0.2"), ("green", "127.0.0.3"), ("six", "::1")];
    let members = members.map(|(member, address)| (name(member), address.parse().unwrap()));
    let spec = DnsSpec {
        server: server.to_string(),
        zone: "staith.test".into(),
        record: record.into(),
        ttl: 5,
        members: BTreeMap::from(members),
        port: None,
    };
    Dns::new(spec, "staith", key)
}

fn to(members: &[&str]) -> Shift {
    let to = members.iter().map(|member| (name(member), 1)).collect();
    Shift { to, patience: Duration::from_millis(200), drain: Duration::ZERO }
}

async fn serve(dns: &Dns, members: &[&str]) -> Result<Shifted, TrafficError> {
    dns.serve(&order(1), &to(members)).await
}

async fn serving(dns: &Dns) -> BTreeSet<String> {
    dns.observe().await.unwrap().serving().into_iter().map(ToString::to_string).collect()
}

fn names(members: &[&str]) -> BTreeSet<String> {
    members.iter().map(ToString::to_string).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_swap_is_one_message_and_a_second_one_changes_nothing() {
    let bind = Bind::start();
    let dns = bind.dns();
    runtime().block_on(async {
        assert_eq!(serving(&dns).await, names(&["blue"]));
        // What was served before lingers for as long as it said, not for as long as we say.
        assert_eq!(dns.lingers(), Duration::from_secs(300));
        for members in [&["green"][..], &["blue", "green", "six"], &["six"], &["blue"]] {
            assert_eq!(serve(&dns, members).await.unwrap(), Shifted::default(), "{members:?}");
            assert_eq!(serving(&dns).await, names(members));
            assert!(serve(&dns, members).await.unwrap().already);
        }
    });
}

#[test]
fn it_holds_to_the_contract() {
    let bind = Bind::start();
    runtime().block_on(hold_to_the_contract(&bind.dns(), "blue", "green"));
}

#[test]
fn what_must_not_be_is_refused_and_nothing_changes() {
    let bind = Bind::start();
    let good = bind.dns();
    runtime().block_on(async {
        for (members, expected) in [(&[][..], "no address"), (&["pink"], "address of pink")] {
            let error = serve(&good, members).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let wrong_key = dns(bind.address, RECORD, b"another key altogether, not theirs").unwrap();
        let error = serve(&wrong_key, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("look at the key's name and value"), "{error}");
        let alias = dns(bind.address, "alias.staith.test", KEY).unwrap();
        let error = serve(&alias, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("CNAME"), "{error}");
        assert!(dns(bind.address, "app.elsewhere.test", KEY).is_err());
        assert_eq!(serving(&good).await, names(&["blue"]));
    });
}

#[test]
fn a_zone_of_others_and_a_member_that_is_down_are_told() {
    let bind = Bind::start();
    let spec = |zone: &str, port| DnsSpec {
        server: bind.address.to_string(),
        zone: zone.into(),
        record: format!("app.{zone}"),
        ttl: 5,
        members: BTreeMap::from([(name("green"), "127.0.0.3".parse().unwrap())]),
        port,
    };
    let closed = std::net::TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap().port();
    runtime().block_on(async {
        let elsewhere = Dns::new(spec("elsewhere.test", None), "staith", KEY).unwrap();
        let error = serve(&elsewhere, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("elsewhere.test"), "{error}");
        let down = Dns::new(spec("staith.test", Some(closed)), "staith", KEY).unwrap();
        let error = serve(&down, &["green"]).await.unwrap_err().to_string();
        assert!(error.contains("does not accept connections"), "{error}");
        assert_eq!(serving(&bind.dns()).await, names(&["blue"]));
    });
}

#[test]
fn records_that_somebody_else_changed_in_between_are_read_again() {
    let bind = Bind::start();
    runtime().block_on(async {
        let updates = Arc::new(AtomicU32::new(0));
        let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = dns(between.local_addr().unwrap(), RECORD, KEY).unwrap();
        let (server, count) = (bind.address, Arc::clone(&updates));
        let meddler = bind.dns();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = between.accept().await.unwrap();
                let mut said = vec![0; usize::from(client.read_u16().await.unwrap())];
                client.read_exact(&mut said).await.unwrap();
                // The operation is in the third byte of a message; 5 is an update.
                if (said[2] >> 3) & 0xf == 5 && count.fetch_add(1, Ordering::SeqCst) == 0 {
                    serve(&meddler, &["blue", "green"]).await.unwrap();
                }
                let mut real = TcpStream::connect(server).await.unwrap();
                real.write_all(&u16::try_from(said.len()).unwrap().to_be_bytes()).await.unwrap();
                real.write_all(&said).await.unwrap();
                let mut answer = vec![0; usize::from(real.read_u16().await.unwrap())];
                real.read_exact(&mut answer).await.unwrap();
                client.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).await.unwrap();
                client.write_all(&answer).await.unwrap();
            }
        });
        assert_eq!(serve(&through, &["green"]).await.unwrap(), Shifted::default());
        assert_eq!(updates.load(Ordering::SeqCst), 2, "the first was refused by the server");
        assert_eq!(serving(&bind.dns()).await, names(&["green"]));
    });
}

#[test]
fn no_answer_and_half_an_answer_are_lost_contact() {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dns = dns(listener.local_addr().unwrap(), RECORD, KEY).unwrap();
        let half = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut said = vec![0; usize::from(client.read_u16().await.unwrap())];
            client.read_exact(&mut said).await.unwrap();
            client.write_all(&[0, 100, said[0], said[1]]).await.unwrap();
        });
        let error = serve(&dns, &["green"]).await.unwrap_err();
        assert!(error.is_lost(), "{error}");
        half.await.unwrap();
        let error = serve(&dns, &["green"]).await.unwrap_err();
        assert!(error.is_lost(), "{error}");
    });
}
