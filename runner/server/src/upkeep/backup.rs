//! A backup while the server runs: the database at one moment, and afterwards the bytes of streams up to the lengths that it had then.
//! Streams only grow, so what is copied is what there was.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use staith_model::Digest;

use super::{
    check::{differs, known_streams},
    files::{UpkeepError, at, copy, digest, files_below, new_directory, sync},
};
use crate::store::{StoreError, reading};

/// Directories that are copied as they are: what is in them is named by what it is, and only added to.
const WHOLE: [&str; 1] = ["packages"];

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this form.
    pub version: u32,
    /// When it was made, in milliseconds since 1970.
    pub made: u64,
    /// How often what it was made of had been restored, plus one.
    pub generation: u64,
    /// All files, by their paths.
    pub files: BTreeMap<String, BackedUp>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// Its length in bytes.
    pub length: u64,
    /// The digest of all of them.
    pub digest: Digest,
}

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const DATABASE: &str = "staith.db";

/// Makes a backup in a directory that is empty or not there. Without its manifest, which comes last, it is none. The key of secrets is
/// not in it: who has the backup has no secrets.
///
/// # Errors
/// The directory is not empty, something of the server's is not as it was written, or the system refuses.
pub fn back_up(database: &Path, data: &Path, to: &Path, now: u64) -> Result<Manifest, UpkeepError> {
    new_directory(to)?;
    let mut files = BTreeMap::new();
    let copied = to.join(DATABASE);
    one_moment(database, &copied)?;
    let (length, found) = digest(&copied, None)?;
    files.insert(DATABASE.to_owned(), BackedUp { length, digest: found });
    let connection = Connection::open(&copied).map_err(StoreError::from)?;
    let generation = generation(&connection).map_err(StoreError::from)?;
    for stream in known_streams(&connection).map_err(StoreError::from)? {
        let path = format!("streams/{}", stream.path);
        let from = data.join(&path);
        if stream.length == 0 && !from.exists() {
            continue;
        }
        let (length, digest) = copy(&from, &to.join(&path), Some(stream.length))?;
        let short = (length < stream.length)
            .then(|| format!("{length} bytes are there, and {} were acknowledged", stream.length));
        if let Some(why) = short.or_else(|| differs(stream.digest.as_deref(), &digest)) {
            return Err(UpkeepError::NotWhole { at: from, why });
        }
        files.insert(path, BackedUp { length, digest });
    }
    drop(connection);
    for directory in WHOLE {
        for inside in files_below(&data.join(directory))? {
            let path = PathBuf::from(directory).join(&inside);
            let (length, digest) = copy(&data.join(&path), &to.join(&path), None)?;
            files.insert(path.to_string_lossy().into_owned(), BackedUp { length, digest });
        }
    }
    let manifest = Manifest { version: 1, made: now, generation, files };
    write(&manifest, &to.join(MANIFEST))?;
    sync(to)?;
    Ok(manifest)
}

fn one_moment(database: &Path, to: &Path) -> Result<(), UpkeepError> {
    let copied = || -> rusqlite::Result<()> {
        let mut target = Connection::open(to)?;
        let source =
            reading(database).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        // All pages in one step: they are of one moment, and nobody who writes has to wait for it.
        let backup = rusqlite::backup::Backup::new(&source, &mut target)?;
        backup.step(-1)?;
        drop(backup);
        target.pragma_update(None, "journal_mode", "delete")?;
        Ok(())
    };
    copied().map_err(StoreError::from)?;
    std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(at(to))
}

pub(super) fn generation(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'generation'", [], |row| row.get(0))
}

fn write(manifest: &Manifest, to: &Path) -> Result<(), UpkeepError> {
    let text = serde_json::to_string_pretty(manifest).map_err(|bad| at(to)(bad.into()))?;
    let part = to.with_extension("part");
    std::fs::write(&part, text + "\n").map_err(at(&part))?;
    std::fs::File::open(&part).and_then(|file| file.sync_all()).map_err(at(&part))?;
    std::fs::rename(&part, to).map_err(at(to))
}
