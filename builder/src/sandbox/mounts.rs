//! Mounting, with the new interface of Linux 5.2 and later: a mount is made detached, gets its attributes, and only then
//! appears. There is no moment at which a bind is writable.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

use super::sys;

/// What can't be done on a mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes(u64);

impl Attributes {
    /// Read-only; set-user-id bits and device nodes mean nothing.
    pub(super) const READ_ONLY: Self = Self(1 | 2 | 4);
    /// Writable; set-user-id bits and device nodes mean nothing.
    pub(super) const WRITABLE: Self = Self(2 | 4);
    /// As read-only, and nothing can be executed.
    pub(super) const MASKED: Self = Self(1 | 2 | 4 | 8);
    /// A file that is covered with `/dev/null`; the device has to work, or reading it would fail instead of ending.
    pub(super) const MASKED_FILE: Self = Self(1 | 2 | 8);
    /// Writable, nothing can be executed, no set-user-id, no devices.
    pub(super) const PROC: Self = Self(2 | 4 | 8);
    /// Set-user-id bits mean nothing, nothing can be executed; device nodes work.
    pub(super) const DEVICE: Self = Self(2 | 8);
}

/// A mount that is not yet anywhere.
pub(super) struct Detached(OwnedFd);

impl Detached {
    /// What is at `source`, with all that is mounted below it.
    pub(super) fn copy_of(source: &Path) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_NO_AUTOMOUNT;
        Ok(Self(open_tree(CWD, source, flags)?))
    }

    /// A new file system, for example a tmpfs. An option without a value is a flag.
    pub(super) fn new_of(kind: &str, options: &[(&str, &str)], attributes: Attributes) -> io::Result<Self> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            match *value {
                "" => fsconfig_set_flag(context.as_fd(), *key)?,
                value => fsconfig_set_string(context.as_fd(), *key, value)?,
            }
        }
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::from_bits_retain(attributes.0 as u32);
        Ok(Self(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
    }

    /// Restricts it, with all that is mounted below it.
    pub(super) fn with(self, attributes: Attributes) -> io::Result<Self> {
        sys::mount_setattr(self.0.as_fd(), true, attributes.0)?;
        Ok(self)
    }

    /// Whether its root is a directory.
    pub(super) fn is_directory(&self) -> io::Result<bool> {
        Ok(rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&self.0)?.st_mode).is_dir())
    }

    /// Lets it appear at `target`, which must exist. A symbolic link there is not followed.
    pub(super) fn attach(self, target: &Path) -> io::Result<()> {
        Ok(move_mount(self.0.as_fd(), c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
    }
}

/// Binds `source` at `target` with all that is mounted below it.
pub(super) fn bind(source: &Path, target: &Path, attributes: Attributes) -> io::Result<()> {
    Detached::copy_of(source)?.with(attributes)?.attach(target)
}

/// Restricts one mount that is in place already, and nothing below it.
pub(super) fn restrict(target: &Path, attributes: Attributes) -> io::Result<()> {
    let mount = open_tree(CWD, target, OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    sys::mount_setattr(mount.as_fd(), false, attributes.0)
}
