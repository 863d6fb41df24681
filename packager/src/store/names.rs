//! What was published under which name and version, once and for good.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use staith_model::{Digest, Name, Package, RunId, Version};

use super::{Staged, Store, StoreError, make_directories, remove, version};
use crate::durable;

/// The shape of a record. Readers refuse numbers they do not know rather than guess.
const FORMAT: u32 = 1;

/// What a package was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The run that passed.
    pub run: RunId,
    /// The plan that it executed.
    pub plan: Digest,
}

/// A package under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    format: u32,
    /// The package.
    pub package: Package,
    /// [`crate::web_deploy::PROFILE`] of its writer.
    pub profile: u32,
    /// What it was made from, the first time.
    pub origin: Origin,
    /// When, in milliseconds since 1970, as the clock of the publishing machine had it.
    pub at: u64,
}

impl Store {
    /// Publishes a staged package file under its name and version. `package.digest` is that of the staged bytes.
    ///
    /// Publishing the same package again is fine, and gives the record of the first time. The package is complete and synced to
    /// disk before its name appears; a process killed in between leaves at most a blob that has no name.
    ///
    /// # Errors
    /// The version stands for another package already, or the system refuses.
    pub fn publish(
        &self,
        staged: Staged,
        package: &Package,
        profile: u32,
        origin: Origin,
    ) -> Result<Published, StoreError> {
        let found = staged.opened().metadata().map_err(StoreError::io("look at", &self.staging()))?.len();
        if found != package.size {
            return Err(StoreError::NotAsSaid { said: package.size, found });
        }
        // Asked first, so that a refused package leaves no blob. Asked again when the name is taken.
        if let Some(there) = self.find(&package.name, &package.version)? {
            unless_other(there, package)?;
        }
        self.keep(staged, &package.digest)?;
        let record = Published { format: FORMAT, package: package.clone(), profile, origin, at: now() };
        self.take_name(record)
    }

    fn take_name(&self, record: Published) -> Result<Published, StoreError> {
        let (name, version) = (&record.package.name, &record.package.version);
        let directory = self.names().join(name.as_str());
        make_directories(&directory)?;
        let path = self.record_path(name, version);
        let json = serde_json::to_vec_pretty(&record)
            .map_err(|why| StoreError::Record { path: path.clone(), why: why.to_string() })?;
        let mut staged = self.stage()?;
        let file = staged.file();
        file.write_all(&json)
            .and_then(|()| file.set_permissions(Permissions::from_mode(0o444)))
            .and_then(|()| file.sync_all())
            .map_err(StoreError::io("write", &path))?;
        let first = staged.link(&path).map_err(StoreError::io("make", &path))?;
        durable::sync_directory(&directory).map_err(StoreError::io("sync the directory", &directory))?;
        match (first, self.find(&record.package.name, &record.package.version)?) {
            (false, Some(there)) => unless_other(there, &record.package),
            _ => Ok(record),
        }
    }

    /// What is published under this name and version.
    ///
    /// # Errors
    /// The record can't be read, or makes no sense.
    pub fn find(&self, name: &Name, version: &Version) -> Result<Option<Published>, StoreError> {
        let path = self.record_path(name, version);
        let Some(record) = read_record(&path)? else { return Ok(None) };
        if record.package.name != *name || record.package.version != *version {
            let why = format!("it is about {} {}", record.package.name, record.package.version);
            return Err(StoreError::Record { path, why });
        }
        Ok(Some(record))
    }

    /// All that is published under this name: the lowest version first, by the rules of semantic versions; equal ones (which
    /// differ in build metadata only) by the time of publication.
    ///
    /// # Errors
    /// A record can't be read, or makes no sense.
    pub fn list(&self, name: &Name) -> Result<Vec<Published>, StoreError> {
        let directory = self.names().join(name.as_str());
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(StoreError::io("list", &directory))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            all.extend(read_record(&entry.map_err(StoreError::io("list", &directory))?.path())?);
        }
        all.sort_by(|a, b| {
            let tie = || (a.at, &a.package.version).cmp(&(b.at, &b.package.version));
            version::compare(&a.package.version, &b.package.version).then_with(tie)
        });
        Ok(all)
    }

    /// The last of [`Store::list`].
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn latest(&self, name: &Name) -> Result<Option<Published>, StoreError> {
        Ok(self.list(name)?.pop())
    }

    /// All that is published under any name, in no order. Records that can't be understood are passed over: nobody can say
    /// what they are for.
    ///
    /// # Errors
    /// The names can't be listed.
    pub fn published(&self) -> Result<Vec<Published>, StoreError> {
        let list = |directory: &Path| -> Result<Vec<PathBuf>, StoreError> {
            let entries = fs::read_dir(directory).map_err(StoreError::io("list", directory))?;
            entries.map(|entry| Ok(entry.map_err(StoreError::io("list", directory))?.path())).collect()
        };
        let mut all = Vec::new();
        for name in list(&self.names())?.iter().filter(|path| path.is_dir()) {
            all.extend(list(name)?.iter().filter_map(|path| read_record(path).ok().flatten()));
        }
        Ok(all)
    }

    /// Removes a package: first its name, durably, then its bytes, unless another name stands for the same. A process that is
    /// killed in between leaves bytes without a name, which [`Store::nameless`] finds. The same content published again gets
    /// the same name and bytes.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn forget(&self, published: &Published) -> Result<(), StoreError> {
        let Package { name, version, digest, .. } = &published.package;
        remove(&self.record_path(name, version))?;
        let directory = self.names().join(name.as_str());
        durable::sync_directory(&directory).map_err(StoreError::io("sync the directory", &directory))?;
        if self.published()?.iter().any(|other| other.package.digest == *digest) {
            return Ok(());
        }
        remove(&self.blob_path(digest))
    }

    /// Packages without a name: of publications and removals that were killed, or are under way.
    ///
    /// # Errors
    /// The blobs can't be listed.
    pub fn nameless(&self) -> Result<Vec<PathBuf>, StoreError> {
        let named: Vec<PathBuf> =
            self.published()?.iter().map(|published| self.blob_path(&published.package.digest)).collect();
        let blobs = self.blobs();
        let entries = fs::read_dir(&blobs).map_err(StoreError::io("list", &blobs))?;
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths.filter(|path| !named.contains(path)).collect())
    }

    fn record_path(&self, name: &Name, version: &Version) -> PathBuf {
        self.names().join(name.as_str()).join(format!("{version}.json"))
    }
}

/// Takes what is published for an answer if it is the same package.
fn unless_other(there: Published, package: &Package) -> Result<Published, StoreError> {
    if there.package == *package {
        return Ok(there);
    }
    Err(StoreError::Conflict {
        name: package.name.to_string(),
        version: package.version.to_string(),
        published: there.package.digest,
        offered: package.digest,
    })
}

fn read_record(path: &Path) -> Result<Option<Published>, StoreError> {
    let json = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        json => json.map_err(StoreError::io("read", path))?,
    };
    let refuse = |why: String| StoreError::Record { path: path.to_owned(), why };
    let record: Published = serde_json::from_slice(&json).map_err(|why| refuse(why.to_string()))?;
    if record.format != FORMAT {
        return Err(refuse(format!("its format is {}, and this Staith knows {FORMAT}", record.format)));
    }
    Ok(Some(record))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
