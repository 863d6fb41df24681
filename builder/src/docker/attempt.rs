//! One step, from its container's creation to its removal.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bollard::{
    models::{ContainerUpdateBody, VolumeCreateRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
        WaitContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{net::unix::pipe, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    container::{self, Parts, Workspace},
    daemon::{Daemon, Dialect},
    first,
    limits::{self, ContainerLimits},
    place::Place,
    reap::boot,
    refused, scratch, why,
};
use crate::{
    engine::{EngineError, OutputChunk, Root, StepExit, StepSpec, Stream},
    sandbox::shared::{
        Connection, Contained, Owner, Pump, Watch, kills_for_memory_around, limit_processes_around,
        make_removable, plan, profile, pump,
    },
};

/// Far longer than a container's first process needs to be heard of on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a container may take to end once its first process has let go of it.
const PATIENCE_FOR_THE_END: Duration = Duration::from_secs(5);

/// Runs one step. Ends it when `abandoned` is cancelled, and cleans up all the same.
pub(super) async fn attempt(
    shared: Arc<Shared>,
    step: StepSpec,
    output: mpsc::Sender<OutputChunk>,
    cancel: CancellationToken,
    abandoned: CancellationToken,
) -> Result<StepExit, EngineError> {
    plan::check_fresh(&step)?;
    let daemon = shared.daemon().await?;
    let limits = limits::of(daemon, &step.limits)?;
    let place = Place::make(&shared.state, &step, daemon.makes_files_of_ours)?;
    let listener = place.listen(daemon.capabilities.file_owner).map_err(|error| EngineError::Setup {
        doing: "making the socket for the step's container".to_owned(),
        why: error.to_string(),
    })?;
    let container = create(&shared, daemon, &step, &place, &limits, For::Step).await?;
    let driven = drive(&shared, &container, &limits, listener, step.clone(), output, cancel, abandoned).await;
    let removed = container.remove().await;
    let tidied = tidy(&shared, daemon, &step, &place, &limits).await;
    let exit = driven?;
    removed.and(tidied)?;
    Ok(exit)
}

/// Leaves overlay's own directory so that its owner can remove it.
async fn tidy(
    shared: &Shared,
    daemon: &Daemon,
    step: &StepSpec,
    place: &Place,
    limits: &ContainerLimits,
) -> Result<(), EngineError> {
    make_removable(&step.work);
    // What is empty can be removed whosoever it is, and most often it is.
    let left = step.work.join("work");
    if daemon.makes_files_of_ours || std::fs::remove_dir(&left).is_ok() || !left.exists() {
        return Ok(());
    }
    let container = create(shared, daemon, step, place, limits, For::Tidying).await?;
    let started = daemon.api.start_container(&container.id, None).await;
    if started.is_ok() {
        container.until_ended().await;
    }
    container.remove().await?;
    started.map_err(refused("emptying overlay's own directory in a container"))
}

/// What a container is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Step,
    Tidying,
}

/// A container that exists, and the volume that was made for it where the engine needs that.
struct Container<'a> {
    daemon: &'a Daemon,
    id: String,
    volume: Option<String>,
    is_removed: AtomicBool,
}

impl Container<'_> {
    /// Waits until it has ended, which it does by itself when its socket closes. What can't be waited for is ended by its
    /// removal.
    async fn until_ended(&self) {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut ends = self.daemon.api.wait_container(&self.id, Some(options));
        let _ = tokio::time::timeout(PATIENCE_FOR_THE_END, ends.next()).await;
    }

    /// Removes it, whatever it does, with its volumes. Once is enough.
    async fn remove(&self) -> Result<(), EngineError> {
        if self.is_removed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let removed = self.daemon.api.remove_container(&self.id, Some(options)).await;
        let volume = remove_volume(self.daemon, self.volume.as_deref()).await;
        match removed {
            Err(error) if !super::is_absent(&error) => Err(refused("removing the step's container")(error)),
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
        Err(error) if !super::is_absent(&error) => Err(refused("removing the workspace's volume")(error)),
        _ => Ok(()),
    }
}

