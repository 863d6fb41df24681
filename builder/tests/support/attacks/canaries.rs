//! What attempts aim at: things of the tests' own that look like the machine's.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr, UnixListener},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::super::ordinary_user::ORDINARY_ID;

/// What is in the canary's environment and in its file.
const SONG: &str = "the-canary-sings";

/// A folder, a file, sockets of three kinds and a process, all open to any user of this machine.
pub struct Canaries {
    place: tempfile::TempDir,
    process: Child,
    abstract_name: String,
    server: TcpListener,
    _datagrams: UdpSocket,
    _sockets: [UnixListener; 2],
    settings: Vec<Option<String>>,
}

/// Waits until its standard input closes, and lets everybody trace it.
const PROCESS: &str = "import ctypes, sys; \
    ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0); print('ready', flush=True); sys.stdin.read()";

impl Canaries {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        open(place.path(), 0o755);
        let folder = place.path().join("open");
        fs::create_dir(&folder).unwrap();
        open(&folder, 0o777);
        fs::write(folder.join("file"), SONG).unwrap();
        open(&folder.join("file"), 0o666);
        let socket = UnixListener::bind(folder.join("socket")).unwrap();
        open(&folder.join("socket"), 0o777);
        let abstract_name = format!("staith-canary-{}-{}", std::process::id(), place.path().display());
        let address = SocketAddr::from_abstract_name(abstract_name.as_bytes()).unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let datagrams = UdpSocket::bind(server.local_addr().unwrap()).unwrap();
        Self {
            process: process(),
            _sockets: [socket, UnixListener::bind_addr(&address).unwrap()],
            place,
            abstract_name,
            server,
            _datagrams: datagrams,
            settings: settings(),
        }
    }

    pub fn folder(&self) -> PathBuf {
        self.place.path().join("open")
    }

    pub fn file(&self) -> PathBuf {
        self.folder().join("file")
    }

    /// Their names, as assignments of Python.
    pub fn names(&self) -> String {
        let port = self.server.local_addr().unwrap().port();
        format!(
            "CANARY = '{SONG}'\nCANARY_PID = {}\nCANARY_FILE = '{}'\nCANARY_SOCKET = '{}'\n\
             CANARY_ABSTRACT = '{}'\nPORT = '{port}'\n",
            self.process.id(),
            self.file().display(),
            self.folder().join("socket").display(),
            self.abstract_name,
        )
    }

    /// Forgets who called until now.
    pub fn hang_up(&self) {
        while self.server.accept().is_ok() {}
    }

    /// After attempts that all should have failed.
    pub fn are_well(&mut self) {
        assert_eq!(fs::read_to_string(self.file()).unwrap(), SONG);
        assert!(self.process.try_wait().unwrap().is_none(), "the canary has died");
        let caller = self.server.accept();
        assert!(
            caller.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "somebody reached this machine: {caller:?}"
        );
        assert_eq!(settings(), self.settings, "settings of the machine have changed");
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn process() -> Child {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", PROCESS]).env_clear().env("CANARY", SONG).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if nix::unistd::geteuid().is_root() {
        command.uid(ORDINARY_ID).gid(ORDINARY_ID);
    }
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// Settings of the machine that some attempts aim at, for no canary can stand for them.
fn settings() -> Vec<Option<String>> {
    [
        "kernel/core_pattern",
        "kernel/modprobe",
        "vm/overcommit_memory",
        "net/ipv4/ip_forward",
        "kernel/hostname",
    ]
    .map(|name| fs::read_to_string(format!("/proc/sys/{name}")).ok())
    .to_vec()
}
