//! The ledger of what is kept, asked before anything is added.
//!
//! One small file says how many bytes are in place, and how many each live process was allowed to add and has not put in place
//! yet. It is changed under a lock. A process that is killed leaves its share behind; the next collection measures what is
//! really there and forgets the shares of the dead. So the ledger may say too much, never too little.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Asked before something is kept.
pub trait Allowance: Send + Sync + fmt::Debug {
    /// Allows so many more bytes, after making room for them if need be. May take as long as that takes.
    ///
    /// # Errors
    /// There is no room for them, and none could be made.
    fn admit(&self, bytes: u64) -> Result<(), NoRoom>;

    /// Of bytes that were allowed, so many are in place, and so many were not needed.
    fn settle(&self, in_place: u64, not_needed: u64);
}

/// Something can't be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} more would be more than the {} that may be kept, and what is in use leaves no room ({why})",
    size(*.needed),
    size(*.budget)
)]
pub struct NoRoom {
    /// Bytes that were asked for.
    pub needed: u64,
    /// Bytes that may be kept.
    pub budget: u64,
    /// What making room came to.
    pub why: String,
}

impl NoRoom {
    /// What to do about it. The disk itself may have room.
    pub const REMEDY: &str = "raise `budget` in [caches] of config.toml in Staith's home (such as budget = \"20GiB\"), let the \
                              steps leave less, or run fewer at once";
}

