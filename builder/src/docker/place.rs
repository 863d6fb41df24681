//! A directory for one step: the socket at which its container finds us, and links with short names to the directories of
//! its workspace.
//!
//! The container engine mounts the workspace: an overlay, whose layers it takes as one text of at most a page, in which commas
//! and colons mean something. Sixty long paths have no room in it; links to them do.

use std::{
    env, fs, io,
    os::{
        fd::AsRawFd,
        unix::{
            fs::{PermissionsExt, chown, symlink},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    engine::{EngineError, StepSpec},
    sandbox::shared::{CONTROL, Owner},
};

/// What the name of each of our places begins with, before its owner.
const PREFIX: &str = "staith-";
/// The kernel takes a page of options, and the engine wants some room of its own.
const MAX_OPTIONS: usize = 4000;

/// Removed with everything in it when dropped.
#[derive(Debug)]
pub(super) struct Place {
    directory: TempDir,
    layers: usize,
    volatile: bool,
}

impl Place {
    /// Makes it below `state`, or, where the names there would not fit, among the temporary files. `volatile` leaves out
    /// waiting for the disk, at the price of a directory that only whoever mounted it can remove.
    pub(super) fn make(state: &Path, step: &StepSpec, volatile: bool) -> Result<Self, EngineError> {
        let layers = step.lowers.len();
        let make = || -> io::Result<Self> {
            let owner = Owner::this_process()?;
            let mut builder = tempfile::Builder::new();
            let prefix = format!("{PREFIX}{owner}-");
            builder.prefix(&prefix).rand_bytes(6);
            for base in bases(state) {
                fs::create_dir_all(&base)?;
                let place = Self { directory: builder.tempdir_in(base)?, layers, volatile };
                if place.fits() {
                    place.link(step)?;
                    return Ok(place);
                }
            }
            Err(io::Error::other(format!(
                "{layers} layers below {} have no room in a mount's options; set STAITH_HOME to a directory with a short name \
                 without commas, colons, quotes and spaces",
                state.display()
            )))
        };
        make().map_err(|error| EngineError::Setup {
            doing: "making a directory for the step's container".to_owned(),
            why: error.to_string(),
        })
    }

    fn fits(&self) -> bool {
        let plain = |character: char| character.is_ascii_alphanumeric() || "/-_.+@".contains(character);
        self.directory.path().to_str().is_some_and(|path| path.chars().all(plain))
            && self.overlay().len() <= MAX_OPTIONS
    }

    fn link(&self, step: &StepSpec) -> io::Result<()> {
        let at = self.directory.path();
        for (number, lower) in step.lowers.iter().enumerate() {
            if !lower.is_dir() {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("the layer {} is not there", lower.display()),
                ));
            }
            symlink(lower, at.join(number.to_string()))?;
        }
        symlink(&step.upper, at.join("u"))?;
        symlink(&step.work, at.join("w"))
    }

    /// Overlay's options for the workspace.
    pub(super) fn overlay(&self) -> String {
        let at = self.directory.path().display();
        // Overlay wants the topmost first.
        let lowers: Vec<String> = (0..self.layers).rev().map(|number| format!("{at}/{number}")).collect();
        let volatile = if self.volatile { ",volatile" } else { "" };
        format!(
            "lowerdir={},upperdir={at}/u,workdir={at}/w,userxattr,nosuid,nodev{volatile}",
            lowers.join(":")
        )
    }

    /// Listens at [`Self::socket`], for the container's user.
    pub(super) fn listen(&self, owner: Option<(u32, u32)>) -> io::Result<UnixListener> {
        // A socket's path has room for a hundred bytes; this one is short wherever the directory is.
        let directory = fs::File::open(self.directory.path())?;
        let short = format!("/proc/self/fd/{}/{CONTROL}", directory.as_raw_fd());
        let listener = UnixListener::bind(short)?;
        let socket = self.socket();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = owner {
            chown(&socket, Some(user), Some(group))?;
        }
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// The socket, to be bound into the container.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join(CONTROL)
    }

    /// A file in it that everybody may read who is shown it, for what an engine takes from files only.
    pub(super) fn file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.directory.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok(path)
    }
}

/// Where places are made, in this order: the last one's name is short on every machine.
fn bases(state: &Path) -> [PathBuf; 3] {
    [state.to_path_buf(), env::temp_dir(), PathBuf::from("/tmp")]
}

/// Removes the places of processes that are gone; how many.
pub(super) fn reap(state: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for base in bases(state) {
        let Ok(entries) = fs::read_dir(base) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| Owner::parse(name.strip_prefix(PREFIX)?));
            // Links in it are removed, not what they lead to.
            if owner.is_some_and(|owner| !owner.is_alive()) {
                match fs::remove_dir_all(entry.path()) {
                    Ok(()) => removed += 1,
                    // Another user's, or gone by now.
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
                        ) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(removed)
}
