//! A place of its own for one scenario: a home of Staith's, a project in a git repository, a free port.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

/// The world of one scenario. When dropped, everything that Staith keeps running in it is stopped.
#[derive(Debug)]
pub struct World {
    directory: TempDir,
    user: Option<User>,
    /// Where the project's proxy listens.
    pub listen: SocketAddr,
    env: Vec<(String, String)>,
}

/// An ordinary user with nothing: an empty home, a path to the host's programs and to a Rust toolchain, no more.
#[derive(Debug)]
struct User {
    id: u32,
    path: String,
}

/// No user of a usual host has this id.
const ORDINARY: u32 = 61_234;

/// How a command of Staith's ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Said {
    /// What a command that has ended said.
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// It was another; the message holds all that the command said.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// What was said as JSON, a value a line.
    ///
    /// # Panics
    /// A line is none.
    pub fn values(&self) -> Vec<serde_json::Value> {
        let value = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line}\n--- err\n{}", self.err))
        };
        self.out.lines().map(value).collect()
    }

    /// Checks that a text was said, on either stream.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(said, "`{text}` was not said\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// Checks that a text was not said.
    ///
    /// # Panics
    /// It was.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(!said, "`{text}` was said\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }
}

/// The program under test, beside the test's own: `cargo build --package staith` makes it.
///
/// # Panics
/// It is not there.
pub fn staith_binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let place = own.ancestors().map(|place| place.join("staith")).find(|path| path.is_file());
    place.expect("the program under test is not built: run `cargo build --workspace` with the same profile")
}

/// The root of this repository.
///
/// # Panics
/// This crate was moved.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl World {
    /// A world with an empty project in a git repository.
    ///
    /// # Panics
    /// The system refused files or a port.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("staith-world-").tempdir().unwrap();
        let world = Self { directory, user: None, listen: free_port(), env: Vec::new() };
        fs::create_dir(world.project()).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world
    }

    /// A world whose project is a copy of an example of this repository, on this world's port.
    ///
    /// # Panics
    /// There is no such example.
    pub fn with_example(name: &str) -> Self {
        let world = Self::new();
        let copied = Command::new("git")
            .args(["-C", &repository().display().to_string(), "ls-files", "-z", "--cached", "--others"])
            .args(["--exclude-standard", &format!("examples/{name}")])
            .output()
            .unwrap();
        let listing = String::from_utf8(copied.stdout).unwrap();
        for path in listing.split_terminator('\0') {
            let inside = path.strip_prefix(&format!("examples/{name}/")).unwrap();
            let to = world.project().join(inside);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(repository().join(path), to).unwrap();
        }
        let listen = world.listen.to_string();
        world.edit("runner.toml", |text| {
            (8080..8084)
                .fold(text.to_owned(), |text, port| text.replace(&format!("127.0.0.1:{port}"), &listen))
        });
        world.commit("example");
        world
    }

    /// From now on, everything in this world is done by an ordinary user with an empty home and an empty environment.
    /// Whoever runs the tests as an ordinary user is one already, and stays who they are.
    ///
    /// # Panics
    /// The system refused to hand the files over.
    pub fn by_an_ordinary_user(mut self) -> Self {
        let shared = self.scratch().join("shared");
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
        let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim());
        fs::create_dir(&shared).unwrap();
        fs::copy(staith_binary(), shared.join("staith")).unwrap();
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
            assert!(
                Command::new(program).args(arguments).status().unwrap().success(),
                "{program} {arguments:?}"
            );
        };
        if !rustix::process::geteuid().is_root() {
            return self;
        }
        // The toolchain of root may lie in a home that nobody else may enter. Links cost nothing.
        let toolchain = shared.join("toolchain");
        let linked = Command::new("cp").arg("-al").args([&sysroot, &toolchain]).status().unwrap();
        if !linked.success() {
            run("cp", &["-a".as_ref(), "--".as_ref(), sysroot.as_ref(), toolchain.as_ref()]);
        }
        fs::create_dir_all(self.home()).unwrap();
        let owner = format!("{ORDINARY}:{ORDINARY}");
        for own in [self.project(), self.home()] {
            run("chown", &["-R".as_ref(), owner.as_ref(), own.as_ref()]);
        }
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.scratch(), open).unwrap();
        let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", toolchain.display());
        self.user = Some(User { id: ORDINARY, path });
        self
    }

    /// From now on, Staith's own environment has this variable.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The project's directory.
    pub fn project(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    /// Staith's home.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// A place for whatever else a scenario needs.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of the project, with the directories above it.
    ///
    /// # Panics
    /// The system refused.
    pub fn write(&self, path: &str, text: &str) {
        let at = self.project().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text.replace("LISTEN", &self.listen.to_string())).unwrap();
    }

    /// Changes a file of the project.
    ///
    /// # Panics
    /// The change changes nothing, or the system refused.
    #[track_caller]
    pub fn edit(&self, path: &str, change: impl FnOnce(&str) -> String) {
        let at = self.project().join(path);
        let before = fs::read_to_string(&at).unwrap();
        let after = change(&before);
        assert_ne!(before, after, "nothing in {path} to change");
        fs::write(at, after).unwrap();
    }

    /// Commits everything in the project.
    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&[
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.org",
            "commit",
            "--quiet",
            "-m",
            message,
        ]);
    }

    /// Runs git in the project and gives what it printed.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git").args(arguments).current_dir(self.project()).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A command of Staith's in this world, in the project's directory, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(staith_binary());
        if let Some(user) = &self.user {
            command = Command::new(self.scratch().join("shared/staith"));
            command.env_clear().env("HOME", self.home()).env("PATH", &user.path).uid(user.id).gid(user.id);
        }
        command
            .args(arguments)
            .current_dir(self.project())
            .env("STAITH_HOME", self.home())
            .env("DOCKER_HOST", "tcp://127.0.0.1:1")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of Staith's to its end.
    ///
    /// # Panics
    /// It could not be started.
    pub fn staith(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command(arguments).output().unwrap())
    }

    /// Starts a command of Staith's with its output piped.
    ///
    /// # Panics
    /// It could not be started.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.command(&["stop", "--all"]).output();
    }
}
