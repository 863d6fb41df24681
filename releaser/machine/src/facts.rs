//! What kind of machine this is.

use std::{fs, path::Path};

use crate::{layout::Layout, protocol::System, service};

/// What kind of machine this is.
pub(crate) fn system(layout: &Layout) -> System {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    System {
        machine_id: line("/etc/machine-id"),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        architecture: std::env::consts::ARCH.to_owned(),
        name: pretty_name(&line("/etc/os-release")),
        superuser: rustix::process::geteuid().is_root(),
        free_bytes: free(layout.root()),
        systemd: service::answers(),
    }
}

fn pretty_name(release: &str) -> String {
    let value =
        |line: &str| line.strip_prefix("PRETTY_NAME=").map(|name| name.trim_matches(['"', '\'']).to_owned());
    release.lines().find_map(value).unwrap_or_else(|| "Linux".to_owned())
}

/// Where the folder is, or will be.
fn free(folder: &Path) -> u64 {
    let there = folder.ancestors().find_map(|path| rustix::fs::statvfs(path).ok());
    there.map_or(0, |there| there.f_bavail.saturating_mul(there.f_frsize))
}
