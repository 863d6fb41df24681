//! `requirements.txt` and its like, as far as it pins versions.

use staith_model::RelPath;

use super::{Found, Pin, Read};
use crate::seal::sbom::{
    component::{Hash, Scope},
    purl::{Ecosystem, Purl},
};

pub(super) fn read(text: &str, path: &RelPath) -> Read {
    let is_development = ["dev", "test", "lint", "docs"].iter().any(|word| path.file_name().contains(word));
    let scope = if is_development { Scope::Development } else { Scope::Required };
    let mut found = Found::default();
    for (line, text) in logical_lines(text) {
        // Options, other files and the project itself; other files are read for themselves.
        if text.starts_with('-') {
            continue;
        }
        match pinned(&text) {
            Some(mut pin) => {
                pin.scope = scope;
                pin.is_direct = None;
                found.pins.push(pin);
            }
            None => found.unpinned.push((Some(line), format!("`{text}` has no fixed version"))),
        }
    }
    Ok(found)
}

/// Lines without comments, and with those that a backslash continues; each with its first line's number.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (place, line) in text.lines().enumerate() {
        let bare = match line.find(" #") {
            Some(comment) => &line[..comment],
            None if line.trim_start().starts_with('#') => "",
            None => line,
        };
        let (number, mut so_far) = open.take().unwrap_or((place + 1, String::new()));
        match bare.trim_end().strip_suffix('\\') {
            Some(part) => {
                so_far.push_str(part.trim());
                so_far.push(' ');
                open = Some((number, so_far));
            }
            None => {
                so_far.push_str(bare.trim());
                lines.push((number, so_far));
            }
        }
    }
    lines.extend(open);
    lines.retain(|(_, text)| !text.trim().is_empty());
    lines
}

fn pinned(text: &str) -> Option<Pin> {
    let mut words = text.split(" --hash=");
    let requirement = words.next()?.split(" ;").next()?.split(';').next()?.trim();
    let hashes: Vec<Hash> = words.filter_map(|hash| Hash::of_tagged(hash.trim())).collect();
    let mut pin = Pin::new(purl(requirement)?);
    pin.hashes = hashes;
    Some(pin)
}

fn purl(requirement: &str) -> Option<Purl> {
    if let Some((name, place)) = requirement.split_once(" @ ") {
        let (place, commit) = place.trim().strip_prefix("git+")?.rsplit_once('@')?;
        let commit = commit.split('#').next()?;
        let is_commit = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        let purl =
            || Purl::new(Ecosystem::Pypi, bare(name), "").with("vcs_url", &format!("git+{place}@{commit}"));
        return is_commit.then(purl);
    }
    let (name, version) = requirement.split_once("==")?;
    let version = version.trim_start_matches('=').trim();
    let is_one = !version.is_empty() && !version.contains([',', '*', '<', '>', ' ']);
    let name = bare(name);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (is_one && is_name).then(|| Purl::new(Ecosystem::Pypi, name, version))
}

/// A name without its extras.
fn bare(name: &str) -> &str {
    name.split('[').next().unwrap_or(name).trim()
}
