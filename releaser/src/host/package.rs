//! Staith's own packages as a source of files.

use std::io::{self, Write};

use staith_model::{Manifest, RelPath};
use staith_packager::web_deploy::{PackageReader, SealedReader};

use super::{HostError, PackageFiles, PackedContent};

/// A package that Staith sealed: it says what is in it, so that every byte of it can be verified.
#[derive(Debug)]
pub struct SealedPackage {
    reader: SealedReader,
}

impl SealedPackage {
    /// Takes an open package. Only its directory has been read by then; each file is verified as it is copied.
    ///
    /// # Errors
    /// Somebody else wrote the package, so it has no manifest.
    pub fn new(reader: PackageReader) -> Result<Self, HostError> {
        let reader = SealedReader::of_reader(reader).ok_or_else(|| HostError::NotAsPromised {
            what: "Staith did not write it, so it has no manifest to verify it by".into(),
        })?;
        Ok(Self { reader })
    }
}

impl From<SealedReader> for SealedPackage {
    fn from(reader: SealedReader) -> Self {
        Self { reader }
    }
}

impl PackageFiles for SealedPackage {
    fn manifest(&self) -> &Manifest {
        self.reader.manifest()
    }

    fn copy_file(
        &self,
        path: &RelPath,
        to: &mut dyn Write,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.reader.extract_file(path, &mut Through(to))?)
    }

    fn packed_file(
        &self,
        path: &RelPath,
    ) -> Result<Option<PackedContent<'_>>, Box<dyn std::error::Error + Send + Sync>> {
        let file = self.reader.packed_file(path)?;
        let (length, deflated) = (file.left(), file.deflated);
        Ok(Some(PackedContent { bytes: Box::new(file), length, deflated }))
    }
}

/// The reader wants a writer of known size.
struct Through<'a>(&'a mut dyn Write);

impl Write for Through<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
