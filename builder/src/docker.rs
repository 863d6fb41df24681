//! Docker Engine, and Podman through the same interface: steps in containers of an engine on this machine. A map, in reading
//! order:
//!
//! 1. [`daemon`]: which engine, and what it can isolate.
//! 2. [`image`]: from a reference to a root file system that the engine has; [`archive`]: from a file of this machine.
//! 3. [`first`]: how our own first process gets into any image. What it does is in [`crate::sandbox`].
//! 4. [`place`]: a step's socket, and its workspace as one text for the engine.
//! 5. [`container`]: the container's whole configuration, purely; [`limits`]: the part of it that bounds a step.
//! 6. [`made`]: a container that exists. [`attempt`]: one step, from its container's creation to its removal. [`scratch`]: what Podman leaves undone. [`reap`]: what killed processes left.
//!
//! An engine only makes the container: namespaces, root file system, limits. What a step is, how it is watched, how it ends
//! and which system calls it may make is the same code as in the built-in sandbox (decision 6 in `docs/decisions`).

mod archive;
mod attempt;
mod container;
mod daemon;
mod first;
mod image;
mod limits;
mod made;
mod place;
mod reap;
mod scratch;

use std::{env, ffi::OsString, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

use self::daemon::Daemon;
use crate::{
    addresses::Caution,
    engine::{
        Capabilities, Engine, EngineError, Image, ImageProgress, ImageSpec, OutputChunk, StepExit, StepSpec,
    },
    images,
    sandbox::shared::{self, Filters, UNPRIVILEGED_ID},
};

/// Steps in containers of Docker Engine or Podman on this machine.
///
/// Steps run as an unprivileged user without any capability, under Staith's own profile of system calls, in an image's
/// root file system that is thrown away after each step. Works as root and as an ordinary user who may use the engine.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    helper: Vec<OsString>,
    state: PathBuf,
    /// Where the engine is, as `DOCKER_HOST` says it; `None` is wherever one is found.
    host: Option<String>,
    tool_roots: Vec<PathBuf>,
    image_roots: Vec<PathBuf>,
    caution: Caution,
    daemon: OnceCell<Daemon>,
    filters: OnceCell<Filters>,
}

impl DockerEngine {
    /// An engine that runs `helper` (a program and its arguments, which must do no more than call
    /// [`crate::sandbox::helper_main`]) as first process of each container, and keeps what it needs for that in the directory
    /// `state`, which it makes when needed. The engine is the one that `DOCKER_HOST` names, else one found at the usual
    /// places.
    pub fn new(helper: Vec<OsString>, state: PathBuf) -> Self {
        Self::at(env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()), helper, state)
    }

    /// As above, with the engine at `host` (`unix:///run/docker.sock`).
    pub fn at(host: Option<String>, helper: Vec<OsString>, state: PathBuf) -> Self {
        let (daemon, filters) = (OnceCell::new(), OnceCell::new());
        let (tool_roots, image_roots) = (shared::allowed_roots(), images::allowed_roots());
        let caution = Caution::from_environment();
        let shared = Shared { helper, state, host, tool_roots, image_roots, caution, daemon, filters };
        Self { shared: Arc::new(shared) }
    }

    /// The same engine, which takes archives on this machine as images when they are below `/opt` or below one of `roots`.
    /// Without this, the roots are those of the environment variable `STAITH_IMAGE_ROOTS` when the engine was made. Never give
    /// it what a pipeline says.
    #[must_use]
    pub fn allowing_images_below(self, roots: Vec<PathBuf>) -> Self {
        self.with(|shared| shared.image_roots = roots)
    }

    /// The same engine, which shows folders that projects name as tools when they are below `/opt` or below one of `roots`.
    /// Without this, the roots are those of the environment variable `STAITH_TOOL_ROOTS` when the engine was made. Never give
    /// it what a pipeline says.
    #[must_use]
    pub fn allowing_tools_below(self, roots: Vec<PathBuf>) -> Self {
        self.with(|shared| shared.tool_roots = roots)
    }

    /// The same engine, which lets registries be asked by this caution. Without it, it is that of the environment variable
    /// `STAITH_ALLOW_HOSTS` when the engine was made. Never give it what a pipeline says.
    #[must_use]
    pub fn with_caution(self, caution: Caution) -> Self {
        self.with(|shared| shared.caution = caution)
    }

    /// As [`Engine::image`], but fetches nothing: none when the container engine does not have the image. Cancel-safe.
    ///
    /// # Errors
    /// As there.
    pub async fn known_image(&self, wanted: &ImageSpec) -> Result<Option<Image>, EngineError> {
        image::known(&self.shared, wanted).await
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let Shared { helper, state, host, tool_roots, image_roots, caution, .. } = &*self.shared;
        let mut shared = Shared {
            helper: helper.clone(),
            state: state.clone(),
            host: host.clone(),
            tool_roots: tool_roots.clone(),
            image_roots: image_roots.clone(),
            caution: caution.clone(),
            daemon: OnceCell::new(),
            filters: OnceCell::new(),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }

    /// The user and group that own what steps write, seen from the host and known without asking the engine; `None` is the
    /// caller's own. The same as [`Capabilities::file_owner`], and the same as in the built-in sandbox, so both can use the
    /// same stores.
    pub fn file_owner(&self) -> Option<(u32, u32)> {
        file_owner()
    }
}

fn file_owner() -> Option<(u32, u32)> {
    rustix::process::geteuid().is_root().then_some((UNPRIVILEGED_ID, UNPRIVILEGED_ID))
}

impl Shared {
    async fn daemon(&self) -> Result<&Daemon, EngineError> {
        self.daemon.get_or_try_init(|| Daemon::find(self.host.as_deref())).await
    }

    async fn filters(&self) -> Result<&Filters, EngineError> {
        let compile = || async {
            shared::compile().map_err(|error| EngineError::Unsupported {
                what: format!("the seccomp filters can't be made for this processor: {error}"),
                remedy: "use x86-64 or aarch64".to_owned(),
            })
        };
        self.filters.get_or_try_init(compile).await
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        Ok(self.shared.daemon().await?.capabilities.clone())
    }

    async fn image(&self, wanted: &ImageSpec, progress: &ImageProgress<'_>) -> Result<Image, EngineError> {
        image::resolve(&self.shared, wanted, progress).await
    }

    async fn run(
        &self,
        step: StepSpec,
        output: mpsc::Sender<OutputChunk>,
        cancel: CancellationToken,
    ) -> Result<StepExit, EngineError> {
        // The step is watched by a task of its own, so that all is cleaned up even when this future is dropped.
        let abandoned = CancellationToken::new();
        let guard = abandoned.clone().drop_guard();
        let watching =
            tokio::spawn(attempt::attempt(Arc::clone(&self.shared), step, output, cancel, abandoned));
        let ended = watching.await;
        guard.disarm();
        ended.unwrap_or_else(|error| Err(EngineError::Lost(format!("its watcher ended: {error}"))))
    }

    async fn reap(&self) -> Result<usize, EngineError> {
        reap::reap(&self.shared).await
    }
}

/// What an engine answered, as an error that says what was being done.
fn refused(doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> EngineError {
    let doing = doing.into();
    |error| EngineError::Setup { doing, why: why(&error) }
}

/// The engine's own words, where it has some.
fn why(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        bollard::errors::Error::RequestTimeoutError => "the engine did not answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// Whether the engine says that it has no such thing.
fn is_absent(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}
