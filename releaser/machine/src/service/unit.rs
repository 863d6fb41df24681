//! The unit that Staith writes.

use std::{fmt::Write as _, path::PathBuf};

use crate::{layout::Layout, place::Place};

/// Where units are written.
pub(super) fn folder(place: &Place) -> PathBuf {
    if let Some(units) = &place.units {
        return units.clone();
    }
    if rustix::process::geteuid().is_root() {
        return "/etc/systemd/system".into();
    }
    let configuration =
        std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    configuration.unwrap_or_else(|| home.join(".config")).join("systemd/user")
}

/// The unit's text. It names no release and no variable, so it changes only with what it is about, and never holds a secret.
///
/// Its hardening is what can't break a program that worked without: nothing about paths, networks or system calls.
pub(super) fn text(layout: &Layout, unit: &str, user: Option<&str>, stop_seconds: u64) -> String {
    let superuser = rustix::process::geteuid().is_root();
    let (program, folder) = (escaped(&layout.program()), escaped(layout.root()));
    let mut text = format!(
        "# Written by Staith. Changes are lost with the next deployment; put yours into a drop-in (systemctl edit {unit}).\n\
         [Unit]\n\
         Description={unit}, deployed by Staith\n\
         After=network-online.target\n\
         Wants=network-online.target\n\
         # A program that ends at once is started again and again; whoever deploys it is told.\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=exec\n"
    );
    match user.filter(|_| superuser) {
        // Only the superuser reads the release's secrets; the program that is started takes the account's rights itself,
        // before it becomes the application.
        Some(user) => {
            let _ = writeln!(text, "User={user}\nExecStart=!{program} start --folder {folder}");
        }
        None => {
            let _ = writeln!(text, "ExecStart={program} start --folder {folder}");
        }
    }
    let _ = writeln!(
        text,
        "Restart=always\n\
         RestartSec=1\n\
         KillMode=mixed\n\
         TimeoutStopSec={stop_seconds}\n\
         NoNewPrivileges={}\n\
         ProtectControlGroups=yes\n\
         ProtectKernelModules=yes\n\
         RestrictRealtime=yes\n\
         \n\
         [Install]\n\
         WantedBy={}",
        // Without an account, it is the superuser's: it may need what programs with such bits give.
        if user.is_some() { "yes" } else { "no" },
        wanted_by()
    );
    text
}

/// What starts units with the machine.
fn wanted_by() -> &'static str {
    if rustix::process::geteuid().is_root() { "multi-user.target" } else { "default.target" }
}

/// Whether the unit that was written is started with the machine: systemd keeps that as a link.
pub(super) fn starts_with_the_machine(place: &Place, name: &str) -> bool {
    folder(place).join(format!("{}.wants", wanted_by())).join(name).symlink_metadata().is_ok()
}

/// A path in a unit: quoted, with nothing in it that systemd would replace.
fn escaped(path: &std::path::Path) -> String {
    let text = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('%', "%%").replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_whatever_current_points_to_and_names_no_release() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a b%c");
        let layout = Layout::new(&root).unwrap();
        let text = text(&layout, "shop", Some("www-data"), 15);
        let path = root.display().to_string().replace('%', "%%");
        assert!(text.contains(&format!("\"{path}/.staith-machine\" start --folder \"{path}\"\n")), "{text}");
        for line in ["Type=exec", "Restart=always", "KillMode=mixed", "TimeoutStopSec=15", "[Install]"] {
            assert!(text.lines().any(|there| there == line), "{line}: {text}");
        }
    }
}
