//! Machines that are up in a moment: an ssh server of their own in namespaces of their own, with the host's programs.
//!
//! Each has its own processes, its own loopback, so that all of them have the same ports, and its own `/srv`, `/usr/local/lib`, `/var/lib`
//! and `/run`; nothing of the host is written to. Its ports are reached through addresses of the host's loopback. Made by the superuser only.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use tempfile::TempDir;

/// Where the machine has folders of its own.
const OWN: &[&str] = &["/srv", "/usr/local/lib", "/var/lib", "/run", "/root"];

/// A machine. Everything on it ends when it is dropped.
#[derive(Debug)]
pub struct SmallMachine {
    folder: TempDir,
    running: Child,
    over: Arc<AtomicBool>,
    relays: Vec<SocketAddr>,
    /// Where its ssh server answers.
    pub ssh: SocketAddr,
    /// Where its port 8080 answers.
    pub web: SocketAddr,
}

impl SmallMachine {
    /// A machine that is ready.
    ///
    /// # Panics
    /// Its parts can't be started, or this is no superuser.
    pub fn start() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "machines in namespaces are made by the superuser: run this test as root"
        );
        let folder = tempfile::tempdir().unwrap();
        for key in ["host_key", "user_key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join(key));
            assert!(keygen.status().unwrap().success());
        }
        let running = boot(folder.path());
        let inside = inside(&running);
        let (over, mut relays) = (Arc::<AtomicBool>::default(), Vec::new());
        for port in [22, 8080] {
            relays.push(relay(&inside, port, &over));
        }
        let (ssh, web) = (relays[0], relays[1]);
        Self { folder, running, over, relays, ssh, web }
    }

    /// The private key that its superuser accepts.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("user_key")
    }

    /// Its host key, as a target pins it: `ssh-ed25519 AAAA...`.
    ///
    /// # Panics
    /// It is gone.
    pub fn host_key(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("host_key.pub")).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// What `ssh_config` says of it under a name.
    pub fn ssh_config(&self, name: &str) -> String {
        format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n",
            self.ssh.port(),
            self.key().display()
        )
    }

    /// A folder of its own as the host sees it: `/srv/app`, say.
    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("own").join(path.trim_start_matches('/'))
    }

    /// Has all its processes stand still, as a machine that hangs: it takes connections and says nothing.
    ///
    /// # Panics
    /// They are gone.
    pub fn hangs(&self) {
        self.signal(Signal::STOP);
    }

    /// Has them go on.
    ///
    /// # Panics
    /// They are gone.
    pub fn goes_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let mut all = descendants(self.running.id());
        // Until nothing new is found: a process may have been started meanwhile.
        loop {
            for id in &all {
                let _ = kill_process(*id, signal);
            }
            let now = descendants(self.running.id());
            if now.iter().all(|id| all.contains(id)) {
                return;
            }
            all = now;
        }
    }
}

impl Drop for SmallMachine {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.running.kill();
        let _ = self.running.wait();
        // Whoever listens there looks up and ends.
        self.relays.iter().for_each(|relay| drop(TcpStream::connect(relay)));
    }
}

/// Starts sshd as the first process of a machine; returns when it listens.
fn boot(folder: &Path) -> Child {
    let place = folder.display();
    let mut script = "set -e; ip link set lo up; ".to_owned();
    for own in OWN {
        fs::create_dir_all(folder.join("own").join(own.trim_start_matches('/'))).unwrap();
        script += &format!("mount --bind {place}/own{own} {own}; ");
    }
    fs::create_dir(folder.join("own/run/sshd")).unwrap();
    script += &format!("exec /usr/sbin/sshd -D -e -f {place}/sshd_config");
    let config = format!(
        "Port 22\nListenAddress 127.0.0.1\nHostKey {place}/host_key\nAuthorizedKeysFile {place}/user_key.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n"
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.args(["sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = unshare.spawn().unwrap();
    let mut said = BufReader::new(running.stderr.take().unwrap());
    let (mut line, mut all) = (String::new(), String::new());
    while !line.contains("Server listening") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the machine does not start: {all}");
        all += &line;
    }
    thread::spawn(move || io::copy(&mut said, &mut io::sink()));
    running
}

/// The network of the machine that this process made.
fn inside(running: &Child) -> PathBuf {
    let id = running.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let first = children.split_whitespace().next().expect("a machine has a first process");
    PathBuf::from(format!("/proc/{first}/ns/net"))
}

/// Listens on the host's loopback, and hands each connection to a port of the machine.
fn relay(network: &Path, port: u16, over: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (network, over) = (File::open(network).unwrap(), Arc::clone(over));
    thread::spawn(move || {
        // This thread alone moves; sockets that were made before stay where they were made.
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        drop(network);
        for client in listener.incoming().flatten() {
            if over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(machine) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let _ = (client.set_nodelay(true), machine.set_nodelay(true));
            let (Ok(from), Ok(to)) = (client.try_clone(), machine.try_clone()) else { continue };
            thread::spawn(move || carry(from, to));
            thread::spawn(move || carry(machine, client));
        }
    });
    address
}

/// Carries bytes one way; the end is handed on, too.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let carried = io::copy(&mut from, &mut to);
    let _ = to.shutdown(if carried.is_ok() { Shutdown::Write } else { Shutdown::Both });
    if carried.is_err() {
        let _ = from.shutdown(Shutdown::Both);
    }
}

/// The processes below a process, children first.
fn descendants(id: u32) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse::<u32>().ok());
    children
        .flat_map(|child| {
            let mut below = descendants(child);
            below.extend(i32::try_from(child).ok().and_then(Pid::from_raw));
            below
        })
        .collect()
}
