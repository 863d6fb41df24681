//! A package opened, listed, verified and extracted, whoever wrote it. Nothing in it is trusted. In reading order:
//!
//! 1. `flaw`: all that a package is refused for.
//! 2. `structure`: the entries, checked against each other, without inflating anything.
//! 3. `dialect`: which of Web Deploy's two kinds it is, what it is made of, and whether Web Deploy would find all of its content.
//! 4. `entry`: an entry's bytes, inflated under its limits and held against its checksum and digest.
//! 5. `content`: the files of any package, by provider.
//! 6. `tree`: a whole tree verified, or extracted.

mod content;
mod dialect;
mod entry;
mod flaw;
mod structure;
mod tree;

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use staith_model::{Digest, Entry, Manifest, RelPath};

use super::{archive::Archive, layout, metadata, sealed};
use structure::{Place, Structure};

pub use content::{ContentRoot, Item, ItemKind, RootKind};
pub use dialect::Dialect;
pub use flaw::{Flaw, ReadError};
pub use structure::Listed;
pub use tree::Verified;

/// Longest manifest that is read: one of 65,534 entries with long paths takes some 40 MB.
const LONGEST_MANIFEST: u64 = 256 << 20;

/// An open package. Its structure has been verified, its content has not: see [`PackageReader::verify`].
///
/// Shares one file handle without a position of its own, so that many threads can read at once.
#[derive(Debug)]
pub struct PackageReader {
    path: PathBuf,
    file: File,
    listed: Vec<Listed>,
    places: Vec<Place>,
    sorted: Vec<usize>,
    by_name: HashMap<String, usize>,
    dialect: Dialect,
    archive: Archive,
    sealed: Option<(Manifest, Digest)>,
}

impl PackageReader {
    /// Opens the package at `path`.
    ///
    /// # Errors
    /// It is no Web Deploy package, or one that lies, is damaged, or would harm who extracts it; see [`Flaw`].
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let open = |path| File::open(path);
        let file = open(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
        Self::of_file(file, path)
    }

    /// Reads the package in `file`; `path` is what errors call it. For files that have been verified already and must not be
    /// opened a second time, because another could lie there by then.
    ///
    /// # Errors
    /// As [`PackageReader::open`].
    pub fn of_file(file: File, path: &Path) -> Result<Self, ReadError> {
        let Structure { listed, places, sorted } = structure::read(&file, path)?;
        let by_name = listed.iter().enumerate().map(|(nth, entry)| (entry.name.clone(), nth)).collect();
        let mut package = Self {
            path: path.to_owned(),
            file,
            listed,
            places,
            sorted,
            by_name,
            dialect: Dialect::Archive,
            archive: Archive::default(),
            sealed: None,
        };
        (package.dialect, package.archive) = dialect::recognise(&package)?;
        package.sealed = package.read_manifest()?;
        Ok(package)
    }

    /// Every entry, in the order of the central directory.
    pub fn entries(&self) -> &[Listed] {
        &self.listed
    }

    /// Which kind of package it is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What the package says it is made of: its providers, in the order in which they are applied.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The tree inside, where Staith wrote the package; `None` for other writers' packages.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.sealed.as_ref().map(|(manifest, _)| manifest)
    }

    /// Digest of the tree inside, where Staith wrote the package.
    pub fn content(&self) -> Option<Digest> {
        self.sealed.as_ref().map(|(_, digest)| *digest)
    }

    /// Writes a file's bytes to `to`.
    ///
    /// Bytes are handed on as they come, before the last of them is verified: whoever receives them must drop them on error.
    ///
    /// # Errors
    /// There is no such file, its bytes are not what the manifest says, or `to` fails.
    pub fn extract_file(&self, path: &RelPath, to: &mut impl Write) -> Result<(), ReadError> {
        let manifest = self.manifest().ok_or_else(|| ReadError::NotOurs { path: self.path.clone() })?;
        let absent = || ReadError::Absent { path: self.path.clone(), file: path.to_string() };
        let Some(Entry::File { digest, .. }) = manifest.entries.get(path) else { return Err(absent()) };
        let name = layout::name_of(path);
        let nth = *self.by_name.get(&name).ok_or_else(absent)?;
        self.inflate(nth, to, Some(*digest))
    }

    fn read_manifest(&self) -> Result<Option<(Manifest, Digest)>, ReadError> {
        let Some(nth) = self.find_root(metadata::MANIFEST_JSON) else { return Ok(None) };
        let bytes = self.inflate_text(nth, LONGEST_MANIFEST)?;
        let (manifest, digest) =
            sealed::decode(&bytes).map_err(|why| self.refuse(nth, Flaw::Manifest(why)))?;
        self.compare_content(&manifest)?;
        Ok(Some((manifest, digest)))
    }

    /// Holds names and sizes of the content against the manifest.
    fn compare_content(&self, manifest: &Manifest) -> Result<(), ReadError> {
        let mut promised = 0;
        for name in layout::content_names(manifest) {
            promised += 1;
            if !self.by_name.contains_key(&name) {
                return Err(ReadError::Refused { path: self.path.clone(), entry: name, flaw: Flaw::Missing });
            }
        }
        if self.listed.iter().filter(|entry| entry.name.starts_with("Content/")).count() > promised {
            let names: std::collections::HashSet<_> = layout::content_names(manifest).collect();
            let stray = |entry: &Listed| entry.name.starts_with("Content/") && !names.contains(&entry.name);
            if let Some(nth) = self.listed.iter().position(stray) {
                return Err(self.refuse(nth, Flaw::Unlisted));
            }
        }
        for (path, entry) in &manifest.entries {
            if let Entry::File { size, .. } = entry
                && let Some(&nth) = self.by_name.get(&layout::name_of(path))
                && self.listed[nth].size != *size
            {
                let flaw = Flaw::OtherSize { manifest: *size, zip: self.listed[nth].size };
                return Err(self.refuse(nth, flaw));
            }
        }
        Ok(())
    }

    /// An entry of the root by its name in any case, as Web Deploy looks them up.
    fn find_root(&self, name: &str) -> Option<usize> {
        self.listed.iter().position(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    fn refuse(&self, nth: usize, flaw: Flaw) -> ReadError {
        ReadError::Refused { path: self.path.clone(), entry: self.listed[nth].name.clone(), flaw }
    }
}
