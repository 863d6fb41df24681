//! Images on disk: layers by the digest of what they hold, and what is known of images.
//!
//! Below the store: `layers/<hex>/` is an unpacked layer, `layers/<hex>.json` says that it is whole, `known/<hex>.json` what an
//! image is made of, `tags/<hex>.json` what a tag last meant, `partial/<hex>` a blob that has not come in full, and
//! `locks/` files that whoever makes one of these holds. Any number of processes may use one store at once, and each may
//! be killed at any time.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use staith_model::Digest;

use super::{
    archive::Flaw,
    config::ImageConfig,
    error::{ImageError, at},
    place::Place,
};
use crate::{
    layers::{Workbench, is_trusted, trust},
    upkeep::{Allowance, GrowingRoom, allowed, whole_blocks},
};

/// How often a lock is tried that another process holds.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The images of one home.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    owner: Option<(u32, u32)>,
    bench: Arc<Workbench>,
    allowance: Option<Arc<dyn Allowance>>,
}

/// What is known of an image that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Its layers, lowest first, by the digests of their archives.
    pub(super) layers: Vec<Digest>,
    pub(super) config: ImageConfig,
}

/// What a tag meant when it was last asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meaning {
    pub(super) digest: Digest,
    /// Seconds since 1970.
    pub(super) asked: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Whole {
    entries: u64,
    bytes: u64,
    /// Over names, kinds and sizes: what a power failure could have changed.
    shape: Digest,
}