/// Whether the budget is why something could not be kept, and not the disk.
pub(crate) fn is_over_budget(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NoRoom>)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = UNITS.iter().find(|(power, _)| bytes >> power > 0);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(power, unit)| {
            let tenths = bytes / ((1 << power) / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

/// Bytes that are in place as far as the ledger at this place knows; `None` where there is none that can be read, or nobody
/// has measured yet. For what is decided before a budget is opened.
pub fn known_to_be_kept(ledger: &Path) -> Option<u64> {
    let sums: Sums = serde_json::from_slice(&fs::read(ledger).ok()?).ok()?;
    sums.placed
}

/// Bytes that were allowed and are not in place yet. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    allowance: Option<Arc<dyn Allowance>>,
    bytes: u64,
}

/// Asks for so many bytes, where there is anybody to ask.
pub(crate) fn allowed(allowance: Option<&Arc<dyn Allowance>>, bytes: u64) -> io::Result<Room> {
    if let Some(allowance) = allowance {
        allowance.admit(bytes).map_err(|refused| io::Error::new(io::ErrorKind::StorageFull, refused))?;
    }
    Ok(Room { allowance: allowance.cloned(), bytes })
}

impl Room {
    /// All of it was used.
    pub(crate) fn placed(self) {
        self.placed_but_for(0);
    }

    /// All of it but so many bytes was used.
    pub(crate) fn placed_but_for(mut self, left: u64) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(allowance) = self.allowance.take() {
            allowance.settle(bytes.saturating_sub(left), left.min(bytes));
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(allowance) = &self.allowance {
            allowance.settle(0, self.bytes);
        }
    }
}

/// Room for something whose size is known only when it is there. It is asked for in portions, before bytes are written.
#[derive(Debug)]
pub(crate) struct GrowingRoom {
    allowance: Option<Arc<dyn Allowance>>,
    allowed: u64,
    taken: u64,
    stays: bool,
}

impl GrowingRoom {
    /// So much is asked for at once, so that small files don't each cost a lock.
    const PORTION: u64 = 16 << 20;

    /// With `stays`, what was taken is in place when this is dropped; otherwise it is gone by then.
    pub(crate) fn new(allowance: Option<Arc<dyn Allowance>>, stays: bool) -> Self {
        Self { allowance, allowed: 0, taken: 0, stays }
    }

    /// Takes so many bytes more.
    pub(crate) fn take(&mut self, bytes: u64) -> io::Result<()> {
        let taken = self.taken.saturating_add(bytes);
        if let Some(allowance) = &self.allowance
            && taken > self.allowed
        {
            let needed = taken - self.allowed;
            let portion = needed.max(Self::PORTION);
            let admitted = allowance.admit(portion).map(|()| portion);
            // The last of a small budget is less than a portion.
            let admitted = admitted.or_else(|_| allowance.admit(needed).map(|()| needed));
            self.allowed +=
                admitted.map_err(|refused| io::Error::new(io::ErrorKind::StorageFull, refused))?;
        }
        self.taken = taken;
        Ok(())
    }

    /// What was taken is in place and stays there.
    pub(crate) fn placed(mut self) {
        self.stays = true;
    }

    /// What was taken is removed again.
    pub(crate) fn gone(mut self) {
        self.stays = false;
    }
}

impl Drop for GrowingRoom {
    fn drop(&mut self) {
        if let Some(allowance) = &self.allowance {
            let in_place = if self.stays { self.taken.min(self.allowed) } else { 0 };
            allowance.settle(in_place, self.allowed - in_place);
        }
    }
}

/// Makes room: collects until at most so many bytes are in place or time is up, and says how many are; or why it can't.
pub type MakeRoom = Box<dyn Fn(u64, Option<Instant>) -> Result<u64, String> + Send + Sync>;

/// A budget for all that is kept below one directory, shared by all processes.
pub struct Budget {
    ledger: Ledger,
    bytes: u64,
    make_room: MakeRoom,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("ledger", &self.ledger)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The ledger can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {} of what is kept can't be kept: {source}; see to the permissions and the room of its disk", .at.display())]
pub struct LedgerError {
    at: PathBuf,
    source: io::Error,
}

impl Budget {
    /// A budget of `bytes`, with its ledger at `ledger`. `make_room` collects; it must not ask for anything itself.
    ///
    /// # Errors
    /// The ledger's own files can't be made.
    pub fn open(ledger: &Path, bytes: u64, make_room: MakeRoom) -> Result<Self, LedgerError> {
        let ledger = Ledger::open(ledger).map_err(|source| LedgerError { at: ledger.to_owned(), source })?;
        Ok(Self { ledger, bytes, make_room })
    }

    /// Bytes that are in place or were allowed, as far as the ledger knows; `None` where nobody has measured yet.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub fn taken(&self) -> Result<Option<u64>, LedgerError> {
        let read = self.ledger.change(|sums| sums.placed.map(|placed| placed + sums.promised()));
        read.map_err(|source| LedgerError { at: self.ledger.path.clone(), source })
    }

    /// Bytes that may be kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes room until at most `target` bytes are in place or time is up, and says how many are.
    ///
    /// # Errors
    /// Something could not be measured or removed, or the ledger can't be kept; in words.
    pub fn collect(&self, target: u64, until: Option<Instant>) -> Result<u64, String> {
        let unreadable = |error: io::Error| format!("the ledger can't be kept: {error}");
        self.ledger.forget_the_dead().map_err(unreadable)?;
        let before = self.ledger.change(|sums| sums.settled).map_err(unreadable)?;
        let measured = (self.make_room)(target, until)?;
        let note = |sums: &mut Sums| {
            // What was put in place meanwhile may have been measured or not; it is better counted twice than not at all.
            let placed = measured.saturating_add(sums.settled.wrapping_sub(before));
            sums.placed = Some(placed);
            placed
        };
        self.ledger.change(note).map_err(unreadable)
    }

    fn try_admit(&self, bytes: u64) -> io::Result<bool> {
        self.ledger.change(|sums| {
            let fits = sums.placed.is_some_and(|placed| {
                placed.saturating_add(sums.promised()).saturating_add(bytes) <= self.bytes
            });
            if fits {
                *sums.promises.entry(self.ledger.own.clone()).or_default() += bytes;
            }
            fits
        })
    }
}

impl Allowance for Budget {
    fn admit(&self, bytes: u64) -> Result<(), NoRoom> {
        let refused = |why: String| NoRoom { needed: bytes, budget: self.bytes, why };
        let unreadable = |error: io::Error| refused(format!("the ledger can't be kept: {error}"));
        if self.try_admit(bytes).map_err(unreadable)? {
            return Ok(());
        }
        if bytes > self.bytes {
            return Err(refused("it alone is more than that".to_owned()));
        }
        self.ledger.forget_the_dead().map_err(unreadable)?;
        let promised = self.ledger.change(|sums| sums.promised()).map_err(unreadable)?;
        // A tenth is freed beyond what is needed, so that the next one need not collect again.
        let wanted = self.bytes.saturating_sub(bytes).saturating_sub(promised);
        let spare = (self.bytes / 10).min(wanted / 2);
        let in_place = self.collect(wanted - spare, None).map_err(refused)?;
        match self.try_admit(bytes).map_err(unreadable)? {
            true => Ok(()),
            false => {
                Err(refused(format!("{} are in use and {} promised to runs", size(in_place), size(promised))))
            }
        }
    }

    fn settle(&self, in_place: u64, not_needed: u64) {
        let settled = self.ledger.change(|sums| {
            let promise = sums.promises.entry(self.ledger.own.clone()).or_default();
            *promise = promise.saturating_sub(in_place.saturating_add(not_needed));
            sums.placed = sums.placed.map(|placed| placed.saturating_add(in_place));
            sums.settled = sums.settled.wrapping_add(in_place);
        });
        if let Err(error) = settled {
            tracing::warn!(%error, "the ledger could not be changed; the next collection measures");
        }
    }
}

/// What is in place and what was allowed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sums {
    /// Bytes in place, once somebody has measured.
    placed: Option<u64>,
    /// Bytes that were ever put in place.
    #[serde(default)]
    settled: u64,
    /// Bytes that were allowed and are not in place, by who may add them.
    promises: BTreeMap<String, u64>,
}

impl Sums {
    fn promised(&self) -> u64 {
        self.promises.values().sum()
    }
}

#[derive(Debug)]
struct Ledger {
    path: PathBuf,
    /// What this process is called in the ledger: the name of a file that it holds as long as it lives.
    own: String,
    own_path: PathBuf,
    _held: File,
}

