//! The clock of leases: it goes on while the machine sleeps, and nobody sets it.

use std::{fs, sync::OnceLock};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since this machine was started.
pub(super) fn millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

/// Which start of the machine this is: times of another one mean nothing.
pub(super) fn id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}
