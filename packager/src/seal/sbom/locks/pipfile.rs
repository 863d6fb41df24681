//! `Pipfile.lock`.

use std::collections::BTreeMap;

use serde::Deserialize;
use staith_model::RelPath;

use super::{Found, Pin, Read};
use crate::seal::sbom::{
    component::{Hash, Scope},
    purl::{Ecosystem, Purl},
};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    default: BTreeMap<String, Package>,
    #[serde(default)]
    develop: BTreeMap<String, Package>,
}

#[derive(Deserialize)]
struct Package {
    version: Option<String>,
    #[serde(default)]
    hashes: Vec<String>,
    git: Option<String>,
    r#ref: Option<String>,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = super::json(text)?;
    let mut found = Found::default();
    for (list, scope) in [(lock.default, Scope::Required), (lock.develop, Scope::Development)] {
        for (name, package) in list {
            let version = package.version.as_deref().and_then(|version| version.strip_prefix("=="));
            let purl = match (version, &package.git, &package.r#ref) {
                (Some(version), _, _) => Purl::new(Ecosystem::Pypi, &name, version),
                (None, Some(git), Some(commit)) => {
                    let place = if git.starts_with("git+") { git.clone() } else { format!("git+{git}") };
                    Purl::new(Ecosystem::Pypi, &name, "").with("vcs_url", &format!("{place}@{commit}"))
                }
                // A part of the project itself, or a file beside it.
                _ => {
                    found.unpinned.push((None, format!("`{name}` has no fixed version")));
                    continue;
                }
            };
            let mut pin = Pin::new(purl);
            pin.scope = scope;
            pin.hashes = package.hashes.iter().filter_map(|hash| Hash::of_tagged(hash)).collect();
            found.pins.push(pin);
        }
    }
    Ok(found)
}
