//! `uv.lock`.

use std::collections::BTreeMap;

use serde::Deserialize;
use staith_model::RelPath;

use super::{Found, Pin, Read, link, reach};
use crate::seal::sbom::{
    component::{Hash, Scope},
    purl::{Ecosystem, Purl},
};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    #[serde(default)]
    source: Source,
    #[serde(default)]
    dependencies: Vec<Need>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Need>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<Need>>,
    sdist: Option<File>,
    #[serde(default)]
    wheels: Vec<File>,
}

#[derive(Default, Deserialize)]
struct Source {
    registry: Option<String>,
    git: Option<String>,
    editable: Option<String>,
    directory: Option<String>,
    r#virtual: Option<String>,
}

#[derive(Deserialize)]
struct Need {
    name: String,
    version: Option<String>,
}

#[derive(Deserialize)]
struct File {
    hash: Option<String>,
}

impl Source {
    /// Whether it is the project itself, or a part of it.
    const fn is_local(&self) -> bool {
        self.editable.is_some() || self.directory.is_some() || self.r#virtual.is_some()
    }
}

impl Need {
    fn key(&self) -> String {
        self.version.as_ref().map_or_else(|| self.name.clone(), |version| format!("{} {version}", self.name))
    }
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = super::toml(text)?;
    let (mut pins, mut needs, mut index) = (Vec::new(), Vec::new(), BTreeMap::new());
    for package in lock.package.iter().filter(|package| !package.source.is_local()) {
        let version = package.version.as_deref().unwrap_or_default();
        index.insert(package.name.clone(), pins.len());
        index.insert(format!("{} {version}", package.name), pins.len());
        let optional = package.optional_dependencies.values().flatten();
        needs.push(package.dependencies.iter().chain(optional).map(Need::key).collect());
        let mut pin = Pin::new(purl(package, version));
        let files = package.wheels.iter().chain(&package.sdist).filter_map(|file| file.hash.as_deref());
        pin.hashes = files.filter_map(Hash::of_tagged).collect();
        pins.push(pin);
    }
    link(&mut pins, needs, &index);
    let mut roots = Vec::new();
    for package in lock.package.iter().filter(|package| package.source.is_local()) {
        let optional = package.optional_dependencies.values().flatten().map(|need| (need, Scope::Optional));
        let development = package.dev_dependencies.values().flatten().map(|need| (need, Scope::Development));
        let all = package.dependencies.iter().map(|need| (need, Scope::Required)).chain(optional);
        let found =
            all.chain(development).filter_map(|(need, scope)| Some((*index.get(&need.key())?, scope)));
        roots.extend(found);
    }
    if lock.package.iter().any(|package| package.source.is_local()) {
        reach(&mut pins, &roots);
    }
    Ok(Found { pins, ..Found::default() })
}

fn purl(package: &Package, version: &str) -> Purl {
    let purl = Purl::new(Ecosystem::Pypi, &package.name, version);
    if let Some(git) = &package.source.git {
        let (place, commit) = git.split_once('#').unwrap_or((git, ""));
        let place = place.split('?').next().unwrap_or(place);
        return purl.with("vcs_url", &format!("git+{place}@{commit}"));
    }
    match package.source.registry.as_deref() {
        Some("https://pypi.org/simple") | None => purl,
        Some(other) => purl.with("repository_url", other),
    }
}
