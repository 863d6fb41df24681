//! A root file system to make an image of: a shell, the programs that tests use, and Python, copied from this host.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use async_trait::async_trait;
use staith_builder::{
    engine::{
        Capabilities, Engine, EngineError, Image, ImageProgress, ImageSpec, OutputChunk, StepExit, StepSpec,
    },
    sandbox::BuiltInSandbox,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bench::helper;

const PROGRAMS: [&str; 22] = [
    "bash", "cat", "chmod", "cut", "echo", "env", "grep", "head", "id", "ln", "ls", "mkdir", "pwd",
    "python3", "rm", "seq", "setsid", "sh", "sleep", "tail", "touch", "true",
];

/// Fills `root` with a root file system.
pub fn make(root: &Path) {
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS.iter().chain(&["wc"]) {
        let program =
            ["/usr/bin", "/bin"].iter().map(|bin| Path::new(bin).join(name)).find(|path| path.exists());
        let program = program.unwrap_or_else(|| panic!("{name} is needed"));
        copy(&program, &root.join("usr/bin").join(name));
        libraries.extend(libraries_of(&program));
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    let asked = Command::new("/usr/bin/python3")
        .args(["-c", "import os; print(os.path.dirname(os.__file__))"])
        .output();
    let standard = PathBuf::from(String::from_utf8(asked.unwrap().stdout).unwrap().trim());
    copy_modules(&standard, &root.join(standard.strip_prefix("/").unwrap()));
    // A module for calls of C's, with a library of its own.
    let native = fs::read_dir(standard.join("lib-dynload")).unwrap().map(|entry| entry.unwrap().path());
    let calls = native.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("_ctypes."));
    libraries.extend(calls.flat_map(|module| libraries_of(&module)));
    for library in libraries {
        copy(&library, &root.join(library.strip_prefix("/").unwrap()));
    }
}

fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let needs = Command::new("ldd").arg(program).output().unwrap();
    let needs = String::from_utf8(needs.stdout).unwrap();
    needs
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

/// What the tests' programs import and its like; a whole Python would take longer than the tests.
fn copy_modules(from: &Path, to: &Path) {
    const LEFT_OUT: [&str; 9] = [
        "__pycache__",
        "dist-packages",
        "distutils",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "test",
        "turtledemo",
    ];
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        if path.is_dir() {
            copy_modules(&path, &to.join(name));
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// The built-in sandbox with this root file system wherever a step would get the host's.
pub struct InImage {
    engine: BuiltInSandbox,
    reference: String,
}

impl InImage {
    /// Makes the root file system and keeps all in `place`.
    pub fn new(place: &Path) -> Self {
        let root = place.join("images/rootfs");
        make(&root);
        let engine = BuiltInSandbox::new(helper(), place.join("state"));
        let engine = engine.allowing_images_below(vec![place.join("images")]);
        Self { engine, reference: root.display().to_string() }
    }
}

#[async_trait]
impl Engine for InImage {
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        self.engine.probe().await
    }

    async fn image(&self, wanted: &ImageSpec, progress: &ImageProgress<'_>) -> Result<Image, EngineError> {
        let reference = Some(wanted.reference.clone().unwrap_or_else(|| self.reference.clone()));
        let wanted = ImageSpec { reference, ..wanted.clone() };
        self.engine.image(&wanted, progress).await
    }

    async fn run(
        &self,
        step: StepSpec,
        output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<StepExit, EngineError> {
        self.engine.run(step, output, cancel).await
    }

    async fn reap(&self) -> Result<usize, EngineError> {
        self.engine.reap().await
    }
}
