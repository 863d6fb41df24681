//! The bounds of a step, in the container engine's units.

use staith_model::Limits;

use super::daemon::Daemon;
use crate::{
    engine::{Capabilities, EngineError, Support},
    sandbox::shared::plan::{DEFAULT_MEMORY_SHARE, DEFAULT_PROCESSES, SCRATCH_SHARE, share_of_memory},
};

/// Processes and threads that the engine itself needs in a container until our first process runs.
const PROCESSES_TO_START: i64 = 24;
/// Engines refuse a smaller share, in billionths of a processor.
const MIN_NANO_CPUS: i64 = 10_000_000;

/// What a container may use. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContainerLimits {
    /// Bytes, with no swap beside them.
    pub(super) memory: Option<i64>,
    /// Processes and threads while the container is made.
    pub(super) processes: Option<i64>,
    /// Fewer of them, from when our first process runs.
    pub(super) processes_then: Option<i64>,
    /// Billionths of a processor.
    pub(super) nano_cpus: Option<i64>,
    /// Bytes that each of the directories in memory may hold; all of them count as the container's memory.
    pub(super) scratch: u64,
}

/// # Errors
/// A limit that the step names can't be enforced. Defaults that can't be are left out: `probe` says so.
pub(super) fn of(daemon: &Daemon, asked: &Limits) -> Result<ContainerLimits, EngineError> {
    decide(&daemon.capabilities, daemon.processors, asked)
}

fn decide(host: &Capabilities, processors: i64, asked: &Limits) -> Result<ContainerLimits, EngineError> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let memory = match (&host.memory_limit, asked.memory) {
        (Support::Absent(why), Some(_)) => return Err(unenforceable("memory", why)),
        (Support::Absent(_), None) => None,
        (Support::Enforced, bytes) => Some(bytes.unwrap_or_else(|| share_of_memory(DEFAULT_MEMORY_SHARE))),
    };
    let processes = match (&host.process_limit, asked.processes) {
        (Support::Absent(why), Some(_)) => return Err(unenforceable("processes", why)),
        (Support::Absent(_), None) => None,
        // The first process of the container counts too.
        (Support::Enforced, processes) => {
            Some(number(processes.unwrap_or(DEFAULT_PROCESSES).max(1).saturating_add(1)))
        }
    };
    let nano_cpus = match (&host.cpu_limit, asked.cpu_milli) {
        (Support::Absent(why), Some(_)) => return Err(unenforceable("processor time", why)),
        (_, None) => None,
        // A share of more than there is, is no limit, and engines refuse it.
        (Support::Enforced, Some(milli)) => Some(number(milli).saturating_mul(1_000_000).max(MIN_NANO_CPUS))
            .filter(|nano| *nano < processors.saturating_mul(1_000_000_000)),
    };
    let scratch = share_of_memory(SCRATCH_SHARE);
    Ok(ContainerLimits {
        memory: memory.map(number),
        processes: processes.map(|count| count.max(PROCESSES_TO_START)),
        processes_then: processes.filter(|count| *count < PROCESSES_TO_START),
        nano_cpus,
        scratch: [asked.memory, asked.disk].into_iter().flatten().fold(scratch, u64::min),
    })
}

fn unenforceable(limit: &str, why: &str) -> EngineError {
    EngineError::Unsupported {
        what: format!("the step names a limit on {limit}, and it can't be enforced here: {why}"),
        remedy: "use an engine with control groups for it (for one of an ordinary user, `systemctl --user` with delegated \
                 controllers), or leave the limit out"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Capabilities {
        Capabilities {
            file_owner: None,
            memory_limit: Support::Enforced,
            process_limit: Support::Enforced,
            cpu_limit: Support::Enforced,
            landlock_abi: 0,
        }
    }

    #[test]
    fn what_is_asked_for_is_what_holds() {
        let asked =
            Limits { memory: Some(64 << 20), processes: Some(5), cpu_milli: Some(1500), ..Limits::default() };
        let limits = decide(&host(), 2, &asked).unwrap();
        assert_eq!(limits.memory, Some(64 << 20));
        assert_eq!((limits.processes, limits.processes_then), (Some(24), Some(6)));
        assert_eq!(limits.nano_cpus, Some(1_500_000_000));
        assert_eq!(decide(&host(), 1, &asked).unwrap().nano_cpus, None, "all there is");
    }

    #[test]
    fn nothing_asked_for_is_still_bounded() {
        let limits = decide(&host(), 2, &Limits::default()).unwrap();
        assert!(limits.memory.is_some() && limits.processes == Some(4097) && limits.processes_then.is_none());
    }

    #[test]
    fn a_limit_that_can_not_be_had_is_an_error_only_when_asked_for() {
        let poor = Capabilities { memory_limit: Support::Absent("no controller".to_owned()), ..host() };
        assert_eq!(decide(&poor, 2, &Limits::default()).unwrap().memory, None);
        let asked = Limits { memory: Some(1 << 30), ..Limits::default() };
        let Err(EngineError::Unsupported { what, .. }) = decide(&poor, 2, &asked) else { panic!() };
        assert!(what.contains("memory") && what.contains("no controller"), "{what}");
    }
}
