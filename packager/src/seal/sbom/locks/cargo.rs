//! `Cargo.lock`, versions 1 to 4.

use std::collections::BTreeMap;

use serde::Deserialize;
use staith_model::RelPath;

use super::{Found, Pin, Read, link};
use crate::seal::sbom::{
    component::Hash,
    purl::{Ecosystem, Purl},
};

const CRATES_IO: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
    /// Of version 1: checksums by package.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = super::toml(text)?;
    let (mut pins, mut needs, mut index) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut asked_for = Vec::new();
    for package in lock.package {
        // What has no source is the project itself.
        let Some(source) = &package.source else {
            asked_for.extend(package.dependencies);
            continue;
        };
        let full = format!("{} {} ({source})", package.name, package.version);
        let checksum = package.checksum.or_else(|| lock.metadata.get(&format!("checksum {full}")).cloned());
        let mut pin = Pin::new(purl(&package.name, &package.version, source));
        pin.is_direct = Some(false);
        pin.hashes = checksum.iter().filter_map(|hex| Hash::of_hex("SHA-256", hex)).collect();
        index.insert(package.name.clone(), pins.len());
        index.insert(format!("{} {}", package.name, package.version), pins.len());
        index.insert(full, pins.len());
        needs.push(package.dependencies);
        pins.push(pin);
    }
    link(&mut pins, needs, &index);
    for name in asked_for {
        if let Some(place) = index.get(&name) {
            pins[*place].is_direct = Some(true);
        }
    }
    Ok(Found { pins, ..Found::default() })
}

fn purl(name: &str, version: &str, source: &str) -> Purl {
    let purl = Purl::new(Ecosystem::Cargo, name, version);
    match source.split_once('+') {
        _ if CRATES_IO.contains(&source) => purl,
        Some(("git", place)) => {
            let (place, commit) = place.split_once('#').unwrap_or((place, ""));
            let place = place.split('?').next().unwrap_or(place);
            purl.with("vcs_url", &format!("git+{place}@{commit}"))
        }
        Some((_, place)) => purl.with("repository_url", place),
        None => purl,
    }
}
