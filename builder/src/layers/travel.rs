//! A layer on its way to another machine: what it holds comes first, then the bytes of its files in the same order.
//!
//! ```text
//! "staith.layer.1\n"   what this is
//! 8 bytes              length of the record, the lowest first
//! the record           JSON, as beside a layer in the store
//! bytes of files       one after the other, in the order of the record
//! ```
//!
//! Whoever takes a layer knows its digest. The record has to have that digest, and each file the digest that the record says; so nothing
//! of what is on the way has to be believed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::AsFd as _,
        unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, lchown, symlink},
    },
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags, fsetxattr, mknodat};
use staith_model::{Digest, DigestStream, RelPath};

use super::{
    LayerStore,
    error::{LayerError, at},
    manifest::{LayerEntry, LayerManifest},
    upper::{OPAQUE, open_below, open_root},
};

const BEGINS: &[u8] = b"staith.layer.1\n";
/// The longest record, in bytes: of more than a million files.
const LONGEST_RECORD: u64 = 256 << 20;
/// What files may be: those that [`LayerStore::seal`] makes are.
const MODES: u32 = 0o755;

/// Why a layer of another machine is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It is another one than the one that is wanted, or no layer at all.
    #[error("it is not the layer {wanted}: {why}")]
    Wrong {
        /// What was to come.
        wanted: Digest,
        /// What came.
        why: String,
    },
    /// It can't be read to its end.
    #[error("it can't be read: {0}")]
    Reading(io::Error),
    /// This machine can't keep it.
    #[error(transparent)]
    Keeping(#[from] LayerError),
}

impl LayerStore {
    /// Writes a layer in the form that [`take`](Self::take) reads.
    ///
    /// # Errors
    /// It is not here, is damaged, or whoever takes it takes no more.
    pub fn send(&self, digest: &Digest, to: &mut dyn Write) -> Result<(), LayerError> {
        let dir = self.path(digest).ok_or(LayerError::Missing(*digest))?;
        let manifest = self.manifest(digest)?;
        let damaged = |why: String| LayerError::Damaged { digest: *digest, why };
        let record = serde_json::to_vec(&*manifest).map_err(|bad| damaged(bad.to_string()))?;
        let head = [BEGINS, &(record.len() as u64).to_le_bytes(), &record];
        head.iter().try_for_each(|part| to.write_all(part)).map_err(at("sending", &dir))?;
        let root = open_root(&dir)?;
        for (path, entry) in &manifest.entries {
            let LayerEntry::File { size, .. } = entry else { continue };
            let opened = open_below(root.as_fd(), Path::new(path.as_str()), OFlags::RDONLY);
            let copied = opened.and_then(|file| io::copy(&mut File::from(file).take(*size), to));
            let copied = copied.map_err(at("sending", &dir.join(path.as_str())))?;
            if copied != *size {
                return Err(damaged(format!("`{path}` is shorter than it was")));
            }
        }
        Ok(())
    }

