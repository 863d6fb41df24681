//! Virtual machines of the tests' own, under QEMU: Debian with systemd and an ssh server, reached on loopback only.

use std::{
    fs::{self, File},
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Emulated machines share few processors with everything else that runs.
const PATIENCE: Duration = Duration::from_secs(240);

/// A virtual machine. Killed, as by a power failure, when it is dropped.
#[derive(Debug)]
pub struct VirtualMachine {
    folder: TempDir,
    running: Option<Child>,
    /// Where its ssh server answers.
    pub ssh: SocketAddr,
    /// Where its port 8080 answers.
    pub web: SocketAddr,
}

impl VirtualMachine {
    /// A machine that has never been started, with a disk and a host key of its own.
    ///
    /// # Panics
    /// The image can't be made, or something that it needs is not installed.
    pub fn new() -> Self {
        let image = image();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        run(Command::new("cp").arg("--sparse=always").arg(image.join("disk")).arg(at("disk")));
        for key in ["host_key", "user_key"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)));
        }
        // What differs between machines is written into the file system as it lies there: nothing has to be mounted.
        let commands = "write host_key /etc/ssh/host_key\nsif /etc/ssh/host_key mode 0100600\n\
                        write user_key.pub /root/.ssh/authorized_keys\nsif /root/.ssh/authorized_keys mode 0100600\n";
        fs::write(at("commands"), commands).unwrap();
        run(Command::new("debugfs").args(["-w", "-f", "commands", "disk"]).current_dir(folder.path()));
        let (ssh, web) = (free_address(), free_address());
        Self { folder, running: None, ssh, web }
    }

    /// Several machines, started at the same time and ready.
    ///
    /// # Panics
    /// One of them does not get ready.
    pub fn several(count: usize) -> Vec<Self> {
        let mut machines: Vec<Self> = (0..count).map(|_| Self::new()).collect();
        machines.iter_mut().for_each(Self::power_on);
        machines.iter().for_each(Self::wait_until_ready);
        machines
    }

    /// Starts it. Its disk is as it was when it lost its power.
    ///
    /// # Panics
    /// QEMU can't be started, or it runs.
    pub fn power_on(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let image = image();
        let forward =
            format!("user,id=net,restrict=on,hostfwd=tcp:{}-:22,hostfwd=tcp:{}-:8080", self.ssh, self.web);
        let log = File::create(self.folder.path().join("qemu.log")).unwrap();
        let qemu = Command::new("qemu-system-x86_64")
            .args([
                "-M",
                "q35",
                "-m",
                "256",
                "-smp",
                "1",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
            ])
            .args([
                "-serial",
                "file:console",
                "-append",
                "root=/dev/vda rw console=ttyS0 quiet no_timer_check",
            ])
            .arg("-kernel")
            .arg(image.join("kernel"))
            .arg("-initrd")
            .arg(image.join("initrd"))
            .args(["-drive", "file=disk,format=raw,if=virtio,cache=writeback"])
            .args(["-netdev", &forward, "-device", "virtio-net-pci,netdev=net,romfile="])
            .args(["-sandbox", "on", "-no-reboot"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(qemu);
    }

    /// Takes its power away.
    pub fn power_off(&mut self) {
        if let Some(mut qemu) = self.running.take() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }

    /// Waits until its ssh server greets.
    ///
    /// # Panics
    /// It does not within a few minutes; the message holds the end of its console.
    pub fn wait_until_ready(&self) {
        let began = Instant::now();
        while !self.greets() {
            assert!(began.elapsed() < PATIENCE, "the machine did not get ready:\n{}", self.console());
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// QEMU takes connections as soon as it runs; only the server behind it greets.
    fn greets(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect_timeout(&self.ssh, Duration::from_secs(5)) else {
            return false;
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
    }

    fn console(&self) -> String {
        let said = fs::read(self.folder.path().join("console")).unwrap_or_default();
        let end = said.len().saturating_sub(4096);
        String::from_utf8_lossy(&said[end..]).into_owned()
    }

    /// The private key that its superuser accepts.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("user_key")
    }

    /// Its host key, as a target pins it: `ssh-ed25519 AAAA...`.
    pub fn host_key(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("host_key.pub")).unwrap();
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Runs a shell command on it with OpenSSH, as the test's own look at the machine.
    ///
    /// # Panics
    /// `ssh` can't be started.
    pub fn sh(&self, script: &str) -> Output {
        self.sh_with(script, Stdio::null())
    }

    fn sh_with(&self, script: &str, input: Stdio) -> Output {
        Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "LogLevel=ERROR",
            ])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=60", "-i"])
            .arg(self.key())
            .args(["-p", &self.ssh.port().to_string(), "root@127.0.0.1", script])
            .stdin(input)
            .output()
            .unwrap()
    }

    /// Runs a shell command on it that reads this file, and that has to succeed.
    ///
    /// # Panics
    /// It failed, or there is no such file.
    #[track_caller]
    pub fn takes(&self, file: &Path, script: &str) {
        let output = self.sh_with(script, File::open(file).unwrap().into());
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}`: {}\n{err}", output.status);
    }

    /// As [`Self::sh`], and it has to succeed; what it wrote to standard output, without the line's end.
    ///
    /// # Panics
    /// It failed; the message holds what it said.
    #[track_caller]
    pub fn says(&self, script: &str) -> String {
        let output = self.sh(script);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}`: {}\n{err}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Default for VirtualMachine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for VirtualMachine {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// The folder with the image, made once and kept below `target`.
fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = project.join("../target/tools/vm");
        run(Command::new(project.join("vm/image")).arg(&folder));
        folder.canonicalize().unwrap()
    })
}

/// A port that nobody listens on. Somebody else may take it before the machine does; then QEMU ends, and the test tells.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}
