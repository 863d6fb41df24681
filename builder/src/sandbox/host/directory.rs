//! A directory of the host that a project names as a toolchain.
//!
//! The pipeline that names it may come from anybody, so what holds a person's or the host's secrets is refused, whatever
//! the name.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use staith_model::{Digest, Name};

use super::{Found, TOOLS, packages};
use crate::engine::{Bind, EngineError};

/// Trees that are the host itself.
const OF_THE_HOST: [&str; 8] = ["/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/boot", "/var/lib"];
/// Directories in which programs keep credentials.
const OF_SECRETS: [&str; 9] =
    [".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config", ".password-store", ".mozilla"];

/// Resolves and judges the directory.
pub(super) fn show(name: &Name, path: &Path, state: &Path) -> Result<Found, EngineError> {
    let refuse = |why: String, remedy: &str| EngineError::ToolMissing {
        tool: name.to_string(),
        why,
        remedy: remedy.to_owned(),
    };
    if !path.is_absolute() {
        return Err(refuse(format!("`{}` is not an absolute path", path.display()), "name it from `/` on"));
    }
    // Links are resolved first, so that a link to a secret is judged as the secret.
    let host = fs::canonicalize(path).map_err(|error| {
        refuse(format!("{}: {error}", path.display()), "install it there, or correct `path` in runner.toml")
    })?;
    if !host.is_dir() {
        return Err(refuse(
            format!("{} is not a directory", host.display()),
            "name the directory that holds it",
        ));
    }
    if let Some(why) = reason_to_hide(&host, &homes(), state) {
        let why = format!("{} {why}, which a step must not see", host.display());
        return Err(refuse(why, "name the toolchain's own directory, and nothing that holds more"));
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
        for (path, part) in [("/", "whole host"), ("jdk", "absolute"), ("/no/such", "No such file")] {
            let Err(EngineError::ToolMissing { why, .. }) = show(&name, Path::new(path), state.path()) else {
                panic!("{path}")
            };
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn identity_follows_what_is_in_it() {
        let (state, tool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name: Name = "jdk".parse().unwrap();
        fs::create_dir(tool.path().join("bin")).unwrap();
        let before = show(&name, tool.path(), state.path()).unwrap();
        assert_eq!(before.path, [PathBuf::from("/opt/tools/jdk/bin")]);
        fs::write(tool.path().join("bin/java"), "x").unwrap();
        assert_ne!(show(&name, tool.path(), state.path()).unwrap().identity, before.identity);
    }
}
