//! The engine's side of one step, from the helper's start to the last byte of output.

mod arrivals;
pub(crate) mod connection;
mod door;
pub(crate) mod plan;

use std::{
    fs,
    future::pending,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use staith_model::Network;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{arrivals::Arrivals, connection::Connection, door::Door};
use super::{
    Shared, egress, probe,
    protocol::{Command, Listener, Report},
};
use crate::{
    disk::{DiskGuard, Excess},
    engine::{EngineError, OutputChunk, StepExit, StepSpec, Stream},
};

/// How long a cancelled step may take to end by itself after SIGTERM.
const GRACE_AFTER_CANCEL: Duration = Duration::from_secs(10);
/// How long a step whose time is over may. Shorter: it had its time.
const GRACE_AFTER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the sandbox may take to obey SIGKILL before its processes are ended from outside.
const GRACE_AFTER_KILL: Duration = Duration::from_secs(5);
/// Bytes read from a step's stream at once; as much as a pipe holds by default.
const CHUNK: usize = 64 << 10;

/// Runs one step. Ends it when `abandoned` is cancelled, and cleans up all the same.
pub(super) async fn supervise(
    shared: Arc<Shared>,
    step: StepSpec,
    output: mpsc::Sender<OutputChunk>,
    cancel: CancellationToken,
    abandoned: CancellationToken,
) -> Result<StepExit, EngineError> {
    plan::check(&step)?;
    plan::make_image_directory(&shared, &step)?;
    let (limits, processes) = plan::limits(shared.cgroups().await?, &step.limits)?;
    let group = shared.cgroups().await?.make(&step.label, limits).map_err(|error| EngineError::Setup {
        doing: "making the step's control group".to_owned(),
        why: error.to_string(),
    })?;
    let mut request = plan::request(&shared, &step, processes);
    group.enter_by(&mut request);
    if let Some(terminal) = &step.terminal {
        give_terminal(terminal, shared.as_root.then_some(shared.outside));
    }
    let (mut connection, mut child) = connection::open(&shared.helper, step.terminal.as_deref())?;
    let pumps = start_pumps(&mut child, &output);
    let mut watch = Watch::new(&step, plan::written_of_image(&step), cancel, abandoned)?;
    connection.send_opening(&request, shared.filters().await?).await?;
    let ended = watch.until_ended(&mut connection, || drop(child.start_kill())).await;
    drop(connection);
    // The sandbox is gone when its helper is.
    let _ = child.wait().await;
    watch.finish(pumps, output).await;
    let out_of_memory = group.killed_for_memory() > 0;
    group.remove().await;
    make_removable(&step.work);
    make_removable(&plan::image_directory(&step).join("work"));
    watch.conclude(ended, out_of_memory).await
}

/// Some programs open their terminal anew, by `/dev/stdout` for example. Where it can't be given to the step's user they fail,
/// and all others work.
pub(crate) fn give_terminal(terminal: &OwnedFd, owner: Option<(u32, u32)>) {
    if let Some((user, group)) = owner {
        let _ = std::os::unix::fs::fchown(terminal, Some(user), Some(group));
    }
}

/// What is said of processes that a step has left behind.
fn left_behind(survivors: u32) -> String {
    match survivors {
        1 => "1 process that the step had started was still running; it was ended".to_owned(),
        many => format!("{many} processes that the step had started were still running; they were ended"),
    }
}

/// Lines of Staith's own, after those of the step.
fn notice_of(lines: &[String], is_mid_line: bool) -> OutputChunk {
    let line_end = if is_mid_line { "\n" } else { "" };
    let lines: String = lines.iter().map(|line| format!("staith: {line}\n")).collect();
    OutputChunk { stream: Stream::Stderr, bytes: format!("{line_end}{lines}").into_bytes() }
}

/// Overlay leaves directories in its own that not even their owner may enter, and so remove.
pub(crate) fn make_removable(work: &Path) {
    for left in ["work", "work/incompat", "work/incompat/volatile"] {
        // Where overlay was never mounted there is none.
        let _ = fs::set_permissions(work.join(left), fs::Permissions::from_mode(0o700));
    }
}

/// Why we ended a step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    TimedOut,
    Cancelled,
    Abandoned,
    TooMuchWritten(Excess),
}

