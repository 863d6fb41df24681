//! `pnpm-lock.yaml`, versions 5 to 9.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use staith_model::RelPath;

use super::{Found, Pin, Read, Unreadable, link, reach};
use crate::seal::sbom::{
    component::{Hash, Scope},
    purl::{Ecosystem, Purl},
};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    importers: BTreeMap<String, Importer>,
    /// A project without workspaces, before version 9.
    #[serde(flatten)]
    importer: Importer,
    packages: Option<BTreeMap<String, Package>>,
    /// Of version 9: what packages need.
    snapshots: Option<BTreeMap<String, Package>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Importer {
    dependencies: Option<BTreeMap<String, Wanted>>,
    dev_dependencies: Option<BTreeMap<String, Wanted>>,
    optional_dependencies: Option<BTreeMap<String, Wanted>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wanted {
    Version(String),
    Resolved { version: String },
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Package {
    resolution: Resolution,
    version: Option<String>,
    dependencies: Option<BTreeMap<String, String>>,
    optional_dependencies: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resolution {
    integrity: Option<String>,
    repo: Option<String>,
    commit: Option<String>,
    directory: Option<Value>,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let lock: Lock = parsed(text)?;
    let packages = lock.packages.unwrap_or_default();
    let (mut pins, mut index, mut needs) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (key, package) in &packages {
        if package.resolution.directory.is_some() {
            continue;
        }
        let Some((name, version)) = halves(key) else {
            return Err(Unreadable::new(format!("`{key}` is no name with a version")));
        };
        let version = package.version.clone().unwrap_or(version);
        index.insert(
            format!("{name}@{}", halves(key).map(|(_, version)| version).unwrap_or_default()),
            pins.len(),
        );
        needs.push(wanted_by(package));
        pins.push(pin(&name, &version, package));
    }
    for (key, snapshot) in lock.snapshots.iter().flatten() {
        let place = halves(key).and_then(|(name, version)| index.get(&format!("{name}@{version}")).copied());
        if let Some(place) = place {
            needs[place].extend(wanted_by(snapshot));
        }
    }
    link(&mut pins, needs, &index);
    let mut roots = Vec::new();
    for importer in lock.importers.values().chain([&lock.importer]) {
        for (list, scope) in [
            (&importer.dependencies, Scope::Required),
            (&importer.optional_dependencies, Scope::Optional),
            (&importer.dev_dependencies, Scope::Development),
        ] {
            for (name, wanted) in list.iter().flatten() {
                let (Wanted::Version(version) | Wanted::Resolved { version }) = wanted;
                roots.extend(index.get(&target(name, version)).map(|place| (*place, scope)));
            }
        }
    }
    reach(&mut pins, &roots);
    Ok(Found { pins, ..Found::default() })
}

fn parsed(text: &str) -> Result<Lock, Unreadable> {
    let mut options = serde_saphyr::Options::default();
    if let Some(budget) = &mut options.budget {
        budget.max_events = 8_000_000;
        budget.max_nodes = 4_000_000;
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|bad| Unreadable {
        line: bad.location().and_then(|place| usize::try_from(place.line()).ok()),
        why: format!("not as expected: {}", bad.to_string().lines().next().unwrap_or_default()),
    })
}

fn wanted_by(package: &Package) -> Vec<String> {
    let lists = [&package.dependencies, &package.optional_dependencies];
    lists.into_iter().flatten().flatten().map(|(name, version)| target(name, version)).collect()
}

/// What a dependency leads to: mostly a version; under another name, the whole key.
fn target(name: &str, version: &str) -> String {
    let bare = without_peers(version);
    let is_key = bare.starts_with('/') || bare.get(1..).is_some_and(|rest| rest.contains('@'));
    match halves(version).filter(|_| is_key) {
        Some((name, version)) => format!("{name}@{version}"),
        None => format!("{name}@{bare}"),
    }
}

fn without_peers(text: &str) -> &str {
    let text = text.split('(').next().unwrap_or(text);
    // Before version 6, peers stood behind an underscore.
    text.split_once('_').map_or(text, |(version, _)| if version.contains('@') { text } else { version })
}

/// Name and version of `/name/1.0.0_peer`, `/name@1.0.0(peer)` and `name@1.0.0`.
fn halves(key: &str) -> Option<(String, String)> {
    if let Some(old) = key.strip_prefix('/').and_then(before_version_6) {
        return Some(old);
    }
    let key = key.strip_prefix('/').unwrap_or(key).split('(').next()?;
    if let Some(at) = key.get(1..)?.find('@') {
        return Some((key[..=at].to_owned(), key[at + 2..].to_owned()));
    }
    let (name, version) = key.rsplit_once('/')?;
    Some((name.to_owned(), version.to_owned()))
}

/// Name and version of `name/1.0.0_peer`.
fn before_version_6(key: &str) -> Option<(String, String)> {
    let slashes = if key.starts_with('@') { 1 } else { 0 };
    let (end, _) = key.match_indices('/').nth(slashes)?;
    let version = &key[end + 1..];
    let is_one = version.starts_with(|c: char| c.is_ascii_digit());
    is_one.then(|| (key[..end].to_owned(), version.split('_').next().unwrap_or(version).to_owned()))
}

fn pin(name: &str, version: &str, package: &Package) -> Pin {
    let mut purl = Purl::new(Ecosystem::Npm, name, version);
    if let (Some(repo), Some(commit)) = (&package.resolution.repo, &package.resolution.commit) {
        purl = purl.with("vcs_url", &format!("git+{repo}@{commit}"));
    }
    let mut pin = Pin::new(purl);
    pin.hashes = package.resolution.integrity.iter().flat_map(|text| Hash::of_integrity(text)).collect();
    pin
}