/// Nobody else makes the same thing while this lives.
pub(super) struct Turn(#[expect(dead_code, reason = "held, not read")] File);

impl Store {
    pub(super) fn open(
        root: &Path,
        owner: Option<(u32, u32)>,
        allowance: Option<Arc<dyn Allowance>>,
    ) -> Result<Self, ImageError> {
        for part in ["layers", "known", "tags", "partial", "locks"] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(at("making", &path))?;
        }
        let bench = Workbench::open(root).map_err(at("opening", root))?;
        Ok(Self { root: root.to_path_buf(), owner, bench, allowance })
    }

    /// The layer with this digest, if it is here and whole.
    pub(super) fn layer(&self, digest: &Digest) -> Option<PathBuf> {
        let dir = self.root.join("layers").join(digest.hex());
        let mark = dir.with_extension("seen");
        self.bench.uses(&format!("layers/{}", digest.hex()), &mark);
        let whole: Whole = read_json(&dir.with_extension("json"))?;
        if is_trusted(&mark) {
            return dir.is_dir().then_some(dir);
        }
        if dir.is_dir() && shape(&dir).is_ok_and(|shape| shape == whole.shape) {
            // If the mark can't be written, the next use looks again: slow, not wrong.
            let _ = trust(&mark);
            return Some(dir);
        }
        tracing::warn!(%digest, "a layer of an image did not survive the last stop of the machine and is fetched again");
        let _ = fs::remove_file(dir.with_extension("json"));
        None
    }

    /// Makes a layer: `fill` puts its files into an empty place. `check` says at the end whether it is the right one.
    /// Whoever calls has the layer's turn.
    pub(super) fn make_layer(
        &self,
        fill: impl FnOnce(&mut Place) -> Result<Digest, ImageError>,
        wanted: Option<&Digest>,
    ) -> Result<Digest, ImageError> {
        let scratch = Scratch(
            Arc::clone(&self.bench),
            self.bench.fresh_dir().map_err(at("making a place in", &self.root))?,
        );
        let (root, replaced) = (scratch.1.join("root"), scratch.1.join("replaced"));
        fs::create_dir(&root).and_then(|()| fs::create_dir(&replaced)).map_err(at("making", &root))?;
        let room = GrowingRoom::new(self.allowance.clone(), false);
        let mut place = Place::new(&root, &replaced, self.owner, room).map_err(at("opening", &root))?;
        let digest = fill(&mut place)?;
        if let Some(wanted) = wanted.filter(|wanted| **wanted != digest) {
            let why = format!("its archive should have the digest {wanted}, and has {digest}");
            return Err(ImageError::unsound("a layer is not what the image says", why));
        }
        let (entries, bytes, room) =
            place.finish().map_err(|flaw| ImageError::of_flaw("finishing a layer", flaw))?;
        let dir = self.root.join("layers").join(digest.hex());
        let shape = shape(&root).map_err(at("reading", &root))?;
        // Two archives may unpack to one layer, and one that is here may be in use.
        let _turn = self.wait_turn(&format!("{}.keep", digest.hex()))?;
        if self.layer(&digest).is_some() {
            return Ok(digest);
        }
        // One without its record, or one that was lost in part when the machine stopped.
        self.bench.discard(&dir).map_err(at("clearing", &dir))?;
        fs::rename(&root, &dir).map_err(at("moving into place", &dir))?;
        trust(&dir.with_extension("seen")).map_err(at("marking", &dir))?;
        self.write_json(&dir.with_extension("json"), &Whole { entries, bytes, shape })?;
        room.placed();
        Ok(digest)
    }

    /// A directory with a few files of our own, by their digest; made anew where it may have suffered.
    pub(super) fn small_layer(
        &self,
        digest: &Digest,
        fill: impl FnOnce(&mut Place) -> Result<(), Flaw>,
    ) -> Result<PathBuf, ImageError> {
        if self.layer(digest).is_none() {
            let filled = |place: &mut Place| {
                fill(place).map_err(|flaw| ImageError::of_flaw("making a layer", flaw))?;
                Ok(*digest)
            };
            self.make_layer(filled, None)?;
        }
        let gone = || ImageError::unsound("a layer of our own", "it vanished while it was made; run again");
        self.layer(digest).ok_or_else(gone)
    }

    /// What is known of an image, if all its layers are here.
    pub(super) fn known(&self, image: &Digest) -> Option<Known> {
        let known: Known = self.read_used("known", &image.hex())?;
        known.layers.iter().all(|layer| self.layer(layer).is_some()).then_some(known)
    }

    pub(super) fn know(&self, image: &Digest, known: &Known) -> Result<(), ImageError> {
        self.write_json(&self.record("known", &image.hex()), known)
    }

    /// What a name last meant.
    pub(super) fn meaning(&self, name: &str) -> Option<Meaning> {
        self.read_used("tags", &Digest::of(name.as_bytes()).hex())
    }

    pub(super) fn mean(&self, name: &str, meaning: &Meaning) -> Result<(), ImageError> {
        self.write_json(&self.record("tags", &Digest::of(name.as_bytes()).hex()), meaning)
    }

    /// Where a blob grows until it is whole.
    pub(super) fn partial(&self, blob: &Digest) -> PathBuf {
        let path = self.root.join("partial").join(blob.hex());
        self.bench.uses(&format!("partial/{}", blob.hex()), &path);
        path
    }

    /// Room for a blob. What has come of it stays, unless it is said to be gone.
    pub(super) fn room_for_partial(&self) -> GrowingRoom {
        GrowingRoom::new(self.allowance.clone(), true)
    }

    /// A file for something that is needed for a moment.
    pub(super) fn scratch_file(&self) -> Result<File, ImageError> {
        tempfile::tempfile_in(self.root.join("partial")).map_err(at("making a file in", &self.root))
    }

    /// Waits until nobody else makes what `name` (a digest in hexadecimal digits) names. The kernel gives the turn back
    /// when this process ends, however it ends. Cancel-safe.
    pub(super) async fn turn(&self, name: &str) -> Result<Turn, ImageError> {
        loop {
            if let Some(turn) = self.try_turn(name)? {
                return Ok(turn);
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    /// As [`turn`](Self::turn), but blocks.
    pub(super) fn wait_turn(&self, name: &str) -> Result<Turn, ImageError> {
        loop {
            if let Some(turn) = self.try_turn(name)? {
                return Ok(turn);
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
    }

    fn try_turn(&self, name: &str) -> Result<Option<Turn>, ImageError> {
        let path = self.root.join("locks").join(name);
        let file = File::options().create(true).append(true).open(&path).map_err(at("opening", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Turn(file))),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(at("locking", &path)(errno)),
        }
    }

    fn record(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join(kind).join(format!("{name}.json"))
    }

    /// A record that this process uses from here on.
    fn read_used<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Option<T> {
        let path = self.record(kind, name);
        self.bench.uses(&format!("{kind}/{name}.json"), &path);
        read_json(&path)
    }

    /// Not synced: a record that a power failure tore can't be read, and then what it says is found out again.
    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), ImageError> {
        let write = || -> io::Result<()> {
            let room = allowed(self.allowance.as_ref(), whole_blocks(1))?;
            let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            file.persist(path)?;
            room.placed();
            Ok(())
        };
        write().map_err(at("writing", path))
    }
}

/// A directory on the workbench that goes when it is dropped.
struct Scratch(Arc<Workbench>, PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.0.discard(&self.1) {
            tracing::warn!(path = %self.1.display(), %error, "left for the next start to remove");
        }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Whether a layer of an image is there with all its names, kinds and sizes. Its bytes can't be compared with anything: what has a
/// digest is the archive that they came in.
pub(crate) fn is_whole(dir: &Path) -> bool {
    let whole: Option<Whole> = read_json(&dir.with_extension("json"));
    whole.is_some_and(|whole| shape(dir).is_ok_and(|shape| shape == whole.shape))
}

/// Names, kinds and sizes of all that is in a directory.
fn shape(root: &Path) -> io::Result<Digest> {
    let mut lines = Vec::new();
    list(root, root, &mut lines)?;
    lines.sort_unstable();
    Ok(Digest::of_value("staith.layer-shape.v1", &lines))
}

fn list(root: &Path, directory: &Path, lines: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        // A directory that an image lets nobody read; its name is listed.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, found) = (entry.path(), entry.metadata()?);
        let size = if found.is_dir() { 0 } else { found.size() };
        let name = path.strip_prefix(root).unwrap_or(&path);
        let name = std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()).escape_ascii();
        lines.push(format!("{name}\0{:o}\0{size}", found.mode()));
        if found.is_dir() {
            list(root, &path, lines)?;
        }
    }
    Ok(())
}
