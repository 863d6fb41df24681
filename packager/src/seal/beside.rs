//! What lies beside a package: its content manifest, values for its parameters, its bill of materials and its provenance.
//!
//! All but the provenance is a function of the package and its source: the same bytes on any machine, any day.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use staith_model::{Companion, CompanionKind, Digest, DigestStream, Package};

use super::{
    envelope::{Envelope, IN_TOTO},
    key::PrivateKey,
    provenance::{self, Build},
    sbom::Bill,
};
use crate::{
    durable,
    web_deploy::{self, Content},
};

/// A file beside a package, in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// What it is.
    pub kind: CompanionKind,
    /// Its name.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Why nothing lies beside a package.
#[derive(Debug, thiserror::Error)]
#[error("can't {what} {}: {source}; see to the permissions and the room of its disk", path.display())]
pub struct BesideError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl BesideError {
    fn new(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { what, path, source }
    }
}

/// What lies beside `package`, the provenance last. Without a key it is there, but vouched for by nobody.
pub fn beside(
    package: &Package,
    content: &Content,
    bill: &Bill,
    build: &Build,
    key: Option<&PrivateKey>,
) -> Vec<Beside> {
    let manifest = web_deploy::content_manifest(&content.manifest);
    let set_parameters = content.parameters.with_application().to_set_parameters_xml().into_bytes();
    let mut files = vec![
        file(CompanionKind::ContentManifest, package, manifest),
        file(CompanionKind::SetParameters, package, set_parameters),
        file(CompanionKind::Sbom, package, bill.json.clone()),
    ];
    let digests: Vec<_> = files.iter().map(|file| (file.kind, Digest::of(&file.bytes))).collect();
    let statement = provenance::statement(package, build, &digests);
    let envelope = Envelope::seal(IN_TOTO, &statement, &key.into_iter().collect::<Vec<_>>());
    let mut bytes = serde_json::to_vec(&envelope).unwrap_or_default();
    bytes.push(b'\n');
    files.push(file(CompanionKind::Provenance, package, bytes));
    files
}

fn file(kind: CompanionKind, package: &Package, bytes: Vec<u8>) -> Beside {
    Beside { kind, name: name(kind, package), bytes }
}

/// What a file beside a package is called. Web Deploy's own tools expect `NAME.SetParameters.xml`.
pub fn name(kind: CompanionKind, package: &Package) -> String {
    let file = package.file_name();
    let stem = file.strip_suffix(".zip").unwrap_or(&file);
    match kind {
        CompanionKind::ContentManifest => format!("{stem}.content.json"),
        CompanionKind::SetParameters => format!("{}.SetParameters.xml", package.name),
        CompanionKind::Sbom => format!("{stem}.cdx.json"),
        CompanionKind::Provenance => format!("{stem}.provenance.json"),
    }
}

/// What lies beside the packages of a store, in a directory by the packages' digests. One package's files appear at once, and
/// stay what they were the first time: a package that is made again says how it was made first.
#[derive(Debug, Clone)]
pub struct Attestations(PathBuf);

impl Attestations {
    /// In the directory of a store, which need not be there.
    pub fn of_store(store: &Path) -> Self {
        Self(store.join("attestations"))
    }

    /// What lies beside the package of this digest; `None` where nothing does.
    ///
    /// # Errors
    /// The files can't be read.
    pub fn find(&self, package: &Package) -> Result<Option<Vec<Companion>>, BesideError> {
        let directory = self.directory(&package.digest);
        if !directory.is_dir() {
            return Ok(None);
        }
        let kinds = [
            CompanionKind::ContentManifest,
            CompanionKind::SetParameters,
            CompanionKind::Sbom,
            CompanionKind::Provenance,
        ];
        let mut found = Vec::new();
        for kind in kinds {
            let path = directory.join(name(kind, package));
            if path.exists() {
                found.push(companion(kind, &path)?);
            }
        }
        Ok(Some(found))
    }

    /// The signed statement about the package of this digest, whatever the package is called; `None` where there is none.
    ///
    /// # Errors
    /// It can't be read.
    pub fn provenance(&self, package: &Digest) -> Result<Option<Vec<u8>>, BesideError> {
        let directory = self.directory(package);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(BesideError::new("list", &directory))?,
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut found = paths.filter(|path| path.to_string_lossy().ends_with(".provenance.json"));
        found.next().map(|path| fs::read(&path).map_err(BesideError::new("read", &path))).transpose()
    }

    /// Keeps files beside a package, unless some lie there already; gives what lies there then.
    ///
    /// # Errors
    /// They can't be written. Nothing of them is visible then.
    pub fn keep(&self, package: &Package, files: &[Beside]) -> Result<Vec<Companion>, BesideError> {
        if let Some(there) = self.find(package)? {
            return Ok(there);
        }
        fs::create_dir_all(&self.0).map_err(BesideError::new("make", &self.0))?;
        let mut staged = tempfile::Builder::new();
        let staged =
            staged.prefix(".new-").tempdir_in(&self.0).map_err(BesideError::new("write in", &self.0))?;
        write_all(staged.path(), files)?;
        let directory = self.directory(&package.digest);
        match durable::publish_directory(staged, &directory) {
            // Another process was first; what it says is as good.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                ) => {}
            done => done.map_err(BesideError::new("make", &directory))?,
        }
        Ok(self.find(package)?.unwrap_or_default())
    }

    /// Removes what lies beside a package that is no longer there.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn forget(&self, package: &Digest) -> Result<(), BesideError> {
        let directory = self.directory(package);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BesideError::new("remove", &directory)(error))
            }
            _ => Ok(()),
        }
    }

    fn directory(&self, package: &Digest) -> PathBuf {
        self.0.join(package.hex())
    }
}

/// Writes files into a directory, each whole or not at all; what is there under a name is replaced.
///
/// # Errors
/// One can't be written.
pub fn write_all(directory: &Path, files: &[Beside]) -> Result<(), BesideError> {
    use std::os::unix::fs::PermissionsExt as _;
    for file in files {
        let path = directory.join(&file.name);
        let mut staged =
            tempfile::NamedTempFile::new_in(directory).map_err(BesideError::new("write in", directory))?;
        let written = staged
            .write_all(&file.bytes)
            .and_then(|()| staged.as_file().set_permissions(fs::Permissions::from_mode(0o644)))
            .and_then(|()| staged.as_file().sync_all());
        written.map_err(BesideError::new("write", &path))?;
        staged.persist(&path).map_err(|lost| BesideError::new("make", &path)(lost.error))?;
    }
    Ok(())
}

/// A file beside a package, as events and commands tell of it.
fn companion(kind: CompanionKind, path: &Path) -> Result<Companion, BesideError> {
    let bytes = fs::read(path).map_err(BesideError::new("read", path))?;
    let mut digest = DigestStream::new();
    digest.update(&bytes);
    Ok(Companion {
        kind,
        path: path.display().to_string(),
        digest: digest.finish(),
        size: bytes.len() as u64,
    })
}
