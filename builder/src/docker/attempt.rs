//! One step, from its container's creation to its removal.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    sync::Arc,
    time::Duration,
};

use bollard::{models::ContainerUpdateBody, query_parameters::WaitContainerOptionsBuilder};
use futures_util::StreamExt;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{net::unix::pipe, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    daemon::{Daemon, Dialect},
    limits::{self, ContainerLimits},
    made::{Container, For, create, explain},
    place::Place,
    refused, scratch, why,
};
use crate::{
    engine::{EngineError, OutputChunk, StepExit, StepSpec, Stream},
    sandbox::shared::{
        Connection, Contained, Pump, Watch, give_terminal, kills_for_memory_around, limit_processes_around,
        make_removable, plan, pump,
    },
};

/// Far longer than a container's first process needs to be heard of on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one step. Ends it when `abandoned` is cancelled, and cleans up all the same.
pub(super) async fn attempt(
    shared: Arc<Shared>,
    step: StepSpec,
    output: mpsc::Sender<OutputChunk>,
    cancel: CancellationToken,
    abandoned: CancellationToken,
) -> Result<StepExit, EngineError> {
    plan::check(&step)?;
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
    let pumps = match &step.terminal {
        Some(terminal) => {
            give_terminal(terminal, owner);
            send_outputs(&connected, [terminal.as_fd(), terminal.as_fd()]).map(|()| Vec::new())
        }
        None => send_pipes(&connected, owner, &output),
    };
    let pumps = pumps.map_err(lost)?;
    let mut connection = Connection::over(connected).map_err(lost)?;
    // What is not in the workspace is in memory, or can't be written: a bound on what the step writes makes the root read-only.
    let mut watch = Watch::new(&step, None, cancel, abandoned)?;
    let (neighbours, program) = (step.neighbours.clone(), plan::program(&step, None));
    let asked = Contained { network: step.network, neighbours, program };
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
    watch.conclude(ended, out_of_memory).await
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
    send_outputs(to, [theirs[0].as_fd(), theirs[1].as_fd()])?;
    Ok(pumps)
}

/// Sends what is to be the step's standard output and error.
fn send_outputs(to: &UnixStream, descriptors: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(to, &[IoSlice::new(b"P")], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
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
