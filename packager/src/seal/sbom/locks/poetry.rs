//! `poetry.lock`.

use std::collections::BTreeMap;

use serde::Deserialize;
use staith_model::RelPath;

use super::{Found, Pin, Read, link};
use crate::seal::sbom::{
    component::{Hash, Scope},
    purl::{Ecosystem, Purl},
};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    /// Before poetry 1.4: the files of all packages.
    #[serde(default)]
    files: BTreeMap<String, Vec<File>>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    optional: bool,
    category: Option<String>,
    groups: Option<Vec<String>>,
    #[serde(default)]
    files: Vec<File>,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    source: Option<Source>,
}

#[derive(Deserialize)]
struct File {
    hash: String,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    resolved_reference: Option<String>,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = super::toml(text)?;
    let (mut pins, mut needs, mut index) = (Vec::new(), Vec::new(), BTreeMap::new());
    for package in &lock.package {
        let files = package.files.iter().chain(lock.metadata.files.get(&package.name).into_iter().flatten());
        let mut pin = Pin::new(purl(package));
        pin.hashes = files.filter_map(|file| Hash::of_tagged(&file.hash)).collect();
        pin.scope = scope(package);
        index.insert(normal(&package.name), pins.len());
        needs.push(package.dependencies.keys().map(|name| normal(name)).collect());
        pins.push(pin);
    }
    link(&mut pins, needs, &index);
    Ok(Found { pins, ..Found::default() })
}

/// A name as PyPI compares it.
pub(super) fn normal(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

fn scope(package: &Package) -> Scope {
    let groups = package.groups.as_ref().filter(|groups| !groups.is_empty());
    let is_main = groups.map(|groups| groups.iter().any(|group| group == "main"));
    if is_main == Some(false) || package.category.as_deref() == Some("dev") {
        Scope::Development
    } else if package.optional {
        Scope::Optional
    } else {
        Scope::Required
    }
}

fn purl(package: &Package) -> Purl {
    let purl = Purl::new(Ecosystem::Pypi, &package.name, &package.version);
    let Some(source) = &package.source else { return purl };
    match (source.kind.as_deref(), &source.url, &source.resolved_reference) {
        (Some("git"), Some(url), Some(commit)) => purl.with("vcs_url", &format!("git+{url}@{commit}")),
        (Some("legacy"), Some(url), _) => purl.with("repository_url", url),
        _ => purl,
    }
}
