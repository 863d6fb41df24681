//! The built-in sandbox: steps in namespaces of this machine's kernel, without a daemon and without anything to install.
//! A map, in reading order:
//!
//! 1. [`supervise`]: the engine's side of one step: starts the helper, keeps time, pumps output, tells how it ended.
//! 2. [`protocol`]: what engine and sandbox say to each other. `supervise/door` and `supervise/arrivals` are the engine's side of
//!    connections and checks, `init/network` and `init/check` the sandbox's.
//! 3. [`helper`]: a process of its own that makes the namespaces; [`staging`]: what it gathers before; [`init`]: process 1.
//! 4. [`rootfs`]: what a step sees; [`mounts`]: how it gets there.
//! 5. [`step`]: from a copy of process 1 to the program; [`confinement`], [`seccomp`]: what it must not have.
//! 6. [`cgroup`]: limits; [`shared_memory`]: those of what belongs to no process. [`egress`]: the only way to other
//!    machines. [`host`]: the image and the toolchains.
//! 7. [`container`]: the same first process, in a container that another engine made ([`crate::docker`]).
//! 8. [`probe`]: whether all this works here, and what to do if not. [`diagnosis`]: the same, one mechanism after another.
//!
//! Only [`sys`] has `unsafe` code.
//!
//! Honest limits: the kernel is shared, so this is for one's own and for semi-trusted code. Without root a step's
//! processes are the caller's user on the host and, until they are in the sandbox, have the caller's groups.

mod cgroup;
mod confinement;
mod container;
mod diagnosis;
pub(crate) mod egress;
mod helper;
mod host;
mod init;
mod mounts;
mod owner;
mod probe;
mod protocol;
mod rootfs;
mod seccomp;
mod shared_memory;
mod staging;
mod step;
mod supervise;
mod sys;

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

pub(crate) use self::cgroup::own_memory_limit;
pub(crate) use self::host::{Stamp, reason_not_below, resolve_below, stamps_below};
pub use self::{
    diagnosis::{Finding, Health},
    helper::helper_main,
    host::find_program,
};
use crate::{
    addresses::Caution,
    engine::{
        Capabilities, Engine, EngineError, Image, ImageProgress, ImageSpec, OutputChunk, StepExit, StepSpec,
    },
    images::{ImageConfig, Images},
    upkeep::Allowance,
};

/// What the engine of containers has in common with this one.
pub(crate) mod shared {
    pub(crate) use super::{
        HOME, UNPRIVILEGED_ID,
        cgroup::{kills_for_memory_around, limit_processes_around},
        container::{ARGUMENT, CONTROL, FOLDER, TIDY},
        host::{SYSTEM_PATH, allowed_roots, folder},
        owner::Owner,
        protocol::Contained,
        rootfs::kernel::{MASKED, READ_ONLY},
        seccomp::{
            Filters, compile,
            profile::{Internet, profile},
        },
        shared_memory::limits as shared_memory_limits,
        supervise::{Pump, Watch, connection::Connection, give_terminal, make_removable, plan, pump},
        sys::landlock_abi,
    };
}

/// Below the directory in which the sandbox keeps what it remembers: the images and their layers, a store that
/// [`Stockroom`](crate::upkeep::Stockroom) can open.
pub const IMAGES: &str = "images";
/// The home directory in the sandbox.
pub(crate) const HOME: &str = "/home/builder";
/// As root, the host's user and group that a step's processes are. No user of a usual host has this id: it lies above what
/// `useradd` hands out as subordinate ids by default (`SUB_UID_MAX`, 600100000) and above what systemd gives to containers
/// (to 1879048191), so it is in no other user's `/etc/subuid` either.
pub(crate) const UNPRIVILEGED_ID: u32 = 1_900_200_000;
const _: () = assert!(UNPRIVILEGED_ID > 1_879_048_191 && UNPRIVILEGED_ID < i32::MAX as u32);

/// The engine that needs nothing but the kernel.
///
/// Steps run in namespaces of their own, as a user without any privilege, on a root file system made of the host's
/// read-only `/usr` or of an image. Works as root and as an ordinary user.
#[derive(Debug, Clone)]
pub struct BuiltInSandbox {
    shared: Arc<Shared>,
    /// Where folders that projects name as tools may be, besides `/opt`.
    tool_roots: Vec<PathBuf>,
    images: Arc<Images>,
}

#[derive(Debug)]
struct Shared {
    helper: Vec<OsString>,
    state: PathBuf,
    as_root: bool,
    /// Outside user and group of every step.
    outside: (u32, u32),
    cgroups: OnceCell<cgroup::Cgroups>,
    filters: OnceCell<seccomp::Filters>,
    verdict: OnceCell<Capabilities>,
}

impl BuiltInSandbox {
    /// An engine that starts `helper` (a program and its arguments, which must do no more than call [`helper_main`]) for
    /// each step, and keeps what it wants to remember in the directory `state`, which it makes when needed.
    pub fn new(helper: Vec<OsString>, state: PathBuf) -> Self {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let as_root = user.is_root();
        let outside =
            if as_root { (UNPRIVILEGED_ID, UNPRIVILEGED_ID) } else { (user.as_raw(), group.as_raw()) };
        let (cgroups, filters, verdict) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let images = Images::below(state.join(IMAGES), as_root.then_some(outside));
        Self {
            shared: Arc::new(Shared { helper, state, as_root, outside, cgroups, filters, verdict }),
            tool_roots: host::allowed_roots(),
            images: Arc::new(images),
        }
    }

