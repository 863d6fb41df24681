//! A package of Staith's own, ready to hand out its files: what is in it, and where each file lies.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use flate2::read::DeflateDecoder;
use staith_model::{Digest, Entry, Manifest, RelPath};

use super::{
    LONGEST_PARAMETERS, PackageReader, PackedFile, ReadError, entry::hand_on, flaw::Flaw, structure::Listed,
};
use crate::{
    parameters::Declarations,
    web_deploy::{layout, metadata},
};

/// Where an entry's bytes lie in the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) at: u64,
    pub(super) packed: u64,
    pub(super) deflated: bool,
}

/// What is in a package of Staith's, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) manifest: Manifest,
    /// Digest of the tree.
    pub(super) digest: Digest,
    /// Of the manifest's files, in its order.
    pub(super) files: Vec<Extent>,
    /// `parameters.xml`, where there is one, and its length.
    pub(super) parameters: Option<(Extent, u64)>,
}

/// A package of Staith's own, whose structure has been verified. Each file is held against its digest as it is copied.
#[derive(Debug)]
pub struct SealedReader {
    path: PathBuf,
    file: File,
    contents: Contents,
    /// The extents by path, made when the first file is asked for.
    by_path: OnceLock<HashMap<RelPath, Extent>>,
}

impl SealedReader {
    /// What remains of an open package where all that is asked of it are its files. `None` where Staith did not write it.
    pub fn of_reader(reader: PackageReader) -> Option<Self> {
        let contents = Contents::of(&reader)?;
        Some(Self::new(reader.file, reader.path, contents))
    }

    pub(super) fn new(file: File, path: PathBuf, contents: Contents) -> Self {
        Self { path, file, contents, by_path: OnceLock::new() }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Where the package lies, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tree inside.
    pub fn manifest(&self) -> &Manifest {
        &self.contents.manifest
    }

    /// Digest of the tree inside.
    pub fn content(&self) -> Digest {
        self.contents.digest
    }

    /// A file's bytes as they lie in the package.
    ///
    /// # Errors
    /// There is no such file.
    pub fn packed_file(&self, path: &RelPath) -> Result<PackedFile<'_>, ReadError> {
        let by_path = self.by_path.get_or_init(|| self.contents.by_path());
        let extent = by_path.get(path).ok_or_else(|| self.absent(path))?;
        Ok(self.packed(*extent))
    }

    /// Writes a file's bytes to `to`.
    ///
    /// Bytes are handed on as they come, before the last of them is verified: whoever receives them must drop them on error.
    ///
    /// # Errors
    /// There is no such file, its bytes are not what the manifest says, or `to` fails.
    pub fn extract_file(&self, path: &RelPath, to: &mut impl Write) -> Result<(), ReadError> {
        let Some(&Entry::File { size, digest: expected, .. }) = self.manifest().entries.get(path) else {
            return Err(self.absent(path));
        };
        let packed = self.packed_file(path)?;
        let found = self.inflate(packed, (path.as_str(), size), to)?;
        if found == expected {
            return Ok(());
        }
        Err(self.refuse(path.as_str(), Flaw::Digest { expected, found }))
    }

    /// What the package lets one set; nothing where it has no `parameters.xml`.
    ///
    /// # Errors
    /// What it declares is wrong, as are a kind that does not exist or an XPath expression that is none.
    pub fn declarations(&self) -> Result<Declarations, ReadError> {
        let Some((extent, size)) = self.contents.parameters else { return Ok(Declarations::default()) };
        let refuse = |flaw| self.refuse(metadata::PARAMETERS_XML, flaw);
        if size > LONGEST_PARAMETERS {
            return Err(refuse(Flaw::TooLong(size)));
        }
        let mut text = Vec::new();
        self.inflate(self.packed(extent), (metadata::PARAMETERS_XML, size), &mut text)?;
        Declarations::read(&text).map_err(|mistakes| refuse(Flaw::Parameters(mistakes)))
    }

    fn inflate(
        &self,
        packed: PackedFile<'_>,
        (name, size): (&str, u64),
        to: &mut impl Write,
    ) -> Result<Digest, ReadError> {
        let refuse = |flaw| self.refuse(name, flaw);
        let failed = |source| ReadError::Output { to: name.into(), source };
        if !packed.deflated {
            return hand_on(&mut BufReader::new(packed), size, to, refuse, failed);
        }
        hand_on(&mut DeflateDecoder::new(packed), size, to, refuse, failed)
    }

    fn packed(&self, Extent { at, packed, deflated }: Extent) -> PackedFile<'_> {
        PackedFile { file: &self.file, at, left: packed, deflated }
    }

    fn absent(&self, path: &RelPath) -> ReadError {
        ReadError::Absent { path: self.path.clone(), file: path.to_string() }
    }

    fn refuse(&self, entry: &str, flaw: Flaw) -> ReadError {
        ReadError::Refused { path: self.path.clone(), entry: entry.to_owned(), flaw }
    }
}

impl Contents {
    fn of(reader: &PackageReader) -> Option<Self> {
        let (manifest, digest) = reader.sealed.as_ref()?;
        let extent = |nth: usize| {
            let (Listed { packed, compressed, .. }, place) = (&reader.listed[nth], &reader.places[nth]);
            Extent { at: place.data, packed: *packed, deflated: *compressed }
        };
        let extent_of = |path| reader.by_name.get(&layout::name_of(path)).map(|nth| extent(*nth));
        let files = manifest.entries.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. }));
        let parameters = reader.find_root(metadata::PARAMETERS_XML);
        Some(Self {
            manifest: manifest.clone(),
            digest: *digest,
            files: files.map(|(path, _)| extent_of(path)).collect::<Option<_>>()?,
            parameters: parameters.map(|nth| (extent(nth), reader.listed[nth].size)),
        })
    }

    fn by_path(&self) -> HashMap<RelPath, Extent> {
        let is_file = |(_, entry): &(&RelPath, &Entry)| matches!(entry, Entry::File { .. });
        let paths = self.manifest.entries.iter().filter(is_file).map(|(path, _)| path.clone());
        paths.zip(self.files.iter().copied()).collect()
    }
}
