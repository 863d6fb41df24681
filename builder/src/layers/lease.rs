//! What live processes use, so that whoever makes room leaves it alone.
//!
//! A process writes the names of what it uses into its own lock file `<store>/tmp/<id>.lock`, which it holds as long as it
//! lives: a file that can be locked belongs to a dead one, and says nothing any more. It writes while it holds the store's
//! gate with others. Whoever makes room holds the gate alone while it reads all names and takes away what nobody has
//! named. So a name was either written before, and is respected, or is written after, and then whoever looks for the thing
//! finds that it is gone.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{FlockOperation, flock};

/// In the directory of a workbench: the contents that its process may still need, 20 bytes each.
const CONTENTS: &str = "contents";

/// The names that this process uses.
#[derive(Debug)]
pub(super) struct Lease {
    written: Mutex<(File, HashSet<String>)>,
    gate: PathBuf,
}

impl Lease {
    /// A lease in a lock file that is held. `store` is where its gate is.
    pub(super) fn begin(mut held: File, store: &Path) -> io::Result<Self> {
        writeln!(held, "{}", now_ns())?;
        Ok(Self { written: Mutex::new((held, HashSet::new())), gate: gate_of(store) })
    }

    /// Names something that this process uses from here on. Whether it had not named it before.
    pub(super) fn pin(&self, name: &str) -> io::Result<bool> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.1.contains(name) {
            return Ok(false);
        }
        let _among_others = pass(&self.gate, FlockOperation::LockShared)?;
        written.0.write_all(format!("{name}\n").as_bytes())?;
        written.1.insert(name.to_owned());
        Ok(true)
    }
}

/// What live processes use in a store.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    names: BTreeSet<String>,
    contents: HashSet<[u8; 20]>,
    /// When the first of them began, in nanoseconds since 1970; what was made since may be of use to it.
    since: Option<i64>,
}

impl InUse {
    /// Whether a name was named.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// All names that were named.
    pub(crate) fn into_names(self) -> BTreeSet<String> {
        self.names
    }

    /// Whether any name was named that begins so.
    pub(crate) fn has_below(&self, prefix: &str) -> bool {
        self.names.range(prefix.to_owned()..).next().is_some_and(|name| name.starts_with(prefix))
    }

    /// Whether a content may still be needed that was last linked or unlinked at `changed` (nanoseconds since 1970).
    pub(crate) fn has_content(&self, blob: &[u8; 20], changed: i64) -> bool {
        self.contents.contains(blob) || self.since.is_some_and(|since| changed >= since)
    }
}

/// The store's gate, held alone until the file is dropped: nobody names anything meanwhile. Hold it for moments.
pub(crate) fn hold_gate(store: &Path) -> io::Result<File> {
    pass(&gate_of(store), FlockOperation::LockExclusive)
}

/// What live processes use, all but the one whose lock file is `own`.
pub(crate) fn in_use(store: &Path, own: &Path) -> io::Result<InUse> {
    let mut all = InUse::default();
    for entry in fs::read_dir(store.join("tmp"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "lock") || path == own {
            continue;
        }
        let mut lease = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        if flock(&lease, FlockOperation::NonBlockingLockShared).is_ok() {
            continue;
        }
        let mut text = String::new();
        lease.rewind()?;
        lease.read_to_string(&mut text)?;
        let mut lines = text.lines();
        // One that has just begun has not said since when; everything that is new may be its own.
        let began = lines.next().and_then(|line| line.parse().ok()).unwrap_or(i64::MIN);
        // File systems' clocks are coarser than the one that is read.
        let began = began.saturating_sub(1_000_000_000);
        all.since = Some(all.since.map_or(began, |since| since.min(began)));
        all.names.extend(lines.map(str::to_owned));
        let contents = fs::read(path.with_extension("").join(CONTENTS)).unwrap_or_default();
        all.contents.extend(contents.chunks_exact(20).filter_map(|chunk| <[u8; 20]>::try_from(chunk).ok()));
    }
    Ok(all)
}

/// Writes which contents the process with this workbench may still need.
pub(super) fn write_contents(bench: &Path, fresh: &Path, blobs: &[u8]) -> io::Result<()> {
    fs::write(fresh, blobs).and_then(|()| fs::rename(fresh, bench.join(CONTENTS)))
}

fn gate_of(store: &Path) -> PathBuf {
    store.join("gate")
}

fn pass(gate: &Path, how: FlockOperation) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(gate)?;
    loop {
        match flock(&file, how) {
            Err(rustix::io::Errno::INTR) => {}
            locked => return locked.map(|()| file).map_err(io::Error::from),
        }
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
