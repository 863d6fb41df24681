//! An environment's log: what survives a kill, and how people's wishes reach a driver in another process.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use staith_model::{FleetEvent, Name};
use tokio::sync::Notify;

use super::{super::point::point, seams::Clock};
use crate::ledger::{Ledger, LedgerError, Who};

/// How often the end of a log is read again, so that what people want is heeded within a second.
const TAIL: Duration = Duration::from_millis(200);

/// The log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The ledger that it is.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The work did not come back.
    #[error("the ledger {path} was not written: {source}", path = path.display())]
    Gone {
        /// The ledger.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// An event with its place and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// Its place, from 1.
    pub position: u64,
    /// When it was appended, in milliseconds since 1970.
    pub at: u64,
    /// What happened.
    pub event: FleetEvent,
}

/// The log of one environment. Clones are the same log.
#[derive(Debug, Clone)]
pub struct Log {
    store: Store,
}

#[derive(Debug, Clone)]
enum Store {
    Ledger(Arc<Ledger<FleetEvent>>),
    Memory(Arc<Memory>),
}

#[derive(Debug)]
struct Memory {
    entries: Mutex<Vec<Stamped>>,
    appended: Notify,
    clock: Clock,
}

impl Log {
    /// The ledger of the environment that is kept in `directory`; made when something is appended.
    pub fn of_environment(directory: &Path, project: &Name, environment: &Name) -> Self {
        Self { store: Store::Ledger(Arc::new(Ledger::of_environment(directory, project, environment))) }
    }

    /// A log that lives as long as the process.
    pub fn in_memory(clock: Clock) -> Self {
        let memory = Memory { entries: Mutex::default(), appended: Notify::new(), clock };
        Self { store: Store::Memory(Arc::new(memory)) }
    }

    /// Appends an event; it is durable when this returns. Dropping the future leaves it appended or not.
    ///
    /// # Errors
    /// The ledger can't be written.
    pub async fn append(&self, event: FleetEvent) -> Result<Stamped, LogError> {
        match &self.store {
            Store::Memory(memory) => {
                let mut entries = memory.entries.lock().unwrap_or_else(PoisonError::into_inner);
                let position = entries.len() as u64 + 1;
                let stamped = Stamped { position, at: memory.clock.now(), event };
                entries.push(stamped.clone());
                drop(entries);
                memory.appended.notify_waiters();
                Ok(stamped)
            }
            Store::Ledger(ledger) => {
                let writer = Arc::clone(ledger);
                let work = move || {
                    point();
                    let entry = writer.append(&event, &Who::of_this_process());
                    point();
                    entry
                };
                let gone = |source| LogError::Gone { path: ledger.path().to_owned(), source };
                let entry =
                    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).map_err(gone)??;
                Ok(Stamped { position: entry.position, at: entry.at, event: entry.event })
            }
        }
    }

    /// All events after the one at `position`, in order.
    ///
    /// # Errors
    /// The ledger can't be read, or is damaged.
    pub fn since(&self, position: u64) -> Result<Vec<Stamped>, LogError> {
        match &self.store {
            Store::Memory(memory) => {
                let skip = usize::try_from(position).unwrap_or(usize::MAX);
                let entries = memory.entries.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(entries.get(skip..).unwrap_or_default().to_vec())
            }
            Store::Ledger(ledger) => {
                let stamped = |entry: crate::ledger::Entry<FleetEvent>| Stamped {
                    position: entry.position,
                    at: entry.at,
                    event: entry.event,
                };
                Ok(ledger.since(position)?.into_iter().map(stamped).collect())
            }
        }
    }

    /// Returns when something may have been appended after `position`. Cancel-safe.
    pub async fn changed(&self, position: u64) {
        let Store::Memory(memory) = &self.store else { return tokio::time::sleep(TAIL).await };
        loop {
            let appended = memory.appended.notified();
            tokio::pin!(appended);
            // Heard from here on, so that nothing is missed between the look and the wait.
            appended.as_mut().enable();
            let length = memory.entries.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
            if length > position {
                return;
            }
            appended.await;
        }
    }
}
