//! The root file system that a step sees, built by an allow-list: what is not named here is not there.
//!
//! * `/usr` of the host, read-only, with `/bin`, `/sbin` and `/lib*` as they are on the host
//! * a short list of `/etc`, and `/etc/passwd` and its like made up ([`etc`])
//! * `/dev` with harmless devices only, and a new `/proc` with what concerns the host masked ([`kernel`])
//! * `/tmp`, `/run`, `/var/tmp`, `/dev/shm` and the home directory: empty, in memory, limited in size together
//! * the image's binds, read-only, and the workspace
//!
//! With an image, its layers take the place of the first two, below a layer that is thrown away with the step. The topmost of
//! them is Staith's own and has a directory at each place at which something is mounted here, so that a link of the image's
//! leads no mount elsewhere.

pub(super) mod etc;
pub(super) mod kernel;

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::mount::MsFlags;

use super::{
    HOME,
    mounts::{Attributes, Detached, bind, restrict},
    protocol::{Doing, Request, SetupError, Stage},
    staging,
};
use crate::{
    disk::entries_in_memory,
    engine::{WORKSPACE, hosts},
};

/// Directories for what a step writes outside its workspace, with their modes.
const SCRATCH: [(&str, u32); 5] =
    [("tmp", 0o1777), ("run", 0o755), ("var/tmp", 0o1777), ("dev/shm", 0o1777), ("home/builder", 0o755)];

/// Builds the root file system and makes it this process's own. Nothing of the host's is left reachable.
pub(super) fn enter(request: &Request) -> Result<(), SetupError> {
    let root = staging::new_root();
    let of_host = request.image.is_empty();
    if of_host { host_root(&root, request) } else { image_root(&root, request) }?;
    kernel::devices(&root.join("dev")).doing(Stage::Root, || "filling /dev".to_owned())?;
    scratch(&root, request.scratch_bytes).doing(Stage::Root, || "mounting /tmp and its like".to_owned())?;
    kernel::processes(&root.join("proc")).doing(Stage::Proc, || "mounting /proc".to_owned())?;
    image_binds(&root, request)?;
    workspace(&root, request.lowers.len())?;
    // What is writable of an image is gone with the step; its devices are not to be changed all the same.
    let no_longer = if of_host { root.clone() } else { root.join("dev") };
    restrict(&no_longer, Attributes::READ_ONLY)
        .and_then(|()| pivot(&root))
        .doing(Stage::Root, || "changing the root".to_owned())
}

fn host_root(root: &Path, request: &Request) -> Result<(), SetupError> {
    mount_root(root).doing(Stage::Root, || "mounting the new root".to_owned())?;
    system_directories(root).doing(Stage::Root, || "showing the host's /usr".to_owned())?;
    etc::fill(&root.join("etc"), &request.neighbours).doing(Stage::Root, || "filling /etc".to_owned())
}

fn image_root(root: &Path, request: &Request) -> Result<(), SetupError> {
    let doing = || "mounting the image's layers".to_owned();
    if !request.binds.is_empty() {
        // An image could have a link where one is to go.
        return Err(io::Error::other("nothing of the host can be bound into an image"))
            .doing(Stage::Root, doing);
    }
    overlay("image", root, &staging::image_options(request.image.len())).doing(Stage::Root, doing)?;
    if !request.neighbours.is_empty() {
        // The topmost layer has a file of our own there, in a directory of our own: no link of the image's is followed.
        fs::write(root.join("etc/hosts"), hosts(&request.neighbours))
            .doing(Stage::Root, || "naming the step's neighbours".to_owned())?;
    }
    let limits = [("size", "1m"), ("nr_inodes", "1k"), ("mode", "0755")];
    Detached::new_of("tmpfs", &limits, Attributes::WRITABLE)
        .and_then(|devices| devices.attach(&root.join("dev")))
        .doing(Stage::Root, || "mounting /dev".to_owned())
}

