//! Lock files: which files are ones, and what they pin.

mod cargo;
mod composer;
mod gem;
mod go;
mod gradle;
mod indented;
mod maven;
mod npm;
mod nuget;
mod pipfile;
mod pnpm;
mod poetry;
mod requirements;
mod uv;
mod yarn;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use staith_model::RelPath;

use super::component::{Pin, Scope};

/// The longest lock file that is read: the largest ones of real projects have a tenth of that.
pub const MAX_LOCK_BYTES: u64 = 64 << 20;

/// The most that one lock file may pin.
const MAX_PINS: usize = 200_000;

/// Folders that hold other people's projects, with lock files that say nothing about this one.
const OTHER_PEOPLES: [&str; 6] = [".git", ".venv", "node_modules", "site-packages", "vendor", "venv"];

/// What a lock file says.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) pins: Vec<Pin>,
    /// What it names without a fixed version: line and why.
    pub(super) unpinned: Vec<(Option<usize>, String)>,
    /// Whether it only says more of what another lock file beside it pins.
    pub(super) only_adds: bool,
}

/// Why a lock file can't be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: Option<usize>,
    pub(super) why: String,
}

impl Unreadable {
    fn new(why: impl Into<String>) -> Self {
        Self { line: None, why: why.into() }
    }

    fn at(line: usize, why: impl Into<String>) -> Self {
        Self { line: Some(line), why: why.into() }
    }
}

type Read = Result<Found, Unreadable>;
type Reader = fn(&str, &RelPath) -> Read;

/// The reader for a file, by its name; `None` where it is no lock file.
fn reader(path: &RelPath) -> Option<Reader> {
    if path.parent().is_some_and(|directory| !may_hold_lock_files(&directory)) {
        return None;
    }
    match path.file_name() {
        "Cargo.lock" => Some(cargo::read),
        "package-lock.json" | "npm-shrinkwrap.json" => Some(npm::read),
        "yarn.lock" => Some(yarn::read),
        "pnpm-lock.yaml" => Some(pnpm::read),
        "poetry.lock" => Some(poetry::read),
        "uv.lock" => Some(uv::read),
        "Pipfile.lock" => Some(pipfile::read),
        "go.mod" => Some(go::read_mod),
        "go.sum" => Some(go::read_sum),
        "composer.lock" => Some(composer::read),
        "packages.lock.json" => Some(nuget::read),
        "Gemfile.lock" => Some(gem::read),
        "gradle.lockfile" => Some(gradle::read),
        "pom.xml" => Some(maven::read),
        name if is_requirements(name) => Some(requirements::read),
        _ => None,
    }
}

fn is_requirements(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".txt") else { return false };
    let rest = stem.strip_prefix("requirements").or_else(|| stem.strip_suffix("requirements"));
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(['-', '_', '.']) || rest.ends_with(['-', '_', '.'])
    })
}

/// Whether a file of the source is a lock file that [`bill`](super::bill) can read, as its path says.
pub fn is_lock_file(path: &RelPath) -> bool {
    reader(path).is_some()
}

/// Whether lock files in a directory, and in those below, say something about this project and not about other people's.
pub fn may_hold_lock_files(directory: &RelPath) -> bool {
    !directory.as_str().split('/').any(|part| OTHER_PEOPLES.contains(&part))
}

/// Reads a lock file.
///
/// # Errors
/// It is not what its name says, or too large.
pub(super) fn read(path: &RelPath, bytes: &[u8]) -> Read {
    let Some(reader) = reader(path) else {
        return Err(Unreadable::new("it is no lock file that Staith knows"));
    };
    if bytes.len() as u64 > MAX_LOCK_BYTES {
        return Err(Unreadable::new(format!("it is longer than {} MiB", MAX_LOCK_BYTES >> 20)));
    }
    let text = std::str::from_utf8(bytes).map_err(|bad| {
        let line = bytes[..bad.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        Unreadable::at(line, "it is not UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = reader(text, path)?;
    if found.pins.len() > MAX_PINS {
        return Err(Unreadable::new(format!("it pins more than {MAX_PINS} packages")));
    }
    Ok(found)
}

/// JSON as a value of a shape, or where it is none.
fn json<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Result<T, Unreadable> {
    serde_json::from_str(text)
        .map_err(|bad| Unreadable::at(bad.line().max(1), format!("not as expected: {bad}")))
}

/// TOML as a value of a shape, or where it is none.
fn toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    toml::from_str(text).map_err(|bad: toml::de::Error| Unreadable {
        line: bad.span().map(|span| line_of(text, span.start)),
        why: format!("not as expected: {}", bad.message()),
    })
}

/// The line of a place in a text, counted from 1.
fn line_of(text: &str, place: usize) -> usize {
    text.as_bytes().iter().take(place).filter(|byte| **byte == b'\n').count() + 1
}

/// Says what each pin needs, where the lock file names that by texts that `index` leads to pins.
fn link(pins: &mut [Pin], needs: Vec<Vec<String>>, index: &BTreeMap<String, usize>) {
    for (pin, names) in pins.iter_mut().zip(needs) {
        pin.needs = names.iter().filter_map(|name| index.get(name).copied()).collect();
        pin.tells_needs = true;
    }
}

/// Says for what each pin is needed, by who needs it: from what the project asks for, each with its scope.
fn reach(pins: &mut [Pin], roots: &[(usize, Scope)]) {
    pins.iter_mut().for_each(|pin| (pin.scope, pin.is_direct) = (Scope::Development, Some(false)));
    let mut open: Vec<(usize, Scope)> = roots.to_vec();
    for (place, _) in roots {
        pins[*place].is_direct = Some(true);
    }
    let mut reached: Vec<Option<Scope>> = vec![None; pins.len()];
    while let Some((place, scope)) = open.pop() {
        if reached[place].is_some_and(|before| before >= scope) {
            continue;
        }
        reached[place] = Some(scope);
        pins[place].scope = scope;
        open.extend(pins[place].needs.iter().map(|need| (*need, scope)));
    }
}
