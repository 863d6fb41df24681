//! Who made something that outlives its maker when that is killed: a control group, a container.

use std::{fmt, fs, io, os::unix::fs::MetadataExt};

/// A process: its id, when it started, because ids are used again, and in which namespace of process ids, because in another
/// one (a container's) the same id is somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
    started: u64,
    /// The namespace's inode.
    namespace: u64,
}

impl Owner {
    /// This process.
    pub(crate) fn this_process() -> io::Result<Self> {
        let pid = std::process::id();
        let started = start_time(pid).ok_or_else(|| io::Error::other("/proc/self/stat is unreadable"))?;
        Ok(Self { pid, started, namespace: own_namespace()? })
    }

    /// Reads what [`fmt::Display`] writes, whatever comes after it behind another `-`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '-');
        let mut number = || parts.next()?.parse::<u64>().ok();
        Some(Self { pid: number()?.try_into().ok()?, started: number()?, namespace: number()? })
    }

    /// Whether it still runs. Whoever can't be seen from here counts as alive.
    pub(crate) fn is_alive(self) -> bool {
        own_namespace().ok() != Some(self.namespace) || start_time(self.pid) == Some(self.started)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pid, self.started, self.namespace)
    }
}

fn own_namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

/// Clock ticks between the machine's start and the process's. The program's name before it may hold anything, even `)`.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_process_is_alive() {
        let owner = Owner::this_process().unwrap();
        assert!(owner.is_alive());
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
        assert_eq!(Owner::parse(&format!("{owner}-7-run")), Some(owner));
        assert!(!Owner { started: owner.started + 1, ..owner }.is_alive());
        // The same process id in another container says nothing of the one that made it.
        assert!(Owner { started: owner.started + 1, namespace: owner.namespace + 1, ..owner }.is_alive());
        for nonsense in ["", "x-1-2", "1-2", "4294967296-1-1"] {
            assert_eq!(Owner::parse(nonsense), None, "{nonsense}");
        }
    }
}
