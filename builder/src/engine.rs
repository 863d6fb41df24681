//! The seam to whatever isolates a step: the [`Engine`] trait is the contract, and one suite of contract tests runs over
//! every implementation.

mod gate;

use std::{collections::BTreeMap, ffi::OsString, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use staith_model::{Digest, Limits, Network, RelPath, Secret, Tool};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::gate::{Arrival, Gate, Gatekeeper, Neighbour, gate};
pub(crate) use self::gate::{Ask, hosts};

/// Where every engine shows the workspace to a step.
pub const WORKSPACE: &str = "/workspace";

/// Runs steps in isolation.
///
/// # What every implementation promises
/// * A step sees the image, its workspace, a `/tmp`, `/run` and home of its own, and nothing else of the host: no file, no
///   process, no socket, no variable of the caller's environment.
/// * When [`run`](Engine::run) returns, nothing that the step started is alive, and nothing of the sandbox (mount,
///   control group, namespace, container) is left. The same holds within a second when the returned future is dropped or
///   this whole process is killed; what a killed process can't remove by itself (empty directories), `reap` does.
/// * Isolation is never less than [`probe`](Engine::probe) said. What can't be had is an error, before the step starts.
/// * How a step ended is told apart by facts (a counter, a timer), never guessed from an exit code.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Tries each mechanism on this host and says what isolation a step gets.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] names what is missing and how to get it.
    async fn probe(&self) -> Result<Capabilities, EngineError>;

    /// Resolves a root file system: the host's own together with toolchains of the host, or an image, which is fetched if
    /// it is not here. Cancel-safe: what was fetched halfway is used or removed by the next call.
    ///
    /// # Errors
    /// [`EngineError::ToolMissing`] names the toolchain and how to get it; [`EngineError::ImageMissing`] the image.
    async fn image(&self, wanted: &ImageSpec, progress: &ImageProgress<'_>) -> Result<Image, EngineError>;

    /// Runs one step to its end. Cancel-safe: dropping the future ends the step and leaves nothing.
    ///
    /// `output` gets the step's bytes as they come, in order per stream; it is closed when the step is over. A slow
    /// receiver slows the step down; nothing is dropped. The engine adds lines of its own, which begin with `staith: `, after
    /// the step's last. `cancel` asks the step to end (SIGTERM, ten seconds, SIGKILL).
    ///
    /// # Errors
    /// Only when the engine could not do its part; a step that fails is a [`StepExit`].
    async fn run(
        &self,
        step: StepSpec,
        output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<StepExit, EngineError>;

    /// Removes what processes that were killed have left behind, never what belongs to a live one. Returns how many
    /// things it removed.
    ///
    /// # Errors
    /// Something was found and could not be removed.
    async fn reap(&self) -> Result<usize, EngineError>;
}

/// What isolation a host really gives. Each was tried, none is assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The user and group that own files in a step's workspace, seen from the host. The stores that feed `StepSpec` keep
    /// their files under this owner; `None` means the caller's own.
    pub file_owner: Option<(u32, u32)>,
    /// Whether each limit is enforced; for what is not, the reason in one line for people.
    pub memory_limit: Support,
    /// As above, for the number of processes.
    pub process_limit: Support,
    /// As above, for processor time.
    pub cpu_limit: Support,
    /// Landlock's ABI version, 0 where the kernel has none.
    pub landlock_abi: u32,
}

/// Whether a host enforces something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// Yes.
    Enforced,
    /// No, and why, in one line for people.
    Absent(String),
}

/// Which root file system steps ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSpec {
    /// An image as a pipeline names it (`docker.io/library/node:22`, a digest, or `./image.tar` and `./rootfs` on this host);
    /// `None` is the host's own root.
    pub reference: Option<String>,
    /// Toolchains of the host, beside the host's own root only.
    pub tools: Vec<Tool>,
}

/// Hears how an image is fetched.
pub type ImageProgress<'a> = dyn Fn(ImageFetched) + Send + Sync + 'a;

/// How far the fetching of an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFetched {
    /// The image as it was asked for.
    pub reference: String,
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes in all, once known.
    pub of_bytes: Option<u64>,
}

/// A resolved root file system for steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Changes whenever what a step could see of the host changes: packages installed, tools updated.
    pub digest: Digest,
    /// Where its files are.
    pub root: Root,
    /// Read-only binds beside the host's own system directories: what is shown, and where.
    pub binds: Vec<Bind>,
    /// `PATH` in the sandbox, highest priority first, as directories in the sandbox.
    pub path: Vec<PathBuf>,
    /// Variables that the tools need.
    pub env: BTreeMap<String, String>,
    /// Program and arguments where a step names none; empty where the image says nothing of it.
    pub command: Vec<OsString>,
    /// Where that is run; `None` is the root directory.
    pub workdir: Option<PathBuf>,
}

