//! `gradle.lockfile`.

use staith_model::RelPath;

use super::{Found, Pin, Read, Unreadable};
use crate::seal::sbom::{
    component::Scope,
    purl::{Ecosystem, Purl},
};

pub(super) fn read(text: &str, _: &RelPath) -> Read {
    let mut pins = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("empty=") {
            continue;
        }
        let pin = pin(line)
            .ok_or_else(|| Unreadable::at(place + 1, "not `group:artifact:version=configurations`"))?;
        pins.push(pin);
    }
    Ok(Found { pins, ..Found::default() })
}

fn pin(line: &str) -> Option<Pin> {
    let (coordinates, configurations) = line.split_once('=')?;
    let [group, artifact, version] = *coordinates.split(':').collect::<Vec<_>>() else { return None };
    let mut pin = Pin::new(Purl::new(Ecosystem::Maven, &format!("{group}/{artifact}"), version));
    let is_of_tests = |name: &str| name.starts_with("test") || name.contains("Test");
    if !configurations.is_empty() && configurations.split(',').all(is_of_tests) {
        pin.scope = Scope::Development;
    }
    Some(pin)
}
