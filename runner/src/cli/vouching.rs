//! Who has to vouch for a package.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use staith_model::{Digest, DigestStream, Exit};
use staith_packager::seal::{
    self, MAX_ENVELOPE_BYTES, Vouched,
    beside::Attestations,
    key::{KeyError, Keys, PublicKey},
};

use super::package::OpenPackage;
use crate::{home::Home, output::Problem};

/// What is asked of packages beyond being whole.
pub(super) struct Demand {
    /// The keys of which one has to vouch; `None` where nobody has to.
    keys: Option<Vec<PublicKey>>,
    /// Whether what was packed by hand is refused.
    of_a_run: bool,
}

impl Demand {
    /// `signed_by` are files with public keys; without any, those count that this machine trusts.
    pub(super) fn new(signed_by: &[PathBuf], of_a_run: bool) -> Result<Self, Problem> {
        let keys = match (signed_by, of_a_run) {
            ([], false) => None,
            ([], true) => Some(Keys::in_directory(&Home::find()?.keys()).trusted()?),
            (files, _) => Some(files.iter().map(|file| public_key(file)).collect::<Result<_, _>>()?),
        };
        Ok(Self { keys, of_a_run })
    }

    /// Who vouches for a package; `None` where nobody has to.
    ///
    /// # Errors
    /// Nobody does who counts, or the package was not made by a run and has to be.
    pub(super) fn ask(&self, package: &OpenPackage) -> Result<Option<Vouched>, Problem> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let digest = digest(&package.path)?;
        let Some(envelope) = envelope(package, &digest)? else {
            return Err(Problem::new(Exit::Configuration, format!("nobody vouches for {}", package.called))
                .with_why("no provenance lies beside it")
                .with_remedy("keep NAME-VERSION-DIGEST.provenance.json beside the package, as it was where it was made"));
        };
        let vouched = seal::verify(&digest, &envelope, keys)?;
        if self.of_a_run && !vouched.told.is_of_a_run {
            return Err(Problem::new(
                Exit::Configuration,
                format!("{} was not made by a run", package.called),
            )
            .with_why(format!("its signed provenance says {}", vouched.told.build_type))
            .with_remedy("build it with `staith run`, or leave --require-provenance out"));
        }
        Ok(Some(vouched))
    }
}

/// The statement about a package: of this machine's store, or beside the file.
fn envelope(package: &OpenPackage, digest: &Digest) -> Result<Option<Vec<u8>>, Problem> {
    let beside = package.path.with_extension("provenance.json");
    if package.published.is_none() && beside.is_file() {
        return read(&beside).map(Some);
    }
    Ok(Attestations::of_store(&Home::find()?.packages()).provenance(digest)?)
}

/// The public key of a file that somebody named.
///
/// # Errors
/// The file is not there (64), can't be read (30), or is none (20).
pub(super) fn public_key(file: &Path) -> Result<PublicKey, Problem> {
    PublicKey::of_file(file).map_err(|refused| match refused {
        KeyError::Io { source, .. } => Problem::unreadable(file, &source),
        KeyError::NotAKey { wanted, why, .. } => {
            Problem::new(Exit::Configuration, format!("{} is no {wanted}", file.display()))
                .with_why(why)
                .with_remedy("give a file with what `staith key show` prints where the package was made")
        }
        other => other.into(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|refused| Problem::unreadable(path, &refused))?;
    file.take(MAX_ENVELOPE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|refused| Problem::unreadable(path, &refused))?;
    Ok(bytes)
}

fn digest(path: &Path) -> Result<Digest, Problem> {
    let mut file = fs::File::open(path).map_err(|refused| Problem::unreadable(path, &refused))?;
    let (mut digest, mut buffer) = (DigestStream::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(|refused| Problem::unreadable(path, &refused))? {
            0 => return Ok(digest.finish()),
            read => digest.update(&buffer[..read]),
        }
    }
}
