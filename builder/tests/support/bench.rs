//! A place to run steps in: layers, an engine, and what a step said.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use staith_builder::engine::{Engine, Image, ImageSpec, OutputChunk, StepExit, StepSpec, Stream};
use staith_builder::sandbox::BuiltInSandbox;
use staith_model::{Limits, Network};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The helper program. As another user it is a copy, because that user may not reach the build directory.
pub fn helper() -> Vec<OsString> {
    let program = std::env::var_os("STAITH_TEST_HELPER");
    vec![program.unwrap_or_else(|| env!("CARGO_BIN_EXE_staith-sandbox").into())]
}

/// The built-in sandbox, with its state in `place`.
pub fn built_in(place: &Path) -> BuiltInSandbox {
    BuiltInSandbox::new(helper(), place.join("state"))
}

/// Directories for one step after another.
pub struct Bench {
    pub place: TempDir,
    pub owner: Option<(u32, u32)>,
    pub image: Image,
}

/// What a step left.
#[derive(Debug)]
pub struct Ended {
    pub exit: StepExit,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    pub async fn new(engine: &dyn Engine) -> Self {
        let place = tempfile::tempdir().unwrap();
        let owner = engine.probe().await.unwrap().file_owner;
        let image = engine.image(&ImageSpec::default(), &|_| {}).await.unwrap();
        Self { place, owner, image }
    }

    /// A directory of the step's user.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.place.path().join(name);
        fs::create_dir_all(&path).unwrap();
        self.give(&path);
        path
    }

    /// A file of the step's user.
    pub fn file(&self, path: &Path, content: &str) {
        fs::write(path, content).unwrap();
        self.give(path);
    }

    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// A step on an empty workspace that runs a script.
    pub fn shell(&self, script: &str) -> StepSpec {
        self.argv(&["/bin/sh", "-ec", script])
    }

    pub fn argv(&self, argv: &[&str]) -> StepSpec {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let [lower, upper, work] =
            ["lower", "upper", "work"].map(|name| self.directory(&format!("{number}/{name}")));
        StepSpec {
            label: format!("test-{number}"),
            image: self.image.clone(),
            lowers: vec![lower],
            upper,
            work,
            goes_on: false,
            workdir: None,
            argv: argv.iter().map(OsString::from).collect(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            network: Network::None,
            allow: Vec::new(),
            timeout: Duration::from_secs(120),
            limits: Limits::default(),
            neighbours: Vec::new(),
            gate: None,
            terminal: None,
        }
    }

    pub async fn run(&self, engine: &dyn Engine, step: StepSpec) -> Ended {
        self.run_until(engine, step, CancellationToken::new()).await
    }

    pub async fn run_until(&self, engine: &dyn Engine, step: StepSpec, cancel: CancellationToken) -> Ended {
        let (output, said) = mpsc::channel(16);
        let (exit, (stdout, stderr)) = tokio::join!(engine.run(step, output, cancel), collect(said));
        Ended { exit: exit.unwrap(), stdout, stderr }
    }

    /// Runs a script that has to succeed; what it wrote.
    pub async fn say(&self, engine: &dyn Engine, script: &str) -> String {
        let ended = self.run(engine, self.shell(script)).await;
        assert_eq!(ended.exit, StepExit::Code(0), "{script}: {ended:?}");
        ended.stdout
    }
}

pub async fn collect(mut said: mpsc::Receiver<OutputChunk>) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(chunk) = said.recv().await {
        match chunk.stream {
            Stream::Stdout => stdout.extend(chunk.bytes),
            Stream::Stderr => stderr.extend(chunk.bytes),
        }
    }
    (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Waits for a condition. Gives up after a time that no healthy machine needs.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ids of all processes of this machine that have this text in their arguments.
pub fn processes_with(marker: &str) -> Vec<u32> {
    let own = std::process::id();
    let with_marker = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        let found = arguments.windows(marker.len()).any(|part| part == marker.as_bytes());
        (found && pid != own).then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(with_marker).collect()
}

pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}
