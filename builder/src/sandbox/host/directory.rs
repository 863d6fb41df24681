//! A directory of the host that a project names as a toolchain.
//!
//! The pipeline that names it may come from anybody, and even a read-only view of a folder is a way out when a socket of
//! some service is in it. So the repository only names a folder; that it may be shown is for the machine's owner to say, by
//! installing it below `/opt` or by allowing its place in [`ROOTS_VARIABLE`]. What holds a person's or the host's secrets is
//! refused even then.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use staith_model::{Digest, Name};

use super::{Found, TOOLS, packages};
use crate::engine::{Bind, EngineError};

/// Trees that are the host itself.
const OF_THE_HOST: [&str; 8] = ["/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/boot", "/var/lib"];
/// Where a machine's owner installs what all may use; anything below it may be shown.
const INSTALLED: &str = "/opt";
/// In Staith's own environment, never in a pipeline's: further folders below which tools may be, with `:` between them.
const ROOTS_VARIABLE: &str = "STAITH_TOOL_ROOTS";

/// Directories in which programs keep credentials.
const OF_SECRETS: [&str; 10] = [
    ".ssh",
    ".cargo",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".config",
    ".password-store",
    ".mozilla",
];

/// The folders that the machine's owner allows by the environment. What is not absolute means nothing.
pub(crate) fn allowed_roots() -> Vec<PathBuf> {
    let value = env::var_os(ROOTS_VARIABLE).unwrap_or_default();
    env::split_paths(&value).filter(|root| root.is_absolute()).collect()
}

/// Resolves and judges the directory.
pub(super) fn show(name: &Name, path: &Path, state: &Path, roots: &[PathBuf]) -> Result<Found, EngineError> {
    let refuse = |why: String, remedy: &str| EngineError::ToolMissing {
        tool: name.to_string(),
        why,
        remedy: remedy.to_owned(),
    };
    if !path.is_absolute() {
        return Err(refuse(format!("`{}` is not an absolute path", path.display()), "name it from `/` on"));
    }
    let hide = |host: &Path| match reason_to_hide(host, &homes(), state) {
        Some(why) => {
            let why = format!("{} {why}, which a step must not see", host.display());
            Err(refuse(why, "name the toolchain's own directory, and nothing that holds more"))
        }
        None => Ok(()),
    };
    hide(path)?;
    let host = resolve_below(path, roots, ROOTS_VARIABLE).map_err(|why| {
        let remedy = format!(
            "install it below {INSTALLED}, or, if you own this machine and trust what is there, start Staith with \
             {ROOTS_VARIABLE} set to a folder that holds it (absolute paths, `:` between several)"
        );
        refuse(format!("{} {why}", path.display()), &remedy)
    })?;
    // Again without links, so that a link to a secret is judged as the secret.
    hide(&host)?;
    if !host.is_dir() {
        return Err(refuse(
            format!("{} is not a directory", host.display()),
            "name the directory that holds it",
        ));
    }
    let mut lines = Vec::new();
    packages::list(&host, usize::MAX, &mut lines);
    lines.sort_unstable();
    let inside = Path::new(TOOLS).join(name.as_str());
    let bin = if host.join("bin").is_dir() { inside.join("bin") } else { inside.clone() };
    Ok(Found {
        identity: Digest::of_value("staith.tool-directory.v1", &lines).to_string(),
        binds: vec![Bind { host, inside }],
        path: vec![bin],
        env: BTreeMap::new(),
    })
}

/// The caller's home directory, by the environment and by the system's own account of it.
fn homes() -> Vec<PathBuf> {
    let by_system = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir);
    let by_environment = env::var_os("HOME").map(PathBuf::from);
    by_system.into_iter().chain(by_environment).filter_map(|home| fs::canonicalize(home).ok()).collect()
}

/// The place itself, without links, if the machine's owner agreed to showing it. Whether something is there, and where a link
/// leads, is told only of what the owner has allowed: who names the path may be anybody.
pub(crate) fn resolve_below(path: &Path, roots: &[PathBuf], variable: &str) -> Result<PathBuf, String> {
    match fs::canonicalize(path) {
        Ok(host) => reason_not_below(&host, roots, variable).map_or(Ok(host), Err),
        Err(error) => {
            let above = path.ancestors().skip(1).find_map(|above| fs::canonicalize(above).ok());
            let mut allowed = roots.iter().map(PathBuf::as_path).chain([Path::new(INSTALLED)]);
            let is_below = |root: &Path| {
                let root = fs::canonicalize(root).ok();
                root.zip(above.as_ref()).is_some_and(|(root, above)| above.starts_with(root))
            };
            Err(if allowed.any(is_below) { format!("can't be opened: {error}") } else { not_below(variable) })
        }
    }
}

fn not_below(variable: &str) -> String {
    format!("is neither below {INSTALLED} nor below a folder that {variable} allows")
}

/// Why the machine's owner did not agree to showing something, which `variable` would say; none when they did.
pub(crate) fn reason_not_below(host: &Path, roots: &[PathBuf], variable: &str) -> Option<String> {
    // A root may be a link itself, and `host` has none.
    let resolved = |root: &Path| fs::canonicalize(root).ok();
    if roots.iter().filter_map(|root| resolved(root)).any(|root| host.starts_with(root)) {
        return None;
    }
    let below_installed =
        resolved(Path::new(INSTALLED)).is_some_and(|opt| host != opt && host.starts_with(opt));
    if !below_installed {
        return Some(not_below(variable));
    }
    match writable_by_all(host) {
        Ok(None) => None,
        Ok(Some(part)) => {
            Some(format!("is not safe: every user of this machine may write to {}", part.display()))
        }
        Err(error) => Some(format!("can't be judged: {error}")),
    }
}

