//! The system calls that no crate wraps safely. The only module of Staith in which `unsafe` is allowed.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use nix::unistd::{ForkResult, Pid};

/// Starts a child as `fork` does, in new namespaces, and on cgroup v2 directly in a control group.
///
/// Only for processes with a single thread: the child goes on with a copy of this process's memory, and a lock that
/// another thread held would stay locked for ever. Refused otherwise.
pub(super) fn fork_into(namespaces: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<ForkResult> {
    refuse_threads()?;
    // SAFETY: `clone_args` is made of integers only; zeroes mean "not asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and without a stack the child is a copy, as with fork. The process has one thread (checked
    // above), so no lock of the allocator or of the C library is held by a thread that the child lacks. The pointer and
    // the size describe `args`, which outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent { child: Pid::from_raw(pid as libc::pid_t) }),
    }
}

/// From the kernel's headers; the libc crate's has a type that is too small.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `fork`, for processes with a single thread only. Refused otherwise.
pub(super) fn fork() -> io::Result<ForkResult> {
    refuse_threads()?;
    // SAFETY: the process has one thread (checked above), so the child may do all that the parent may.
    Ok(unsafe { nix::unistd::fork() }?)
}

fn refuse_threads() -> io::Result<()> {
    // Links of a directory: itself, its name in the parent, and one `..` in each thread's directory. Unlike a listing
    // this costs one system call.
    let threads = rustix::fs::stat("/proc/self/task")?.st_nlink;
    if threads > 3 {
        return Err(io::Error::other(
            "a process with threads can't be copied safely; this is a bug in Staith",
        ));
    }
    Ok(())
}

/// Sets attributes of a mount and, with `recursive`, of all below it.
pub(super) fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attributes: u64) -> io::Result<()> {
    // The kernel's `struct mount_attr`, version 0.
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attr = MountAttr { set: attributes, clear: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a constant, null-terminated text, the pointer and the size describe `attr`, and both outlive
    // the call, which only reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Marks every descriptor from `first` on to be closed when a program is started.
pub(super) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: marking closes nothing in this process, so no descriptor that is owned by a value becomes invalid.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket: OwnedFd = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is plain data; all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which `request` is and which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives every signal its default effect again, also those that the C library keeps to itself: its `posix_spawn`, by which
/// the helper was started, leaves them ignored.
pub(super) fn default_signals() -> io::Result<()> {
    const LAST_SIGNAL: libc::c_int = 64;
    // The kernel's `struct sigaction` is at most this long; all zeroes is the default action without flags and mask.
    let default = [0_u64; 4];
    for signal in (1..=LAST_SIGNAL).filter(|signal| !matches!(*signal, libc::SIGKILL | libc::SIGSTOP)) {
        let nothing = std::ptr::null::<libc::c_void>();
        // SAFETY: the kernel reads one `struct sigaction` from `default`, which is long enough and outlives the call, and
        // a set of signals is eight bytes long. The default action runs no code of this program.
        let done =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nothing, 8_usize) };
        if done == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Landlock's version in this kernel, 0 where there is none.
pub(crate) fn landlock_abi() -> u32 {
    const ASK_FOR_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel takes a null pointer and no size, makes nothing, and returns a number.
    let version = unsafe {
        let nothing = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, ASK_FOR_VERSION)
    };
    u32::try_from(version).unwrap_or(0)
}
