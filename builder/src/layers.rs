//! A workspace is a stack of layers. A map, in reading order:
//!
//! 1. [`LayerManifest`]: what a layer is, by content.
//! 2. [`Scratch`]: where a step writes to. `upper` reads what it wrote, `choice` decides what is kept.
//! 3. [`LayerStore::seal`]: what is kept becomes a layer, by a rename.
//! 4. `stack`: what layers on top of each other show, and which steps contradict each other.
//! 5. [`Left`]: what a step that failed left, for whoever wants to look at it.
//! 6. `travel`: a layer goes to another machine.
//! 7. `workbench`: unfinished things, and how those of dead processes are told apart and removed. `lease`: what is in use.
//!
//! A layer is a directory that overlay uses as it is: removed paths are character devices 0:0, replaced directories
//! carry the attribute `user.overlay.opaque`, so engines mount with `userxattr`. Below the store, `layers/<hex>.json` says what a layer holds and `layers/<hex>/`
//! holds it. The directory comes last and by a rename, so where it is, the layer is complete.

mod boot;
mod choice;
mod collect;
mod error;
mod lease;
mod left;
mod manifest;
mod removal;
mod scratch;
mod seal;
mod stack;
mod travel;
mod upper;
mod workbench;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use staith_model::{Digest, Manifest, Name, RelPath};

pub(crate) use self::{
    boot::{is_trusted, trust},
    lease::{InUse, hold_gate, in_use},
    left::weight_of_left,
    removal::remove_tree,
    upper::{OPAQUE, open_below},
    workbench::{Workbench, touch},
};
use self::{
    boot::{is_trusted_with, trust_with},
    error::at,
    stack::Stack,
};
pub use self::{
    collect::{LARGEST_FILE, collect},
    error::LayerError,
    left::Left,
    manifest::{LayerEntry, LayerManifest},
    scratch::Scratch,
    travel::NotTaken,
    workbench::await_removals,
};
use crate::{
    source::Globs,
    upkeep::{Allowance, allowed, whole_blocks},
};

/// Layers on disk. Any number of processes may use one store at once, and each may be killed at any time.
#[derive(Debug)]
pub struct LayerStore {
    layers: PathBuf,
    owner: Option<(u32, u32)>,
    bench: Arc<Workbench>,
    known: Mutex<BTreeMap<Digest, Arc<LayerManifest>>>,
    allowance: Option<Arc<dyn Allowance>>,
}

/// A layer that was just made, or was already there with the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Identity of the layer.
    pub digest: Digest,
    /// Number of regular files.
    pub files: usize,
    /// Sum of their lengths, in bytes.
    pub bytes: u64,
    /// What people should know, a sentence each: sockets that were not kept, directories replaced only in part.
    pub notices: Vec<String>,
}

