//! Turning what is kept of an upper directory into a layer: cut away the rest, make owners and modes plain, hash.

use std::{
    collections::BTreeMap,
    io::Read as _,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rayon::prelude::*;
use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Uid, XattrFlags, chownat, fchmod, fchown, flistxattr, flistxattr_query,
        fremovexattr, fsetxattr, fstat,
    },
    io::Errno,
};
use staith_model::{Digest, DigestStream, RelPath};

use super::{
    choice::Choice,
    error::{LayerError, at},
    manifest::{LayerEntry, LayerManifest},
    upper::{Found, OPAQUE, Seen, chmod_below, escaped, open_below, open_root, walk},
    workbench::Workbench,
};
use crate::{
    cores::{self, MANY},
    source::Globs,
};

/// What of a file's mode is kept: whether it can be executed and who may read it, never writing by others.
const PLAIN_MODE: u32 = 0o755;

/// Moves away what is not kept. Whole directories go by one rename.
pub(super) fn cut_away(
    bench: &std::sync::Arc<Workbench>,
    upper: &Path,
    seen: &[Seen],
    choice: &Choice,
) -> Result<(), LayerError> {
    if choice.drop.is_empty() {
        return Ok(());
    }
    let trash = bench.fresh_dir().map_err(at("making", upper))?;
    for (number, index) in choice.drop.iter().enumerate() {
        let path = upper.join(&seen[*index].path);
        std::fs::rename(&path, trash.join(number.to_string())).map_err(at("moving away", &path))?;
    }
    bench.discard(&trash).map_err(at("removing", &trash))
}

/// Makes what is kept plain (owner, modes, no attributes but overlay's) and hashes it, on all cores.
pub(super) fn plain_manifest(
    upper: &Path,
    owner: Option<(u32, u32)>,
    seen: &[Seen],
    choice: &Choice,
    globs: &Globs,
) -> Result<LayerManifest, LayerError> {
    let root = open_root(upper)?;
    plain_directory(&root, owner, false).map_err(at("preparing", upper))?;
    let entry_of = |index: &usize| -> Result<(RelPath, LayerEntry), LayerError> {
        let thing = &seen[*index];
        let bad_name = || LayerError::NotUtf8 { path: escaped(&thing.path) };
        let text = thing.path.to_str().ok_or_else(bad_name)?;
        let path = RelPath::try_from(text).map_err(|_| bad_name())?;
        let entry = plain_entry(root.as_fd(), owner, thing, globs.covers(text))
            .map_err(at("reading", &upper.join(&thing.path)))?;
        Ok((path, entry))
    };
    let entries: Result<BTreeMap<_, _>, _> = cores::each(&choice.keep, is_much(seen), entry_of);
    Ok(LayerManifest { entries: entries? })
}

/// Whether hashing these takes so long that other threads are worth starting.
fn is_much(seen: &[Seen]) -> bool {
    const LONG: u64 = 4 << 20;
    let sizes = seen.iter().map(|thing| if let Found::File { size, .. } = thing.kind { size } else { 0 });
    seen.len() > MANY || sizes.sum::<u64>() > LONG
}

fn plain_entry(
    root: BorrowedFd<'_>,
    owner: Option<(u32, u32)>,
    thing: &Seen,
    covered: bool,
) -> std::io::Result<LayerEntry> {
    match &thing.kind {
        Found::Directory { replaced } => {
            let directory = open_below(root, &thing.path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let replaced = *replaced && covered;
            plain_directory(&directory, owner, replaced)?;
            Ok(LayerEntry::Directory { replaced })
        }
        Found::File { mode, .. } => {
            // A file that its owner can't read could be restored but never packed. One that others can write, on a machine
            // where anybody may reach the store, would be theirs to change under its digest.
            let mode = mode & PLAIN_MODE | 0o400;
            let file = open_file(root, &thing.path)?;
            strip_attributes(&file)?;
            give(&file, owner)?;
            fchmod(&file, Mode::from_raw_mode(mode))?;
            let (size, digest) = hash(file.into())?;
            Ok(LayerEntry::File { mode, size, digest })
        }
        Found::Symlink { target } => {
            give_link(root, &thing.path, owner)?;
            Ok(LayerEntry::Symlink { target: target.to_string_lossy().into_owned() })
        }
        Found::Removed | Found::Special(_) => Ok(LayerEntry::Removed),
    }
}

fn open_file(root: BorrowedFd<'_>, path: &Path) -> std::io::Result<OwnedFd> {
    match open_below(root, path, OFlags::RDONLY) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            chmod_below(root, path, Mode::RUSR | Mode::WUSR)?;
            open_below(root, path, OFlags::RDONLY)
        }
        opened => opened,
    }
}

