//! `yarn.lock` of yarn 1 and of the later ones.

use std::collections::BTreeMap;

use staith_model::RelPath;

use super::{
    Found, Pin, Read, Unreadable,
    indented::{self, Node},
    link,
};
use crate::seal::sbom::{
    component::Hash,
    purl::{Ecosystem, Purl},
};

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let (mut pins, mut needs, mut index) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut asked_for = Vec::new();
    for node in indented::read(text)?.iter().filter(|node| node.key != "__metadata") {
        let resolution = node.text("resolution");
        if resolution.contains("@workspace:")
            || resolution.contains("@link:")
            || node.text("linkType") == "soft"
        {
            asked_for.extend(dependencies(node));
            continue;
        }
        let pin = if resolution.is_empty() { classic(node) } else { berry(node, resolution) };
        let pin = pin.ok_or_else(|| Unreadable::at(node.line, "an entry without a name or a version"))?;
        for wanted in node.key.split(',') {
            index.insert(wanted.trim().to_owned(), pins.len());
        }
        needs.push(dependencies(node));
        pins.push(pin);
    }
    link(&mut pins, needs, &index);
    for wanted in asked_for {
        if let Some(place) = index.get(&wanted) {
            pins[*place].is_direct = Some(true);
        }
    }
    Ok(Found { pins, ..Found::default() })
}

/// What an entry needs, each as the texts that other entries have for a key.
fn dependencies(node: &Node) -> Vec<String> {
    let lists = ["dependencies", "optionalDependencies"].into_iter().filter_map(|list| node.child(list));
    lists
        .flat_map(|list| &list.below)
        .flat_map(|need| [format!("{}@{}", need.key, need.value), format!("{}@npm:{}", need.key, need.value)])
        .collect()
}

/// Name and range of `@scope/name@range`.
fn halves(wanted: &str) -> Option<(&str, &str)> {
    let at = wanted.get(1..)?.find('@')? + 1;
    Some((&wanted[..at], &wanted[at + 1..]))
}

fn classic(node: &Node) -> Option<Pin> {
    let (name, range) = halves(node.key.split(',').next()?.trim())?;
    let name = match range.strip_prefix("npm:") {
        Some(alias) => halves(alias).map_or(alias, |(name, _)| name),
        None => name,
    };
    let version = node.child("version").map(|version| version.value.as_str())?;
    let (place, fragment) = node.text("resolved").split_once('#').unwrap_or((node.text("resolved"), ""));
    let mut purl = Purl::new(Ecosystem::Npm, name, version);
    let is_git = place.starts_with("git") || place.ends_with(".git");
    if is_git {
        let place = if place.starts_with("git+") { place.to_owned() } else { format!("git+{place}") };
        purl = purl.with("vcs_url", &format!("{place}@{fragment}"));
    }
    let mut pin = Pin::new(purl);
    pin.hashes = Hash::of_integrity(node.text("integrity"));
    // Behind the address stands the hash of the file, unless it is that of a commit.
    if pin.hashes.is_empty() && !is_git {
        pin.hashes = Hash::of_hex("SHA-1", fragment).into_iter().collect();
    }
    Some(pin)
}

fn berry(node: &Node, resolution: &str) -> Option<Pin> {
    let (name, reference) = halves(resolution)?;
    let version = node.child("version").map(|version| version.value.as_str())?;
    let mut purl = Purl::new(Ecosystem::Npm, name, version);
    if let Some((place, commit)) = reference.split_once("#commit=") {
        purl = purl.with("vcs_url", &format!("git+{place}@{commit}"));
    }
    let mut pin = Pin::new(purl);
    // It is the hash of an archive that yarn makes, not of the file that it fetches.
    let checksum = node.text("checksum");
    if !checksum.is_empty() {
        pin.properties.push(("staith:yarn-checksum", checksum.to_owned()));
    }
    Some(pin)
}
