//! From a copy of the sandbox's first process to the step's program: everything that a step must not have is taken away,
//! for good, in an order in which each taking away is still possible.

use std::{
    ffi::{CString, OsStr},
    io::{self, Write},
    os::fd::OwnedFd,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    sys::signal::{SigSet, SigmaskHow, sigprocmask},
};
use serde::{Deserialize, Serialize};

use super::{
    confinement,
    protocol::{Doing, Program, Report, SetupError, Stage},
    seccomp::{self, Filters},
    sys,
};

/// Why the program did not start, as it travels from the process that failed to the first one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    /// Taking something away failed: ours or the host's fault.
    Setup(SetupError),
    /// The kernel did not execute it: the project's fault.
    NotStarted(String),
}

impl Failure {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| Self::NotStarted(error.to_string()))
    }

    pub(super) fn into_report(self, program: &Program) -> Result<Report, SetupError> {
        match self {
            Self::Setup(error) => Err(error),
            Self::NotStarted(why) => {
                let program = program.argv.first().map(|program| program.to_string_lossy().into_owned());
                Ok(Report::NotStarted { program: program.unwrap_or_default(), why })
            }
        }
    }
}

/// Becomes the step's program. `fails` closes by itself when that succeeds.
pub(super) fn become_program(program: &Program, filters: &Filters, fails: OwnedFd) -> ! {
    let failure = match confine(program, filters) {
        Ok(()) => execute(program),
        Err(failure) => failure,
    };
    if let Ok(bytes) = serde_json::to_vec(&failure) {
        let _ = std::fs::File::from(fails).write_all(&bytes);
    }
    std::process::exit(127)
}

fn confine(program: &Program, filters: &Filters) -> Result<(), Failure> {
    nix::unistd::setsid()
        .doing(Stage::Confinement, || "making a session".to_owned())
        .map_err(Failure::Setup)?;
    if program.on_terminal {
        take_terminal()
            .doing(Stage::Confinement, || "taking the terminal".to_owned())
            .map_err(Failure::Setup)?;
    }
    default_signals().doing(Stage::Confinement, || "resetting signals".to_owned()).map_err(Failure::Setup)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::chdir(&program.workdir).map_err(|error| {
        let error = io::Error::from(error);
        Failure::NotStarted(format!(
            "its directory {} can't be entered: {error}; an earlier step or the source has to make it",
            program.workdir.display()
        ))
    })?;
    confinement::confine(program).map_err(Failure::Setup)?;
    sys::close_on_exec_from(3)
        .doing(Stage::Confinement, || "closing descriptors".to_owned())
        .map_err(Failure::Setup)?;
    seccomp::install(filters)
        .doing(Stage::Confinement, || "installing the seccomp filters".to_owned())
        .map_err(Failure::Setup)
}

/// Makes the terminal, which is where output goes, what is read from, and the new session's own: Ctrl-C and job control work.
fn take_terminal() -> io::Result<()> {
    nix::unistd::dup2_stdin(io::stdout())?;
    Ok(rustix::process::ioctl_tiocsctty(io::stdin())?)
}

/// What the helper's runtime ignores (SIGPIPE) or the first process blocks (SIGCHLD) would stay so in the program.
fn default_signals() -> io::Result<()> {
    sys::default_signals()?;
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Returns only on failure.
fn execute(program: &Program) -> Failure {
    let texts = |texts: &[std::ffi::OsString]| -> Result<Vec<CString>, Failure> {
        let text = |text: &std::ffi::OsString| {
            CString::new(text.clone().into_vec())
                .map_err(|_| Failure::NotStarted("an argument or a variable holds a NUL byte".to_owned()))
        };
        texts.iter().map(text).collect()
    };
    let (argv, env) = match (texts(&program.argv), texts(&program.env)) {
        (Ok(argv), Ok(env)) => (argv, env),
        (Err(failure), _) | (_, Err(failure)) => return failure,
    };
    let Some(name) = program.argv.first() else {
        return Failure::NotStarted("no program is named".to_owned());
    };
    let mut worst = Errno::ENOENT;
    for candidate in candidates(name, &program.path) {
        let Ok(path) = CString::new(candidate.into_os_string().into_vec()) else { continue };
        match nix::unistd::execve(&path, &argv, &env) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // As a shell does: look further, but remember that it was there.
            Err(Errno::EACCES) => worst = Errno::EACCES,
            Err(error) => return Failure::NotStarted(explain(error, name, program)),
            Ok(never) => match never {},
        }
    }
    Failure::NotStarted(explain(worst, name, program))
}

/// A program with a slash is a path; any other is looked for.
fn candidates(program: &OsStr, path: &[PathBuf]) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(program)];
    }
    path.iter().map(|directory| directory.join(program)).collect()
}

fn explain(error: Errno, name: &OsStr, program: &Program) -> String {
    let searched = || {
        let path: Vec<_> = program.path.iter().map(|directory| directory.display().to_string()).collect();
        path.join(":")
    };
    match error {
        Errno::ENOENT if name.as_bytes().contains(&b'/') => {
            "there is no such file in the sandbox, or the interpreter that it names is not there".to_owned()
        }
        Errno::ENOENT if program.in_image => {
            format!("it is in none of {}; use an image that has it", searched())
        }
        Errno::ENOENT => {
            format!(
                "it is in none of {}; install it on the host, or name its toolchain under `tools`",
                searched()
            )
        }
        Errno::EACCES => "it is there, but is not executable for the sandbox's user".to_owned(),
        Errno::ENOEXEC => {
            "it is no program that this kernel can run; a script has to begin with `#!` and its interpreter"
                .to_owned()
        }
        Errno::E2BIG => "its arguments and environment are longer than the kernel takes".to_owned(),
        other => other.desc().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_searched() {
        let path = [PathBuf::from("/a"), PathBuf::from("/b")];
        assert_eq!(candidates(OsStr::new("./x"), &path), [PathBuf::from("./x")]);
        assert_eq!(candidates(OsStr::new("x"), &path), [PathBuf::from("/a/x"), PathBuf::from("/b/x")]);
    }
}
