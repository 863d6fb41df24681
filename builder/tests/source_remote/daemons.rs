//! Real servers of others: sshd and git daemon, on loopback, ended by their ids.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use staith_builder::source::Reach;

/// A server that runs until it is dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
}

impl Daemon {
    /// Starts a server and waits until it says that it is ready.
    fn start(command: &mut Command, port: u16, ready: &str) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut all) = (String::new(), String::new());
        while !line.contains(ready) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the server ended: {all}");
            all.push_str(&line);
        }
        // What it says later must not block it.
        thread::spawn(move || said.lines().map_while(Result::ok).count());
        Self { child, port }
    }

    /// Git's own, without encryption.
    pub(crate) fn git(root: &Path) -> Self {
        let found = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let program = PathBuf::from(String::from_utf8(found).unwrap().trim()).join("git-daemon");
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["--verbose", "--log-destination=stderr", "--export-all", "--listen=127.0.0.1"]);
        command.arg(format!("--port={port}")).arg(format!("--base-path={}", root.display()));
        Self::start(&mut command, port, "Ready to rumble")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// OpenSSH's server, with keys of its own, that lets the caller in as the user who runs the test.
pub(crate) struct SshServer {
    pub(crate) daemon: Daemon,
    dir: PathBuf,
}

impl SshServer {
    pub(crate) fn start(scratch: &Path) -> Self {
        Self::start_with(scratch, "")
    }

    /// With more lines in its configuration.
    pub(crate) fn start_with(scratch: &Path, more: &str) -> Self {
        let dir = scratch.join("ssh");
        fs::create_dir(&dir).unwrap();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(dir.join(key));
            assert!(keygen.status().unwrap().success());
        }
        fs::copy(dir.join("user.pub"), dir.join("authorized")).unwrap();
        // Where sshd shuts its unprivileged half in; the system's own start script makes it.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = free_port();
        let key = fs::read_to_string(dir.join("host.pub")).unwrap();
        fs::write(dir.join("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        fs::write(dir.join("nobody"), "").unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n{more}",
            dir.display()
        );
        fs::write(dir.join("config"), config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(dir.join("config"));
        Self { daemon: Daemon::start(&mut sshd, port, "Server listening"), dir }
    }

    /// With a client that knows the keys in `known` and shows the key in `identity`.
    pub(crate) fn reach(&self, known: &str, identity: &str) -> Reach {
        let dir = self.dir.display();
        let command = format!(
            "ssh -F none -o IdentitiesOnly=yes -o IdentityAgent=none -o GlobalKnownHostsFile=none \
             -o StrictHostKeyChecking=yes -o UserKnownHostsFile={dir}/{known} -i {dir}/{identity}"
        );
        Reach { ssh_command: Some(command), ..Reach::default() }
    }
}

/// A port that was free just now.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
