//! What is installed on the host, as far as that can be told quickly.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use serde::Serialize;
use staith_model::{Digest, DigestStream};

use super::memory::{Key, Memory, Stamp};

/// Where package managers keep what is installed. The first that exists is taken; files beside it hold changes that
/// were not yet merged.
const DATABASES: [(&str, &[&str]); 6] = [
    ("/var/lib/dpkg/status", &[]),
    ("/usr/lib/sysimage/rpm/rpmdb.sqlite", &["/usr/lib/sysimage/rpm/rpmdb.sqlite-wal"]),
    ("/var/lib/rpm/rpmdb.sqlite", &["/var/lib/rpm/rpmdb.sqlite-wal"]),
    ("/var/lib/rpm/Packages", &[]),
    ("/lib/apk/db/installed", &[]),
    ("/usr/lib/apk/db/installed", &[]),
];

/// What no package manager knows: what people installed by hand. Two levels are looked at; a file that is changed in place
/// further down goes unnoticed.
const BY_HAND: [&str; 5] =
    ["/usr/local/bin", "/usr/local/sbin", "/usr/local/lib", "/usr/local/include", "/usr/lib/node_modules"];

/// Without a package manager these tell the most. Programs further down can change unnoticed: only the sizes and times of
/// what is at the top are looked at.
const WITHOUT_PACKAGES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64"];

/// Changes whenever packages do.
#[derive(Debug, Serialize)]
pub(super) struct Identity {
    system: Digest,
    packages: Digest,
    by_hand: Digest,
}

pub(super) fn identity(memory: &Memory) -> Identity {
    let system = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| fs::read(path).ok());
    let packages = DATABASES
        .iter()
        .filter(|(database, _)| Path::new(database).is_file())
        .find_map(|(database, beside)| of_database(database, beside, memory));
    Identity {
        system: Digest::of(&system.unwrap_or_default()),
        packages: packages.unwrap_or_else(|| of_listing(&WITHOUT_PACKAGES, 1)),
        by_hand: of_listing(&BY_HAND, 2),
    }
}

fn of_database(database: &str, beside: &[&str], memory: &Memory) -> Option<Digest> {
    let files: Vec<&str> = std::iter::once(database).chain(beside.iter().copied()).collect();
    let key = Key { stamps: files.iter().map(|file| Stamp::of(*file)).collect(), texts: vec![] };
    let find = || -> std::io::Result<Digest> {
        let mut digest = DigestStream::new();
        for file in files.iter().filter(|file| Path::new(file).exists()) {
            digest.update(&fs::read(file)?);
        }
        Ok(digest.finish())
    };
    memory.recall("packages", key, find).ok()
}

/// Names, sizes and times of what is in the directories, `depth` levels deep.
pub(super) fn of_listing(directories: &[&str], depth: usize) -> Digest {
    let mut lines = Vec::new();
    for directory in directories {
        list(Path::new(directory), depth, &mut lines);
    }
    // Directories list their entries in any order.
    lines.sort_unstable();
    Digest::of_value("staith.listing.v1", &lines)
}

/// The stamps of a directory and of all that is below it, in the order of their paths.
pub(crate) fn stamps_below(directory: &Path) -> Vec<Stamp> {
    fn walk(directory: &Path, stamps: &mut Vec<Stamp>) {
        stamps.push(Stamp::of_itself(directory.to_path_buf()));
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => walk(&entry.path(), stamps),
                _ => stamps.push(Stamp::of_itself(entry.path())),
            }
        }
    }
    let mut stamps = Vec::new();
    walk(directory, &mut stamps);
    stamps.sort_unstable();
    stamps
}

pub(super) fn list(directory: &Path, depth: usize, lines: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(found) = entry.metadata() else { continue };
        let path = entry.path();
        // A directory's size says nothing and differs between file systems.
        let size = if found.is_dir() { 0 } else { found.size() };
        lines.push(format!(
            "{}\0{:o}\0{size}\0{}.{}",
            path.display(),
            found.mode(),
            found.mtime(),
            found.mtime_nsec()
        ));
        if found.is_dir() && depth > 1 {
            list(&path, depth - 1, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_changes_with_what_is_listed() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().to_str().unwrap();
        fs::create_dir(place.path().join("below")).unwrap();
        let before = of_listing(&[directory], 2);
        assert_eq!(before, of_listing(&[directory], 2));
        fs::write(place.path().join("below/program"), "x").unwrap();
        assert_ne!(before, of_listing(&[directory], 2));
    }

    #[test]
    fn the_host_has_an_identity_that_stays() {
        let state = tempfile::tempdir().unwrap();
        let memory = Memory::below(state.path());
        let identity = || serde_json::to_string(&identity(&memory)).unwrap();
        assert_eq!(identity(), identity());
    }
}
