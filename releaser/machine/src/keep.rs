//! Keeps a service running where nobody else does: no systemd, no superuser.
//!
//! One process for each folder. It starts `staith-machine start --folder DIR`, which becomes the application, and starts it
//! again when it ends, after a pause that grows. It lives in a session of its own, so it outlives whoever started it. It is told to
//! end through a pipe with a name, `.keeper`; whoever can open that for writing knows that it lives, because the kernel closes
//! it with the process that reads it.
//!
//! 1. Here: the process itself.
//! 2. `running`: which process is the application now, as that process wrote down itself.
//! 3. `log`: what the application writes, within bounds.
//! 4. `pause`: when it is started again.

pub(crate) mod log;
mod pause;
pub(crate) mod running;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _, unix::process::CommandExt as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use rustix::{
    fs::{FileType, FlockOperation, Mode, OFlags, mknodat},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid},
};
use staith_model::Service;

use crate::{
    layout::Layout,
    refusal::{self, Outcome},
    spec::Spec,
    state::pointed,
};
use log::Log;
use pause::Pauses;
use running::Running;

/// How long the one before may take to be gone when it has been told to end.
const HANDOVER: Duration = Duration::from_secs(5);
/// Between two looks.
const MOMENT: Duration = Duration::from_millis(10);
/// How long a service is given to end of which nothing is known.
const STOP_SECONDS: u64 = 10;

/// What a keeper hears of.
enum Heard {
    /// The application's first process ended; it is still to be reaped.
    Ended,
    /// Somebody wants the service to end.
    Stop,
}

