//! Which process is the application now.
//!
//! It is written down by that process itself before it becomes the application, so there is no moment in which it runs and
//! nobody knows it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// As long a message as is kept.
const LONGEST_WHY: usize = 2000;

/// The content of `.running`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The process.
    pub(crate) pid: u32,
    /// When it was started, as the kernel counts: another process of the same number has another.
    started: u64,
    /// Why it did not become the application.
    pub(crate) failed: Option<String>,
}

impl Running {
    /// What is written down; nothing if it is damaged.
    pub(crate) fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_slice(&fs::read(layout.running()).ok()?).ok()
    }

    /// Says that this process is about to become the application, or why it could not.
    pub(crate) fn tell(layout: &Layout, failed: Option<&str>) -> std::io::Result<()> {
        let pid = std::process::id();
        let started = started_at(pid).unwrap_or_default();
        let failed = failed.map(|why| why.chars().take(LONGEST_WHY).collect());
        let path = layout.running();
        // Not one of the names that are cleared away by whoever comes to look at the folder.
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&Self { pid, started, failed })?)?;
        fs::rename(beside, path)
    }

    /// Says that nothing runs.
    pub(crate) fn forget(layout: &Layout) {
        let _ = fs::remove_file(layout.running());
    }

    /// Whether that very process is there, and not only waiting to be reaped.
    pub(crate) fn is_alive(&self) -> bool {
        started_at(self.pid) == Some(self.started)
    }
}

/// When a process was started, as the kernel counts; `None` if there is none, or it has ended.
fn started_at(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    of_stat(&text)
}

fn of_stat(text: &str) -> Option<u64> {
    // The name in brackets may hold anything.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        assert_eq!(Running::read(&layout), None);
        Running::tell(&layout, None).unwrap();
        let told = Running::read(&layout).unwrap();
        assert!(told.is_alive() && told.pid == std::process::id());
        let other = Running { started: told.started + 1, ..told };
        assert!(!other.is_alive(), "its number was given to another");
        Running::forget(&layout);
        assert_eq!(Running::read(&layout), None);
    }

    #[test]
    fn what_has_ended_is_not_alive_and_a_name_may_hold_anything() {
        let rest = "1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 1";
        assert_eq!(of_stat(&format!("7 (a) b)) S {rest}")), Some(777));
        assert_eq!(of_stat(&format!("7 (a) Z {rest}")), None);
        assert_eq!(of_stat("7 a"), None);
    }
}
