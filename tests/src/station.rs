//! The built-in proxy as a process of its own, on loopback: started, killed, started again.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use staith_releaser::fleet::balancer::{built_in::BuiltIn, haproxy::Dial};
use tempfile::TempDir;

use crate::{balancing::name, wait, world::staith_binary};

/// The backend of every one of them.
pub const BACKEND: &str = "app";

/// A proxy. Dropping it kills it.
#[derive(Debug)]
pub struct StationNode {
    place: TempDir,
    process: Option<Child>,
    /// Where clients ask.
    pub front: SocketAddr,
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl StationNode {
    /// A proxy whose backend has these members; the first of them serves.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(members: &[(&str, SocketAddr)]) -> Self {
        Self::start_with(members, "")
    }

    /// The same, with more lines in the backend's configuration.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(members: &[(&str, SocketAddr)], more: &str) -> Self {
        let (place, front) = (tempfile::tempdir().unwrap(), free());
        let here = place.path().display();
        let mut config = format!(
            "control = \"{here}/control.sock\"\nfolder = \"{here}/state\"\n[backends.{BACKEND}]\nlisten = [\"{front}\"]\n\
             check = {{ path = \"/healthz\", interval = \"50ms\", within = \"10s\", rise = 1, fall = 2 }}\n{more}\n"
        );
        for (at, (member, address)) in members.iter().enumerate() {
            let serves = at == 0;
            config += &format!("members.{member} = {{ address = \"{address}\", serves = {serves} }}\n");
        }
        fs::write(place.path().join("proxy.toml"), config).unwrap();
        let mut node = Self { place, process: None, front };
        node.starts();
        node
    }

    /// Starts it, and waits until it can be spoken to.
    ///
    /// # Panics
    /// It does not start.
    pub fn starts(&mut self) {
        let said = fs::File::create(self.place.path().join("said")).unwrap();
        let process = Command::new(staith_binary())
            .args(["proxy", "serve", "--config"])
            .arg(self.place.path().join("proxy.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        self.process = Some(process);
        wait::until("the proxy answers", || {
            let answers =
                UnixStream::connect(self.control()).is_ok() && TcpStream::connect(self.front).is_ok();
            answers.then_some(())
        });
    }

    /// Ends it as a loss of power would.
    ///
    /// # Panics
    /// It can't be killed.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Its process, where it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Waits for its end by itself.
    ///
    /// # Panics
    /// It was not running.
    pub fn ended(&mut self) -> bool {
        self.process.take().unwrap().wait().unwrap().success()
    }

    /// Its control socket.
    pub fn control(&self) -> PathBuf {
        self.place.path().join("control.sock")
    }

    /// Where it keeps what it must not forget.
    pub fn state(&self) -> PathBuf {
        self.place.path().join(format!("state/{BACKEND}.json"))
    }

    /// How it is spoken to.
    pub fn dial(&self) -> Dial {
        Dial::Unix(self.control())
    }

    /// The balancer that it is.
    ///
    /// # Panics
    /// Never.
    pub fn balancer(&self) -> BuiltIn {
        BuiltIn::new(vec![self.dial()], name(BACKEND), [].into()).unwrap()
    }

    /// What it said of what went wrong.
    pub fn said(&self) -> String {
        fs::read_to_string(self.place.path().join("said")).unwrap_or_default()
    }
}

impl Drop for StationNode {
    fn drop(&mut self) {
        self.kill();
    }
}
