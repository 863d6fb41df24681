//! What is taken from a step: privileges, limits beyond reason, and, with Landlock, writing anywhere but where it may.

use std::{io, os::fd::AsFd, path::PathBuf};

use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    Scope, path_beneath_rules,
};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::{
    HOME,
    protocol::{Doing, Program, SetupError, Stage},
};
use crate::engine::WORKSPACE;

/// Confines this process and all that it will start.
pub(super) fn confine(program: &Program) -> Result<(), SetupError> {
    limits(program.processes, program.longest_file)
        .doing(Stage::Confinement, || "setting resource limits".to_owned())?;
    no_capabilities().doing(Stage::Confinement, || "dropping capabilities".to_owned())?;
    rustix::thread::set_no_new_privs(true)
        .doing(Stage::Confinement, || "giving up new privileges".to_owned())?;
    if program.has_gate { Ok(()) } else { wall(program) }
}

/// The second wall around the first process itself, before it starts anything, where checks may be run beside the program.
/// Processes that were restricted one by one could neither signal each other nor look at each other.
pub(super) fn confine_together(program: &Program) -> Result<(), SetupError> {
    if program.has_gate { wall(program) } else { Ok(()) }
}

fn wall(program: &Program) -> Result<(), SetupError> {
    second_wall(program).doing(Stage::Confinement, || "restricting files with Landlock".to_owned())
}

/// Resource limits that hold on every host, whatever control groups it has. The number of processes is counted per user
/// namespace, so it is the step's own.
fn limits(processes: Option<u64>, longest_file: Option<u64>) -> nix::Result<()> {
    // Descriptors are a number many programs loop over; beyond this they get slow.
    const DESCRIPTORS: u64 = 65_536;
    const LOCKED_BYTES: u64 = 64 << 10;
    for (resource, wanted) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_MEMLOCK, LOCKED_BYTES),
        (Resource::RLIMIT_NICE, 0),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NPROC, processes.unwrap_or(RLIM_INFINITY)),
        (Resource::RLIMIT_FSIZE, longest_file.unwrap_or(RLIM_INFINITY)),
    ] {
        let (_, hard) = getrlimit(resource)?;
        // No limit is the biggest number.
        let most = wanted.min(hard);
        setrlimit(resource, most, most)?;
    }
    Ok(())
}

fn no_capabilities() -> io::Result<()> {
    // The bounding set first: emptying it needs a capability.
    for set in [CapSet::Bounding, CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted]
    {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Landlock, where the kernel has it. It would still hold if a mount were writable by mistake.
fn second_wall(program: &Program) -> io::Result<()> {
    // Rights of this version are known to suit the step; a kernel that has fewer restricts what it can.
    let all = AccessFs::from_all(ABI::V5);
    let reading = AccessFs::from_read(ABI::V5);
    let mut writable = [WORKSPACE, HOME, "/tmp", "/run", "/var/tmp", "/dev"].map(PathBuf::from).to_vec();
    if program.in_image {
        writable.extend(directories_of_the_image()?);
    }
    // Its terminal is in no directory that it sees, and some programs open it anew, by `/dev/stdout` for example.
    let stdout = io::stdout();
    let terminal =
        program.on_terminal.then(|| PathBeneath::new(stdout.as_fd(), AccessFs::from_file(ABI::V5)));
    let restrict = || -> Result<(), landlock::RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .add_rules(path_beneath_rules(["/"], reading))?
            .add_rules(path_beneath_rules(writable, all))?
            .add_rules(terminal.map(Ok::<_, landlock::RulesetError>))?
            .restrict_self()?;
        Ok(())
    };
    restrict().map_err(io::Error::other)
}

/// Each directory of the root by itself: a rule for `/` would hold for `/proc` as well.
fn directories_of_the_image() -> io::Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in std::fs::read_dir("/")? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != "proc" {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}