/// The part of a path that any user could fill with what they like.
fn writable_by_all(host: &Path) -> io::Result<Option<PathBuf>> {
    for part in host.ancestors() {
        if fs::metadata(part)?.permissions().mode() & 0o002 != 0 {
            return Ok(Some(part.to_path_buf()));
        }
    }
    Ok(None)
}

/// Why a directory must not be shown; none when it may.
fn reason_to_hide(host: &Path, homes: &[PathBuf], state: &Path) -> Option<&'static str> {
    let state = fs::canonicalize(state).unwrap_or_else(|_| state.to_path_buf());
    let named_secret =
        |part: std::path::Component<'_>| OF_SECRETS.iter().any(|secret| part.as_os_str() == *secret);
    if host == Path::new("/") {
        Some("is the whole host")
    } else if homes.iter().any(|home| *home != Path::new("/") && home.starts_with(host)) {
        Some("is or holds a home directory")
    } else if state.starts_with(host) || host.starts_with(&state) {
        Some("holds what Staith itself keeps")
    } else if OF_THE_HOST.iter().any(|tree| host.starts_with(tree) || Path::new(tree).starts_with(host)) {
        Some("is a part of the host's own state")
    } else if host.components().any(named_secret) {
        Some("is where credentials are kept")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(host: &str) -> bool {
        let homes = [PathBuf::from("/home/ada")];
        reason_to_hide(Path::new(host), &homes, Path::new("/home/ada/.local/state/staith")).is_some()
    }

    #[test]
    fn secrets_and_the_host_are_refused() {
        for secret in [
            "/",
            "/home",
            "/home/ada",
            "/home/ada/.local",
            "/home/ada/.local/state/staith",
            "/home/ada/.ssh",
            "/home/ada/.cargo",
            "/home/ada/.local/state/staith/layers",
            "/home/ada/.config/gh",
            "/etc",
            "/etc/ssl",
            "/var",
            "/run/user/1",
            "/proc/1",
            "/dev",
        ] {
            assert!(hidden(secret), "{secret}");
        }
        for tool in
            ["/opt/go", "/home/ada/go", "/home/ada/.local/share/flutter", "/usr/lib/jvm/java-21", "/srv/sdk"]
        {
            assert!(!hidden(tool), "{tool}");
        }
    }

    #[test]
    fn the_reason_reaches_the_person() {
        let state = tempfile::tempdir().unwrap();
        let name = "jdk".parse().unwrap();
        for (path, part) in [("/", "whole host"), ("jdk", "absolute"), ("/no/such", "neither below /opt")] {
            let Err(EngineError::ToolMissing { why, .. }) = show(&name, Path::new(path), state.path(), &[])
            else {
                panic!("{path}")
            };
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn only_the_machines_owner_lets_a_folder_be_seen() {
        let place = tempfile::tempdir().unwrap();
        let (state, name) = (place.path().join("state"), "jdk".parse().unwrap());
        let folder = place.path().join("shared/jdk");
        fs::create_dir_all(&folder).unwrap();
        let roots = |root: &str| vec![place.path().join(root)];
        for refused in [vec![], roots("other"), roots("share"), roots("shared/jdk/bin")] {
            let Err(EngineError::ToolMissing { why, remedy, .. }) = show(&name, &folder, &state, &refused)
            else {
                panic!("{refused:?}")
            };
            assert!(
                why.contains("neither below /opt") && remedy.contains("STAITH_TOOL_ROOTS"),
                "{why}: {remedy}"
            );
        }
        // Through a link it is still where it is.
        fs::create_dir(place.path().join("allowed")).unwrap();
        std::os::unix::fs::symlink(&folder, place.path().join("allowed/link")).unwrap();
        assert!(show(&name, &place.path().join("allowed/link"), &state, &roots("allowed")).is_err());
        for allowed in [roots("shared"), roots("shared/jdk")] {
            assert!(show(&name, &folder, &state, &allowed).is_ok(), "{allowed:?}");
        }
    }

    #[test]
    fn below_opt_nobody_else_may_write() {
        assert!(reason_not_below(Path::new("/opt"), &[], ROOTS_VARIABLE).is_some());
        assert!(reason_not_below(Path::new("/usr/bin"), &[], ROOTS_VARIABLE).is_some());
        let place = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(place.path()).unwrap();
        fs::create_dir(place.join("open")).unwrap();
        fs::set_permissions(place.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(place.join("open/jdk")).unwrap();
        assert_eq!(writable_by_all(&place.join("open/jdk")).unwrap(), Some(place.join("open")));
        assert_eq!(writable_by_all(Path::new("/usr/bin")).unwrap(), None);
    }

    #[test]
    fn identity_follows_what_is_in_it() {
        let (state, tool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name: Name = "jdk".parse().unwrap();
        fs::create_dir(tool.path().join("bin")).unwrap();
        let roots = [tool.path().to_path_buf()];
        let before = show(&name, tool.path(), state.path(), &roots).unwrap();
        assert_eq!(before.path, [PathBuf::from("/opt/tools/jdk/bin")]);
        fs::write(tool.path().join("bin/java"), "x").unwrap();
        assert_ne!(show(&name, tool.path(), state.path(), &roots).unwrap().identity, before.identity);
    }
}
