//! `Gemfile.lock`.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::RelPath;

use super::{Found, Pin, Read, Unreadable, link};
use crate::seal::sbom::{
    component::Hash,
    purl::{Ecosystem, Purl},
};

/// What is open while lines are read.
#[derive(Default)]
struct Section {
    heading: String,
    remote: String,
    revision: String,
}

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let (mut pins, mut needs, mut index) = (Vec::<Pin>::new(), Vec::<Vec<String>>::new(), BTreeMap::new());
    let (mut checksums, mut asked_for) = (BTreeMap::new(), BTreeSet::new());
    // As the list of checksums names them.
    let mut gems = Vec::new();
    let mut section = Section::default();
    for (place, line) in text.lines().enumerate() {
        let content = line.trim();
        match (line.len() - line.trim_start().len(), section.heading.as_str()) {
            _ if content.is_empty() => {}
            (0, _) => section = Section { heading: content.to_owned(), ..Section::default() },
            (2, "GEM" | "GIT") => match content.split_once(": ") {
                Some(("remote", remote)) => section.remote = remote.to_owned(),
                Some(("revision", revision)) => section.revision = revision.to_owned(),
                _ => {}
            },
            (4, "GEM" | "GIT") => {
                let (name, version) =
                    named(content).ok_or_else(|| Unreadable::at(place + 1, "a gem without a version"))?;
                index.insert(name.to_owned(), pins.len());
                pins.push(Pin::new(purl(name, version, &section)));
                needs.push(Vec::new());
                gems.push(content.to_owned());
            }
            (6, "GEM" | "GIT") => {
                let name = content.split(' ').next().unwrap_or(content);
                needs.last_mut().into_iter().for_each(|needs| needs.push(name.to_owned()));
            }
            (2, "DEPENDENCIES") => {
                let name = content.split(' ').next().unwrap_or(content).trim_end_matches('!');
                asked_for.insert(name.to_owned());
            }
            (2, "CHECKSUMS") => {
                let (gem, hash) = content.rsplit_once(' ').unwrap_or((content, ""));
                checksums.extend(Hash::of_tagged(hash).map(|hash| (gem.to_owned(), hash)));
            }
            _ => {}
        }
    }
    for (pin, gem) in pins.iter_mut().zip(gems) {
        pin.is_direct = Some(asked_for.contains(pin.purl.name()));
        pin.hashes.extend(checksums.get(&gem).cloned());
    }
    link(&mut pins, needs, &index);
    Ok(Found { pins, ..Found::default() })
}

/// Name and version of `name (1.2.3)`.
fn named(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(" (")?;
    Some((name, rest.strip_suffix(')')?))
}

/// A version may be followed by the platform that the gem is for.
fn purl(name: &str, version: &str, section: &Section) -> Purl {
    let (version, platform) = version.split_once('-').unwrap_or((version, ""));
    let purl = Purl::new(Ecosystem::Gem, name, version).with("platform", platform);
    match (section.heading.as_str(), section.remote.as_str()) {
        ("GIT", remote) => purl.with("vcs_url", &format!("git+{remote}@{}", section.revision)),
        (_, "" | "https://rubygems.org/" | "http://rubygems.org/") => purl,
        (_, other) => purl.with("repository_url", other),
    }
}
