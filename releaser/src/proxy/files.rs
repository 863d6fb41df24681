//! File descriptors for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that are not connections: logs, the programs' output, the sockets.
const OTHER_FILES: u64 = 256;

/// A connection takes two file descriptors, and the usual limit of 1024 is meant for programs that have few. Raises it as
/// far as this process may; returns the limit before if it is another now, and how many clients fit under the new one.
pub(crate) fn room_for_connections() -> (Option<Rlimit>, usize) {
    let before = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    let allowed = if raised.is_ok() { before.maximum } else { before.current };
    let fit = allowed.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES) / 2;
    (raised.is_ok().then_some(before), usize::try_from(fit).unwrap_or(usize::MAX).max(1))
}
