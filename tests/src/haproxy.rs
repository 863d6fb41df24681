//! HAProxy as Debian has it, started as a child with a configuration and sockets of its own, on loopback only.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use staith_releaser::fleet::balancer::haproxy::{Dial, HaProxy, Keep, NodeSpec, lint};
use tempfile::TempDir;

use crate::wait;

/// The backend of every one of them.
pub const BACKEND: &str = "app";

/// A node of HAProxy, with its master. Dropping it ends both.
#[derive(Debug)]
pub struct Node {
    place: TempDir,
    master: Child,
    /// Where clients ask.
    pub front: SocketAddr,
}

impl Node {
    /// A node whose backend has these servers; the first of them serves, the others are disabled.
    ///
    /// # Panics
    /// HAProxy is not installed, or does not take the configuration.
    pub fn start(servers: &[(&str, SocketAddr)]) -> Self {
        Self::start_checking(servers, "inter 50ms rise 1 fall 3")
    }

    /// The same, with checks of its servers as patient as this says.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_checking(servers: &[(&str, SocketAddr)], checks: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let front = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = config(place.path(), front, servers).replace("inter 50ms rise 1 fall 3", checks);
        fs::write(place.path().join("haproxy.cfg"), config).unwrap();
        let said = fs::File::create(place.path().join("said")).unwrap();
        let master = Command::new("/usr/sbin/haproxy")
            .args(["-W", "-S"])
            .arg(format!("{},mode,600", place.path().join("master.sock").display()))
            .arg("-f")
            .arg(place.path().join("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("haproxy is installed (tests/run does that)");
        let node = Self { place, master, front };
        node.answers();
        node
    }

    /// Waits until its worker and its master answer: there is a moment at a start and at a reload when they do not.
    ///
    /// # Panics
    /// They never do.
    pub fn answers(&self) {
        wait::until("HAProxy answers", || {
            let listens = |name: &str| UnixStream::connect(self.socket(name)).is_ok();
            let all =
                listens("admin.sock") && listens("master.sock") && TcpStream::connect(self.front).is_ok();
            all.then_some(())
        });
    }

    /// How it is spoken to, with all that its configuration allows.
    pub fn spec(&self) -> NodeSpec {
        let config = fs::read_to_string(self.place.path().join("haproxy.cfg")).unwrap_or_default();
        let keep = lint::state_file(&config, BACKEND);
        NodeSpec {
            runtime: Dial::Unix(self.socket("admin.sock")),
            master: Some(Dial::Unix(self.socket("master.sock"))),
            keep: keep.map(|(path, whole)| Keep { place: path.into(), whole }),
        }
    }

    /// The balancer that it is.
    ///
    /// # Panics
    /// Never.
    pub fn balancer(&self) -> HaProxy {
        HaProxy::new(vec![self.spec()], BACKEND).unwrap()
    }

    /// A socket of it.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Has it read its configuration again, in a new worker. Does not wait for it.
    ///
    /// # Panics
    /// It has ended.
    pub fn reload(&self) {
        kill_process(self.pid(), Signal::USR2).unwrap();
    }

    /// What it said when something was wrong with it.
    pub fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("said")).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.master.id()).unwrap()).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The master ends its workers and then itself; one that was killed would leave them.
        let _ = kill_process(self.pid(), Signal::TERM);
        let _ = self.master.wait();
    }
}

fn config(place: &Path, front: SocketAddr, servers: &[(&str, SocketAddr)]) -> String {
    let place = place.display();
    let servers: String = servers
        .iter()
        .enumerate()
        .map(|(nth, (name, address))| {
            format!("    server {name} {address}{}\n", if nth == 0 { "" } else { " disabled" })
        })
        .collect();
    format!(
        "\
global
    master-worker
    stats socket {place}/admin.sock mode 600 level admin expose-fd listeners
    server-state-file {place}/state
    hard-stop-after 20s
defaults
    mode http
    timeout connect 500ms
    timeout client 20s
    timeout server 20s
    timeout check 2s
    option redispatch 1
    option idle-close-on-response
    load-server-state-from-file global
    default-server check inter 50ms rise 1 fall 3
frontend front
    bind {front}
    default_backend {BACKEND}
backend {BACKEND}
    balance roundrobin
    option httpchk GET /healthz
{servers}"
    )
}
