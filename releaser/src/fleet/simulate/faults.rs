//! What goes wrong, and when.

use std::collections::BTreeMap;

/// What goes wrong with one call to a machine or to the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request never arrives.
    LostRequest,
    /// It is done, and nobody hears of it.
    LostReply,
    /// The answer takes so many milliseconds.
    Slow(u64),
    /// The machine restarts before it is done.
    RebootBefore,
    /// The machine restarts after it is done.
    RebootAfter,
    /// The machine restarts while a hook runs on it, and keeps no outcome of it. Only for a hook.
    RebootDuring,
    /// The machine can't be reached for so many milliseconds from now on.
    Unreachable(u64),
    /// The driver is killed before it is done.
    KillBefore,
    /// The driver is killed after it is done.
    KillAfter,
    /// The release says neither yes nor no. Only for a probe.
    Inconclusive,
}

/// Faults by the number of the call that they strike, counted from 0 over all calls of all drivers.
pub type Faults = BTreeMap<usize, Fault>;