    /// The same engine, which shows folders that projects name as tools when they are below `/opt` or below one of `roots`.
    /// Without this, the roots are those of the environment variable `STAITH_TOOL_ROOTS` when the engine was made: absolute
    /// paths with `:` between them. Never give it what a pipeline says.
    #[must_use]
    pub fn allowing_tools_below(self, roots: Vec<PathBuf>) -> Self {
        Self { tool_roots: roots, ..self }
    }

    /// The same engine, which uses images on this machine when they are below `/opt` or below one of `roots`, and looks for
    /// relative paths in these. Without this, the roots are those of the environment variable `STAITH_IMAGE_ROOTS` when the
    /// engine was made. Never give it what a pipeline says.
    #[must_use]
    pub fn allowing_images_below(self, roots: Vec<PathBuf>) -> Self {
        Self { images: Arc::new(self.images.allowing_below(roots)), ..self }
    }

    /// The same engine, which asks before it keeps an image.
    #[must_use]
    pub fn within(self, allowance: Arc<dyn Allowance>) -> Self {
        Self { images: Arc::new(self.images.within(allowance)), ..self }
    }

    /// The same engine, which asks registries by this caution. Without it, it is that of the environment variable
    /// `STAITH_ALLOW_HOSTS` when the engine was made. Never give it what a pipeline says.
    #[must_use]
    pub fn with_caution(self, caution: Caution) -> Self {
        Self { images: Arc::new(self.images.with_caution(caution)), ..self }
    }

    /// What people should know of the images that were resolved since this was last asked, a sentence each: a registry that
    /// is away, so that what a tag meant before is used; a user that an image wants and does not get.
    pub fn take_notices(&self) -> Vec<String> {
        self.images.take_notices()
    }

    /// What an image says that is to be run in it where nothing else is said; for services. Fetches it where it is not here.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`EngineError::ImageMissing`].
    pub async fn image_config(
        &self,
        reference: &str,
        progress: &ImageProgress<'_>,
    ) -> Result<ImageConfig, EngineError> {
        Ok(self.images.find(reference, progress).await?.config)
    }

    /// The outside user and group of what steps write, known without trying anything; `None` is the caller's own. The same
    /// as [`Capabilities::file_owner`].
    pub fn file_owner(&self) -> Option<(u32, u32)> {
        self.shared.as_root.then_some(self.shared.outside)
    }
}

impl Shared {
    async fn cgroups(&self) -> Result<&cgroup::Cgroups, EngineError> {
        let find = || async {
            tokio::task::spawn_blocking(cgroup::Cgroups::find).await.map_err(|error| EngineError::Setup {
                doing: "looking at control groups".to_owned(),
                why: error.to_string(),
            })
        };
        self.cgroups.get_or_try_init(find).await
    }

    async fn filters(&self) -> Result<&seccomp::Filters, EngineError> {
        let compile = || async {
            seccomp::compile().map_err(|error| EngineError::Unsupported {
                what: format!("the seccomp filters can't be made for this processor: {error}"),
                remedy: "use x86-64 or aarch64".to_owned(),
            })
        };
        self.filters.get_or_try_init(compile).await
    }
}

#[async_trait]
impl Engine for BuiltInSandbox {
    async fn probe(&self) -> Result<Capabilities, EngineError> {
        let verdict = self.shared.verdict.get_or_try_init(|| probe::probe(&self.shared)).await?;
        Ok(verdict.clone())
    }

    async fn image(&self, wanted: &ImageSpec, progress: &ImageProgress<'_>) -> Result<Image, EngineError> {
        if let Some(reference) = &wanted.reference {
            return Ok(self.images.find(reference, progress).await?.image);
        }
        let (tools, state, roots) =
            (wanted.tools.clone(), self.shared.state.clone(), self.tool_roots.clone());
        let resolved = tokio::task::spawn_blocking(move || host::image(&tools, &state, &roots)).await;
        resolved.map_err(|error| EngineError::Setup {
            doing: "looking at the host's programs".to_owned(),
            why: error.to_string(),
        })?
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
            tokio::spawn(supervise::supervise(Arc::clone(&self.shared), step, output, cancel, abandoned));
        let ended = watching.await;
        guard.disarm();
        let ended =
            ended.unwrap_or_else(|error| Err(EngineError::Lost(format!("its watcher ended: {error}"))));
        if ended.is_err() {
            // The next run shall try again rather than believe an old trial.
            let _ = probe::forget_marks(&self.shared.state);
        }
        ended
    }

    async fn reap(&self) -> Result<usize, EngineError> {
        let cgroups = self.shared.cgroups().await?;
        cgroups.reap().map_err(|error| EngineError::Setup {
            doing: "removing control groups that a killed Staith left".to_owned(),
            why: error.to_string(),
        })
    }
}
