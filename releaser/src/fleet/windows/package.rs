//! A release as one Web Deploy package, for the machine's own `msdeploy.exe`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use staith_model::{Digest, DigestStream, Entry, Manifest, RelPath};
use staith_packager::{
    parameters::Declarations,
    stopping::unwatched,
    web_deploy::{Content, write},
};

use crate::{fleet::machine::Load, host::PackageFiles};

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) const PACKAGE: &str = "package.zip";
const PARAMETERS: &str = "SetParameters.xml";

/// The package and what is set when it is applied, in a folder that ends with it.
pub(super) struct Packed {
    manifest: Manifest,
    folder: tempfile::TempDir,
}

impl Packed {
    /// Packs a release for a site: with the values that were rendered into its files, so that the site is all that is left to set.
    /// Equal releases make equal packages. Blocks.
    ///
    /// # Errors
    /// A file can't be read from the package, or the disk is full.
    pub(super) fn of(load: &Load, files: &dyn PackageFiles, site: &str) -> Result<Self, Failure> {
        // Only this user reads what is in it: rendered files may hold secrets.
        let folder = tempfile::tempdir()?;
        let content = Content {
            manifest: (*load.manifest).clone(),
            files: unpacked(load, files, &folder.path().join("files"))?,
            parameters: Declarations::default(),
        };
        let path = folder.path().join(PACKAGE);
        let mut package = File::options().read(true).write(true).create_new(true).open(&path)?;
        let written = write(&content, &mut package, &unwatched)?;
        let parameters = parameters(site);
        fs::write(folder.path().join(PARAMETERS), &parameters)?;
        fs::remove_dir_all(folder.path().join("files"))?;
        let file = |size, digest| Entry::File { mode: 0o600, size, digest };
        let entries = BTreeMap::from([
            (PACKAGE.try_into()?, file(written.size, written.digest)),
            (PARAMETERS.try_into()?, file(parameters.len() as u64, Digest::of(parameters.as_bytes()))),
        ]);
        Ok(Self { manifest: Manifest { entries }, folder })
    }
}

/// The release's files, each verified on the way.
fn unpacked(
    load: &Load,
    files: &dyn PackageFiles,
    to: &std::path::Path,
) -> Result<BTreeMap<RelPath, PathBuf>, Failure> {
    fs::create_dir(to)?;
    let mut found = BTreeMap::new();
    for (nth, (path, entry)) in load.manifest.entries.iter().enumerate() {
        let Entry::File { digest, .. } = entry else { continue };
        let place = to.join(nth.to_string());
        let mut file = Hashed { to: File::create_new(&place)?, stream: DigestStream::new() };
        files.copy_file(path, &mut file)?;
        if file.stream.finish() != *digest {
            return Err(format!("the content of `{path}` is not what the release promises").into());
        }
        found.insert(path.clone(), place);
    }
    Ok(found)
}

struct Hashed {
    to: File,
    stream: DigestStream,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.to.write(bytes)?;
        self.stream.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// What `-setParamFile` reads. The name of a site has no letter that means something in XML.
fn parameters(site: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<parameters>\n  <setParameter name=\"IIS Web Application Name\" value=\"{site}\" />\n</parameters>\n"
    )
}

impl PackageFiles for Packed {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn copy_file(&self, path: &RelPath, to: &mut dyn Write) -> Result<(), Failure> {
        io::copy(&mut File::open(self.folder.path().join(path.as_str()))?, to)?;
        Ok(())
    }
}