/// Keeps the folder's service running until it is told to end. Returns at once if another one does.
pub(crate) fn keep(layout: &Layout) -> Outcome<()> {
    let Some(_alone) = alone(layout)? else { return Ok(()) };
    // Whoever logs out, or ends a terminal, does not mean the service. Refused to the leader of a group, who has one already.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let log = Arc::new(Mutex::new(Log::begin(layout)));
    end_what_is_left(layout, stop_seconds(layout));
    let (tell, heard) = channel();
    listen(layout, tell.clone())?;
    let mut pauses = Pauses::default();
    loop {
        let began = Instant::now();
        let pause = match start(layout, &log) {
            Ok(child) => match until_it_ends(layout, child, &tell, &heard, &log) {
                None => return Ok(()),
                Some(how) => {
                    let pause = pauses.after(began.elapsed());
                    note(&log, &format!("the service ended: {how}; it is started again in {pause:?}"));
                    pause
                }
            },
            Err(error) => {
                let pause = pauses.after(Duration::ZERO);
                note(&log, &format!("{} can't be started: {error}", layout.program().display()));
                pause
            }
        };
        match heard.recv_timeout(pause) {
            Ok(Heard::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(Heard::Ended) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Holds the lock of whoever keeps; `None` if another one does.
fn alone(layout: &Layout) -> Outcome<Option<File>> {
    let path = layout.keeper_lock();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(refusal::io("open", &path))?;
    let until = Instant::now() + HANDOVER;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(_) if Instant::now() >= until => return Ok(None),
            Err(_) => std::thread::sleep(MOMENT),
        }
    }
}

/// Hears through the pipe with a name.
fn listen(layout: &Layout, tell: Sender<Heard>) -> Outcome<()> {
    let path = layout.keeper();
    // One that is there may be no pipe, or somebody else's.
    let _ = std::fs::remove_file(&path);
    mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .map_err(|error| refusal::told("make", &path, &error.into()))?;
    // Also for writing: so it never ends while nobody else writes.
    let mut pipe =
        OpenOptions::new().read(true).write(true).open(&path).map_err(refusal::io("open", &path))?;
    std::thread::spawn(move || {
        let mut byte = [0];
        while pipe.read_exact(&mut byte).is_ok() {
            if byte[0] == STOP && tell.send(Heard::Stop).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// What is written into the pipe to end the service.
const STOP: u8 = b's';

/// Whether the folder's service is kept running.
pub(crate) fn is_kept(layout: &Layout) -> bool {
    opened(layout).is_some()
}

/// Tells whoever keeps the service running to end it; says whether anybody does.
pub(crate) fn tell_to_end(layout: &Layout) -> bool {
    opened(layout).is_some_and(|pipe| rustix::io::write(&pipe, &[STOP]).is_ok())
}

/// The pipe, if somebody reads it. Never waits, and opens nothing else that may have that name.
fn opened(layout: &Layout) -> Option<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let pipe = rustix::fs::open(layout.keeper(), flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&pipe).ok()?.st_mode);
    (kind == FileType::Fifo).then_some(pipe)
}

/// How long the service that `current` points to is given to end.
pub(crate) fn stop_seconds(layout: &Layout) -> u64 {
    let current = pointed(&layout.current()).ok().flatten();
    match current.and_then(|release| Spec::read(layout, &release).ok().flatten()).map(|spec| spec.service) {
        Some(Service::Supervised { stop_seconds, .. }) => stop_seconds,
        _ => STOP_SECONDS,
    }
}

/// A process that becomes the application, in a group of its own, with its words in the log.
fn start(layout: &Layout, log: &Arc<Mutex<Log>>) -> io::Result<Child> {
    let (mut from, to) = io::pipe()?;
    let mut command = Command::new(layout.program());
    command.arg("start").arg("--folder").arg(layout.root()).process_group(0);
    command.stdin(Stdio::null()).stdout(to.try_clone()?).stderr(to);
    let child = command.spawn()?;
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut chunk = [0; 8 << 10];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            log.lock().unwrap_or_else(PoisonError::into_inner).write(&chunk[..length]);
        }
    });
    Ok(child)
}

/// Waits for the application's end: how it was, or nothing if it was ended because somebody wanted that.
fn until_it_ends(
    layout: &Layout,
    mut child: Child,
    tell: &Sender<Heard>,
    heard: &Receiver<Heard>,
    log: &Mutex<Log>,
) -> Option<String> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Read now: by the time it is to end, `current` may point elsewhere.
    let patience = Duration::from_secs(stop_seconds(layout));
    let ended = tell.clone();
    std::thread::spawn(move || {
        // It is left to be reaped below: until then its number is nobody else's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Some(Err(rustix::io::Errno::INTR)) = group.map(|pid| waitid(WaitId::Pid(pid), options)) {}
        let _ = ended.send(Heard::Ended);
    });
    let wanted = matches!(heard.recv(), Ok(Heard::Stop) | Err(_));
    if wanted {
        group.map(|pid| kill_process(pid, Signal::TERM));
        let until = Instant::now() + patience;
        while !matches!(
            heard.recv_timeout(until.saturating_duration_since(Instant::now())),
            Ok(Heard::Ended) | Err(_)
        ) {}
    }
    // What it started and left behind goes with it, so that its port is free.
    group.map(|pid| kill_process_group(pid, Signal::KILL));
    let status = child.wait();
    if wanted {
        Running::forget(layout);
        note(log, "the service was told to end, and has ended");
        return None;
    }
    Some(status.map_or_else(|error| error.to_string(), |status| status.to_string()))
}

fn note(log: &Mutex<Log>, text: &str) {
    log.lock().unwrap_or_else(PoisonError::into_inner).note(text);
}

/// Ends the application of a keeper that was killed.
pub(crate) fn end_what_is_left(layout: &Layout, patience: u64) {
    let left = Running::read(layout).filter(Running::is_alive);
    if let Some((left, pid)) =
        left.and_then(|left| Some((left.clone(), Pid::from_raw(i32::try_from(left.pid).ok()?)?)))
    {
        let _ = kill_process(pid, Signal::TERM);
        let until = Instant::now() + Duration::from_secs(patience);
        while left.is_alive() && Instant::now() < until {
            std::thread::sleep(MOMENT);
        }
        // Its group bears its number for as long as anybody is in it.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    Running::forget(layout);
}
