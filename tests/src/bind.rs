//! BIND 9 as Debian has it, started as a child with a zone of its own, on loopback only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_releaser::{
    fleet::balancer::{
        Balancer as _,
        dns::{Dns, DnsMember, DnsSpec},
    },
    traffic::TrafficError,
};
use tempfile::TempDir;

use crate::{balancing::name, wait};

/// The value of the key that may change the zone.
pub const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The same, as people write it down.
pub const KEY_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The name whose addresses change.
pub const RECORD: &str = "app.staith.test";

/// A name server for the zone `staith.test`. Dropping it ends it.
#[derive(Debug)]
pub struct Bind {
    _place: TempDir,
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Bind {
    /// A server whose record is `127.0.0.2`, with 300 seconds to live.
    ///
    /// # Panics
    /// BIND is not installed, or does not take the configuration.
    pub fn start() -> Self {
        Self::start_with_ttl(300)
    }

    /// The same, with another time to live.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with_ttl(ttl: u32) -> Self {
        let place = tempfile::tempdir().unwrap();
        let address = free();
        fs::write(place.path().join("named.conf"), config(place.path(), address.port())).unwrap();
        let zone = format!(
            "$TTL 60\n@ IN SOA ns.staith.test. admin.staith.test. 1 60 60 60 60\n@ IN NS ns\nns IN A 127.0.0.1\napp {ttl} IN A 127.0.0.2\n\
             alias IN CNAME app\n"
        );
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
        wait::until("BIND listens", || TcpStream::connect(address).ok().map(drop));
        let bind = Self { _place: place, child, address };
        wait::until("BIND has the zone", || bind.serving_or_not().ok().map(drop));
        bind
    }

    /// The balancer that its record is.
    ///
    /// # Panics
    /// Never.
    pub fn dns(&self) -> Dns {
        dns(self.address, RECORD, KEY).unwrap()
    }

    /// Members whose addresses the record has.
    ///
    /// # Panics
    /// It does not answer.
    pub fn serving(&self) -> BTreeSet<String> {
        self.serving_or_not().unwrap()
    }

    fn serving_or_not(&self) -> Result<BTreeSet<String>, TrafficError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = runtime.block_on(self.dns().observe())?;
        Ok(state.serving().into_iter().map(ToString::to_string).collect())
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A port that is free over UDP, too.
fn free() -> SocketAddr {
    loop {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
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
         key \"reader\" {{ algorithm hmac-sha256; secret \"{KEY_BASE64}\"; }};\n\
         zone \"staith.test\" {{ type primary; file \"zone.db\"; allow-update {{ key \"staith\"; }}; }};\n"
    )
}

/// The balancer of a record with the members blue (127.0.0.2), green (127.0.0.3) and six (::1).
///
/// # Errors
/// The record is not in the zone.
pub fn dns(server: SocketAddr, record: &str, key: &[u8]) -> Result<Dns, TrafficError> {
    Dns::new(spec(server, record), "staith", key)
}

/// What such a balancer is told.
///
/// # Panics
/// Never.
pub fn spec(server: SocketAddr, record: &str) -> DnsSpec {
    let members = [("blue", "127.0.0.2"), ("green", "127.0.0.3"), ("six", "::1")];
    let members = members.map(|(member, address)| {
        let address: IpAddr = address.parse().unwrap();
        (name(member), DnsMember { address, port: None })
    });
    DnsSpec {
        server: server.to_string(),
        zone: "staith.test".into(),
        record: record.into(),
        ttl: 5,
        members: BTreeMap::from(members),
    }
}
