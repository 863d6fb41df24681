//! Writing a listing to disk: folders first, then every file as a link into the pool, on all cores.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Read as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, MetadataExt as _, lchown, symlink},
    },
    path::Path,
};

use git2::ObjectType;
use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, utimensat};
use staith_model::{Digest, DigestStream, RelPath};

use super::{
    contents::{Contents, Opened, Reading},
    error::{SourceError, at},
    globs::Globs,
    lfs::{Pointer, open_plainly},
    listing::{FileEntry, FileMode, Listing, ObjectId, input_digest, parents},
    pool::{Item, PLAIN_TIME, Pool},
};
use crate::cores::MANY;

/// Files to write, and into which directory, which is there and empty.
pub(super) struct Writing<'a> {
    pub(super) to: &'a Path,
    pub(super) files: Vec<&'a (RelPath, FileEntry)>,
    pub(super) pool: &'a Pool,
    pub(super) contents: &'a Contents,
    pub(super) owner: Option<(u32, u32)>,
}

impl Writing<'_> {
    /// Writes everything. The paths were checked when they were listed: none leads through a link or another file.
    pub(super) fn write(&self) -> Result<(), SourceError> {
        let folders: BTreeSet<&str> =
            self.files.iter().flat_map(|(path, _)| parents(path.as_str())).collect();
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o755);
        for folder in &folders {
            let path = self.to.join(folder);
            builder.create(&path).map_err(at("making", &path))?;
        }
        let items = numbered(&self.files);
        let opened = Opened::new(self.contents);
        // What a thread opens costs as much as some files, so each gets a long run of them.
        if items.len() < MANY {
            self.write_run(&items, &opened)?;
        } else {
            let run = items.len().div_ceil(rayon::current_num_threads() * 4).max(64);
            items.par_chunks(run).try_for_each(|items| self.write_run(items, &opened))?;
        }
        for folder in folders.iter().map(|folder| self.to.join(folder)).chain([self.to.to_owned()]) {
            self.finish(&folder).map_err(at("finishing", &folder))?;
        }
        Ok(())
    }

    fn write_run(
        &self,
        items: &[(&(RelPath, FileEntry), Item)],
        opened: &Opened<'_>,
    ) -> Result<(), SourceError> {
        let mut source = Reading::new(opened, self.pool);
        for ((path, entry), item) in items {
            let to = self.to.join(path.as_str());
            if entry.mode == FileMode::Symlink {
                let target = source.content(path, entry)?;
                let target = std::ffi::OsStr::from_bytes(&target);
                symlink(target, &to).and_then(|()| self.finish(&to)).map_err(at("linking", &to))?;
                continue;
            }
            if self.pool.link(*item, &to).map_err(at("linking", &to))? {
                continue;
            }
            if entry.lfs {
                self.write_large(path, entry, *item, &to)?;
                continue;
            }
            let content = source.content(path, entry)?;
            self.pool.insert_from(*item, &content, &to).map_err(at("writing", &to))?;
        }
        Ok(())
    }

    /// What git-lfs keeps is in the pool with another mode or for another copy of the file, or in the working directory that it
    /// was seen in.
    fn write_large(
        &self,
        path: &RelPath,
        entry: &FileEntry,
        item: Item,
        to: &Path,
    ) -> Result<(), SourceError> {
        let on_screen = || self.contents.root.as_deref().map(|root| root.join(path.as_str()));
        let changed = || SourceError::Changed(path.to_string());
        let from = self.pool.any_like(item).or_else(on_screen).ok_or_else(changed)?;
        let mut from = open_plainly(&from).map_err(at("reading", &from))?;
        // What is in the pool was verified; what is on the screen may be something else by now.
        let is_it = |oid, size| {
            let id = Pointer { oid, size }.id();
            let may_be =
                size == entry.size && (self.contents.root.is_none() || id.is_ok_and(|id| id == entry.blob));
            may_be.then_some((item, to))
        };
        let taken = self.pool.take_in(&mut from, entry.size, is_it).map_err(at("writing", to))?;
        taken.map(drop).ok_or_else(changed)
    }

    /// Gives a folder or a link its owner and time.
    fn finish(&self, path: &Path) -> io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            lchown(path, Some(uid), Some(gid))?;
        }
        Ok(utimensat(CWD, path, &PLAIN_TIME, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// Says which files of a checkout git-lfs keeps: its name stands for their pointers.
pub(super) fn note_large(dir: &Path, files: &[&(RelPath, FileEntry)], fresh: &Path) -> io::Result<()> {
    let large: Vec<&str> =
        files.iter().filter(|(_, entry)| entry.lfs).map(|(path, _)| path.as_str()).collect();
    if large.is_empty() {
        return Ok(());
    }
    fs::write(fresh, serde_json::to_vec(&large)?)?;
    fs::rename(fresh, dir.with_extension(LARGE))
}

/// How the name of that note ends.
const LARGE: &str = "lfs";

/// Whether a checkout still holds what its name says, all bytes read.
pub(super) fn is_as_named(dir: &Path) -> io::Result<bool> {
    let (mut files, mut open) = (Listing::new(), vec![dir.to_owned()]);
    let large = fs::read(dir.with_extension(LARGE)).unwrap_or_default();
    let large: BTreeSet<String> = serde_json::from_slice(&large).unwrap_or_default();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, found) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if found.is_dir() {
                open.push(path);
                continue;
            }
            let mode = match found.mode() {
                _ if found.is_symlink() => FileMode::Symlink,
                mode if mode & 0o100 != 0 => FileMode::Executable,
                _ => FileMode::Regular,
            };
            let name = path
                .strip_prefix(dir)
                .ok()
                .and_then(Path::to_str)
                .and_then(|name| RelPath::try_from(name).ok());
            let Some(name) = name else { return Ok(false) };
            let lfs = mode != FileMode::Symlink && large.contains(name.as_str());
            let blob = match mode {
                FileMode::Symlink => {
                    ObjectId::of(ObjectType::Blob, &fs::read_link(&path)?.into_os_string().into_vec())
                }
                _ if lfs => pointer_to(&path)?.id(),
                _ => ObjectId::of(ObjectType::Blob, &fs::read(&path)?),
            };
            let Ok(blob) = blob else { return Ok(false) };
            files.push((name, FileEntry { blob, mode, size: found.len(), lfs }));
        }
    }
    files.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let Ok(everything) = Globs::or_everything(&[]) else { return Ok(false) };
    let (inputs, found) = (input_digest(&files, &everything), fs::metadata(dir)?);
    let named = dir.file_name().unwrap_or_default().to_string_lossy();
    Ok([None, Some((found.uid(), found.gid()))].iter().any(|owner| key(&inputs, *owner).hex() == *named))
}