impl Ledger {
    fn open(path: &Path) -> io::Result<Self> {
        let holders = holders(path);
        fs::create_dir_all(&holders)?;
        loop {
            let made = tempfile::Builder::new().prefix("").tempfile_in(&holders)?;
            let (held, own_path) = made.keep().map_err(|kept| kept.error)?;
            let is_ours = flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok();
            // Whoever forgets the dead may have taken it for a dead one's, in the instant before it was locked.
            if is_ours && held.metadata()?.nlink() > 0 {
                let own = own_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Ok(Self { path: path.to_owned(), own, own_path, _held: held });
            }
        }
    }

    /// Changes the sums under a lock, durably enough: what a power failure takes is measured anew.
    fn change<T>(&self, change: impl FnOnce(&mut Sums) -> T) -> io::Result<T> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        lock(&file)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // One that is damaged says nothing: somebody measures then.
        let mut sums: Sums = serde_json::from_slice(&text).unwrap_or_default();
        let changed = change(&mut sums);
        sums.promises.retain(|_, bytes| *bytes > 0);
        let new = serde_json::to_vec(&sums)?;
        if new != text {
            file.rewind()?;
            file.write_all(&new)?;
            file.set_len(new.len() as u64)?;
        }
        Ok(changed)
    }

    fn forget_the_dead(&self) -> io::Result<()> {
        let mut living = vec![self.own.clone()];
        for entry in fs::read_dir(holders(&self.path))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(held) = File::open(entry.path()) else { continue };
            if name == self.own || flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
                living.push(name);
            } else {
                let _ = fs::remove_file(entry.path());
            }
        }
        self.change(|sums| sums.promises.retain(|who, _| living.contains(who)))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // What was allowed and neither used nor given back by now never will be.
        let _ = self.change(|sums| sums.promises.remove(&self.own));
        let _ = fs::remove_file(&self.own_path);
    }
}

fn holders(ledger: &Path) -> PathBuf {
    ledger.with_extension("holders")
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            locked => return locked.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A disk in memory that can always be emptied down to what is in use.
    fn budget(ledger: &Path, bytes: u64, disk: &Arc<Mutex<(u64, u64)>>) -> Budget {
        let disk = Arc::clone(disk);
        let make_room = move |target: u64, _: Option<Instant>| {
            let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
            disk.0 = disk.0.min(target).max(disk.1);
            Ok(disk.0)
        };
        Budget::open(ledger, bytes, Box::new(make_room)).unwrap()
    }

    #[test]
    fn a_budget_is_never_exceeded() {
        let home = tempfile::tempdir().unwrap();
        let disk = Arc::new(Mutex::new((0, 0)));
        let ledger = home.path().join("ledger");
        let (one, other) = (budget(&ledger, 100, &disk), budget(&ledger, 100, &disk));
        for round in 0..50 {
            let (who, bytes) = (if round % 2 == 0 { &one } else { &other }, 7 + round % 30);
            who.admit(bytes).unwrap();
            disk.lock().unwrap().0 += bytes;
            assert!(disk.lock().unwrap().0 <= 100, "round {round}");
            who.settle(bytes, 0);
        }
    }

    #[test]
    fn promises_count_and_those_of_the_dead_are_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let disk = Arc::new(Mutex::new((0, 0)));
        let ledger = home.path().join("ledger");
        let one = budget(&ledger, 100, &disk);
        let other = budget(&ledger, 100, &disk);
        one.admit(60).unwrap();
        let refused = other.admit(60).unwrap_err();
        assert!(refused.to_string().contains("60 bytes promised"), "{refused}");
        // Killed: nothing is given back, but nobody holds its file any more.
        let dead = one.ledger.own.clone();
        drop(one);
        other.ledger.change(|sums| sums.promises.insert(dead, 60)).unwrap();
        other.admit(60).unwrap();
        assert_eq!(other.taken().unwrap(), Some(60));
        other.settle(50, 10);
        assert_eq!(other.taken().unwrap(), Some(50));
    }

    #[test]
    fn what_is_in_use_leaves_no_room() {
        let home = tempfile::tempdir().unwrap();
        let disk = Arc::new(Mutex::new((90, 90)));
        let budget = budget(&home.path().join("ledger"), 100, &disk);
        budget.admit(10).unwrap();
        assert!(budget.admit(1).unwrap_err().to_string().contains("90 bytes are in use"));
        assert!(budget.admit(101).unwrap_err().to_string().contains("it alone"));
    }

    #[test]
    fn a_damaged_ledger_is_measured_anew() {
        let home = tempfile::tempdir().unwrap();
        let disk = Arc::new(Mutex::new((40, 40)));
        let ledger = home.path().join("ledger");
        fs::write(&ledger, "{\"placed\":1").unwrap();
        let budget = budget(&ledger, 100, &disk);
        assert_eq!(budget.taken().unwrap(), None);
        budget.admit(10).unwrap();
        assert_eq!(budget.taken().unwrap(), Some(50));
    }
}
