//! Brings what a checkout needs of git-lfs's objects into the pool.
//!
//! That an object is in the pool already is not enough: it may have come for another repository. It has to be found in a
//! place that belongs to this one, or its server has to give it.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::*;
use rustix::fs::OFlags;
use staith_model::RelPath;

use super::{Held, Pointer, held::place_in, store::ObjectStore};
use crate::{
    layers::Workbench,
    source::{
        Fetched, LfsFailure, Progress, Reach, SourceError,
        error::at,
        listing::{FileEntry, ObjectId},
        pool::{Item, Pool},
        remote::{LargeFiles, WantedObject},
    },
    upkeep::{allowed, whole_blocks},
};

/// What the objects are brought with.
pub(in crate::source) struct Gathering<'a> {
    pub(in crate::source) store: &'a Path,
    pub(in crate::source) bench: &'a Arc<Workbench>,
    pub(in crate::source) pool: &'a Pool,
    pub(in crate::source) reach: &'a Reach,
}

/// A file whose object is needed.
#[derive(Clone, Copy)]
struct Needed<'a> {
    path: &'a RelPath,
    entry: &'a FileEntry,
    pointer: &'a Pointer,
}

impl Gathering<'_> {
    /// Brings the objects of these files into the pool, as far as git-lfs keeps them somewhere.
    pub(in crate::source) fn gather<'f>(
        &self,
        files: impl Iterator<Item = &'f (RelPath, FileEntry)>,
        held: &[Held],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), SourceError> {
        // Each object once, whatever modes its files have.
        let mut wanted: BTreeMap<ObjectId, (&RelPath, &FileEntry)> = BTreeMap::new();
        for (path, entry) in files.filter(|(_, entry)| entry.lfs) {
            wanted.entry(entry.blob).or_insert((path, entry));
        }
        let mut taken = std::collections::BTreeSet::new();
        for one in held {
            let needed = wanted.iter().filter(|(blob, _)| !taken.contains(*blob));
            let needed: Vec<Needed<'_>> = needed
                .filter_map(|(blob, (path, entry))| {
                    Some(Needed { path, entry, pointer: one.pointers.get(blob)? })
                })
                .collect();
            self.gather_held(&needed, one, progress)?;
            taken.extend(needed.iter().map(|needed| needed.entry.blob));
        }
        self.pool.settle();
        Ok(())
    }

    fn gather_held(
        &self,
        needed: &[Needed<'_>],
        held: &Held,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), SourceError> {
        let objects = held.remote.as_ref().map(|remote| ObjectStore::of(self.store, self.bench, remote));
        let missing = self.not_here(needed, held, objects.as_ref())?;
        let Some(first) = missing.first() else { return Ok(()) };
        let refused = |needed: &Needed<'_>, why| SourceError::Lfs {
            path: needed.path.to_string(),
            oid: needed.pointer.oid.hex(),
            why: Box::new(why),
        };
        let (Some(remote), Some(objects)) = (&held.remote, &objects) else {
            return Err(refused(first, LfsFailure::NoServer));
        };
        let _held = objects.lock().map_err(at("locking the objects of git-lfs in", self.store))?;
        // Whoever held the lock may have brought them.
        let missing = self.not_here(&missing, held, Some(objects))?;
        self.fetch(&missing, remote, held, objects, progress, &refused)?;
        match self.not_here(&missing, held, Some(objects))?.first() {
            None => Ok(()),
            Some(lost) => Err(SourceError::Changed(lost.path.to_string())),
        }
    }

    fn fetch(
        &self,
        missing: &[Needed<'_>],
        remote: &crate::source::RemoteRepository,
        held: &Held,
        objects: &ObjectStore<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
        refused: &dyn Fn(&Needed<'_>, LfsFailure) -> SourceError,
    ) -> Result<(), SourceError> {
        let Some(first) = missing.first() else { return Ok(()) };
        let bytes =
            missing.iter().map(|needed| whole_blocks(needed.pointer.size)).fold(0, u64::saturating_add);
        let room = allowed(self.pool.allowance(), bytes)
            .map_err(at("keeping objects of git-lfs below", self.store))?;
        let wanted: Vec<WantedObject> = missing
            .iter()
            .map(|needed| WantedObject { oid: needed.pointer.oid, size: needed.pointer.size })
            .collect();
        let told = Mutex::new((progress, Fetched { of: missing.len(), ..Fetched::default() }));
        let hear = |objects: usize, bytes: usize| {
            let (progress, fetched) = &mut *told.lock().unwrap_or_else(PoisonError::into_inner);
            fetched.objects += objects;
            fetched.bytes += bytes;
            progress(Progress { fetched: Some(*fetched), ..Progress::default() });
        };
        hear(0, 0);
        let server =
            LargeFiles::of(remote, held.server.as_ref(), self.reach).map_err(|why| refused(first, why))?;
        let keep = |index: usize, from: &mut dyn io::Read| objects.keep(missing[index].pointer, from);
        let fetched = server.fetch(&wanted, &keep, &hear);
        fetched.map_err(|(index, why)| match why {
            LfsFailure::Disk(error) => {
                let path = self.store.join("lfs");
                SourceError::Io { doing: "keeping an object of git-lfs in", path, source: error }
            }
            why => refused(&missing[index], why),
        })?;
        room.placed();
        Ok(())
    }

    /// Those that no place on this machine has. What is found is in the pool then.
    fn not_here<'n>(
        &self,
        needed: &[Needed<'n>],
        held: &Held,
        objects: Option<&ObjectStore<'_>>,
    ) -> Result<Vec<Needed<'n>>, SourceError> {
        let look = |needed: &Needed<'n>| match self.take_from_here(needed, held, objects) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(*needed)),
            Err(error) => Err(at("keeping the content of", Path::new(needed.path.as_str()))(error)),
        };
        let found: Vec<Option<Needed<'n>>> = needed.par_iter().map(look).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn take_from_here(
        &self,
        needed: &Needed<'_>,
        held: &Held,
        objects: Option<&ObjectStore<'_>>,
    ) -> io::Result<bool> {
        for directory in &held.here {
            let path = place_in(directory, needed.pointer);
            if has_size(&path, needed.pointer.size) && self.take(needed, &path)? {
                return Ok(true);
            }
        }
        let Some(objects) = objects else { return Ok(false) };
        let Some(path) = objects.find(needed.pointer) else { return Ok(false) };
        if self.take(needed, &path)? {
            return Ok(true);
        }
        tracing::warn!(path = %path.display(), "an object of git-lfs was damaged; it is fetched anew");
        objects.forget(needed.pointer)?;
        Ok(false)
    }

    /// Takes a file into the pool, if it is what it should be. What is in the pool was verified when it came there.
    fn take(&self, needed: &Needed<'_>, path: &Path) -> io::Result<bool> {
        let item = Item::first(needed.entry);
        if self.pool.any_like(item).is_some() {
            return Ok(true);
        }
        let mut from = match open_plainly(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let pointer = *needed.pointer;
        self.pool.allow(whole_blocks(pointer.size))?;
        let to: PathBuf = self.pool.place_of(item);
        let is_it = |oid, size| (Pointer { oid, size } == pointer).then_some((item, to));
        Ok(self.pool.take_in(&mut from, pointer.size, is_it)?.is_some())
    }
}

/// Neither through a link nor waiting for somebody at the other end of a pipe.
pub(in crate::source) fn open_plainly(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn has_size(path: &Path, size: u64) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == size)
}
