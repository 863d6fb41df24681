//! Container engines of the tests' own, and an image for them that is made of this host's programs. Nothing is fetched, and
//! nothing of this machine is written but a directory among the temporary files.
//!
//! The builder's tests take this file in as well.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Which program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `dockerd` of Docker.
    Docker,
    /// Podman's service.
    Podman,
}

/// A container engine with all that it keeps in a directory of its own. Ended when dropped, and when this process ends in any
/// way.
#[derive(Debug)]
pub struct ContainerEngine {
    /// None where another process keeps it.
    keeper: Option<(Child, TempDir)>,
    place: PathBuf,
}

/// Names the place of an engine that another process has started and keeps.
pub const LENT: &str = "STAITH_TEST_CONTAINER_ENGINE";

/// Ends the engine when its standard input closes, which it also does when the test is killed. The engine has namespaces of
/// processes and mounts of its own: what it starts ends with it, and what it mounts or writes to /etc and /run nobody else sees.
const KEEPER: &str = r#"
set -u
place=$1 command=$2 group=staith-test-$$
export place group
had=$(ls -d /sys/fs/cgroup/*/libpod_parent /sys/fs/cgroup/libpod_parent 2>/dev/null)
mkdir -p "$place/data" "$place/exec" "$place/etc" "$place/etc-work"
unshare --mount --pid --fork --kill-child=KILL --mount-proc bash -c '
    set -e
    mount -t overlay overlay -o "lowerdir=/etc,upperdir=$place/etc,workdir=$place/etc-work" /etc
    mount -t tmpfs -o mode=755 tmpfs /run
    exec bash -c "exec $0"' "$command" < /dev/null > "$place/log" 2>&1 &
engine=$!
read -r _
for child in $(cat "/proc/$engine/task/$engine/children" 2>/dev/null); do kill -TERM "$child"; done
wait $engine
for limit in /sys/fs/cgroup/*/ /sys/fs/cgroup; do
    [ -d "$limit/$group" ] && find "$limit/$group" -depth -type d -exec rmdir {} \;
done 2>/dev/null
# Podman has one parent for all its groups; it goes if it came with this engine.
[ -n "$had" ] || for parent in /sys/fs/cgroup/*/libpod_parent /sys/fs/cgroup/libpod_parent; do
    [ -d "$parent" ] && find "$parent" -depth -type d -exec rmdir {} \;
done 2>/dev/null
exit 0
"#;

const DOCKER: &str = r#"dockerd --data-root $place/data --exec-root $place/exec --pidfile $place/pid --host unix://$place/engine.sock \
    --bridge=none --iptables=false --ip6tables=false --ip-forward=false --cgroup-parent=/$group"#;

/// Does as it is told through a pipe: what is killed is not the first process of the namespace, with which everything would end.
const ORDERS: &str = r#"
mkfifo $place/orders
exec 3<>$place/orders
begin() { DOCKER & engine=$!; }
trap 'kill -TERM $engine 2>/dev/null; wait $engine; exit 0' TERM
begin
while read -r order <&3; do
    case $order in
    kill) kill -KILL $engine; wait $engine ;;
    begin) begin ;;
    esac
done
"#;

// It has no flag for the parent of its groups; they are named after its containers and go with them.
const PODMAN: &str = r#"podman --root $place/data --runroot $place/exec --tmpdir $place/exec --cgroup-manager cgroupfs \
    --storage-driver overlay --events-backend file system service --time 0 unix://$place/engine.sock"#;

impl ContainerEngine {
    /// Starts one.
    ///
    /// # Panics
    /// It is not installed or does not start; the message holds what it said.
    pub fn start(kind: Kind) -> Self {
        let (program, package, command) = match kind {
            Kind::Docker => ("dockerd", "docker.io", DOCKER),
            Kind::Podman => ("podman", "podman", PODMAN),
        };
        let place = tempfile::Builder::new().prefix("st-engine-").tempdir().unwrap();
        Self::start_in(place, program, package, command)
    }

    /// Docker's, which can be [killed](Self::dies) and [begun](Self::begins_again) again while what it has started goes on, or would: in
    /// `live_restore` it takes its containers up again, otherwise it ends them.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn mortal(live_restore: bool) -> Self {
        let place = tempfile::Builder::new().prefix("st-engine-").tempdir().unwrap();
        let restore = if live_restore { "--live-restore" } else { "" };
        let script = ORDERS.replace("DOCKER", &format!("{DOCKER} {restore}"));
        fs::write(place.path().join("orders.sh"), script).unwrap();
        Self::start_in(place, "dockerd", "docker.io", "bash $place/orders.sh")
    }

    /// It is killed, and its containers are not.
    ///
    /// # Panics
    /// It is not [mortal](Self::mortal).
    pub fn dies(&self) {
        self.order("kill");
        while UnixStream::connect(self.socket()).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It begins again after it was killed, and answers.
    ///
    /// # Panics
    /// It is not [mortal](Self::mortal), or does not begin.
    pub fn begins_again(&self) {
        self.order("begin");
        self.until_it_answers("dockerd");
    }

    fn order(&self, word: &str) {
        let mut orders = fs::File::options().write(true).open(self.place.join("orders")).unwrap();
        writeln!(orders, "{word}").unwrap();
    }

    fn start_in(place: TempDir, program: &str, package: &str, command: &str) -> Self {
        let installed =
            ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().any(|at| Path::new(at).join(program).exists());
        assert!(installed, "`{program}` is not installed: `apt-get install {package}`, which tests/run does");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let keeper = Command::new("bash")
            .args(["-c", KEEPER, "keeper"])
            .arg(place.path())
            .arg(command)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let engine = Self { place: place.path().to_path_buf(), keeper: Some((keeper, place)) };
        engine.until_it_answers(program);
        // Ordinary users' tests use it, too.
        fs::set_permissions(engine.socket(), fs::Permissions::from_mode(0o666)).unwrap();
        image_of_the_host(&engine.image());
        engine
    }

    fn until_it_answers(&self, program: &str) {
        let begun = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            let log = || fs::read_to_string(self.place.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(120), "`{program}` did not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The one that other tests of this process use at this moment, or a new one.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn shared(kind: Kind) -> Arc<Self> {
        static SHARED: [Mutex<Weak<ContainerEngine>>; 2] = [Mutex::new(Weak::new()), Mutex::new(Weak::new())];
        // A test that failed while it started one leaves none.
        let mut shared = SHARED[kind as usize].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let engine = Arc::new(match std::env::var_os(LENT) {
                Some(place) => Self { keeper: None, place: place.into() },
                None => Self::start(kind),
            });
            *shared = Arc::downgrade(&engine);
            engine
        })
    }

    /// The directory with all that is its own.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.place.join("engine.sock")
    }

    /// Where it listens, as `DOCKER_HOST` says it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What it answers to a request for `path`, such as `/containers/json?all=1`.
    ///
    /// # Panics
    /// It does not answer.
    pub fn says(&self, path: &str) -> String {
        self.ask(&format!("GET {path}"), "", &mut std::io::empty())
    }

    /// Gives it the image under this name, as if it had fetched it, unless it has one: each time that it is taken it would be
    /// another image, and steps of tests that run beside this one would see a change. Docker only.
    ///
    /// # Panics
    /// It does not take it.
    pub fn take_image(&self, repository: &str, tag: &str) {
        static TAKING: Mutex<()> = Mutex::new(());
        let _alone = TAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.says(&format!("/images/{repository}:{tag}/json")).contains("\"Id\"") {
            return;
        }
        let mut archive = fs::File::open(self.image()).unwrap();
        let length = format!("Content-Length: {}\r\n", archive.metadata().unwrap().len());
        let request = format!("POST /images/create?fromSrc=-&repo={repository}&tag={tag}");
        let answer = self.ask(&request, &length, &mut archive);
        assert!(answer.contains("sha256:"), "{answer}");
    }

    fn ask(&self, request: &str, more: &str, body: &mut impl Read) -> String {
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        // The old version of the protocol, in which the end of the connection is the end of the answer.
        socket.write_all(format!("{request} HTTP/1.0\r\nHost: engine\r\n{more}\r\n").as_bytes()).unwrap();
        std::io::copy(body, &mut socket).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.trim().to_owned()
    }

    /// A place for what tests keep as long as the engine lives.
    pub fn scratch(&self) -> PathBuf {
        self.place.join("scratch")
    }

    /// A tar of a root file system with a shell, Python and the usual small programs.
    pub fn image(&self) -> PathBuf {
        self.place.join("rootfs.tar")
    }
}

impl Drop for ContainerEngine {
    fn drop(&mut self) {
        if let Some((keeper, _)) = &mut self.keeper {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// What scripts of tests use.
const PROGRAMS: [&str; 34] = [
    "bash", "cat", "chmod", "cp", "cut", "date", "dd", "env", "false", "find", "grep", "head", "id", "ln",
    "ls", "mkdir", "mknod", "mount", "mv", "pwd", "python3", "readlink", "rm", "sed", "seq", "setsid", "sh",
    "sleep", "tail", "touch", "tr", "true", "uname", "wc",
];

/// Writes a tar of a root file system that is made of this host's programs, with the libraries that they need.
///
/// # Panics
/// A program is missing.
fn image_of_the_host(tar: &Path) {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &Path| root.path().join(path.strip_prefix("/").unwrap());
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.path().join("usr").join(name)).unwrap();
        symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    for name in ["etc", "tmp", "var/tmp", "home", "root"] {
        fs::create_dir_all(root.path().join(name)).unwrap();
    }
    let copy = |from: &Path| {
        let to = at(from);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    let mut needed = BTreeSet::new();
    for name in PROGRAMS {
        let program = Path::new("/usr/bin").join(name);
        copy(&program);
        needed.extend(libraries(&program));
    }
    let python = Command::new("/usr/bin/python3")
        .args(["-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"])
        .output()
        .unwrap();
    let python = PathBuf::from(String::from_utf8(python.stdout).unwrap().trim());
    copy_library_of_python(&python, &at(&python));
    for module in fs::read_dir(python.join("lib-dynload")).unwrap().flatten() {
        needed.extend(libraries(&module.path()));
    }
    needed.iter().for_each(|library| copy(library));
    let mut pack = Command::new("tar");
    pack.arg("-C").arg(root.path()).arg("-cf").arg(tar).args(["--owner=0", "--group=0", "."]);
    assert!(pack.status().unwrap().success());
}

/// The modules, without their tests and caches.
fn copy_library_of_python(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
        let is_left_out = ["test", "__pycache__", "idlelib", "lib2to3", "ensurepip", "dist-packages"]
            .iter()
            .any(|out| name == *out);
        if kind.is_dir() && !is_left_out {
            copy_library_of_python(&entry.path(), &to.join(name));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listing = String::from_utf8(listed.stdout).unwrap();
    listing.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
