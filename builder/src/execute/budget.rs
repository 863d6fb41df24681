//! What steps that run at once may use of this machine.

use std::{fs, num::NonZeroUsize, thread};

use crate::sandbox::own_memory_limit;

/// What steps that run at once may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Steps at most.
    pub jobs: usize,
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory: u64,
}

impl Budget {
    /// What this machine has, as far as this process may use it: processors by affinity and quota, memory by the limits of
    /// the control groups that it is in. Without `jobs`, as many steps as there are processors.
    pub fn of_this_machine(jobs: Option<NonZeroUsize>) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
        // Without /proc nothing could be isolated either; the run will say so.
        let memory = memory.unwrap_or(u64::MAX);
        Self {
            jobs: jobs.map_or(processors, NonZeroUsize::get),
            cpu_milli: processors as u64 * 1000,
            memory: own_memory_limit().map_or(memory, |limit| limit.min(memory)),
        }
    }
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total_memory("MemTotal:       24681912 kB\nMemFree: 1 kB\n"), Some(24_681_912 * 1024));
        assert_eq!(total_memory(""), None);
    }

    #[test]
    fn this_machine_has_something() {
        let budget = Budget::of_this_machine(NonZeroUsize::new(3));
        assert!(budget.jobs == 3 && budget.cpu_milli >= 1000 && budget.memory > 1 << 20);
    }
}
