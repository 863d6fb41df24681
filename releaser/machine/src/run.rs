//! Runs a program to its end, with its last words.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use staith_model::Digest;

use crate::layout::Layout;

/// As much of what a program says as is kept.
const SAID: usize = 64 << 10;
/// Between two looks whether it has ended.
const MOMENT: Duration = Duration::from_millis(4);
/// What is waited for the rest of what it said: a daemon that it started may hold the pipe for ever.
const REST: Duration = Duration::from_millis(300);
/// Between asking a group to end and ending it.
const GRACE: Duration = Duration::from_secs(2);

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) timed_out: bool,
    pub(crate) said: Vec<u8>,
}

/// A program that runs in a release's folder; one with a `/` in its name is looked up there.
pub(crate) fn in_release(layout: &Layout, release: &Digest, words: &[String]) -> Command {
    let home = layout.release(release);
    let name = words.first().map_or("", String::as_str);
    let mut command = Command::new(program(&home, name));
    command.args(words.iter().skip(1)).current_dir(&home);
    command.env("STAITH_RELEASE", release.to_string()).env("STAITH_FOLDER", layout.root());
    command
}

/// Where a release's program is: in its folder if its name has a `/`, else wherever `PATH` says.
pub(crate) fn program(home: &Path, name: &str) -> std::path::PathBuf {
    if name.contains('/') { home.join(name) } else { name.into() }
}

/// Runs a command in a process group of its own. When its time is up, or `stop` says so, the whole group is ended.
pub(crate) fn run(
    command: &mut Command,
    patience: Option<Duration>,
    stop: &dyn Fn() -> bool,
) -> io::Result<Ran> {
    let (from, to) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(to.try_clone()?).stderr(to).process_group(0);
    let mut child = command.spawn()?;
    // The command holds the other ends of the pipe, which would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let said = Arc::new(Mutex::new(VecDeque::new()));
    let reader = listen(from, said.clone());
    let until = patience.map(|patience| Instant::now() + patience);
    let mut timed_out = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        timed_out = until.is_some_and(|until| Instant::now() >= until);
        if timed_out || stop() {
            break end(&mut child)?;
        }
        std::thread::sleep(MOMENT);
    };
    let rest = Instant::now() + REST;
    while !reader.is_finished() && Instant::now() < rest {
        std::thread::sleep(MOMENT);
    }
    let said = said.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
    Ok(Ran { code: status.code().filter(|_| !timed_out), timed_out, said })
}

fn listen(mut from: io::PipeReader, said: Arc<Mutex<VecDeque<u8>>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut chunk = [0; 8 << 10];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend(&chunk[..length]);
            let excess = said.len().saturating_sub(SAID);
            said.drain(..excess);
        }
    })
}

fn end(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    let _ = signal(Signal::TERM);
    let until = Instant::now() + GRACE;
    while Instant::now() < until {
        if child.try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(MOMENT);
    }
    // Also when the first process has ended: the others of its group may have stayed.
    let _ = signal(Signal::KILL);
    child.wait()
}
