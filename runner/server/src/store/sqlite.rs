//! The embedded database: a file of SQLite in WAL mode, synced in full before anything is acknowledged.
//!
//! 1. `open`: the lock that makes this the only server, the settings, and `migrate`.
//! 2. `writer`: the one thread that writes. What waits while a transaction is made durable goes into the next one together: group
//!    commit.
//!    `reserve`: the room that is given up first when the disk is full; then nothing new is taken.
//! 3. `audit`: the chain of what was changed, appended in the transaction of the change.
//!
//! 4. Each room's trait has a file here with its statements: `access`, `runners`, `projects`, `arrivals`, `schedules`, `queue`,
//!    `attempts`, `streams`, `outbox`, `packages`, `steps`, `releases`, `health`.
//!
//! Reads have connections of their own and see the last commit.

mod access;
mod arrivals;
mod attempts;
mod audit;
mod health;
mod migrate;
mod open;
mod outbox;
mod packages;
mod projects;
mod queue;
mod releases;
mod repetitions;
mod reserve;
mod rows;
mod runners;
mod schedules;
mod secrets;
mod steps;
mod streams;
mod writer;

use std::{fmt, path::PathBuf, sync::Arc};

use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

pub use self::audit::verify_audit;
pub(crate) use self::open::for_reading as reading;
use self::{open::Lock, reserve::Reserve, writer::Writer};
use super::{Actor, StoreError};

/// How many connections for reading are kept open.
const READERS: usize = 4;

/// The embedded store.
pub struct Sqlite {
    path: PathBuf,
    /// Before the writer: who closes a database last tidies it, and readers can't.
    readers: Arc<std::sync::Mutex<Vec<Connection>>>,
    writer: Writer,
    reserve: Arc<Reserve>,
    failed: CancellationToken,
    _lock: Lock,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Is cancelled when the database failed: what is durable is not known any more, and the process must end ([`StoreError::Failed`]).
    pub fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    /// Notes that this is what a backup had, of a later generation than the backup's.
    pub(crate) async fn raise_generation(&self, to: u64, by: Actor, now: u64) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.execute("UPDATE meta SET value = ?1 WHERE key = 'generation'", [to.to_string()])?;
            let after = to.to_string();
            let change = audit::Change {
                by: &by,
                at: now,
                what: "restored",
                subject: "server",
                before: None,
                after: Some(&after),
            };
            audit::note(connection, &change)
        })
        .await
    }

    /// Carries `work` out in a transaction, and answers once it is durable. Work that fails changes nothing, and nothing of other
    /// work that was committed with it. `work` may be called once only and must not block on anything but the database.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(work).await
    }

    /// As [`Self::write`], for what is new: it is refused while there is room for nothing but what is under way.
    pub(crate) async fn write_new<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.reserve.is_there() {
            true => self.writer.write(work).await,
            false => Err(StoreError::Full),
        }
    }

    /// Reads what the last commit left. All that `work` reads is of one moment.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, readers) = (self.path.clone(), Arc::clone(&self.readers));
        let reading = tokio::task::spawn_blocking(move || {
            let idle = readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            let connection = idle.map_or_else(|| open::for_reading(&path), Ok)?;
            let transaction = connection.unchecked_transaction()?;
            let found = work(&transaction);
            transaction.finish()?;
            let mut idle = readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // One that failed may hold on to what it read wrongly, though the disk gives what is right by now.
            if idle.len() < READERS && !matches!(found, Err(StoreError::Failed(_))) {
                idle.push(connection);
            }
            found
        });
        reading.await.map_err(|panicked| StoreError::Failed(panicked.to_string()))?
    }
}

#[cfg(test)]
mod tests;
