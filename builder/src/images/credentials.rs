//! Who asks a registry: as docker and podman have it on this machine, in `config.json` and by its helpers.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

/// Docker's own registry under the name that `docker login` gives it.
const DOCKERS_OWN: &str = "https://index.docker.io/v1/";
/// A helper says this in place of a user's name when what follows is no password.
const IDENTITY: &str = "<token>";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Stored>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Debug, Default, Deserialize)]
struct Stored {
    #[serde(default)]
    auth: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// The credentials for a registry; anonymous where there are none. Blocks while a helper runs.
pub(super) fn for_registry(registry: &str) -> RegistryAuth {
    let Some(directory) = directory() else { return RegistryAuth::Anonymous };
    let path = directory.join("config.json");
    let Ok(bytes) = fs::read(&path) else { return RegistryAuth::Anonymous };
    match serde_json::from_slice::<DockerConfig>(&bytes) {
        Ok(config) => in_config(&config, registry).unwrap_or(RegistryAuth::Anonymous),
        Err(error) => {
            // Its text may hold secrets; the error names a line and a column only.
            tracing::warn!(path = %path.display(), line = error.line(), "the file with credentials can't be read");
            RegistryAuth::Anonymous
        }
    }
}

fn directory() -> Option<PathBuf> {
    let own = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    own.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

fn in_config(config: &DockerConfig, registry: &str) -> Option<RegistryAuth> {
    let names: &[&str] = if registry == "docker.io" { &[DOCKERS_OWN, "docker.io"] } else { &[registry] };
    for name in names {
        let helper =
            config.cred_helpers.get(*name).or(Some(&config.creds_store)).filter(|name| !name.is_empty());
        if let Some(found) = helper.and_then(|helper| from_helper(helper, name)) {
            return Some(found);
        }
        let schemed = format!("https://{name}");
        let stored = config.auths.get(*name).or_else(|| config.auths.get(&schemed));
        if let Some(found) = stored.and_then(|stored| decode(&stored.auth)) {
            return Some(found);
        }
    }
    None
}

fn decode(auth: &str) -> Option<RegistryAuth> {
    let text = String::from_utf8(BASE64_STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty())
        .then(|| RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// `docker-credential-<name> get`, as docker itself asks it.
fn from_helper(name: &str, registry: &str) -> Option<RegistryAuth> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.chars().all(plain) {
        return None;
    }
    let mut helper = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // A helper that does not read says something all the same, or nothing.
    let _ = helper.stdin.take().map(|mut to| to.write_all(registry.as_bytes()));
    let output = helper.wait_with_output().ok().filter(|output| output.status.success())?;
    let helped: Helped = serde_json::from_slice(&output.stdout).ok()?;
    if helped.username == IDENTITY {
        tracing::warn!(registry, "a credential helper gave an identity token, which is not supported");
        return None;
    }
    Some(RegistryAuth::Basic(helped.username, helped.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_registry_gets_its_own_credentials_and_no_other_does() {
        let secret = BASE64_STANDARD.encode("ada:pass:word");
        let json = format!(
            "{{\"auths\":{{\"registry.example.org:5000\":{{\"auth\":\"{secret}\"}},\
             \"https://index.docker.io/v1/\":{{\"auth\":\"{secret}\"}},\"empty.example.org\":{{}}}}}}"
        );
        let config: DockerConfig = serde_json::from_str(&json).unwrap();
        let ada = Some(RegistryAuth::Basic("ada".to_owned(), "pass:word".to_owned()));
        assert_eq!(in_config(&config, "registry.example.org:5000"), ada);
        assert_eq!(in_config(&config, "docker.io"), ada);
        for other in ["registry.example.org", "empty.example.org", "example.org:5000"] {
            assert_eq!(in_config(&config, other), None, "{other}");
        }
    }

    #[test]
    fn a_helpers_name_is_a_name() {
        assert_eq!(from_helper("../../bin/sh", "x"), None);
        assert_eq!(from_helper("no-such-helper-anywhere", "x"), None);
    }
}
