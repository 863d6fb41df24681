//! A package opened, listed, verified and extracted, whoever wrote it. Nothing in it is trusted. In reading order:
//!
//! 1. `flaw`: all that a package is refused for.
//! 2. `structure`: the entries, checked against each other, without inflating anything.
//! 3. `dialect`: which of Web Deploy's two kinds it is, what it is made of, and whether Web Deploy would find all of its content.
//! 4. `entry`: an entry's bytes, inflated under its limits and held against its checksum and digest.
//! 5. `content`: the files of any package, by provider. `declared`: its parameters.
//! 6. `verify`: every byte of it. `extract`: all or some of it, onto a disk.
//! 7. `sealed_package`, `packed`: the files of a package of our own. `opened`: packages that were opened before.

mod content;
mod declared;
mod dialect;
mod entry;
mod extract;
mod flaw;
mod opened;
mod packed;
mod sealed_package;
mod structure;
mod verify;

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use staith_model::{Digest, Entry, Manifest, RelPath};

use crate::parameters::Declarations;

use super::{
    archive::{Archive, parse_xml},
    layout, metadata, sealed,
};
use structure::{Place, Structure};

pub use content::{ContentRoot, Item, ItemKind, RootKind};
pub use declared::{Declared, DeclaredEntry};
pub use dialect::Dialect;
pub use extract::{Extract, Extracted};
pub use flaw::{Flaw, ReadError};
pub use opened::Openings;
pub use packed::PackedFile;
pub use sealed_package::SealedReader;
pub use structure::Listed;
pub use verify::Verified;

/// Longest manifest that is read: one of 65,534 entries with long paths takes some 40 MB.
const LONGEST_MANIFEST: u64 = 256 << 20;

/// Longest `parameters.xml` that is read.
const LONGEST_PARAMETERS: u64 = 16 << 20;

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
        let refused = |source| ReadError::Open { path: path.to_owned(), source };
        // A pipe without a writer would never open otherwise.
        let patience = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(patience).open(path).map_err(refused)?;
        if !file.metadata().map_err(refused)?.is_file() {
            return Err(refused(io::Error::other("it is no regular file")));
        }
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
        package.check_roots()?;
        package.sealed = package.read_manifest()?;
        Ok(package)
    }

    /// Where the package lies, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the file itself, from its start.
    pub(super) fn raw(&self) -> impl io::Read {
        structure::At::new(&self.file)
    }

    /// The machine that made the package, where `systemInfo.xml` names it.
    pub(super) fn machine_name(&self) -> Result<Option<String>, ReadError> {
        let Some(nth) = self.find_root(metadata::SYSTEM_INFO_XML) else { return Ok(None) };
        dialect::read(self, nth, |bytes| {
            let root = parse_xml(bytes)?;
            let machine = root.attributes.iter().find(|one| one.name.eq_ignore_ascii_case("machineName"));
            Ok(machine.map(|machine| machine.value.clone()).filter(|machine| !machine.is_empty()))
        })
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

    /// What the package lets one set; nothing where it has no `parameters.xml`.
    ///
    /// # Errors
    /// What it declares is wrong, as are a kind that does not exist or an XPath expression that is none.
    pub fn declarations(&self) -> Result<Declarations, ReadError> {
        let Some(nth) = self.find_root(metadata::PARAMETERS_XML) else { return Ok(Declarations::default()) };
        let bytes = self.inflate_text(nth, LONGEST_PARAMETERS)?;
        Declarations::read(&bytes).map_err(|mistakes| self.refuse(nth, Flaw::Parameters(mistakes)))
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