/// Where the files of a root file system are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The host's own system directories, by allow-list.
    Host,
    /// Directories on this host in overlay's format, lowest first.
    Layers(Vec<PathBuf>),
    /// The engine has them, under this name.
    InEngine(String),
}

/// One read-only bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Directory or file on the host.
    pub host: PathBuf,
    /// Where a step sees it.
    pub inside: PathBuf,
}

/// One step, resolved to what an engine needs.
#[derive(Debug, Clone)]
pub struct StepSpec {
    /// For names on the host (control groups) and for diagnostics: `<run>-<step>`, file-name safe.
    pub label: String,
    /// The root file system.
    pub image: Image,
    /// Directories stacked read-only under the workspace, lowest first. At least one.
    pub lowers: Vec<PathBuf>,
    /// An empty directory for all that the step changes, in overlay's format, owned by `Capabilities::file_owner`. It
    /// stays after the step; the caller reads the changes from it and removes it.
    pub upper: PathBuf,
    /// Whether `upper` is one that an earlier step on the same directories has left, and this one is to go on with. Otherwise
    /// left-overs in it are an error: nothing of one step may come into another unasked.
    pub goes_on: bool,
    /// An empty directory on the same file system as `upper`, for overlay's own use.
    pub work: PathBuf,
    /// Where in the workspace the step runs.
    pub workdir: Option<RelPath>,
    /// Program and arguments. The program is looked up in `Image::path`. None at all is what the image says, in the directory
    /// that it says unless there is a `workdir`; where it says nothing, that is an error.
    pub argv: Vec<OsString>,
    /// The step's whole environment, beside `PATH`, `HOME`, `TMPDIR` and `Image::env`.
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values nobody may see but the step.
    pub secrets: BTreeMap<String, Secret>,
    /// What it may reach.
    pub network: Network,
    /// With `Network::Outbound`: hosts that it may reach (`example.org`, `*.example.org`); empty means all that are allowed.
    pub allow: Vec<String>,
    /// After this it is ended.
    pub timeout: Duration,
    /// Upper bounds.
    pub limits: Limits,
    /// Other sandboxes that it can reach by name, which needs a network of at least `Network::Loopback`, and a gate to hand
    /// the connections to.
    pub neighbours: Vec<Neighbour>,
    /// The engine's half of a way in and out while it runs.
    pub gate: Option<Gatekeeper>,
    /// A terminal (the side that programs have, a pty's slave) that the program gets as its standard streams and controls,
    /// instead of nothing to read and a pipe to write to. It is given to the step's user. What checks write goes there, too.
    /// Then nothing comes out as [`OutputChunk`] but what the engine itself says.
    pub terminal: Option<Arc<OwnedFd>>,
}

/// Some bytes that a step wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Which stream.
    pub stream: Stream,
    /// The bytes, as they were.
    pub bytes: Vec<u8>,
}

pub use staith_model::Stream;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepExit {
    /// The program ended by itself with this code.
    Code(i32),
    /// A signal that nobody here sent ended it.
    Signal(i32),
    /// Its time was over.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// The kernel refused it memory beyond its limit, whatever its exit code was.
    OutOfMemory,
    /// It wrote as much as it may. Measured, so it may have written a little more.
    DiskUsedUp {
        /// Bytes that it may write.
        limit: u64,
    },
    /// It was ended before it filled the file system that it writes to.
    HostDiskFull {
        /// Where it wrote to.
        place: PathBuf,
        /// Bytes that were left.
        free: u64,
    },
    /// The program is not there, or can't be executed.
    NotStarted {
        /// What was to be started.
        program: String,
        /// Why it could not.
        why: String,
    },
}

/// Why an engine could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The host lacks something that isolation needs. Nothing was run.
    #[error("this host can't isolate a step: {what}")]
    Unsupported {
        /// What is missing.
        what: String,
        /// How to get it.
        remedy: String,
    },
    /// The host lacks a toolchain that the project declares.
    #[error("the toolchain `{tool}` is not on this host: {why}")]
    ToolMissing {
        /// The toolchain's name.
        tool: String,
        /// What was looked for.
        why: String,
        /// How to get it.
        remedy: String,
    },
    /// An image is not here and could not be fetched.
    #[error("the image `{reference}` can't be had: {why}")]
    ImageMissing {
        /// As the pipeline names it.
        reference: String,
        /// What was tried, and what was the answer.
        why: String,
        /// How to get it.
        remedy: String,
    },
    /// Making the sandbox failed.
    #[error("the sandbox could not be made: {doing}: {why}")]
    Setup {
        /// What was being done.
        doing: String,
        /// What the system said.
        why: String,
    },
    /// The sandbox ended before the step did.
    #[error("the sandbox was lost: {0}")]
    Lost(String),
}

impl EngineError {
    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Unsupported { remedy, .. }
            | Self::ToolMissing { remedy, .. }
            | Self::ImageMissing { remedy, .. } => Some(remedy),
            Self::Setup { .. } | Self::Lost(_) => None,
        }
    }
}
