//! Machines behind ssh that are this one: each is an sshd with keys of its own in a mount namespace of its own, where `/srv` is a folder
//! of the machine's own. They share the network and everything else.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{load::RELEASE, world::World};

/// Where applications live on each of them.
pub const FOLDER: &str = "/srv/app";

/// What the namespace hides: Staith's program goes where nothing else is, and sshd finds the folder that it wants.
const INSIDE: &str = "mount --bind \"$0\" /srv && mount -t tmpfs none /usr/local/lib && mount -t tmpfs none /run && mkdir /run/sshd \
                      && exec /usr/sbin/sshd -D -e -f \"$1\"";

/// Machines with one configuration of OpenSSH's. Dropping them ends all of them.
#[derive(Debug)]
pub struct Machines {
    place: TempDir,
    servers: Vec<Child>,
}

impl Machines {
    /// Machines of these names.
    ///
    /// # Panics
    /// sshd is not installed, or this user may not make namespaces.
    pub fn start(names: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("known"), "").unwrap();
        fs::write(place.path().join("config"), "").unwrap();
        let mut machines = Self { place, servers: Vec::new() };
        machines.keygen("user");
        for name in names {
            machines.add(name);
        }
        machines
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn keygen(&self, name: &str) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.path(name));
        assert!(keygen.stdin(Stdio::null()).status().unwrap().success());
    }

    fn add(&mut self, name: &str) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::create_dir(self.path(name)).unwrap();
        let host = format!("{name}-host");
        self.keygen(&host);
        let here = self.place.path().display().to_string();
        let sshd = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/{host}\nAuthorizedKeysFile {here}/user.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        );
        fs::write(self.path(&format!("{name}-sshd")), sshd).unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let client = format!(
            // What OpenSSH keeps its own connections by is passed over: that folder is not there.
            "Host {name}\nControlMaster auto\nControlPath {here}/none/%C\nControlPersist 10m\nHostName 127.0.0.1\nPort {port}\nUser {}\nIdentityFile {here}/user\nIdentitiesOnly yes\nIdentityAgent none\n\
             UserKnownHostsFile {here}/known\nGlobalKnownHostsFile none\n",
            user.trim()
        );
        let append = |file: &str, text: &str| {
            let before = fs::read_to_string(self.path(file)).unwrap();
            fs::write(self.path(file), before + text).unwrap();
        };
        append("config", &client);
        let key = fs::read_to_string(self.path(&format!("{host}.pub"))).unwrap();
        append("known", &format!("[127.0.0.1]:{port} {key}"));
        self.servers.push(self.sshd(name));
    }

    fn sshd(&self, name: &str) -> Child {
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", INSIDE])
            .arg(self.path(name))
            .arg(self.path(&format!("{name}-sshd")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Server listening") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "sshd of {name} ended");
        }
        // What nobody reads would hold it up some day.
        thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        child
    }

    /// The world, in which these are the machines that OpenSSH knows.
    pub fn known_in(&self, world: World) -> World {
        world.with_env("STAITH_SSH_CONFIG", &self.path("config").display().to_string())
    }

    /// The application's folder on a machine, as it is seen from outside.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.path(name).join("app")
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let id = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
            let _ = kill_process(id, Signal::TERM);
            let _ = server.wait();
        }
    }
}

/// Serves what a machine's `current` holds: `word.txt` names the release, as the load wants to hear it. Dropping it ends it.
#[derive(Debug)]
pub struct Files {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Files {
    /// Serves a machine's folder at an address; port 0 is any.
    ///
    /// # Panics
    /// The address is taken.
    pub fn serve(folder: PathBuf, at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let folder = folder.clone();
                let Ok(stream) = stream else { continue };
                thread::spawn(move || answer(stream, &folder));
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The word of the release that a machine runs.
pub fn word(folder: &Path) -> Option<String> {
    // The link is one of the machine's, where the folder is elsewhere.
    let release = fs::read_link(folder.join("current")).ok()?;
    let word =
        fs::read_to_string(folder.join("releases").join(release.file_name()?).join("word.txt")).ok()?;
    Some(word.trim().to_owned())
}

fn answer(mut stream: TcpStream, folder: &Path) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let mut asked = Vec::new();
    let mut piece = [0; 4096];
    while !asked.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => asked.extend_from_slice(&piece[..length]),
            _ => return,
        }
    }
    // The load looks whether an answer is one to its own question: the path comes back.
    let asked = String::from_utf8_lossy(&asked);
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let answer = match word(folder) {
        Some(word) => format!(
            "HTTP/1.1 200 OK\r\n{RELEASE}: {word}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{path}",
            path.len()
        ),
        None => "HTTP/1.1 503 Nothing\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    };
    let _ = stream.write_all(answer.as_bytes());
}
