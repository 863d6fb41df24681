//! Gives the directories in memory to the step's user, where the container engine can't: Podman takes no owner for them, and
//! lets them have the mode that the image's own directory has.

use std::{
    io,
    os::unix::fs::{PermissionsExt, fchown},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::sandbox::shared::HOME;

/// In the container whose first process is `pid`, which must wait for its step meanwhile.
pub(super) fn give(pid: Option<u32>, (user, group): (u32, u32)) -> io::Result<()> {
    let pid = pid.ok_or_else(|| io::Error::other("its first process can't be seen from here"))?;
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), directory | OFlags::PATH, Mode::empty())?;
    for (path, mode) in [("/tmp", 0o1777), ("/var/tmp", 0o1777), ("/run", 0o755), (HOME, 0o755)] {
        // The image may have links there, which lead somewhere else for it than for us.
        let found = openat2(
            &root,
            path,
            directory,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?;
        const TMPFS: i64 = 0x0102_1994;
        #[allow(clippy::useless_conversion)] // The field's type depends on the processor.
        let kind = i64::from(rustix::fs::fstatfs(&found)?.f_type);
        if kind != TMPFS {
            return Err(io::Error::other(format!("{path} is not in memory, as it was asked to be")));
        }
        fchown(&found, Some(user), Some(group))?;
        std::fs::File::from(found).set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
