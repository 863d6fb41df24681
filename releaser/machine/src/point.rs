//! Places at which a test lets the program die.

/// The points between two operations of staging, switching and sweeping, in the order in which they are passed.
pub const POINTS: &[&str] = &[
    "stage-begun",
    "stage-taken",
    "stage-folders",
    "stage-linked",
    "stage-received",
    "stage-beside",
    "stage-synced",
    "stage-unlisted",
    "stage-named",
    "stage-listed",
    "stage-durable",
    "stage-recorded",
    "switch-noted",
    "switch-previous",
    "switch-current",
    "switch-stopped-old",
    "switch-unit",
    "switch-restarted",
    "switch-ended",
    "hook-noted",
    "hook-ended",
    "spare-shed",
    "spare-named",
];

/// Ends the program here, as a loss of power would, if `STAITH_MACHINE_STOP_AT` names this point. Only programs that are built
/// with debug assertions know of it; the one that is embedded is not.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "`{name}` is in no list");
    if std::env::var_os("STAITH_MACHINE_STOP_AT").is_some_and(|at| at == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) const fn point(_: &str) {}
