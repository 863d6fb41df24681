//! Ending what a killed keeper left behind, and what a program left behind that ended.
//!
//! A keeper that is killed can't end its programs, and they do not end by themselves. The next keeper finds them in two
//! ways: by process id and start time, as `keeper.json` has them, and by the value of [`MARK`] in their environment,
//! which also finds a program that was started a moment before the kill and never written down, and children that left
//! the program's process group. They are ended and started anew instead of being adopted: nobody can say what a program
//! did while nobody watched it, its output has nowhere to go, and only a parent learns how its child ends.
//!
//! A program that becomes a daemon leaves its process group, too, while its keeper lives. Whenever a pool's program has
//! ended, whatever else carries the marks of that pool is ended.

use std::{
    fs,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

use super::pool::Pool;

/// The environment variable by which a keeper knows its own; its value is the keeper's directory.
pub(super) const MARK: &str = "STAITH_KEEPER";

/// The environment variable by which a keeper knows whose a process is; its value is the pool's name.
pub(super) const POOL_MARK: &str = "STAITH_POOL";

/// How long orphans may take to end by themselves. Requests are held meanwhile, so it is short.
const GRACE: Duration = Duration::from_secs(3);

/// How long an ended process may take to vanish. Only one that is stuck in the kernel takes any time at all.
const VANISH: Duration = Duration::from_secs(2);

/// How long the search is repeated, for programs that start others while they are being ended.
const LONGEST_SEARCH: Duration = Duration::from_secs(15);

/// A process that can be told from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessMark {
    pid: u32,
    /// Start time in clock ticks since the machine started.
    started: u64,
    /// Which start of the machine.
    boot: String,
}

impl ProcessMark {
    /// A running process; `None` when it is gone.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, started: start_time(pid)?, boot: boot() })
    }

    /// Whether the process still runs.
    pub(super) fn is_alive(&self) -> bool {
        self.boot == boot() && start_time(self.pid) == Some(self.started)
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The start time of a process that is not a zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold spaces and parentheses; the state, the third field, follows the last one.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok()).flatten()
}

/// Ends all processes that a killed keeper of `dir` left behind, and returns how many there were. Blocks for a few
/// seconds at most.
pub(super) fn end_left_behind(dir: &str, recorded: &[ProcessMark]) -> usize {
    end_marked(&[mark(MARK, dir)], recorded, true)
}

/// Ends all processes that what ran in a pool of the keeper of `dir` has left behind, and returns how many there were;
/// those of the other pool stay. Without `gently`, nobody is asked first. Blocks for a few seconds at most, and hardly
/// at all when there are none.
pub(super) fn end_left_in(dir: &str, pool: Pool, gently: bool) -> usize {
    end_marked(&[mark(MARK, dir), mark(POOL_MARK, &pool.to_string())], &[], gently)
}

fn mark(name: &str, value: &str) -> Vec<u8> {
    format!("{name}={value}").into_bytes()
}

fn end_marked(marks: &[Vec<u8>], recorded: &[ProcessMark], gently: bool) -> usize {
    let began = Instant::now();
    let (mut ended, mut ask) = (Vec::new(), gently);
    while began.elapsed() < LONGEST_SEARCH {
        let orphans = find(marks, recorded);
        if orphans.is_empty() {
            break;
        }
        let (signal, patience) = if ask { (Signal::TERM, GRACE) } else { (Signal::KILL, VANISH) };
        wait_for(&send(&orphans, recorded, signal), patience);
        ask = false;
        ended.extend(orphans.into_iter().filter(|orphan| !ended.contains(orphan)).collect::<Vec<_>>());
    }
    ended.len()
}

fn find(marks: &[Vec<u8>], recorded: &[ProcessMark]) -> Vec<ProcessMark> {
    let mut found: Vec<ProcessMark> = recorded.iter().filter(|mark| mark.is_alive()).cloned().collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if pid != std::process::id() && is_marked(pid, marks) {
            found.extend(ProcessMark::of(pid).filter(|mark| !found.contains(mark)));
        }
    }
    found
}

