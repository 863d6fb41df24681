//! The sandbox's first process: builds what the step will see, starts it, and ends everything.
//!
//! As process 1 of its namespace it inherits every orphan, so it can reap the whole tree, and `kill(-1)` reaches every
//! process but itself, whatever sessions they made and signals they ignore.

mod ending;

use std::{
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::ForkResult,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::DumpableBehavior,
};
use staith_model::Network;

use self::ending::{Tree, signal_all};
use super::{
    helper::INSIDE_ID,
    protocol::{Command, Doing, PROXY_PORT, Program, Report, Request, SetupError, Stage, frame, send_report},
    rootfs,
    seccomp::Filters,
    staging, step, sys,
};

/// Everything that this process does. `parent` gives one byte when the identities are mapped, and then stays open for as
/// long as the helper lives.
pub(super) fn run(request: &Request, filters: &Filters, control: &mut UnixStream, parent: OwnedFd) -> ! {
    let report = match prepare(request, control, &parent) {
        Ok(victim) => start_and_watch(&request.program, filters, control, &parent, &victim),
        Err(error) => Err(error),
    };
    let report = report.unwrap_or_else(Report::Failed);
    // The engine may be gone; then nobody is left to be told.
    let _ = send_report(control, &report);
    // Not through `main`: what the helper's half of the program registered for its exit is not ours to run.
    std::process::exit(0)
}

fn prepare(request: &Request, control: &mut UnixStream, parent: &OwnedFd) -> Result<Victim, SetupError> {
    // While this process may still open its own file.
    let victim = Victim::open();
    await_mapping(parent).doing(Stage::Identity, || "waiting for the helper".to_owned())?;
    become_inside_user().doing(Stage::Identity, || "becoming the sandbox's user".to_owned())?;
    let limits = fewer_namespaces_and_watches();
    nix::unistd::sethostname("staith").doing(Stage::Root, || "naming the sandbox".to_owned())?;
    network(request.network, control)?;
    staging::private_mounts().doing(Stage::Root, || "separating mounts from the host's".to_owned())?;
    if !request.as_root {
        staging::stage(request)?;
    }
    rootfs::enter(request)?;
    // Only now: each mount that is not yet anywhere has a namespace of its own.
    for (mut file, limit) in limits {
        let _ = file.write_all(limit.as_bytes());
    }
    Ok(victim)
}

/// Limits of the new user namespace: no namespaces below it, as a second wall behind the filters, and no more watches of
/// files than a build needs, because the host's other users share the memory that they take. A kernel that lacks one of
/// them, or a container in which they can't be written, leaves the first wall. The files are opened, to be written when the
/// root file system is made.
fn fewer_namespaces_and_watches() -> Vec<(std::fs::File, &'static str)> {
    let limits = std::path::Path::new("/proc/sys/user");
    let names = std::fs::read_dir(limits).into_iter().flatten().flatten();
    let mut opened = Vec::new();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let limit = match name.as_str() {
            "max_inotify_instances" => "64",
            "max_inotify_watches" => "65536",
            name if name.starts_with("max_") && name.ends_with("_namespaces") => "0",
            _ => continue,
        };
        if let Ok(file) = std::fs::File::options().write(true).open(limits.join(name)) {
            opened.push((file, limit));
        }
    }
    opened
}

/// When memory runs out the kernel shall pick a process of the step, neither this one nor the helper nor the engine. The
/// step can't mark itself: it inherits that its files in `/proc` are not its own. So this process marks itself for as long
/// as it copies itself.
pub(super) struct Victim(Option<(std::fs::File, i32)>);

impl Victim {
    /// How much likelier a victim the step is.
    const MARK: i32 = 500;

    /// Where the host forbids even that, the step's own memory limit still holds.
    pub(super) fn open() -> Self {
        let open = || -> Option<(std::fs::File, i32)> {
            let path = "/proc/self/oom_score_adj";
            let before = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
            Some((std::fs::File::options().write(true).open(path).ok()?, before))
        };
        Self(open())
    }

    fn mark(&self) {
        self.write(|before| before.max(Self::MARK));
    }

    fn unmark(&self) {
        self.write(|before| before);
    }

    fn write(&self, value: impl FnOnce(i32) -> i32) {
        if let Some((file, before)) = &self.0 {
            let _ = std::os::unix::fs::FileExt::write_at(file, value(*before).to_string().as_bytes(), 0);
        }
    }
}

fn await_mapping(parent: &OwnedFd) -> io::Result<()> {
    let mut byte = [0];
    match rustix::io::read(parent, &mut byte)? {
        1 => Ok(()),
        _ => Err(io::Error::other("the helper ended")),
    }
}

fn become_inside_user() -> io::Result<()> {
    let (user, group) =
        (rustix::process::Uid::from_raw(INSIDE_ID), rustix::process::Gid::from_raw(INSIDE_ID));
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    // Processes of the step have the same user. What can't be dumped can't be traced, and its memory, descriptors and
    // program can't be opened either.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // After the change of user, which would clear it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

fn network(network: Network, control: &UnixStream) -> Result<(), SetupError> {
    if network == Network::None {
        return Ok(());
    }
    sys::loopback_up().doing(Stage::Network, || "bringing loopback up".to_owned())?;
    if network == Network::Outbound { listen_for_the_proxy(control) } else { Ok(()) }
}

/// Makes the socket at which the step finds the proxy, and gives it to the engine.
pub(super) fn listen_for_the_proxy(control: &UnixStream) -> Result<(), SetupError> {
    TcpListener::bind(("127.0.0.1", PROXY_PORT))
        .and_then(|listener| hand_over(control, &listener))
        .doing(Stage::Network, || "making the proxy's socket".to_owned())
}

/// Gives the engine a socket that listens in here; the engine's own network stays out there.
fn hand_over(control: &UnixStream, listener: &TcpListener) -> io::Result<()> {
    let bytes = frame(&Report::Listening)?;
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(control, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::other("the socket took a part of a frame only")) }
}