fn plain_directory(directory: &OwnedFd, owner: Option<(u32, u32)>, replaced: bool) -> std::io::Result<()> {
    strip_attributes(directory)?;
    give(directory, owner)?;
    fchmod(directory, Mode::from_raw_mode(0o755))?;
    if replaced {
        // The other attribute must not be set beside it: a mount that goes by this one would copy that one up, from a
        // replaced directory of a lower layer into a step's changes, where it would look like one more replacement.
        fsetxattr(directory, OPAQUE[0], b"y", XattrFlags::empty())?;
    }
    Ok(())
}

/// Attributes are not part of a layer's identity, so none may be part of its effect. What the system itself puts on
/// every file (SELinux labels) can't be removed and stays.
fn strip_attributes(file: &OwnedFd) -> std::io::Result<()> {
    let size = match flistxattr_query(file) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        size => size?,
    };
    let mut list = vec![0_u8; size];
    let length = flistxattr(file, &mut list[..])?;
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"security.selinux") {
            continue;
        }
        match fremovexattr(file, name) {
            // Trusted attributes are root's; a file whose mode forbids writing keeps no user's attributes from root.
            Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(Errno::ACCESS) => {
                fchmod(file, Mode::RUSR | Mode::WUSR)?;
                fremovexattr(file, name)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn give(file: &OwnedFd, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let stat = fstat(file)?;
    if (stat.st_uid, stat.st_gid) != (uid, gid) {
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}

fn give_link(root: BorrowedFd<'_>, path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(chownat(root, path, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The content of a directory in overlay's format that is not to be changed.
pub(super) fn scan(dir: &Path) -> Result<LayerManifest, LayerError> {
    let root = open_root(dir)?;
    let seen = walk(dir)?;
    let entry_of = |thing: &Seen| -> Option<Result<(RelPath, LayerEntry), LayerError>> {
        let entry = match &thing.kind {
            Found::Special(_) => return None,
            Found::Directory { replaced } => LayerEntry::Directory { replaced: *replaced },
            Found::Symlink { target } => {
                LayerEntry::Symlink { target: target.to_string_lossy().into_owned() }
            }
            Found::Removed => LayerEntry::Removed,
            Found::File { mode, .. } => {
                let opened = open_below(root.as_fd(), &thing.path, OFlags::RDONLY);
                match opened.and_then(|file| hash(file.into())) {
                    Ok((size, digest)) => LayerEntry::File { mode: *mode, size, digest },
                    Err(error) => return Some(Err(at("reading", &dir.join(&thing.path))(error))),
                }
            }
        };
        let path = thing.path.to_str().and_then(|text| RelPath::try_from(text).ok());
        let path = path.ok_or_else(|| LayerError::NotUtf8 { path: escaped(&thing.path) });
        Some(path.map(|path| (path, entry)))
    };
    let entries: Result<BTreeMap<_, _>, _> = seen.par_iter().with_min_len(16).filter_map(entry_of).collect();
    Ok(LayerManifest { entries: entries? })
}

/// The length and the digest of a file's bytes.
fn hash(mut file: std::fs::File) -> std::io::Result<(u64, Digest)> {
    let (mut stream, mut size) = (DigestStream::new(), 0);
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok((size, stream.finish())),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        stream.update(&buffer[..read]);
        size += read as u64;
    }
}