    /// Takes a layer of another machine, and keeps it if it is the one that is wanted. Blocks.
    ///
    /// # Errors
    /// See [`NotTaken`]; nothing of it is kept then.
    pub fn take(&self, wanted: &Digest, from: &mut dyn Read) -> Result<(), NotTaken> {
        if self.path(wanted).is_some() {
            return Ok(());
        }
        let wrong = |why: String| NotTaken::Wrong { wanted: *wanted, why };
        let manifest = record(from, wanted)?;
        if let Some(path) = manifest.entries.keys().find(|path| !has_its_folder(path, &manifest)) {
            return Err(wrong(format!("`{path}` lies in no folder of it")));
        }
        let scratch = self.scratch()?;
        let upper = scratch.upper();
        for (path, entry) in &manifest.entries {
            let place = upper.join(path.as_str());
            match entry {
                LayerEntry::File { mode, size, digest } => {
                    let found = self.file(&place, *mode, from.take(*size))?;
                    if found != (*size, *digest) {
                        return Err(wrong(format!("`{path}` has other bytes")));
                    }
                }
                other => self.other(&place, other).map_err(at("making", &place))?,
            }
        }
        match from.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(wrong("there is something after its end".to_owned())),
            Err(refused) => return Err(NotTaken::Reading(refused)),
        }
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).map_err(at("making", &upper))?;
        Ok(self.keep(&upper, wanted, &manifest)?)
    }

    /// Writes a file; its length and digest, as they came.
    fn file(&self, place: &Path, mode: u32, mut from: impl Read) -> Result<(u64, Digest), NotTaken> {
        let refused = |error: io::Error| NotTaken::Keeping(at("writing", place)(error));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(place);
        let mut file = made.map_err(refused)?;
        let (mut digest, mut length, mut buffer) = (DigestStream::new(), 0, vec![0; 128 << 10]);
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Err(again) if again.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(NotTaken::Reading)?,
            };
            digest.update(&buffer[..read]);
            length += read as u64;
            file.write_all(&buffer[..read]).map_err(refused)?;
        }
        self.give(place).map_err(refused)?;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(refused)?;
        Ok((length, digest.finish()))
    }

    fn other(&self, place: &Path, entry: &LayerEntry) -> io::Result<()> {
        match entry {
            LayerEntry::Directory { replaced } => {
                fs::create_dir(place)?;
                let directory = File::open(place)?;
                self.give(place)?;
                directory.set_permissions(fs::Permissions::from_mode(0o755))?;
                if *replaced {
                    fsetxattr(&directory, OPAQUE[0], b"y", XattrFlags::empty())?;
                }
                Ok(())
            }
            LayerEntry::Symlink { target } => {
                symlink(target, place)?;
                self.owner.map_or(Ok(()), |(user, group)| lchown(place, Some(user), Some(group)))
            }
            LayerEntry::Removed => Ok(mknodat(CWD, place, FileType::CharacterDevice, Mode::empty(), 0)?),
            LayerEntry::File { .. } => Ok(()),
        }
    }

    fn give(&self, place: &Path) -> io::Result<()> {
        self.owner.map_or(Ok(()), |(user, group)| chown(place, Some(user), Some(group)))
    }
}

/// What the layer holds, if that is what is wanted.
fn record(from: &mut dyn Read, wanted: &Digest) -> Result<LayerManifest, NotTaken> {
    let wrong = |why: &str| NotTaken::Wrong { wanted: *wanted, why: why.to_owned() };
    let begins = bytes(from, BEGINS.len() as u64)?;
    if begins != BEGINS {
        return Err(wrong("it begins as no layer does"));
    }
    let length = bytes(from, 8)?;
    let length = u64::from_le_bytes(length.try_into().map_err(|_| wrong("it ends early"))?);
    if length > LONGEST_RECORD {
        return Err(wrong("its record is too long"));
    }
    let record = bytes(from, length)?;
    let manifest: LayerManifest =
        serde_json::from_slice(&record).map_err(|_| wrong("its record can't be read"))?;
    if manifest.digest() != *wanted {
        return Err(wrong("its record describes another one"));
    }
    let is_plain = |entry: &LayerEntry| match entry {
        LayerEntry::File { mode, .. } => mode & !MODES == 0,
        _ => true,
    };
    if manifest.entries.values().all(is_plain) {
        Ok(manifest)
    } else {
        Err(wrong("a file of it has a mode that no layer has"))
    }
}

/// So many bytes or fewer, as memory is taken as they come: the length is only what somebody says.
fn bytes(from: &mut dyn Read, length: u64) -> Result<Vec<u8>, NotTaken> {
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes).map_err(NotTaken::Reading)?;
    Ok(bytes)
}

/// Whether all that a path lies in are folders of the layer: what lies below a link would lead out of it.
fn has_its_folder(path: &RelPath, manifest: &LayerManifest) -> bool {
    let Some((folder, _)) = path.as_str().rsplit_once('/') else { return true };
    let folder = RelPath::try_from(folder).ok();
    folder.is_some_and(|folder| matches!(manifest.entries.get(&folder), Some(LayerEntry::Directory { .. })))
}
