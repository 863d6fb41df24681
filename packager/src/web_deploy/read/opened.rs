//! Packages that were opened before: one whose file was not touched since is not verified again.
//!
//! What is remembered is what opening a package yields, and nothing is taken from it but that: a file's bytes are held against their digest
//! whenever they are copied, and machines hold them against it once more.

mod spelling;

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use staith_model::Digest;

use super::{PackageReader, ReadError, SealedReader, sealed_package::Contents};

/// Bytes that are kept at most: some sixty packages of 10,000 files.
const MOST: u64 = 64 << 20;

/// How long a package must have lain untouched before it is remembered. File systems count time in steps of some milliseconds, so
/// what is written right after a look may show the same time.
const SETTLED: Duration = Duration::from_secs(2);

/// What would be different if a file were another, or were written: device, inode, length, and the times of content and status in
/// nanoseconds. The last of them nobody can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity([i128; 5]);

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Ok(Self([
            metadata.dev().into(),
            metadata.ino().into(),
            metadata.size().into(),
            nanos(metadata.mtime(), metadata.mtime_nsec()),
            nanos(metadata.ctime(), metadata.ctime_nsec()),
        ]))
    }

    fn bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Whether whoever writes to the file from now on changes its times.
    fn is_settled(self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = now.saturating_sub(SETTLED).as_nanos();
        self.0[3..].iter().all(|time| u128::try_from(*time).is_ok_and(|time| time < before))
    }
}

/// A private folder with what packages were found to be. A hint: what is not there, is damaged, or could be somebody else's is
/// passed over.
#[derive(Debug, Clone)]
pub struct Openings {
    folder: PathBuf,
}

impl Openings {
    /// Kept in this folder, which is made when there is something to keep.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Opens the package of Staith's in `file`; `path` is what errors call it. It is verified as by [`PackageReader::of_file`],
    /// unless it was before and was not touched since.
    ///
    /// # Errors
    /// As [`PackageReader::of_file`]; or Staith did not write it.
    pub fn open(&self, file: File, path: &Path) -> Result<SealedReader, ReadError> {
        self.open_at(SystemTime::now(), file, path)
    }

    fn open_at(&self, now: SystemTime, file: File, path: &Path) -> Result<SealedReader, ReadError> {
        let refused = |source| ReadError::Open { path: path.to_owned(), source };
        let identity = Identity::of(&file).map_err(refused)?;
        if let Some(contents) = self.find(identity) {
            return Ok(SealedReader::new(file, path.to_owned(), contents));
        }
        let reader = PackageReader::of_file(file, path)?;
        let sealed =
            SealedReader::of_reader(reader).ok_or_else(|| ReadError::NotOurs { path: path.to_owned() })?;
        if identity.is_settled(now) && Identity::of(sealed.file()).map_err(refused)? == identity {
            self.keep(identity, sealed.contents());
        }
        Ok(sealed)
    }

    fn find(&self, identity: Identity) -> Option<Contents> {
        let mut file = File::open(self.place(identity)).ok()?;
        if !is_private(&file.metadata().ok()?) {
            return None;
        }
        let mut bytes = Vec::new();
        (&mut file).take(MOST).read_to_end(&mut bytes).ok()?;
        let contents = spelling::decode(&bytes, identity)?;
        // What is used stays.
        let _ = file.set_modified(SystemTime::now());
        Some(contents)
    }

    /// What can't be written is verified again the next time, and nothing else.
    fn keep(&self, identity: Identity, contents: &Contents) {
        let place = self.place(identity);
        if self.write(&place, &spelling::encode(contents, identity)).is_ok() {
            self.make_room(&place);
        }
    }

    fn write(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // Several processes may keep the same one: each writes a file of its own, for itself only, and one of them gets the name.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(place)?;
        Ok(())
    }

    /// Those go that were used longest ago.
    fn make_room(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let others = entries.flatten().filter(|entry| entry.path() != newest);
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = others
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let newest = fs::metadata(newest).map_or(0, |metadata| metadata.len());
        let mut bytes = kept.iter().map(|(_, length, _)| length).sum::<u64>() + newest;
        kept.sort_unstable();
        for (_, length, path) in kept {
            if bytes <= MOST {
                return;
            }
            bytes -= length;
            let _ = fs::remove_file(path);
        }
    }

    fn place(&self, identity: Identity) -> PathBuf {
        self.folder.join(Digest::of(&identity.bytes()).hex())
    }
}

/// Whether nobody but this account can have written it.
fn is_private(metadata: &Metadata) -> bool {
    metadata.is_file()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o077 == 0
}

#[cfg(test)]
mod tests;
