//! The helper process: started by the engine as a program of its own, with a single thread, because neither making
//! namespaces nor copying a process is safe in a program with threads.
//!
//! It gathers what the sandbox will show, starts the sandbox's first process ([`super::init`]) in new namespaces, tells
//! the kernel who is who in there, and waits. Its end is the end of the sandbox, for good: the first process dies with
//! it, and the kernel ends all the others with the first process.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
};

use nix::{
    sched::CloneFlags,
    sys::wait::waitpid,
    unistd::{ForkResult, Pid},
};

use super::{
    container, init,
    protocol::{Doing, Report, Request, SetupError, Stage, read_opening, send_report},
    seccomp::Filters,
    staging, sys,
};

/// The user and the group in the sandbox.
pub(super) const INSIDE_ID: u32 = 1000;

/// What the program that serves as helper does instead of everything else.
///
/// Call it first thing in `main`, before any thread or runtime exists. Standard input has to be the engine's socket and
/// standard output and error the step's; in a container, where it is process 1, it finds all that by itself.
pub fn helper_main() -> ExitCode {
    match std::env::args_os().next_back() {
        Some(last) if last == container::ARGUMENT => return container::main(),
        Some(last) if last == container::TIDY => return container::tidy(),
        _ => {}
    }
    let Ok(mut control) = take_control() else { return ExitCode::FAILURE };
    let told = match read_opening::<Request>(&mut control) {
        Ok((request, filters)) => launch(&request, &filters, &mut control),
        Err(error) => Err(error).doing(Stage::Other, || "reading what to run".to_owned()),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The engine may be gone; then nobody is left to be told.
            let _ = send_report(&mut control, &Report::Failed(error));
            ExitCode::FAILURE
        }
    }
}

/// Moves the socket away from standard input, where a program could get at it.
fn take_control() -> io::Result<UnixStream> {
    let control = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    nix::unistd::dup2_stdin(null()?)?;
    Ok(UnixStream::from(control))
}

fn null() -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).open("/dev/null")
}

fn launch(request: &Request, filters: &Filters, control: &mut UnixStream) -> Result<(), SetupError> {
    join_cgroups(request)?;
    let cgroup = open_cgroup(request)?;
    if request.as_root {
        // A user namespace whose map was written may not change groups, so it happens before.
        rustix::thread::set_thread_groups(&[])
            .doing(Stage::Identity, || "dropping root's groups".to_owned())?;
        nix::sched::unshare(CloneFlags::CLONE_NEWNS)
            .doing(Stage::Namespaces, || "making a mount namespace".to_owned())?;
        staging::private_mounts().doing(Stage::Root, || "separating mounts from the host's".to_owned())?;
        staging::stage(request)?;
    }
    let (told, tell) = io::pipe().doing(Stage::Other, || "making a pipe".to_owned())?;
    let child = sys::fork_into(namespaces(), cgroup.as_ref().map(AsFd::as_fd))
        .doing(Stage::Namespaces, || "making new namespaces".to_owned())?;
    match child {
        ForkResult::Child => {
            drop(tell);
            init::run(request, filters, control, told.into())
        }
        ForkResult::Parent { child } => {
            drop(told);
            accompany(child, request, tell.into())
        }
    }
}

fn namespaces() -> libc::c_int {
    libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
}

/// On v1 a thread that moves itself needs no lock that others hold; moving a process by its id can take ten milliseconds.
fn join_cgroups(request: &Request) -> Result<(), SetupError> {
    for tasks in &request.cgroup_v1_tasks {
        fs::write(tasks, "0").doing(Stage::Cgroup, || format!("entering {}", tasks.display()))?;
    }
    Ok(())
}

fn open_cgroup(request: &Request) -> Result<Option<fs::File>, SetupError> {
    let open = |path: &std::path::PathBuf| {
        fs::File::open(path).doing(Stage::Cgroup, || format!("opening {}", path.display()))
    };
    request.cgroup_v2.as_ref().map(open).transpose()
}

/// Tells the kernel and then the first process who it is, lets go of everything, and waits for its end.
fn accompany(child: Pid, request: &Request, tell: OwnedFd) -> Result<(), SetupError> {
    let mapped = map_ids(child, request.outside)
        .doing(Stage::Identity, || "writing the user namespace's maps".to_owned())
        .and_then(|()| {
            rustix::io::write(&tell, &[1]).doing(Stage::Other, || "waking the first process".to_owned())
        });
    if let Err(error) = mapped {
        // It waits for a byte; without one it ends by itself as soon as the pipe closes.
        drop(tell);
        let _ = waitpid(child, None);
        return Err(error);
    }
    let let_go = || -> io::Result<()> {
        // Only the sandbox may keep the step's pipes open, or their readers would never see their end.
        let null = null()?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        Ok(())
    };
    let_go().doing(Stage::Other, || "closing the step's pipes".to_owned())?;
    let _ = waitpid(child, None);
    drop(tell);
    Ok(())
}

fn map_ids(child: Pid, (user, group): (u32, u32)) -> io::Result<()> {
    let process = Path::new("/proc").join(child.to_string());
    fs::write(process.join("setgroups"), "deny")?;
    fs::write(process.join("gid_map"), format!("{INSIDE_ID} {group} 1\n"))?;
    fs::write(process.join("uid_map"), format!("{INSIDE_ID} {user} 1\n"))
}