/// The pointer that stands for a file's content, all bytes read.
pub(super) fn pointer_to(path: &Path) -> io::Result<Pointer> {
    let mut file = open_plainly(path)?;
    let (mut hash, mut bytes, mut size) = (DigestStream::new(), vec![0; 256 * 1024], 0_u64);
    while let read @ 1.. = file.read(&mut bytes)? {
        hash.update(&bytes[..read]);
        size += read as u64;
    }
    Ok(Pointer { oid: hash.finish(), size })
}

/// What a checkout is called: by the files in it and who owns them.
pub(super) fn key(inputs: &Digest, owner: Option<(u32, u32)>) -> Digest {
    Digest::of_value("staith.checkout.v1", &(inputs, owner))
}

/// Tells equal files of one tree apart, in the order of their paths.
fn numbered<'a>(files: &[&'a (RelPath, FileEntry)]) -> Vec<(&'a (RelPath, FileEntry), Item)> {
    let mut copies: HashMap<Item, u32> = HashMap::with_capacity(files.len());
    let number = |file: &&'a (RelPath, FileEntry)| {
        let first = Item::first(&file.1);
        let copy = copies.entry(first).or_default();
        let item = Item { copy: *copy, ..first };
        *copy += 1;
        (*file, item)
    };
    files.iter().map(number).collect()
}