impl LayerStore {
    /// Opens or makes the store below `store`. All files in it belong to `owner` (user and group), or to the caller.
    /// What dead processes left unfinished is removed in the background.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn open(store: &Path, owner: Option<(u32, u32)>) -> Result<Self, LayerError> {
        let layers = store.join("layers");
        fs::create_dir_all(&layers).map_err(at("making", &layers))?;
        let bench = Workbench::open(store).map_err(at("opening", store))?;
        Ok(Self { layers, owner, bench, known: Mutex::default(), allowance: None })
    }

    /// The same store, which asks before it keeps a layer.
    #[must_use]
    pub fn within(self, allowance: Arc<dyn Allowance>) -> Self {
        Self { allowance: Some(allowance), ..self }
    }

    /// Says that this process uses something of this name from here on, so that whoever makes room leaves it alone: also
    /// things that are kept beside this store. Layers that are asked for are named without this.
    pub fn uses(&self, name: &str) {
        self.bench.uses(name, Path::new(""));
    }

    /// Fresh directories for a step to write to, on the file system of the store.
    ///
    /// # Errors
    /// They can't be made.
    pub fn scratch(&self) -> Result<Scratch, LayerError> {
        Scratch::new(&self.bench, self.owner)
    }

    /// Makes a layer of what a step changed: what the globs `outputs` match is moved out of `upper` and kept, together
    /// with the removal of what they match; the rest is dropped. Without outputs the layer is empty.
    ///
    /// The step has ended and the overlay is unmounted. A removed or replaced directory is kept as such only where a
    /// glob takes the whole of it: `dist` or `dist/**`, not `dist/*.js`. Set-user-id bits, writing by others than
    /// the owner, and extended attributes are removed; all directories get mode 0755. Modification times stay; they are not part of the layer's identity.
    ///
    /// # Errors
    /// [`LayerError::NothingMatched`] when a glob matches nothing, a name is not UTF-8, the outputs are too large, or the
    /// file system refuses. `upper` may then be half emptied.
    pub fn seal(&self, upper: &Path, outputs: &[String]) -> Result<Sealed, LayerError> {
        let globs = Globs::new(outputs)?;
        let seen = upper::walk(upper)?;
        let choice = choice::choose(&seen, &globs)?;
        seal::cut_away(&self.bench, upper, &seen, &choice)?;
        let manifest = seal::plain_manifest(upper, self.owner, &seen, &choice, &globs)?;
        let digest = manifest.digest();
        self.keep(upper, &digest, &manifest)?;
        let (files, bytes) = (manifest.files(), manifest.bytes());
        self.remember(digest, Arc::new(manifest));
        Ok(Sealed { digest, files, bytes, notices: choice.notices })
    }

    /// The directory of a layer, to be used as an overlay lower, if it is here and complete.
    pub fn path(&self, digest: &Digest) -> Option<PathBuf> {
        let (dir, mark) = (self.dir(digest), self.mark(digest));
        self.bench.uses(&format!("layers/{}", digest.hex()), &mark);
        if !dir.is_dir() {
            return None;
        }
        let record = self.record(digest);
        if is_trusted_with(&mark, &record) {
            return Some(dir);
        }
        let whole = self.manifest(digest).is_ok_and(|manifest| has_its_sizes(&dir, &manifest));
        if whole {
            // If the mark can't be written, the next use looks again: slow, not wrong.
            let _ = trust_with(&mark, &record);
            return Some(dir);
        }
        tracing::warn!(%digest, "a layer or its record is damaged; it is removed, and made again by its step");
        let _ = self.bench.discard(&dir);
        None
    }

    /// What a layer holds.
    ///
    /// # Errors
    /// The layer is not here, or its record can't be read.
    pub fn manifest(&self, digest: &Digest) -> Result<Arc<LayerManifest>, LayerError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let record = self.record(digest);
        let json = match fs::read(&record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayerError::Missing(*digest));
            }
            read => read.map_err(at("reading", &record))?,
        };
        let damaged = |why: String| {
            // So that whoever asks for the layer next looks, and finds that it can't be used.
            let _ = fs::remove_file(self.mark(digest));
            LayerError::Damaged { digest: *digest, why }
        };
        let manifest: LayerManifest =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if manifest.digest() != *digest {
            return Err(damaged("it describes other content".to_owned()));
        }
        let manifest = Arc::new(manifest);
        self.remember(*digest, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Checks that no two layers write one path differently, unless `ordered` says that one of their steps saw what the
    /// other left. A path below a directory that the other step removed or replaced counts as written by both.
    ///
    /// # Errors
    /// [`LayerError::Collision`] names the first such path and both steps; or a layer's record can't be read.
    pub fn collisions(
        &self,
        layers: &[(Name, Digest)],
        ordered: impl Fn(&Name, &Name) -> bool,
    ) -> Result<(), LayerError> {
        let manifests: Result<Vec<_>, _> = layers.iter().map(|(_, digest)| self.manifest(digest)).collect();
        let manifests = manifests?;
        let named: Vec<_> = layers.iter().map(|(name, _)| name).zip(manifests.iter().map(|m| &**m)).collect();
        stack::check_collisions(&named, ordered)
    }

    /// What a stack of layers shows, lowest first, from their records: nothing is hashed again. For each regular file
    /// the path on this machine that holds it.
    ///
    /// # Errors
    /// A layer is not here.
    pub fn merged(&self, layers: &[Digest]) -> Result<(Manifest, BTreeMap<RelPath, PathBuf>), LayerError> {
        let mut dirs = Vec::new();
        for digest in layers {
            let dir = self.path(digest).ok_or(LayerError::Missing(*digest))?;
            dirs.push((dir, self.manifest(digest)?));
        }
        Ok(shown(&dirs))
    }

    fn keep(&self, upper: &Path, digest: &Digest, manifest: &LayerManifest) -> Result<(), LayerError> {
        if self.path(digest).is_some() {
            return Ok(());
        }
        let record = self.record(digest);
        let json = serde_json::to_vec(manifest)
            .map_err(|error| LayerError::Damaged { digest: *digest, why: error.to_string() })?;
        let room = allowed(self.allowance.as_ref(), size_on_disk(manifest)).map_err(at("keeping", upper))?;
        // Not synced: a record says its own digest, so one that was torn by a power failure is found out.
        let new = self.bench.fresh_path();
        fs::write(&new, &json).and_then(|()| fs::rename(&new, &record)).map_err(at("writing", &record))?;
        let dir = self.dir(digest);
        match fs::rename(upper, &dir) {
            // Another process made the same layer at the same time.
            Err(_) if dir.is_dir() && self.path(digest).is_some() => return Ok(()),
            moved => moved.map_err(at("moving into place", &dir))?,
        }
        room.placed();
        trust_with(&self.mark(digest), &record).map_err(at("marking", &dir))
    }

    fn remember(&self, digest: Digest, manifest: Arc<LayerManifest>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, manifest);
    }

    fn dir(&self, digest: &Digest) -> PathBuf {
        self.layers.join(digest.hex())
    }

    fn record(&self, digest: &Digest) -> PathBuf {
        self.layers.join(format!("{}.json", digest.hex()))
    }

    fn mark(&self, digest: &Digest) -> PathBuf {
        self.layers.join(format!("{}.seen", digest.hex()))
    }
}

