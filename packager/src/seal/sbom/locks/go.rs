//! `go.mod`, which says what is built with, and `go.sum`, which has the checksums.

use std::collections::BTreeMap;

use staith_model::RelPath;

use super::{Found, Pin, Read, Unreadable};
use crate::seal::sbom::purl::{Ecosystem, Purl};

pub(super) fn read_mod(text: &str, _: &RelPath) -> Read {
    let mut required: Vec<(String, String, bool)> = Vec::new();
    let mut replaced: BTreeMap<Old, Option<(String, String)>> = BTreeMap::new();
    let mut block: Option<String> = None;
    for (place, line) in text.lines().enumerate() {
        let (bare, comment) = line.split_once("//").unwrap_or((line, ""));
        let words: Vec<&str> = bare.split_ascii_whitespace().collect();
        let (verb, rest) = match (&block, words.as_slice()) {
            (_, []) => continue,
            (Some(_), [")"]) => {
                block = None;
                continue;
            }
            (None, [verb, "("]) => {
                block = Some((*verb).to_owned());
                continue;
            }
            (Some(verb), rest) => (verb.as_str(), rest),
            (None, [verb, rest @ ..]) => (*verb, rest),
        };
        match (verb, rest) {
            ("require", [module, version]) => {
                let is_direct = !comment.trim_start().starts_with("indirect");
                required.push((unquoted(module), unquoted(version), is_direct));
            }
            ("replace", rest) => {
                let replacement = replacement(rest).ok_or_else(|| {
                    Unreadable::at(place + 1, "`replace` wants `OLD [VERSION] => NEW [VERSION]`")
                })?;
                replaced.insert(replacement.0, replacement.1);
            }
            ("require", _) => {
                return Err(Unreadable::at(place + 1, "`require` wants a module and a version"));
            }
            _ => {}
        }
    }
    let pins = required.into_iter().filter_map(|(module, version, is_direct)| {
        let exactly = replaced.get(&(module.clone(), Some(version.clone())));
        let instead = exactly.or_else(|| replaced.get(&(module.clone(), None)));
        let (module, version) = match instead {
            // A folder beside the project.
            Some(None) => return None,
            Some(Some(instead)) => instead.clone(),
            None => (module, version),
        };
        let mut pin = Pin::new(Purl::new(Ecosystem::Golang, &module, &version));
        pin.is_direct = Some(is_direct);
        Some(pin)
    });
    Ok(Found { pins: pins.collect(), ..Found::default() })
}

fn unquoted(text: &str) -> String {
    text.trim_matches(['"', '`']).to_owned()
}

/// A module, and the version of it that is replaced; without one, all are.
type Old = (String, Option<String>);
type Replacement = (Old, Option<(String, String)>);

/// What is replaced, and with what; with a folder, by nothing that has a version.
fn replacement(words: &[&str]) -> Option<Replacement> {
    let arrow = words.iter().position(|word| *word == "=>")?;
    let old = match &words[..arrow] {
        [module] => (unquoted(module), None),
        [module, version] => (unquoted(module), Some(unquoted(version))),
        _ => return None,
    };
    match &words[arrow + 1..] {
        [_folder] => Some((old, None)),
        [module, version] => Some((old, Some((unquoted(module), unquoted(version))))),
        _ => None,
    }
}

/// It also has checksums of versions that nothing is built with, so where there is a `go.mod`, that says which count.
pub(super) fn read_sum(text: &str, _: &RelPath) -> Read {
    let mut pins = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [_, version, _] if version.ends_with("/go.mod") => {}
            [module, version, sum] => {
                let mut pin = Pin::new(Purl::new(Ecosystem::Golang, module, version));
                // It is the hash of a list of the module's files, not of a file.
                pin.properties.push(("staith:go-sum", (*sum).to_owned()));
                pins.push(pin);
            }
            _ => return Err(Unreadable::at(place + 1, "not a module, a version and a checksum")),
        }
    }
    Ok(Found { pins, only_adds: true, ..Found::default() })
}
