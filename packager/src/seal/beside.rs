//! What lies beside a package: its content manifest, values for its parameters, its bill of materials and its provenance.
//!
//! All but the provenance is a function of the package and its source: the same bytes on any machine, any day.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use staith_model::{CompanionKind, Digest, Manifest, Package};
use tempfile::NamedTempFile;

use super::{
    envelope::{Envelope, IN_TOTO},
    key::PrivateKey,
    provenance::{self, Build},
    sbom::Bill,
};
use crate::{
    parameters::Declarations,
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

/// Why files don't lie beside a package.
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
    let mut files = companions(package, &content.manifest, &content.parameters);
    files.push(file(CompanionKind::Sbom, package, bill.json.clone()));
    let digests: Vec<_> = files.iter().map(|file| (file.kind, Digest::of(&file.bytes))).collect();
    let statement = provenance::statement(package, build, &digests);
    let envelope = Envelope::seal(IN_TOTO, &statement, &key.into_iter().collect::<Vec<_>>());
    let mut bytes = serde_json::to_vec(&envelope).unwrap_or_default();
    bytes.push(b'\n');
    files.push(file(CompanionKind::Provenance, package, bytes));
    files
}

/// What follows from the package alone: its content manifest, and values for what it declares.
pub fn companions(package: &Package, manifest: &Manifest, declared: &Declarations) -> Vec<Beside> {
    let set_parameters = declared.with_application().to_set_parameters_xml().into_bytes();
    vec![
        file(CompanionKind::ContentManifest, package, web_deploy::content_manifest(manifest)),
        file(CompanionKind::SetParameters, package, set_parameters),
    ]
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

/// Writes files into a directory, each whole or not at all; what is there under a name is replaced. None gets its name before all of
/// them are written, so that a full disk leaves things as they were.
///
/// # Errors
/// One can't be written.
pub fn write_all(directory: &Path, files: &[Beside]) -> Result<(), BesideError> {
    let staged: Vec<_> = files.iter().map(|file| stage(directory, file)).collect::<Result<_, _>>()?;
    for (path, staged) in staged {
        staged.persist(&path).map_err(|lost| BesideError::new("make", &path)(lost.error))?;
    }
    Ok(())
}

fn stage(directory: &Path, file: &Beside) -> Result<(PathBuf, NamedTempFile), BesideError> {
    let path = directory.join(&file.name);
    let mut staged = NamedTempFile::new_in(directory).map_err(BesideError::new("write in", directory))?;
    let written = staged
        .write_all(&file.bytes)
        .and_then(|()| staged.as_file().set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| staged.as_file().sync_all());
    written.map_err(BesideError::new("write", &path))?;
    Ok((path, staged))
}