/// Makes a directory; one that is there already will do.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn mount_root(root: &Path) -> io::Result<()> {
    let limits = [("size", "16m"), ("nr_inodes", "16k"), ("mode", "0755")];
    Detached::new_of("tmpfs", &limits, Attributes::WRITABLE)?.attach(root)
}

fn system_directories(root: &Path) -> io::Result<()> {
    fs::create_dir(root.join("usr"))?;
    bind(Path::new("/usr"), &root.join("usr"), Attributes::READ_ONLY)?;
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let (host, inside) = (Path::new("/").join(name), root.join(name));
        let Ok(found) = fs::symlink_metadata(&host) else { continue };
        if found.is_symlink() {
            symlink(fs::read_link(&host)?, inside)?;
        } else {
            fs::create_dir(&inside)?;
            bind(&host, &inside, Attributes::READ_ONLY)?;
        }
    }
    Ok(())
}

fn scratch(root: &Path, bytes: u64) -> io::Result<()> {
    let (size, entries) = (bytes.to_string(), entries_in_memory(bytes).to_string());
    let limits = [("size", size.as_str()), ("nr_inodes", entries.as_str()), ("mode", "0755")];
    let shared = Detached::new_of("tmpfs", &limits, Attributes::WRITABLE)?;
    // Mounted where the workspace comes later: it is out of sight once that covers it.
    let hidden = root.join(&WORKSPACE[1..]);
    directory(&hidden)?;
    shared.attach(&hidden)?;
    for (name, mode) in SCRATCH {
        let (source, target) = (hidden.join(name.replace('/', "-")), root.join(name));
        fs::create_dir(&source)?;
        fs::set_permissions(&source, fs::Permissions::from_mode(mode))?;
        fs::create_dir_all(&target)?;
        bind(&source, &target, Attributes::WRITABLE)?;
    }
    // The binds keep the file system alive.
    nix::mount::umount2(&hidden, nix::mount::MntFlags::MNT_DETACH)?;
    debug_assert!(Path::new("/").join(SCRATCH[4].0) == Path::new(HOME));
    Ok(())
}

fn image_binds(root: &Path, request: &Request) -> Result<(), SetupError> {
    let mut binds: Vec<(usize, &PathBuf)> =
        request.binds.iter().map(|(_, inside)| inside).enumerate().collect();
    // A directory before what is bound inside it.
    binds.sort_by_key(|(_, inside)| inside.components().count());
    for (number, inside) in binds {
        let put = || {
            let target = root.join(inside.strip_prefix("/").map_err(io::Error::other)?);
            let staged = Detached::copy_of(&staging::staged_bind(number))?;
            if staged.is_directory()? {
                fs::create_dir_all(&target)?;
            } else {
                target.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::OpenOptions::new().create(true).append(true).open(&target)?;
            }
            staged.with(Attributes::READ_ONLY)?.attach(&target)
        };
        put().doing(Stage::Root, || format!("binding {}", inside.display()))?;
    }
    Ok(())
}

fn workspace(root: &Path, lowers: usize) -> Result<(), SetupError> {
    let target = root.join(&WORKSPACE[1..]);
    overlay("workspace", &target, &staging::overlay_options(lowers))
        .doing(Stage::Workspace, || "mounting the workspace's overlay".to_owned())
}

fn overlay(name: &str, target: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    nix::mount::mount(Some(name), target, Some("overlay"), flags, Some(options))?;
    // Where overlay can't use its work directory it does not fail, it mounts read-only.
    if rustix::fs::statvfs(target)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Err(io::Error::other(
            "the kernel mounted it read-only; the upper and work directories must belong to the sandbox's user",
        ));
    }
    Ok(())
}

/// Makes `root` the root, and drops the old one with all its mounts.
fn pivot(root: &Path) -> io::Result<()> {
    rustix::process::chdir(root)?;
    // The old root ends up on top of the new one, from where it is taken away: no directory for it is needed.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
