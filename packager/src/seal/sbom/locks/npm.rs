//! `package-lock.json` and `npm-shrinkwrap.json`, versions 1 to 3.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use staith_model::RelPath;

use super::{Found, Pin, Read, Unreadable, link};
use crate::seal::sbom::{
    component::{Hash, Scope},
    purl::{Ecosystem, Purl},
};

const MODULES: &str = "node_modules/";

#[derive(Deserialize)]
struct Lock {
    /// Of versions 2 and 3: by the place where they are installed.
    packages: Option<BTreeMap<String, Package>>,
    /// Of version 1: by name, nested.
    dependencies: Option<BTreeMap<String, Package>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Package {
    name: Option<String>,
    version: Option<String>,
    resolved: Value,
    integrity: Option<String>,
    license: Value,
    link: bool,
    dev: bool,
    optional: bool,
    dev_optional: bool,
    /// Names and ranges; in version 1, what is installed below.
    dependencies: BTreeMap<String, Value>,
    dev_dependencies: BTreeMap<String, Value>,
    optional_dependencies: BTreeMap<String, Value>,
    peer_dependencies: BTreeMap<String, Value>,
    requires: Value,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = super::json(text)?;
    let installed = match (lock.packages, lock.dependencies) {
        (Some(packages), _) => packages,
        (None, Some(nested)) => {
            let mut installed = BTreeMap::new();
            spread("", nested, &mut installed)?;
            installed
        }
        (None, None) => BTreeMap::new(),
    };
    Ok(pins(installed))
}

/// The packages of version 1 by the place where they are installed, as the later versions have them.
fn spread(
    above: &str,
    nested: BTreeMap<String, Package>,
    into: &mut BTreeMap<String, Package>,
) -> Result<(), Unreadable> {
    for (name, mut package) in nested {
        let place = format!("{above}{MODULES}{name}");
        let below = std::mem::take(&mut package.dependencies);
        if let Value::Object(requires) = std::mem::take(&mut package.requires) {
            package.dependencies = requires.into_iter().collect();
        }
        let below = below.into_iter().map(|(name, value)| {
            let package = serde_json::from_value(value);
            package.map(|package| (name, package)).map_err(|bad| Unreadable::new(format!("{place}: {bad}")))
        });
        let below = below.collect::<Result<BTreeMap<_, _>, _>>()?;
        spread(&format!("{place}/"), below, into)?;
        into.insert(place, package);
    }
    Ok(())
}

fn pins(installed: BTreeMap<String, Package>) -> Found {
    let (mut pins, mut index, mut needs) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut asked_for: Vec<(String, Vec<String>)> = Vec::new();
    for (place, package) in &installed {
        let Some((_, at)) = place.rsplit_once(MODULES) else {
            // The project itself, or a workspace of it.
            asked_for.push((place.clone(), names(package, true)));
            continue;
        };
        if package.link {
            continue;
        }
        let name = package.name.as_deref().unwrap_or(at);
        let version = package.version.as_deref().unwrap_or_default();
        index.insert(place.clone(), pins.len());
        needs.push((place.clone(), names(package, false)));
        pins.push(pin(name, version, package));
    }
    let found: Vec<Vec<String>> = needs
        .into_iter()
        .map(|(place, names)| names.iter().filter_map(|name| resolved(&place, name, &index)).collect())
        .collect();
    link(&mut pins, found, &index);
    for (place, names) in asked_for {
        for place in names.iter().filter_map(|name| resolved(&place, name, &index)) {
            pins[index[&place]].is_direct = Some(true);
        }
    }
    Found { pins, ..Found::default() }
}

/// The names of what a package needs.
fn names(package: &Package, with_development: bool) -> Vec<String> {
    let development = with_development.then_some(&package.dev_dependencies);
    let lists = [&package.dependencies, &package.optional_dependencies, &package.peer_dependencies];
    lists.into_iter().chain(development).flat_map(|list| list.keys().cloned()).collect()
}

/// Where a package at `place` finds another: beside itself, or further up, as Node looks for it.
fn resolved(place: &str, name: &str, index: &BTreeMap<String, usize>) -> Option<String> {
    let mut above = place;
    loop {
        let slash = if above.is_empty() { "" } else { "/" };
        let candidate = format!("{above}{slash}{MODULES}{name}");
        if index.contains_key(&candidate) {
            return Some(candidate);
        }
        if above.is_empty() {
            return None;
        }
        above = above.rsplit_once('/').map_or("", |(above, _)| above);
    }
}

fn pin(name: &str, version: &str, package: &Package) -> Pin {
    let mut pin = Pin::new(purl(name, version, package.resolved.as_str().unwrap_or_default()));
    pin.scope = match (package.dev, package.optional || package.dev_optional) {
        (true, _) => Scope::Development,
        (false, true) => Scope::Optional,
        (false, false) => Scope::Required,
    };
    pin.hashes = package.integrity.iter().flat_map(|text| Hash::of_integrity(text)).collect();
    let licence = package.license.as_str().or_else(|| package.license.get("type")?.as_str());
    pin.licences = licence.map(str::to_owned).into_iter().collect();
    pin
}

/// In version 1, `version` of what is not from a registry is the address.
fn purl(name: &str, version: &str, resolved: &str) -> Purl {
    let address = [resolved, version].into_iter().find(|text| text.starts_with("git"));
    match address.and_then(|address| address.rsplit_once('#')) {
        Some((place, commit)) => {
            let version = if version.starts_with("git") { commit } else { version };
            let place = if place.starts_with("git+") { place.to_owned() } else { format!("git+{place}") };
            Purl::new(Ecosystem::Npm, name, version).with("vcs_url", &format!("{place}@{commit}"))
        }
        None => Purl::new(Ecosystem::Npm, name, version),
    }
}