async fn create<'a>(
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
    let most = |resource| getrlimit(resource).map_or(0, |(_, hard)| hard);
    let socket = place.socket();
    let parts = Parts {
        step,
        image,
        first: &first,
        limits,
        socket: &socket,
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
fn explain(doing: &str, error: &bollard::errors::Error) -> EngineError {
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

#[allow(clippy::too_many_arguments)] // All that a step is, each of another kind, and used in one place.
async fn drive(
    shared: &Shared,
    container: &Container<'_>,
    limits: &ContainerLimits,
    listener: UnixListener,
    step: StepSpec,
    output: mpsc::Sender<OutputChunk>,
    cancel: CancellationToken,
    abandoned: CancellationToken,
) -> Result<StepExit, EngineError> {
    let (api, id) = (&container.daemon.api, &container.id);
    let filters = shared.filters().await?;
    api.start_container(id, None).await.map_err(|error| explain("starting the step's container", &error))?;
    let connected = tokio::select! {
        connected = await_first_process(container, listener) => connected?,
        () = abandoned.cancelled() => return Ok(StepExit::Cancelled),
    };
    let pid = peer(&connected)?;
    if let Some(processes) = limits.processes_then {
        limit_processes(container, pid, processes).await?;
    }
    if container.daemon.dialect == Dialect::Podman && container.daemon.user.0 != 0 {
        scratch::give(pid, container.daemon.user).map_err(|error| EngineError::Setup {
            doing: "giving /tmp and its like to the step's user".to_owned(),
            why: error.to_string(),
        })?;
    }
    let owner = container.daemon.capabilities.file_owner;
    let lost = |error: io::Error| EngineError::Lost(format!("its socket failed: {error}"));
    let pumps = send_pipes(&connected, owner, &output).map_err(lost)?;
    let mut connection = Connection::over(connected).map_err(lost)?;
    let mut watch = Watch::new(&step, cancel, abandoned);
    let asked = Contained { network: step.network, program: plan::program(&step, None) };
    connection.send_opening(&asked, filters).await?;
    let ended = watch.until_ended(&mut connection, || kill(container)).await;
    // Counted while the container still exists: it does until this hangs up.
    let counted = pid.and_then(kills_for_memory_around);
    let out_of_memory = match (counted, &ended) {
        (Some(kills), _) if kills > 0 => true,
        (Some(_), Ok(Some(_))) => false,
        _ => killed_for_memory(container).await,
    };
    drop(connection);
    container.until_ended().await;
    container.remove().await?;
    watch.finish(pumps, output).await;
    watch.conclude(ended?, out_of_memory).await
}

/// Fewer processes than the engine needs while it makes a container. Its control group is written to directly: Podman has no
/// request for that.
async fn limit_processes(container: &Container<'_>, pid: Option<u32>, most: i64) -> Result<(), EngineError> {
    if pid.is_some_and(|pid| limit_processes_around(pid, most).is_ok()) {
        return Ok(());
    }
    let update = ContainerUpdateBody { pids_limit: Some(most), ..ContainerUpdateBody::default() };
    let updated = container.daemon.api.update_container(&container.id, update).await;
    updated.map_err(|error| EngineError::Unsupported {
        what: format!("the container engine can't limit a step to so few processes: {}", why(&error)),
        remedy: "raise `processes` to 24 or more, or leave it out".to_owned(),
    })
}

/// Waits until the container's first process calls, or ends without a word.
async fn await_first_process(
    container: &Container<'_>,
    listener: UnixListener,
) -> Result<UnixStream, EngineError> {
    let lost = |error: io::Error| EngineError::Lost(format!("its socket failed: {error}"));
    let listener = tokio::net::UnixListener::from_std(listener).map_err(lost)?;
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let mut ends = container.daemon.api.wait_container(&container.id, Some(options));
    tokio::select! {
        biased;
        accepted = listener.accept() => {
            let connected = accepted.and_then(|(connected, _)| connected.into_std());
            connected.map_err(lost)
        }
        ended = ends.next() => Err(EngineError::Setup {
            doing: "waiting for the container's first process".to_owned(),
            why: format!("it ended before it could say anything ({}); a security module such as SELinux may keep it from \
                          its files", describe(ended)),
        }),
        () = tokio::time::sleep(PATIENCE) => Err(EngineError::Setup {
            doing: "waiting for the container's first process".to_owned(),
            why: format!("it said nothing for {} seconds", PATIENCE.as_secs()),
        }),
    }
}

fn describe(ended: Option<Result<bollard::models::ContainerWaitResponse, bollard::errors::Error>>) -> String {
    match ended {
        Some(Ok(ended)) => format!("exit code {}", ended.status_code),
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => {
            format!("exit code {code}")
        }
        Some(Err(error)) => why(&error),
        None => "the engine does not say how".to_owned(),
    }
}

/// The first process's id here; none where this process is in a namespace of its own and can't see it.
fn peer(connected: &UnixStream) -> Result<Option<u32>, EngineError> {
    // The kernel gives no id as 0, which is no id.
    match nix::sys::socket::getsockopt(connected, nix::sys::socket::sockopt::PeerCredentials) {
        Ok(peer) => Ok(u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)),
        Err(error) => Err(EngineError::Lost(format!("its socket does not say who calls: {error}"))),
    }
}

/// Sends the ends of two pipes for the step's output, and reads the others.
fn send_pipes(
    to: &UnixStream,
    owner: Option<(u32, u32)>,
    output: &mpsc::Sender<OutputChunk>,
) -> io::Result<Vec<Pump>> {
    let (mut theirs, mut pumps): (Vec<OwnedFd>, _) = (Vec::new(), Vec::new());
    for stream in [Stream::Stdout, Stream::Stderr] {
        let (read, write) = io::pipe()?;
        if let Some((user, group)) = owner {
            // Some programs open `/dev/stdout` anew.
            std::os::unix::fs::fchown(&write, Some(user), Some(group))?;
        }
        let reader = pipe::Receiver::from_owned_fd(read.into())?;
        pumps.push(tokio::spawn(pump(reader, stream, output.clone())));
        theirs.push(write.into());
    }
    let descriptors = [theirs[0].as_fd(), theirs[1].as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(to, &[IoSlice::new(b"P")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(pumps)
}

/// Ends a container whose first process does not answer. Its socket closes then.
fn kill(container: &Container<'_>) {
    let (api, id) = (container.daemon.api.clone(), container.id.clone());
    tokio::spawn(async move {
        let _ = api.kill_container(&id, None).await;
    });
}

/// What the engine noticed, where the kernel's counter can't be seen.
async fn killed_for_memory(container: &Container<'_>) -> bool {
    let inspected = container.daemon.api.inspect_container(&container.id, None).await;
    inspected.ok().and_then(|found| found.state?.oom_killed).unwrap_or(false)
}