/// Whether a process has all of these variables in its environment.
fn is_marked(pid: u32, marks: &[Vec<u8>]) -> bool {
    let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    marks.iter().all(|mark| environ.split(|byte| *byte == 0).any(|variable| variable == mark))
}

/// Sends a signal to each process, and to the group of those that a keeper started as leaders of one.
fn send(orphans: &[ProcessMark], leaders: &[ProcessMark], signal: Signal) -> Vec<OwnedFd> {
    let mut sent = Vec::new();
    for orphan in orphans {
        let Some(pid) = i32::try_from(orphan.pid).ok().and_then(Pid::from_raw) else { continue };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Looked at again with the handle in hand: from here on the number can't mean another process.
        if !orphan.is_alive() {
            continue;
        }
        if leaders.contains(orphan) {
            let _ = kill_process_group(pid, signal);
        }
        let _ = pidfd_send_signal(&handle, signal);
        sent.push(handle);
    }
    sent
}

/// Waits until all processes have ended, for `longest` at most.
fn wait_for(processes: &[OwnedFd], longest: Duration) {
    let began = Instant::now();
    for process in processes {
        let left = longest.saturating_sub(began.elapsed());
        let Ok(left) = Timespec::try_from(left) else { continue };
        let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::{CommandExt as _, ExitStatusExt as _},
        process::{Child, Command},
    };

    use super::*;

    fn sleeper(mark: &str) -> Child {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").env(MARK, mark).process_group(0).spawn().unwrap()
    }

    #[test]
    fn marked_processes_are_ended_and_others_are_not() {
        let dir = format!("/nowhere/{}/a", std::process::id());
        let mut ours = [sleeper(&dir), sleeper(&dir)];
        let mut other = sleeper(&format!("{dir}b"));
        assert_eq!(end_left_behind(&dir, &[]), 2);
        for child in &mut ours {
            assert_eq!(child.wait().unwrap().signal(), Some(15));
        }
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn what_a_pool_left_behind_is_ended_and_what_the_other_one_runs_is_not() {
        let dir = format!("/nowhere/{}/pools", std::process::id());
        let in_pool = |pool: &str| {
            let mut command = Command::new("/bin/sleep");
            command.arg("1000").env(MARK, &dir).env(POOL_MARK, pool).process_group(0).spawn().unwrap()
        };
        let (mut blue, mut green) = (in_pool("blue"), in_pool("green"));
        assert_eq!(end_left_in(&dir, Pool::Blue, false), 1);
        assert_eq!(blue.wait().unwrap().signal(), Some(9));
        assert!(green.try_wait().unwrap().is_none());
        assert_eq!(end_left_in(&dir, Pool::Green, true), 1);
        assert_eq!(green.wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn a_recorded_process_is_ended_and_a_later_one_with_its_number_is_not() {
        let mut child = sleeper("/elsewhere");
        let mark = ProcessMark::of(child.id()).unwrap();
        let earlier = ProcessMark { started: mark.started - 1, ..mark.clone() };
        let other_boot = ProcessMark { boot: "another".to_owned(), ..mark.clone() };
        assert_eq!(end_left_behind("/nowhere", &[earlier, other_boot]), 0);
        assert!(mark.is_alive());
        assert_eq!(end_left_behind("/nowhere", std::slice::from_ref(&mark)), 1);
        child.wait().unwrap();
        assert!(!mark.is_alive());
    }

    #[test]
    fn one_that_does_not_listen_is_killed() {
        let dir = format!("/nowhere/{}/deaf", std::process::id());
        let mut deaf = Command::new("/bin/sh")
            .args(["-c", "trap '' TERM; while :; do sleep 1000; done"])
            .env(MARK, &dir)
            .process_group(0)
            .spawn()
            .unwrap();
        // The shell must have set its trap; it runs its first child only afterwards.
        let children = format!("/proc/{0}/task/{0}/children", deaf.id());
        while fs::read_to_string(&children).unwrap().trim().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(end_left_behind(&dir, &[]), 2);
        assert_eq!(deaf.wait().unwrap().signal(), Some(9));
    }
}
