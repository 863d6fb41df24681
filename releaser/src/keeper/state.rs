//! What survives a kill: `keeper.json`, replaced as a whole on each change.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    orphans::ProcessMark,
    pool::{Pool, PoolSpec},
    protocol::Refusal,
};

const NAME: &str = "keeper.json";

/// The version of the file. A keeper does not guess what a file of another version means.
const VERSION: u32 = 1;

/// What a keeper remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    /// The highest epoch seen.
    pub(super) epoch: u64,
    /// Where the proxy listens.
    pub(super) listen: SocketAddr,
    /// Who gets requests.
    pub(super) active: Option<Pool>,
    /// What runs; a pool that is empty has no entry.
    pub(super) pools: BTreeMap<Pool, SavedPool>,
}

/// What a keeper remembers about a pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedPool {
    /// What shall run.
    pub(super) spec: PoolSpec,
    /// Whether it ever was active with this spec.
    pub(super) admitted: bool,
    /// What runs.
    pub(super) process: Option<ProcessMark>,
}

impl Saved {
    fn new(listen: SocketAddr) -> Self {
        Self { version: VERSION, epoch: 0, listen, active: None, pools: BTreeMap::new() }
    }

    /// Refuses whoever was superseded, and remembers whoever was not.
    pub(super) fn admit(&mut self, epoch: u64) -> Result<(), Refusal> {
        if epoch < self.epoch {
            return Err(Refusal::Superseded { asked: epoch, highest: self.epoch });
        }
        self.epoch = epoch;
        Ok(())
    }
}

/// The file and what is in it.
#[derive(Debug)]
pub(super) struct StateFile {
    dir: PathBuf,
    saved: Mutex<Saved>,
    /// Held while the file is replaced, so that nobody who only looks waits for the disk.
    writing: Mutex<()>,
}

impl StateFile {
    /// Reads the file, or begins one. Nothing is written yet.
    pub(super) fn open(dir: &Path, listen: SocketAddr) -> io::Result<Self> {
        let path = dir.join(NAME);
        let saved = match fs::read(&path) {
            Ok(bytes) => understand(&bytes).map_err(|why| {
                let remedy = "move the file away to begin with empty pools";
                io::Error::other(format!("{} {why}; {remedy}", path.display()))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::new(listen),
            Err(error) => return Err(error),
        };
        Ok(Self { dir: dir.to_owned(), saved: Mutex::new(saved), writing: Mutex::new(()) })
    }

    /// A copy of what is remembered.
    pub(super) fn saved(&self) -> Saved {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is remembered: when this returns without an error, the change is on disk. With an error, nothing
    /// was changed as far as this process is concerned.
    pub(super) async fn change<F>(self: &Arc<Self>, change: F) -> Result<(), Refusal>
    where
        F: FnOnce(&mut Saved) -> Result<(), Refusal> + Send + 'static,
    {
        let state = Arc::clone(self);
        let changed = tokio::task::spawn_blocking(move || state.change_now(change)).await;
        changed.unwrap_or_else(|error| Err(Refusal::Failed { why: error.to_string() }))
    }

    /// [`StateFile::change`] for whoever may block.
    pub(super) fn change_now<F>(&self, change: F) -> Result<(), Refusal>
    where
        F: FnOnce(&mut Saved) -> Result<(), Refusal>,
    {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = self.saved();
        let mut changed = saved.clone();
        change(&mut changed)?;
        if changed != saved || !self.dir.join(NAME).exists() {
            self.write(&changed).map_err(|error| Refusal::Failed {
                why: format!("its state can't be written to {}: {error}", self.dir.join(NAME).display()),
            })?;
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = changed;
        }
        Ok(())
    }

    fn write(&self, saved: &Saved) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".keeper-").tempfile_in(&self.dir)?;
        file.write_all(&serde_json::to_vec(saved)?)?;
        file.as_file().sync_all()?;
        file.persist(self.dir.join(NAME)).map_err(|error| error.error)?;
        File::open(&self.dir)?.sync_all()
    }
}

fn understand(bytes: &[u8]) -> Result<Saved, String> {
    let unreadable = |error: serde_json::Error| format!("can't be read ({error})");
    let envelope: super::protocol::Envelope = serde_json::from_slice(bytes).map_err(unreadable)?;
    if envelope.version != VERSION {
        return Err(format!("was written by another version of Staith (format {})", envelope.version));
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn listen() -> SocketAddr {
        "127.0.0.1:8080".parse().unwrap()
    }

    #[test]
    fn what_was_changed_is_read_again_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFile::open(dir.path(), listen()).unwrap();
        state
            .change_now(|saved| {
                saved.active = Some(Pool::Green);
                saved.admit(7)
            })
            .unwrap();
        assert_eq!(StateFile::open(dir.path(), listen()).unwrap().saved(), state.saved());
        assert_eq!(state.saved().epoch, 7);
        let mode = fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lower_epoch_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFile::open(dir.path(), listen()).unwrap();
        state.change_now(|saved| saved.admit(7)).unwrap();
        let refused = state.change_now(|saved| {
            saved.active = Some(Pool::Blue);
            saved.admit(6)
        });
        assert_eq!(refused, Err(Refusal::Superseded { asked: 6, highest: 7 }));
        assert_eq!(state.saved().active, None);
        state.change_now(|saved| saved.admit(7)).unwrap();
    }

    #[test]
    fn a_change_that_can_not_be_written_did_not_happen() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFile::open(dir.path(), listen()).unwrap();
        fs::remove_dir(dir.path()).unwrap();
        assert!(matches!(state.change_now(|saved| saved.admit(3)), Err(Refusal::Failed { .. })));
        assert_eq!(state.saved().epoch, 0);
    }

    #[test]
    fn a_file_that_is_not_understood_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["", "{", "{\"version\":2}", "[]"] {
            fs::write(dir.path().join(NAME), content).unwrap();
            assert!(
                StateFile::open(dir.path(), listen()).unwrap_err().to_string().contains("move the file away")
            );
            assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), content);
        }
    }
}
