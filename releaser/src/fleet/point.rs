//! Places at which a test lets a deployer die.

/// Ends the process here, as a loss of power would, if `STAITH_DEPLOYER_STOP_AT` is the number of this passage: they are counted from 1
/// over the whole process. A place is before and after each entry of an environment's ledger and each command to a traffic provider, so
/// what lies between two of them is one operation. Only programs that are built with debug assertions know of it; one that is released
/// is not.
#[cfg(debug_assertions)]
pub(super) fn point() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let passed = PASSED.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    let at = std::env::var("STAITH_DEPLOYER_STOP_AT").ok().and_then(|at| at.parse::<usize>().ok());
    if at == Some(passed) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(super) const fn point() {}
