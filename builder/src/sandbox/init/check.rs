//! A command beside the program, to find out how that does: the same confinement, the same everything, but its arguments.

use std::{
    ffi::OsString,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    sys::{
        signal::{Signal, kill, killpg},
        wait::WaitStatus,
    },
    unistd::{ForkResult, Pid},
};

use super::{
    super::{
        protocol::{CheckEnd, Program},
        seccomp::Filters,
        step::{self, Failure},
        sys,
    },
    Victim,
};

/// Where the program's output goes. Kept only where checks may be asked for, and until the program has ended: whoever reads
/// waits for the last who could write.
pub(super) struct Outputs {
    out: OwnedFd,
    err: OwnedFd,
}

impl Outputs {
    /// Those of this process.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let keep = |stream: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(stream, 3);
        Ok(Self { out: keep(io::stdout().as_fd())?, err: keep(io::stderr().as_fd())? })
    }

    fn become_ours(&self) -> io::Result<()> {
        nix::unistd::dup2_stdout(&self.out)?;
        Ok(nix::unistd::dup2_stderr(&self.err)?)
    }
}

/// What checks are started with.
pub(super) struct Checks<'a> {
    pub(super) program: &'a Program,
    pub(super) filters: &'a Filters,
    pub(super) victim: &'a Victim,
    /// None where the engine has no gate, and so asks for no checks.
    pub(super) outputs: Option<Outputs>,
}

/// A check that runs.
pub(super) struct Check {
    pid: Pid,
    program: Program,
    /// Where it says why it did not start. Read when it has ended, so that nothing waits for it.
    failure: io::PipeReader,
}

impl Checks<'_> {
    /// Starts one. What goes wrong is the check's own failure, not the sandbox's.
    pub(super) fn start(&self, argv: Vec<OsString>) -> Result<Check, CheckEnd> {
        let program = Program { argv, on_terminal: false, ..self.program.clone() };
        match self.fork(&program) {
            Ok((pid, failure)) => Ok(Check { pid, program, failure }),
            Err(error) => Err(not_started(&program, format!("starting its process: {error}"))),
        }
    }

    fn fork(&self, program: &Program) -> io::Result<(Pid, io::PipeReader)> {
        let outputs = self.outputs.as_ref().ok_or_else(|| io::Error::other("nobody asked for a gate"))?;
        let (failure, fails) = io::pipe()?;
        self.victim.mark();
        let forked = sys::fork();
        if !matches!(forked, Ok(ForkResult::Child)) {
            self.victim.unmark();
        }
        match forked? {
            ForkResult::Parent { child } => Ok((child, failure)),
            ForkResult::Child => {
                if outputs.become_ours().is_err() {
                    std::process::exit(127);
                }
                step::become_program(program, self.filters, fails.into())
            }
        }
    }
}

impl Check {
    /// Whether this is the end of it; then what to say.
    pub(super) fn ended(&mut self, status: WaitStatus) -> Option<CheckEnd> {
        let end = match status {
            WaitStatus::Exited(pid, code) if pid == self.pid => CheckEnd::Code(code),
            WaitStatus::Signaled(pid, signal, _) if pid == self.pid => CheckEnd::Signal(signal as i32),
            _ => return None,
        };
        // Whoever wrote has ended, so this ends too.
        let mut why = Vec::new();
        let _ = self.failure.read_to_end(&mut why);
        if why.is_empty() {
            return Some(end);
        }
        Some(match Failure::from_bytes(&why) {
            Failure::NotStarted(why) => not_started(&self.program, why),
            Failure::Setup(error) => not_started(&self.program, error.to_string()),
        })
    }

    /// Ends it and what it started, as far as that stayed with it.
    pub(super) fn kill(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = killpg(self.pid, Signal::SIGKILL);
    }
}

fn not_started(program: &Program, why: String) -> CheckEnd {
    let program = program.argv.first().map(|program| program.to_string_lossy().into_owned());
    CheckEnd::NotStarted { program: program.unwrap_or_default(), why }
}
