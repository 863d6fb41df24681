//! What a package is made of: a bill of materials from the lock files of its source, as CycloneDX 1.6. In reading order:
//!
//! 1. `purl`, `component`: one thing that a lock file pins.
//! 2. `locks`: which files are lock files, and a reader for each kind.
//! 3. `merged`: the things of all lock files, each once.
//! 4. `licence`, `cyclonedx`: how a bill is written down. No clock and no randomness: the same files give the same bytes.

mod component;
mod cyclonedx;
mod licence;
mod locks;
mod merged;
mod purl;

use staith_model::{Digest, RelPath};

pub use locks::{MAX_LOCK_BYTES, is_lock_file, may_hold_lock_files};

/// A lock file of the source.
#[derive(Debug, Clone)]
pub struct LockFile {
    /// Where it lies, below the source's root.
    pub path: RelPath,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What a bill is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// Digest of the package file, where there is one.
    pub digest: Option<Digest>,
}

/// Something of a lock file that the bill could not take in. The bill says so as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The lock file.
    pub path: RelPath,
    /// The line, counted from 1, where one can be told.
    pub line: Option<usize>,
    /// What is the matter.
    pub why: String,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.why),
            None => write!(f, "{}: {}", self.path, self.why),
        }
    }
}

/// A bill of materials.
#[derive(Debug, Clone)]
pub struct Bill {
    /// CycloneDX 1.6 in JSON, ending with a newline.
    pub json: Vec<u8>,
    /// How many components it lists.
    pub components: usize,
    /// What it lacks. Empty where all lock files could be read and pin everything that they name.
    pub gaps: Vec<Gap>,
}

/// Whether `other` is the file of this name in the folder of `path`.
fn is_beside(other: &RelPath, name: &str, path: &RelPath) -> bool {
    other.file_name() == name && other.parent() == path.parent()
}

/// The bill of what `lock_files` pin. Their order means nothing.
///
/// A file that can't be understood leaves a [`Gap`]; what the others pin is listed all the same. Never panics, whatever is in
/// the files.
pub fn bill(subject: &Subject, lock_files: &[LockFile]) -> Bill {
    let mut sorted: Vec<&LockFile> = lock_files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let (mut merged, mut gaps) = (merged::Merged::default(), Vec::new());
    for file in &sorted {
        match locks::read(&file.path, &file.bytes) {
            Ok(mut found) => {
                if found.only_adds && sorted.iter().any(|other| is_beside(&other.path, "go.mod", &file.path))
                {
                    found.pins.retain(|pin| merged.has(&pin.purl));
                }
                let note = |(line, why)| Gap { path: file.path.clone(), line, why };
                gaps.extend(found.unpinned.into_iter().map(note));
                merged.take(&file.path, found.pins);
            }
            Err(refused) => {
                gaps.push(Gap { path: file.path.clone(), line: refused.line, why: refused.why });
            }
        }
    }
    let components = merged.len();
    Bill { json: cyclonedx::write(subject, &sorted, merged, &gaps), components, gaps }
}
