//! Who has to vouch for a package.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use staith_model::{Digest, Exit};
use staith_packager::{
    hashing,
    seal::{
        self, MAX_ENVELOPE_BYTES, NotVouched, Vouched, attached,
        key::{KeyError, Keys, PublicKey},
    },
    store::Store,
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
        let statements = statements(package, &digest)?;
        if statements.is_empty() {
            return Err(Problem::new(Exit::Configuration, format!("nobody vouches for {}", package.called))
                .with_why("no provenance lies beside it")
                .with_remedy("keep NAME-VERSION-DIGEST.provenance.json beside the package, as it was where it was made; `staith pull --all` brings it along"));
        }
        // Anybody may add a statement; what counts is that one of them is by somebody trusted.
        let vouched = first_that_counts(&statements, &digest, keys, self.of_a_run)?;
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

/// What a trusted key has signed, of a run before anything else. Where there is nothing of that kind, why the first does not count.
fn first_that_counts(
    statements: &[Vec<u8>],
    package: &Digest,
    keys: &[PublicKey],
    of_a_run: bool,
) -> Result<Vouched, NotVouched> {
    let (mut vouched, mut refused) = (None::<Vouched>, None);
    for statement in statements {
        match seal::verify(package, statement, keys) {
            Ok(one) if one.told.is_of_a_run || !of_a_run => return Ok(one),
            Ok(one) => vouched = vouched.or(Some(one)),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    vouched.ok_or_else(|| refused.unwrap_or(NotVouched::Unsigned))
}

/// The statements about a package: those beside the file, or else those of this machine's store.
fn statements(package: &OpenPackage, digest: &Digest) -> Result<Vec<Vec<u8>>, Problem> {
    if package.published.is_none() {
        let beside = beside(&package.path)?;
        if !beside.is_empty() {
            return beside.iter().map(|path| read(path)).collect();
        }
    }
    let packages = Home::find()?.packages();
    // Looking makes no store.
    if !packages.is_dir() {
        return Ok(Vec::new());
    }
    Ok(attached::provenance(&Store::open(&packages)?, digest)?)
}

/// The statements beside a package file. Where several were pulled, their names begin with their digests, but for the first.
fn beside(package: &Path) -> Result<Vec<PathBuf>, Problem> {
    let first = package.with_extension("provenance.json");
    let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = match package.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = fs::read_dir(directory).map_err(|refused| Problem::unreadable(directory, &refused))?;
    let is_one = |path: &PathBuf| {
        let called = path.file_name().unwrap_or_default().to_string_lossy();
        let is_further = called.strip_suffix(&name).is_some_and(|digest| {
            digest.strip_suffix('.').is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))
        });
        (called == name || is_further) && path.is_file()
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_one).collect();
    found.sort_by_key(|path| (path.file_name() != first.file_name(), path.clone()));
    Ok(found)
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
    let read = File::open(path).and_then(hashing::digest_of);
    Ok(read.map_err(|refused| Problem::unreadable(path, &refused))?.0)
}
