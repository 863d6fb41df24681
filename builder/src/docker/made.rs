//! A container that exists, from its creation to its removal.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use bollard::{
    models::VolumeCreateRequest,
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
        WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit};

use super::{
    Shared,
    container::{self, Parts, Workspace},
    daemon::{Daemon, Dialect},
    first, is_absent,
    limits::ContainerLimits,
    place::Place,
    reap::boot,
    refused, why,
};
use crate::{
    engine::{EngineError, Root, StepSpec, hosts},
    sandbox::shared::{Owner, profile},
};

/// How long a container may take to end once its first process has let go of it.
const PATIENCE_FOR_THE_END: Duration = Duration::from_secs(5);

/// What a container is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    Step,
    Tidying,
}

/// A container that exists, and the volume that was made for it where the engine needs that.
pub(super) struct Container<'a> {
    pub(super) daemon: &'a Daemon,
    pub(super) id: String,
    volume: Option<String>,
    is_removed: AtomicBool,
}

impl Container<'_> {
    /// Waits until it has ended, which it does by itself when its socket closes. What can't be waited for is ended by its
    /// removal.
    pub(super) async fn until_ended(&self) {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut ends = self.daemon.api.wait_container(&self.id, Some(options));
        let _ = tokio::time::timeout(PATIENCE_FOR_THE_END, ends.next()).await;
    }

    /// Removes it, whatever it does, with its volumes. Once is enough.
    pub(super) async fn remove(&self) -> Result<(), EngineError> {
        if self.is_removed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.daemon.api.remove_container(&self.id, Some(options)).await;
        let volume = remove_volume(self.daemon, self.volume.as_deref()).await;
        match removed {
            Err(error) if !is_absent(&error) => Err(refused("removing the step's container")(error)),
            _ => {
                self.is_removed.store(true, Ordering::Relaxed);
                volume
            }
        }
    }
}

async fn remove_volume(daemon: &Daemon, volume: Option<&str>) -> Result<(), EngineError> {
    let Some(name) = volume else { return Ok(()) };
    let options = RemoveVolumeOptionsBuilder::default().force(true).build();
    match daemon.api.remove_volume(name, Some(options)).await {
        Err(error) if !is_absent(&error) => Err(refused("removing the workspace's volume")(error)),
        _ => Ok(()),
    }
}

pub(super) async fn create<'a>(
    shared: &Shared,
    daemon: &'a Daemon,
    step: &StepSpec,
    place: &Place,
    limits: &ContainerLimits,
    purpose: For,
) -> Result<Container<'a>, EngineError> {
    let Root::InEngine(image) = &step.image.root else {
        return Err(EngineError::Lost(
            "its image was resolved by another engine; this is a bug in Staith".to_owned(),
        ));
    };
    let setup = |doing: &str| {
        let doing = doing.to_owned();
        move |error: io::Error| EngineError::Setup { doing, why: error.to_string() }
    };
    let (helper, state, user) = (shared.helper.clone(), shared.state.clone(), daemon.user);
    let first = tokio::task::spawn_blocking(move || first::folder(&helper, &state, user))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(setup("gathering the container's first process"))?;
    let owner = Owner::this_process().map_err(setup("looking at this process"))?;
    let labels = container::labels(&step.label, owner, &boot());
    let name = name(owner, &step.label);
    let overlay = place.overlay();
    let mut profile = profile(container::internet(step.network));
    let podman = daemon.dialect == Dialect::Podman;
    if podman {
        // Podman reads it from a file.
        let file =
            place.file("seccomp.json", &profile).map_err(setup("writing the profile of system calls"))?;
        profile = file.display().to_string();
    }
    let volume = (podman && purpose == For::Step).then(|| name.clone());
    if let Some(name) = &volume {
        let volume = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: Some("local".to_owned()),
            driver_opts: Some(container::overlay_volume(&overlay)),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        daemon.api.create_volume(volume).await.map_err(refused("making the workspace's volume"))?;
    }
    let hosts = (!step.neighbours.is_empty()).then(|| place.file("hosts", &hosts(&step.neighbours)));
    let hosts = hosts.transpose().map_err(setup("writing down who the step's neighbours are"))?;
    let most = |resource| getrlimit(resource).map_or(0, |(_, hard)| hard);
    let socket = place.socket();
    let parts = Parts {
        step,
        image,
        first: &first,
        limits,
        socket: &socket,
        hosts: hosts.as_deref(),
        workspace: if podman { Workspace::Named(&name) } else { Workspace::Inline(&overlay) },
        profile: &profile,
        labels,
        own_limits: (most(Resource::RLIMIT_NOFILE), most(Resource::RLIMIT_NPROC)),
    };
    let body = match purpose {
        For::Step => container::body(daemon, &parts),
        For::Tidying => container::tidying(daemon, &parts, &step.work),
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    match daemon.api.create_container(Some(options), body).await {
        Ok(created) => {
            created
                .warnings
                .iter()
                .for_each(|warning| tracing::debug!(%warning, "the container engine warns"));
            Ok(Container { daemon, id: created.id, volume, is_removed: AtomicBool::new(false) })
        }
        Err(error) => {
            let _ = remove_volume(daemon, volume.as_deref()).await;
            Err(explain("making the step's container", &error))
        }
    }
}

/// For people who list containers: whose it is, and for what.
fn name(owner: Owner, label: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let label: String = label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(100).collect();
    format!("staith-{owner}-{number}-{label}")
}

/// What people can do about some of what engines answer.
pub(super) fn explain(doing: &str, error: &bollard::errors::Error) -> EngineError {
    let why = why(error);
    if why.contains("bind source path does not exist") {
        return EngineError::Unsupported {
            what: format!("the container engine can't see this machine's files: {why}"),
            remedy: "use an engine of this machine itself and not one in a container or a virtual machine; set STAITH_HOME to a \
                     directory that it sees"
                .to_owned(),
        };
    }
    if why.contains("overlay") && (why.contains("invalid argument") || why.contains("wrong fs type")) {
        return EngineError::Unsupported {
            what: format!(
                "the container engine can't mount the step's workspace: {why}. The file system that holds it can't be the upper \
                 layer of an overlay (it may be an overlay itself, or a network file system)"
            ),
            remedy: "set STAITH_HOME to a directory on another file system, such as ext4, xfs or tmpfs"
                .to_owned(),
        };
    }
    EngineError::Setup { doing: doing.to_owned(), why }
}
