//! The first process of a container that a container engine made.
//!
//! The engine made the namespaces, the root file system and the limits, so what is left is what makes a step a step: this
//! process checks that the isolation is what was asked for, starts the step as in the built-in sandbox, and ends everything.
//! Its words go over a socket that is bound into the container and that accepts one connection, this one.

use std::{
    fs, io,
    io::{IoSliceMut, Read},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::Path,
    process::ExitCode,
};

use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::DumpableBehavior,
};

use super::{
    init::{self, Victim},
    protocol::{Contained, Doing, Report, SetupError, Stage, read_opening, send_report},
    rootfs::kernel,
};
use crate::engine::WORKSPACE;

/// What the helper's last argument is when it is to be the first process of a container.
pub(crate) const ARGUMENT: &str = "in-container";
/// Where the folder with this program is in the container.
pub(crate) const FOLDER: &str = "/.staith";
/// The name of the engine's socket in it.
pub(crate) const CONTROL: &str = "control";

/// What the helper's last argument is when it is to remove what overlay has left in the directory at the workspace's place.
pub(crate) const TIDY: &str = "tidy-container";

/// Empties overlay's own directory, which belongs to whoever mounted the overlay. Where that was a container engine's root,
/// an ordinary user can't look into it, and so not remove it; this process is that root, in a container that has nothing else.
pub(super) fn tidy() -> ExitCode {
    let left = Path::new(WORKSPACE).join("work");
    let empty = || -> io::Result<()> {
        fs::set_permissions(&left, fs::Permissions::from_mode(0o777))?;
        for entry in fs::read_dir(&left)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    if empty().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything that this process does.
pub(super) fn main() -> ExitCode {
    let Ok(mut control) = UnixStream::connect(Path::new(FOLDER).join(CONTROL)) else {
        return ExitCode::FAILURE;
    };
    let report = serve(&mut control).unwrap_or_else(Report::Failed);
    let _ = send_report(&mut control, &report);
    // The engine looks at what the kernel counted while the container still exists, and then hangs up.
    while let Ok(1..) = control.read(&mut [0; 16]) {}
    ExitCode::SUCCESS
}

fn serve(control: &mut UnixStream) -> Result<Report, SetupError> {
    take_pipes(control).doing(Stage::Other, || "taking the step's pipes".to_owned())?;
    let (asked, filters) =
        read_opening::<Contained>(control).doing(Stage::Other, || "reading what to run".to_owned())?;
    // While this process may still open its own files.
    let victim = Victim::open();
    isolation().doing(Stage::Confinement, || "looking at the container's isolation".to_owned())?;
    workspace().doing(Stage::Workspace, || "looking at the workspace".to_owned())?;
    // Processes of the step have the same user. What can't be dumped can't be traced, and its memory, descriptors and
    // program can't be opened either.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .doing(Stage::Confinement, || "closing this process to the step".to_owned())?;
    init::listen_for(asked.network, &asked.neighbours, control)?;
    // Nobody but the engine can go away here: the end of this pipe is ours.
    let (parent, _stays_open) = io::pipe().doing(Stage::Other, || "making a pipe".to_owned())?;
    init::start_and_watch(&asked.program, &filters, control, &parent.into(), &victim)
}

/// One byte that brings the pipes for the step's output. They lead straight to the engine: the container engine's own way
/// for output would be slower and keeps a copy.
fn take_pipes(control: &UnixStream) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(control, &mut [IoSliceMut::new(&mut [0])], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut pipes: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            pipes.extend(rights);
        }
    }
    let [out, err] = &pipes[..] else { return Err(io::Error::other("the engine sent no pipes")) };
    nix::unistd::dup2_stdin(fs::File::open("/dev/null")?)?;
    nix::unistd::dup2_stdout(out)?;
    Ok(nix::unistd::dup2_stderr(err)?)
}

/// Whether this process is confined as the container's configuration says. Engines differ in what they silently leave out.
fn isolation() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    for (name, wanted) in [
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        if line.map(str::trim) != Some(wanted) {
            return missing(format!("`{name}` of its first process is {line:?} and should be {wanted}"));
        }
    }
    if std::process::id() != 1 {
        return missing("it shares its processes with something else".to_owned());
    }
    let proc = Path::new("/proc");
    for path in kernel::MASKED.map(|name| proc.join(name)).iter().chain([&Path::new("/sys").to_path_buf()]) {
        if !is_hidden(path)? {
            return missing(format!("{} can be seen", path.display()));
        }
    }
    for path in kernel::READ_ONLY.map(|name| proc.join(name)) {
        if path.exists() && !is_read_only(&path)? {
            return missing(format!("{} can be written", path.display()));
        }
    }
    let interfaces = fs::read_to_string("/proc/self/net/dev")?;
    let other = interfaces.lines().skip(2).find(|line| line.split(':').next().map(str::trim) != Some("lo"));
    match other {
        Some(other) => missing(format!("it has a network interface, {other}")),
        None => Ok(()),
    }
}

fn missing(what: String) -> io::Result<()> {
    Err(io::Error::other(format!(
        "the container engine did not isolate the container as it was asked to: {what}"
    )))
}

/// Absent, empty, or the null device.
fn is_hidden(path: &Path) -> io::Result<bool> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(true) };
    let null = rustix::fs::makedev(1, 3);
    Ok(if found.is_dir() {
        fs::read_dir(path)?.next().is_none()
    } else {
        found.is_symlink() || (found.file_type().is_char_device() && found.rdev() == null)
    })
}

fn is_read_only(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statvfs(path)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Whether the workspace is the overlay that was asked for, and can be written.
fn workspace() -> io::Result<()> {
    const OVERLAY: i64 = 0x794c_7630;
    #[allow(clippy::useless_conversion)] // The field's type depends on the processor.
    let kind = i64::from(rustix::fs::statfs(WORKSPACE)?.f_type);
    if kind != OVERLAY {
        return Err(io::Error::other("the container engine did not mount the workspace as an overlay"));
    }
    if is_read_only(Path::new(WORKSPACE))? {
        return Err(io::Error::other("the container engine mounted it read-only"));
    }
    Ok(())
}