/// Keeps time for one step and hears who wants it to end; the same for every kind of sandbox.
pub(crate) struct Watch {
    deadline: Instant,
    outbound: bool,
    allow: Vec<String>,
    refusals: egress::Refusals,
    cancel: CancellationToken,
    abandoned: CancellationToken,
    disk: DiskGuard,
    door: Door,
    arrivals: Arrivals,
    verdict: Option<Verdict>,
    kill_at: Option<Instant>,
    /// When a sandbox that did not obey is ended from outside.
    give_up_at: Option<Instant>,
    /// Processes that the step had left behind.
    survivors: u32,
}

impl Watch {
    /// The step's time begins now. `also` is where it writes beside its workspace, as far as that can be seen.
    ///
    /// # Errors
    /// Its gate is another sandbox's.
    pub(crate) fn new(
        step: &StepSpec,
        also: Option<PathBuf>,
        cancel: CancellationToken,
        abandoned: CancellationToken,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            deadline: Instant::now() + step.timeout,
            outbound: step.network == Network::Outbound,
            allow: step.allow.clone(),
            refusals: egress::Refusals::default(),
            cancel,
            abandoned,
            disk: DiskGuard::new(&step.upper, also, step.limits.disk),
            door: Door::of(step.gate.as_ref())?,
            arrivals: Arrivals::for_step(&step.neighbours, step.gate.as_ref()),
            verdict: None,
            kill_at: None,
            give_up_at: None,
            survivors: 0,
        })
    }

    /// The last report, or none when the sandbox vanished without one. `last_resort` ends a sandbox that does not answer.
    pub(crate) async fn until_ended(
        &mut self,
        connection: &mut Connection,
        mut last_resort: impl FnMut(),
    ) -> Result<Option<Report>, EngineError> {
        // Its tasks end when it is dropped.
        let mut proxy = egress::Proxy::default();
        let ended = loop {
            tokio::select! {
                report = connection.next() => match report? {
                    Some(report) => {
                        if let Some(last) = self.hear(report, connection, &mut proxy)? {
                            break Some(last);
                        }
                    }
                    None => break None,
                },
                happened = self.door.next() => self.door.act(happened, connection),
                () = sleep_until(self.deadline), if self.verdict.is_none() => {
                    self.end(Verdict::TimedOut, GRACE_AFTER_TIMEOUT, connection);
                }
                () = self.cancel.cancelled(), if self.verdict.is_none() => {
                    self.end(Verdict::Cancelled, GRACE_AFTER_CANCEL, connection);
                }
                excess = self.disk.excess(), if self.verdict.is_none() => {
                    self.end(Verdict::TooMuchWritten(excess), Duration::ZERO, connection);
                }
                () = self.abandoned.cancelled(), if self.verdict != Some(Verdict::Abandoned) => {
                    self.end(Verdict::Abandoned, Duration::ZERO, connection);
                }
                () = at(self.kill_at) => {
                    connection.tell(&Command::Kill);
                    self.kill_at = None;
                    self.give_up_at = Some(Instant::now() + GRACE_AFTER_KILL);
                }
                () = at(self.give_up_at) => {
                    self.give_up_at = None;
                    last_resort();
                }
            }
        };
        // Nobody is there any more: what is asked from now on is told so, and nobody else can come.
        self.door = Door::default();
        self.arrivals = Arrivals::for_step(&[], None);
        Ok(ended)
    }

    /// Does what a report asks for; gives it back where it is the last, or out of turn. Sockets are taken not because it is said,
    /// but because they were asked for: in a container the image has a say in who says it.
    fn hear(
        &mut self,
        report: Report,
        connection: &mut Connection,
        proxy: &mut egress::Proxy,
    ) -> Result<Option<Report>, EngineError> {
        let is_in_turn = match report.clone() {
            Report::Started => {
                self.door.open();
                true
            }
            Report::Survivors(many) => {
                self.survivors = many;
                true
            }
            Report::Listening(Listener::Proxy) if self.outbound => {
                proxy.serve(connection.take_socket()?.into(), &self.allow, self.refusals.clone());
                true
            }
            Report::Listening(Listener::Neighbour { number, port }) if self.arrivals.wants(number, port) => {
                self.arrivals.serve(number, port, connection.take_socket()?.into());
                true
            }
            Report::Connecting => self.door.connecting(connection.take_socket()?.into()),
            Report::Unconnected(errno) => self.door.unconnected(errno, connection),
            Report::Checked(end) => self.door.checked(end, connection),
            _ => false,
        };
        Ok((!is_in_turn).then_some(report))
    }

    fn end(&mut self, verdict: Verdict, grace: Duration, connection: &mut Connection) {
        self.verdict = Some(verdict);
        self.kill_at = Some(Instant::now() + grace);
        connection.tell(&Command::Terminate);
    }

    /// Waits until all output was passed on, or nobody wants it, says what the network refused the step and what it has left
    /// behind, and closes the channel.
    pub(crate) async fn finish(&self, pumps: Vec<Pump>, output: mpsc::Sender<OutputChunk>) {
        let is_mid_line = finish_pumps(pumps, &self.abandoned).await;
        let mut said = self.refusals.lines();
        if self.survivors > 0 && self.verdict.is_none() {
            said.push(left_behind(self.survivors));
        }
        if !said.is_empty() {
            let _ = output.send(notice_of(&said, is_mid_line)).await;
        }
    }

    /// How the step ended.
    pub(crate) async fn conclude(
        mut self,
        ended: Result<Option<Report>, EngineError>,
        out_of_memory: bool,
    ) -> Result<StepExit, EngineError> {
        if self.verdict.is_none() {
            let did_well = matches!(ended, Ok(Some(Report::Exited(0))));
            self.verdict = self.disk.at_the_end(did_well).await.map(Verdict::TooMuchWritten);
        }
        conclude(ended?, self.verdict, out_of_memory)
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// How the step ended, from facts: the kernel's counter, our own timer, and only then the program's status.
fn conclude(
    ended: Option<Report>,
    verdict: Option<Verdict>,
    out_of_memory: bool,
) -> Result<StepExit, EngineError> {
    if let Some(Report::Failed(error)) = &ended
        && verdict.is_none()
        && !out_of_memory
    {
        return Err(probe::diagnose(error));
    }
    match (verdict, out_of_memory, ended) {
        (Some(Verdict::Cancelled | Verdict::Abandoned), _, _) => Ok(StepExit::Cancelled),
        (Some(Verdict::TooMuchWritten(Excess::Limit { limit })), _, _) => Ok(StepExit::DiskUsedUp { limit }),
        (Some(Verdict::TooMuchWritten(Excess::HostFull { place, free })), _, _) => {
            Ok(StepExit::HostDiskFull { place, free })
        }
        (_, true, _) => Ok(StepExit::OutOfMemory),
        (Some(Verdict::TimedOut), false, _) => Ok(StepExit::TimedOut),
        (None, false, Some(Report::Exited(code))) => Ok(StepExit::Code(code)),
        (None, false, Some(Report::Signalled(signal))) => Ok(StepExit::Signal(signal)),
        (None, false, Some(Report::NotStarted { program, why })) => Ok(StepExit::NotStarted { program, why }),
        (None, false, other) => Err(EngineError::Lost(match other {
            Some(report) => format!("it said {report:?} out of turn"),
            None => {
                "its first process ended without a word; somebody killed it, or the host ran out of memory"
                    .to_owned()
            }
        })),
    }
}

/// What passes on a stream; says whether standard error ended within a line.
pub(crate) type Pump = JoinHandle<bool>;

fn start_pumps(child: &mut Child, output: &mpsc::Sender<OutputChunk>) -> Vec<Pump> {
    let stdout = child.stdout.take().map(|from| tokio::spawn(pump(from, Stream::Stdout, output.clone())));
    let stderr = child.stderr.take().map(|from| tokio::spawn(pump(from, Stream::Stderr, output.clone())));
    [stdout, stderr].into_iter().flatten().collect()
}

/// Passes on what a stream brings until its last writer is gone. A slow receiver slows the step down; one that is gone
/// does not.
pub(crate) async fn pump(
    mut from: impl AsyncRead + Unpin,
    stream: Stream,
    to: mpsc::Sender<OutputChunk>,
) -> bool {
    let mut buffer = vec![0; CHUNK];
    let mut last = b'\n';
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        last = buffer[length - 1];
        let chunk = OutputChunk { stream, bytes: buffer[..length].to_vec() };
        let _ = to.send(chunk).await;
    }
    stream == Stream::Stderr && last != b'\n'
}

async fn finish_pumps(pumps: Vec<Pump>, abandoned: &CancellationToken) -> bool {
    let mut is_mid_line = false;
    for mut pump in pumps {
        tokio::select! {
            ended = &mut pump => is_mid_line |= ended.unwrap_or_default(),
            // Nobody will take what is left.
            () = abandoned.cancelled() => pump.abort(),
        }
    }
    is_mid_line
}

#[cfg(test)]
mod tests;
