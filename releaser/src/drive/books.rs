//! What survives a kill: lock, record, journal and frozen releases in the environment's folder.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use staith_model::{Digest, LocalEnvironment, Release};

use super::{
    journal::{self, Line},
    lock::{self, Lock, LockError},
    record::Record,
};
use crate::{
    host::durable,
    release::{ReleaseError, ReleaseShelf},
};

/// Why the books could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The file system said no.
    #[error("can't {what} {path}: {source}; see to the disk and the folder's permissions", path = path.display())]
    Io {
        /// The attempt.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} can't be understood: {why}; move it away to begin anew, what serves is not touched by that", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A frozen release.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

/// The books of one environment.
#[derive(Debug, Clone)]
pub struct Books {
    dir: PathBuf,
}

impl Books {
    /// The books in the environment's folder `dir`, which must exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The environment's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) async fn lock(&self, patience: Duration) -> Result<Lock, LockError> {
        lock::take(&self.lock_path(), patience).await
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.dir.join("deploy.lock")
    }

    /// What the environment remembers; nothing, where nothing was ever deployed.
    ///
    /// # Errors
    /// The record can't be read or understood.
    pub async fn record(&self) -> Result<Record, BooksError> {
        self.blocking(|books| {
            let path = books.dir.join("state.json");
            let Some(bytes) = read(&path)? else { return Ok(Record::default()) };
            Record::parse(&bytes).map_err(|why| BooksError::Damaged { path, why })
        })
        .await
    }

    pub(super) async fn save(&self, record: &Record) -> Result<(), BooksError> {
        let record = record.clone();
        self.blocking(move |books| books.write("state.json", &record)).await
    }

    /// The environment as it was deployed to the last time; `None` if it never was.
    ///
    /// # Errors
    /// It can't be read or understood.
    pub async fn environment(&self) -> Result<Option<LocalEnvironment>, BooksError> {
        self.blocking(|books| {
            let path = books.dir.join("environment.json");
            let Some(bytes) = read(&path)? else { return Ok(None) };
            let damaged = |error: serde_json::Error| BooksError::Damaged { path, why: error.to_string() };
            serde_json::from_slice(&bytes).map(Some).map_err(damaged)
        })
        .await
    }

    pub(super) async fn save_environment(&self, environment: &LocalEnvironment) -> Result<(), BooksError> {
        let environment = environment.clone();
        self.blocking(move |books| books.write("environment.json", &environment)).await
    }

    /// The frozen release of this digest; `None` if it is not known here.
    ///
    /// # Errors
    /// It can't be read, or is not what its name promises.
    pub async fn release(&self, release: Digest) -> Result<Option<Release>, BooksError> {
        self.blocking(move |books| Ok(ReleaseShelf::new(&books.dir).get(&release)?)).await
    }

    pub(super) async fn keep(&self, release: &Release) -> Result<bool, BooksError> {
        let release = release.clone();
        self.blocking(move |books| Ok(ReleaseShelf::new(&books.dir).keep(&release)?)).await
    }

    /// Forgets the frozen releases that are not in `keep`.
    pub(super) async fn forget_all_but(&self, keep: BTreeSet<Digest>) -> Result<(), BooksError> {
        self.blocking(move |books| Ok(ReleaseShelf::new(&books.dir).retain(&keep)?)).await
    }

    pub(super) async fn note(&self, line: Line<'_>) -> Result<(), BooksError> {
        let json = serde_json::to_vec(&line);
        self.blocking(|books| {
            let path = books.dir.join("journal.jsonl");
            let append = |json| journal::append(&path, json);
            json.map_err(io::Error::from).and_then(append).map_err(|source| BooksError::Io {
                what: "append to",
                path,
                source,
            })
        })
        .await
    }

    fn write(&self, name: &str, value: &impl serde::Serialize) -> Result<(), BooksError> {
        let path = self.dir.join(name);
        let failed = |source| BooksError::Io { what: "write", path: path.clone(), source };
        let json = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
        durable::write(&path, &json).map_err(failed)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, BooksError> + Send + 'static,
    ) -> Result<T, BooksError> {
        let books = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&books)).await;
        done.unwrap_or_else(|error| {
            Err(BooksError::Io { what: "work on", path: self.dir.clone(), source: io::Error::other(error) })
        })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, BooksError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BooksError::Io { what: "read", path: path.to_owned(), source }),
    }
}

/// Now, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
