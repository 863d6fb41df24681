//! OpenSSH's own server and agent, on loopback, with keys and configuration of their own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use staith_releaser::fleet::ssh::{Destination, Places, Program, SshClient, SshOptions, SshWay};

/// A program that stands in for the one on machines: it says its arguments and then all that it is told.
pub(crate) const STAND_IN: &str = "#!/bin/sh\ncase $1 in\n--self-digest) seen=$(sha256sum <\"$0\"); echo \"${seen%% *}\";;\n\
     fail) echo oops >&2; exit 3;;\nby) echo \"by $BY\";;\nhold) exec 9>\"$2\"; echo held; exec cat;;\n*) echo \"hello $*\"; exec cat;;\nesac\n";

/// A folder with everything of a test: it ends with it.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

/// A running sshd.
pub(crate) struct Server {
    child: Child,
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) log: Arc<Mutex<String>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self { dir };
        world.keygen("user", &["-t", "ed25519"]);
        fs::copy(world.path("user.pub"), world.path("authorized")).unwrap();
        fs::write(world.path("known"), "").unwrap();
        fs::write(world.path("config"), "").unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn keygen(&self, name: &str, how: &[&str]) {
        let with_passphrase = how.contains(&"-N");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-C", name, "-f"]).arg(self.path(name)).args(how);
        if !with_passphrase {
            keygen.args(["-N", ""]);
        }
        assert!(keygen.status().unwrap().success());
    }

    /// Signs a key as an authority: `how` is what the certificate says.
    pub(crate) fn sign(&self, authority: &str, key: &str, how: &[&str]) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-s"]).arg(self.path(authority)).args(["-I", "test"]).args(how);
        assert!(keygen.arg(self.path(&format!("{key}.pub"))).status().unwrap().success());
    }

    /// The configuration of a server with host key and port of its own.
    pub(crate) fn server_config(&self, name: &str, port: u16, more: &str) -> PathBuf {
        if !self.path(&format!("{name}-host")).exists() {
            self.keygen(&format!("{name}-host"), &["-t", "ed25519"]);
        }
        let text = format!(
            "{more}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {0}/{name}-host\nAuthorizedKeysFile {0}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n",
            self.dir.path().display()
        );
        let path = self.path(&format!("{name}-sshd"));
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn server(&self, name: &str, more: &str) -> Server {
        self.server_at(name, free_port(), more, &[])
    }

    /// Starts sshd behind the words of `before`, and writes it into the client's configuration under its name.
    pub(crate) fn server_at(&self, name: &str, port: u16, more: &str, before: &[&str]) -> Server {
        // Where sshd shuts its unprivileged half in; the system's own start script makes it.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let config = self.server_config(name, port, more);
        let mut words = before.iter().copied().chain(["/usr/sbin/sshd", "-D", "-e", "-f"]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let mut line = String::new();
        while !line.contains("Server listening") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "sshd ended: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
        }
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Server { child, name: name.into(), port, log }
    }

    /// A client's configuration for a server, with further lines that come first.
    pub(crate) fn host(&self, server: &Server, more: &str) {
        let text = format!(
            "Host {0}\n{more}\nHostName 127.0.0.1\nPort {1}\nUser {2}\nIdentityFile {3}/user\nIdentityAgent none\n\
             UserKnownHostsFile {3}/known\nGlobalKnownHostsFile none\n",
            server.name,
            server.port,
            whoami(),
            self.dir.path().display()
        );
        fs::write(self.path("config"), self.read("config") + &text).unwrap();
    }

    /// Writes a server's key into the known hosts.
    pub(crate) fn know(&self, server: &Server) {
        let key = self.read(&format!("{}-host.pub", server.name));
        let line = format!("[127.0.0.1]:{} {key}", server.port);
        fs::write(self.path("known"), self.read("known") + &line).unwrap();
    }

    pub(crate) fn client(&self) -> SshClient {
        SshClient::new(SshOptions { config: Some(self.path("config")), ..SshOptions::default() })
    }

    /// The way to the stand-in on a server.
    pub(crate) fn way(&self, server: &str) -> SshWay {
        SshWay {
            target: server.into(),
            destination: Destination::of(server),
            client: self.client(),
            program: Arc::new(Program::new(
                STAND_IN.as_bytes(),
                staith_model::Digest::of(STAND_IN.as_bytes()),
            )),
            arguments: vec!["serve".into(), "--folder".into(), "it's here".into()],
            places: Places {
                programs: vec![self.path("programs").display().to_string()],
                units: vec![self.path("units").display().to_string()],
            },
            superuser: false,
        }
    }

    /// A server that is known, and the way to it.
    pub(crate) fn simple(&self, more: &str) -> (Server, SshWay) {
        let server = self.server("web", more);
        self.host(&server, "");
        self.know(&server);
        let way = self.way("web");
        (server, way)
    }

    /// Files where programs are kept, sorted, but for notes of what was proven.
    pub(crate) fn programs(&self) -> Vec<String> {
        let Ok(found) = fs::read_dir(self.path("programs")) else { return Vec::new() };
        let mut names: Vec<_> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with(".proven-"));
        names.sort();
        names
    }
}

impl Server {
    /// How often somebody was let in.
    pub(crate) fn let_in(&self) -> usize {
        self.log.lock().unwrap().matches("Accepted publickey").count()
    }

    /// Ends the server and everything that it has started, as when a machine loses power.
    pub(crate) fn kill(&mut self) {
        for id in descendants(self.child.id()) {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes below a process, children first.
fn descendants(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(|id| id.parse().unwrap());
    children.flat_map(|child| std::iter::once(child).chain(descendants(child)).collect::<Vec<_>>()).collect()
}

/// A running ssh-agent.
pub(crate) struct Agent {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Agent {
    pub(crate) fn start(world: &World) -> Self {
        let socket = world.path("agent");
        let mut command = Command::new("ssh-agent");
        command
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // It says where it listens once it does.
        let mut said = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        Self { child, socket }
    }

    pub(crate) fn add(&self, key: &Path) {
        self.add_with(key, Path::new("/not/on/this/machine"));
    }

    /// With a program that prints the passphrase.
    pub(crate) fn add_with(&self, key: &Path, asked: &Path) {
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null());
        add.env("SSH_ASKPASS", asked).env("SSH_ASKPASS_REQUIRE", "force");
        assert!(add.status().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn whoami() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().into()
}

/// A port that was free just now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
