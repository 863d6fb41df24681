//! The sandbox's first process: builds what the step will see, starts it, and ends everything.
//!
//! As process 1 of its namespace it inherits every orphan, so it can reap the whole tree, and `kill(-1)` reaches every
//! process but itself, whatever sessions they made and signals they ignore.

mod check;
mod ending;
mod network;

use std::{
    io::{self, Read, Write},
    os::fd::OwnedFd,
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
    process::DumpableBehavior,
};
use staith_model::Network;

pub(super) use self::network::listen_for;
use self::{
    check::{Checks, Outputs},
    ending::{Tree, signal_all},
};
use super::{
    confinement,
    helper::INSIDE_ID,
    protocol::{Command, Doing, Program, Report, Request, SetupError, Stage, send_report},
    rootfs,
    seccomp::Filters,
    shared_memory, staging, step, sys,
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
    shared_memory::limit(request.scratch_bytes);
    become_inside_user().doing(Stage::Identity, || "becoming the sandbox's user".to_owned())?;
    let limits = fewer_namespaces_and_watches();
    nix::unistd::sethostname("staith").doing(Stage::Root, || "naming the sandbox".to_owned())?;
    network(request, control)?;
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

fn network(request: &Request, control: &UnixStream) -> Result<(), SetupError> {
    if request.network == Network::None {
        return Ok(());
    }
    sys::loopback_up().doing(Stage::Network, || "bringing loopback up".to_owned())?;
    if request.program.has_gate {
        // What runs behind a gate may listen at any port, such as a web server at 80: the network is its own. Where that
        // can't be said, as in some containers, a program that wants a low port says so itself.
        let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    }
    listen_for(request.network, &request.neighbours, control)
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
    confinement::confine_together(program)?;
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
    let outputs = let_go(program).doing(Stage::Other, || "closing the step's pipes".to_owned())?;
    let mut why = Vec::new();
    failure.read_to_end(&mut why).doing(Stage::Other, || "waiting for the program to start".to_owned())?;
    if !why.is_empty() {
        Tree::of(main).end();
        return step::Failure::from_bytes(&why).into_report(program);
    }
    send_report(control, &Report::Started).doing(Stage::Other, || "telling the engine".to_owned())?;
    let checks = Checks { program, filters, victim, outputs };
    watch(Tree::of(main), &checks, control, parent, &children)
        .doing(Stage::Other, || "waiting for the step".to_owned())
}

/// Lets go of the step's output, whose readers wait for the last who could write; keeps it for checks, where there may be
/// some.
fn let_go(program: &Program) -> io::Result<Option<Outputs>> {
    let kept = program.has_gate.then(Outputs::of_this_process).transpose()?;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(kept)
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
    checks: &Checks<'_>,
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
            // It looked at a program that is no more.
            tree.check.iter().for_each(check::Check::kill);
        }
        if let Some(end) = tree.checked.take().filter(|_| tree.main.is_none()) {
            // The engine may be gone, as below; then the next thing heard of it is that.
            let _ = send_report(control, &Report::Checked(end));
        }
        let is_over = until.is_some_and(|until| tree.is_empty || Instant::now() >= until);
        if is_over || heard.helper {
            return Ok(end(tree, control));
        }
        if heard.engine {
            match Command::read(control) {
                // Whoever wants the step to end has waited long enough.
                Command::Terminate | Command::Kill if until.is_some() => return Ok(end(tree, control)),
                // Nobody is there any more to be reached or looked at.
                _ if until.is_some() => {}
                command => obey(command, &mut tree, checks, control),
            }
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

fn obey(command: Command, tree: &mut Tree, checks: &Checks<'_>, control: &mut UnixStream) {
    match command {
        Command::Terminate => {
            signal_all(Signal::SIGTERM);
            // A stopped process would sleep through it.
            signal_all(Signal::SIGCONT);
        }
        Command::Kill => signal_all(Signal::SIGKILL),
        Command::Connect { by_v6, port } => network::connect_for(control, by_v6, port),
        Command::EndCheck => tree.check.iter().for_each(check::Check::kill),
        // One at a time: the engine waits for the last one's end.
        Command::Check(_) if tree.check.is_some() => {}
        Command::Check(argv) => match checks.start(argv) {
            Ok(check) => tree.check = Some(check),
            Err(end) => drop(send_report(control, &Report::Checked(end))),
        },
    }
}