/// Starts the program and obeys the engine until it ends; ends the rest. `parent` becomes readable when whoever made this
/// sandbox is gone.
pub(super) fn start_and_watch(
    program: &Program,
    filters: &Filters,
    control: &mut UnixStream,
    parent: &OwnedFd,
    victim: &Victim,
) -> Result<Report, SetupError> {
    // Before the step starts, so that its end can't be missed.
    let children = watch_children().doing(Stage::Other, || "watching for ended processes".to_owned())?;
    let (mut failure, fails) = io::pipe().doing(Stage::Other, || "making a pipe".to_owned())?;
    victim.mark();
    let forked = sys::fork();
    if !matches!(forked, Ok(ForkResult::Child)) {
        victim.unmark();
    }
    let main = match forked.doing(Stage::Other, || "starting the step's process".to_owned())? {
        ForkResult::Child => step::become_program(program, filters, fails.into()),
        ForkResult::Parent { child } => child,
    };
    drop(fails);
    let let_go = || -> io::Result<()> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdout(&null)?;
        Ok(nix::unistd::dup2_stderr(&null)?)
    };
    let_go().doing(Stage::Other, || "closing the step's pipes".to_owned())?;
    let mut why = Vec::new();
    failure.read_to_end(&mut why).doing(Stage::Other, || "waiting for the program to start".to_owned())?;
    if !why.is_empty() {
        Tree::of(main).end();
        return step::Failure::from_bytes(&why).into_report(program);
    }
    send_report(control, &Report::Started).doing(Stage::Other, || "telling the engine".to_owned())?;
    watch(Tree::of(main), control, parent, &children)
        .doing(Stage::Other, || "waiting for the step".to_owned())
}

fn watch_children() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// How long what the step's own process has left behind may take to end by itself: enough for a `tee` to write what is in
/// its pipe, and not worth mentioning where a server was forgotten.
const DRAIN: Duration = Duration::from_millis(200);

/// Obeys the engine until the step's own process has ended; then ends the rest. An engine or a helper that is gone means the
/// end at once.
fn watch(
    mut tree: Tree,
    control: &mut UnixStream,
    parent: &OwnedFd,
    children: &SignalFd,
) -> io::Result<Report> {
    let mut until: Option<Instant> = None;
    loop {
        let heard = listen(control, parent, children, until)?;
        if heard.ended {
            while let Ok(Some(_)) = children.read_signal() {}
            tree.reap();
        }
        if tree.main.is_some() && until.is_none() {
            until = Some(Instant::now() + DRAIN);
        }
        let is_over = until.is_some_and(|until| tree.is_empty || Instant::now() >= until);
        // Whoever wants the step to end has waited long enough.
        if is_over || heard.helper || (heard.engine && until.is_some()) {
            return Ok(end(tree, control));
        }
        if heard.engine {
            obey(control)?;
        }
    }
}

/// What there is to be looked at.
struct Heard {
    engine: bool,
    ended: bool,
    helper: bool,
}

fn listen(
    control: &UnixStream,
    parent: &OwnedFd,
    children: &SignalFd,
    until: Option<Instant>,
) -> io::Result<Heard> {
    let mut sources = [
        PollFd::new(control, PollFlags::IN),
        PollFd::new(children, PollFlags::IN),
        PollFd::new(parent, PollFlags::IN),
    ];
    let time = until.map(|until| until.saturating_duration_since(Instant::now()));
    let time = time.map(|time| Timespec::try_from(time).map_err(io::Error::other)).transpose()?;
    match poll(&mut sources, time.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [engine, ended, helper] = sources.map(|source| !source.revents().is_empty());
    Ok(Heard { engine, ended, helper })
}

/// Ends what is left, says how much that was where the step had ended by itself, and gives the step's own end.
fn end(mut tree: Tree, control: &mut UnixStream) -> Report {
    let had_ended = tree.main.is_some();
    let killed = tree.end();
    if had_ended && killed > 0 {
        // The engine may be gone; then nobody is left to be told.
        let _ = send_report(control, &Report::Survivors(killed));
    }
    tree.main.unwrap_or(Report::Signalled(libc::SIGKILL))
}

fn obey(control: &mut UnixStream) -> io::Result<()> {
    let mut byte = [0];
    let command = match control.read(&mut byte) {
        Ok(1) => Command::from_byte(byte[0]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
        Ok(_) | Err(_) => Some(Command::Kill),
    };
    match command {
        Some(Command::Terminate) => {
            signal_all(Signal::SIGTERM);
            // A stopped process would sleep through it.
            signal_all(Signal::SIGCONT);
        }
        Some(Command::Kill) => signal_all(Signal::SIGKILL),
        None => {}
    }
    Ok(())
}
