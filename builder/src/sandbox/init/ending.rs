//! The end of all processes of the sandbox but the first.

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{
    super::protocol::{CheckEnd, Report},
    check::Check,
};

/// Every process of the sandbox but this one. That there is none is fine.
pub(super) fn signal_all(signal: Signal) {
    let _ = kill(Pid::from_raw(-1), signal);
}

/// The step's processes.
pub(super) struct Tree {
    pid: Pid,
    /// How the step's own process ended, once it has.
    pub(super) main: Option<Report>,
    /// The check that runs.
    pub(super) check: Option<Check>,
    /// How the last one ended, until that is told.
    pub(super) checked: Option<CheckEnd>,
    /// Whether nobody is left.
    pub(super) is_empty: bool,
}

impl Tree {
    pub(super) const fn of(main: Pid) -> Self {
        Self { pid: main, main: None, check: None, checked: None, is_empty: false }
    }

    /// Takes the status of all that have ended.
    pub(super) fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.is_empty = true;
                    return;
                }
                Ok(status) => drop(self.note(status)),
            }
        }
    }

    /// Kills and reaps until nobody is left; how many were killed, beside the step's own process. The kernel signals and
    /// forks under one lock, so nobody slips through.
    pub(super) fn end(&mut self) -> u32 {
        let mut killed = 0;
        signal_all(Signal::SIGKILL);
        loop {
            match waitpid(None, None) {
                Err(Errno::EINTR) => {}
                Err(_) => break,
                Ok(status) => killed += u32::from(self.note(status)),
            }
            signal_all(Signal::SIGKILL);
        }
        self.is_empty = true;
        // While this process still sees it, so that nothing of the workspace is mounted any more when the engine hears.
        let _ = rustix::mount::unmount(crate::engine::WORKSPACE, rustix::mount::UnmountFlags::empty());
        killed
    }

    /// Whether the status is that of another process than the step's own, and of one that was killed.
    fn note(&mut self, status: WaitStatus) -> bool {
        if let Some(end) = self.check.as_mut().and_then(|check| check.ended(status)) {
            self.check = None;
            self.checked = Some(end);
            return false;
        }
        match status {
            WaitStatus::Exited(pid, code) if pid == self.pid => self.main = Some(Report::Exited(code)),
            WaitStatus::Signaled(pid, signal, _) if pid == self.pid => {
                self.main = Some(Report::Signalled(signal as i32));
            }
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => return true,
            _ => {}
        }
        false
    }
}
