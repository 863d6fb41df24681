//! Package and configuration, frozen together, and the shelf on which frozen releases stay.
//!
//! A release is a value: nothing that is edited or deleted later can change what it means. It is identified by its
//! digest, and the shelf keeps one file per release under that digest, written once.

use std::{collections::BTreeSet, io, marker::PhantomData, path::PathBuf, time::SystemTime};

use serde::{Serialize, de::DeserializeOwned};
use staith_model::{Digest, LocalEnvironment, Package, Release};

use crate::host::durable;

/// Freezes a package with what its environment says about running it. Pure: the same inputs give the same digest.
///
/// Where the proxy listens, how long requests may drain and how many releases are kept belong to the environment, not
/// to the release: changing them does not make another release.
pub fn freeze(package: Package, environment: &LocalEnvironment) -> Release {
    Release {
        package,
        environment: environment.name.clone(),
        process: environment.process.clone(),
        health: environment.health.clone(),
    }
}

/// Why a frozen release could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The file system said no.
    #[error("can't {what} the record of release {release} at {path}: {source}; check the disk and the folder's permissions", path = path.display(), release = release.short())]
    Io {
        /// The attempt.
        what: &'static str,
        /// The release.
        release: Digest,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file does not hold the release that its name promises.
    #[error("{path} does not hold release {release}: {why}; delete the file and deploy that release's package again", path = path.display(), release = release.short())]
    Damaged {
        /// The release.
        release: Digest,
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
}

/// What is frozen: a value whose digest is its identity.
pub trait Frozen: Serialize + DeserializeOwned {
    /// The identity.
    fn identity(&self) -> Digest;
}

impl Frozen for Release {
    fn identity(&self) -> Digest {
        self.digest()
    }
}

/// The frozen releases of an environment on this machine.
pub type ReleaseShelf = Shelf<Release>;

/// Frozen releases: `releases.json/<digest>.json` in a folder.
///
/// All methods block on the disk; call them where blocking is allowed.
#[derive(Debug, Clone)]
pub struct Shelf<R> {
    folder: PathBuf,
    of: PhantomData<fn() -> R>,
}

impl<R: Frozen> Shelf<R> {
    /// The shelf in the folder `place`. Nothing is touched until something is kept.
    pub fn new(place: impl Into<PathBuf>) -> Self {
        Self { folder: place.into().join("releases.json"), of: PhantomData }
    }

    fn path(&self, release: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", release.hex()))
    }

    /// Keeps a release; says `true` if it was there already. What is there is read and checked, never overwritten
    /// unless it is damaged.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn keep(&self, release: &R) -> Result<bool, ReleaseError> {
        let digest = release.identity();
        match self.get(&digest) {
            Ok(Some(_)) => return Ok(true),
            Ok(None) | Err(ReleaseError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let path = self.path(&digest);
        let fail = |source| ReleaseError::Io { what: "write", release: digest, path: path.clone(), source };
        durable::create_folder(&self.folder).map_err(fail)?;
        let json = serde_json::to_vec_pretty(release).map_err(|error| fail(error.into()))?;
        durable::write(&path, &json).map_err(fail)?;
        Ok(false)
    }

    /// Removes every release that is not in `keep`.
    ///
    /// # Errors
    /// A file can't be removed; asking again goes on.
    pub fn retain(&self, keep: &BTreeSet<Digest>) -> Result<(), ReleaseError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries,
        };
        // A folder that can't be listed keeps what is in it, which does no harm.
        for name in entries.into_iter().flatten().flatten().map(|entry| entry.file_name()) {
            let release =
                name.to_str().and_then(|name| format!("sha256:{}", name.strip_suffix(".json")?).parse().ok());
            let Some(release) = release.filter(|release| !keep.contains(release)) else { continue };
            let path = self.path(&release);
            std::fs::remove_file(&path).map_err(|source| ReleaseError::Io {
                what: "remove",
                release,
                path,
                source,
            })?;
        }
        Ok(())
    }

    /// All releases that are kept.
    ///
    /// # Errors
    /// The folder or a file in it can't be read, or a file does not hold the release that its name promises.
    pub fn all(&self) -> Result<Vec<R>, ReleaseError> {
        let unreadable = |source| ReleaseError::Io {
            what: "list",
            release: Digest::of(b""),
            path: self.folder.clone(),
            source,
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let names = entries.collect::<io::Result<Vec<_>>>().map_err(unreadable)?;
        let digest = |name: &str| format!("sha256:{}", name.strip_suffix(".json")?).parse().ok();
        let digests = names.iter().filter_map(|entry| digest(entry.file_name().to_str()?));
        // One that vanished since is kept no more.
        digests.filter_map(|digest| self.get(&digest).transpose()).collect()
    }

    /// When a release was kept; `None` if it is not here.
    pub fn kept_at(&self, release: &Digest) -> Option<SystemTime> {
        std::fs::metadata(self.path(release)).and_then(|file| file.modified()).ok()
    }

    /// The release of this digest; `None` if it was never kept here.
    ///
    /// # Errors
    /// The file can't be read, or does not hold the release that its name promises.
    pub fn get(&self, release: &Digest) -> Result<Option<R>, ReleaseError> {
        let path = self.path(release);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReleaseError::Io { what: "read", release: *release, path, source }),
        };
        let damaged = |why: String| ReleaseError::Damaged { release: *release, path: path.clone(), why };
        let found: R = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if found.identity() == *release {
            Ok(Some(found))
        } else {
            Err(damaged(format!("its content is release {}", found.identity().short())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;

    #[test]
    fn what_is_frozen_does_not_depend_on_the_way_to_it() {
        let environment = samples::environment();
        let release = freeze(samples::package("1.0.0", b"x"), &environment);
        let elsewhere = LocalEnvironment {
            listen: "127.0.0.1:1".parse().unwrap(),
            drain_seconds: 7,
            keep_releases: 9,
            ..environment.clone()
        };
        assert_eq!(freeze(samples::package("1.0.0", b"x"), &elsewhere).digest(), release.digest());
        let mut other = environment;
        other.process.env.insert("MODE".into(), "other".into());
        assert_ne!(freeze(samples::package("1.0.0", b"x"), &other).digest(), release.digest());
    }

    #[test]
    fn a_release_is_kept_once_and_read_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = ReleaseShelf::new(dir.path());
        let release = samples::release("1.0.0", b"x");
        assert_eq!(shelf.all().unwrap(), []);
        assert!(!shelf.keep(&release).unwrap());
        assert!(shelf.keep(&release).unwrap());
        assert_eq!(shelf.get(&release.digest()).unwrap(), Some(release.clone()));
        assert_eq!(shelf.all().unwrap(), [release]);
        assert_eq!(shelf.get(&Digest::of(b"another")).unwrap(), None);
    }

    #[test]
    fn what_nobody_needs_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = ReleaseShelf::new(dir.path());
        shelf.retain(&BTreeSet::new()).unwrap();
        let [kept, gone] = ["1.0.0", "2.0.0"].map(|version| samples::release(version, b"x"));
        shelf.keep(&kept).unwrap();
        shelf.keep(&gone).unwrap();
        let notes = dir.path().join("releases.json/notes.txt");
        std::fs::write(&notes, "somebody's").unwrap();
        shelf.retain(&[kept.digest()].into()).unwrap();
        assert_eq!(shelf.get(&gone.digest()).unwrap(), None);
        assert_eq!(shelf.get(&kept.digest()).unwrap(), Some(kept));
        assert!(notes.exists());
    }

    #[test]
    fn a_release_that_was_edited_is_not_trusted_and_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = ReleaseShelf::new(dir.path());
        let release = samples::release("1.0.0", b"x");
        shelf.keep(&release).unwrap();
        let path = shelf.path(&release.digest());
        let edited = std::fs::read_to_string(&path).unwrap().replace("/health", "/healthy");
        std::fs::write(&path, edited).unwrap();
        let error = shelf.get(&release.digest()).unwrap_err();
        assert!(matches!(error, ReleaseError::Damaged { .. }), "{error}");
        assert!(!shelf.keep(&release).unwrap());
        assert_eq!(shelf.get(&release.digest()).unwrap(), Some(release));
    }
}