/// What directories on top of each other show, lowest first, each in overlay's format; all files are hashed, on all cores.
/// For each regular file the path on this machine that holds it. For layers of a store use [`LayerStore::merged`].
///
/// # Errors
/// A directory can't be read, or a name is not UTF-8. Sockets, pipes and devices are passed over.
pub fn merged(dirs: &[PathBuf]) -> Result<(Manifest, BTreeMap<RelPath, PathBuf>), LayerError> {
    let scan = |dir: &PathBuf| Ok((dir.clone(), Arc::new(seal::scan(dir)?)));
    let layers: Result<Vec<_>, LayerError> = dirs.iter().map(scan).collect();
    Ok(shown(&layers?))
}

fn shown(layers: &[(PathBuf, Arc<LayerManifest>)]) -> (Manifest, BTreeMap<RelPath, PathBuf>) {
    let mut stack = Stack::new();
    for (place, (_, manifest)) in layers.iter().enumerate() {
        stack.put(manifest, place);
    }
    let (manifest, places) = stack.shown();
    let on_host = |(path, place): (RelPath, usize)| {
        let host = layers[place].0.join(path.as_str());
        (path, host)
    };
    (manifest, places.into_iter().map(on_host).collect())
}

/// What a layer takes on a disk, in bytes, rounded up.
pub(crate) fn size_on_disk(layer: &LayerManifest) -> u64 {
    let size = |(path, entry): (&RelPath, &LayerEntry)| match entry {
        LayerEntry::File { size, .. } => whole_blocks(*size) + path.as_str().len() as u64,
        _ => whole_blocks(1),
    };
    layer.entries.iter().map(size).sum()
}

/// Whether a layer's directory holds what its name says, all bytes read.
pub(crate) fn is_as_named(dir: &Path) -> bool {
    let named = dir.file_name().unwrap_or_default().to_string_lossy();
    seal::scan(dir).is_ok_and(|manifest| manifest.digest().hex() == *named)
}

/// After a power failure a file may be shorter than it was, never of the same length with other bytes: ordinary file
/// systems write the bytes before they record the length.
fn has_its_sizes(dir: &Path, manifest: &LayerManifest) -> bool {
    manifest.entries.iter().all(|(path, entry)| {
        let found = fs::symlink_metadata(dir.join(path.as_str()));
        match entry {
            LayerEntry::File { size, .. } => found.is_ok_and(|file| file.is_file() && file.len() == *size),
            _ => found.is_ok(),
        }
    })
}
