//! Opens the database, for one server only.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use tokio_util::sync::CancellationToken;

use super::{Sqlite, migrate, reserve::Reserve, writer::Writer};
use crate::store::StoreError;

/// How long a reader waits for a checkpoint that is under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Held as long as the server lives. The system lets go of it when the process ends, however it ends.
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

impl Sqlite {
    /// Opens the database at `path`, makes it where it is not there, and brings it to this program's version.
    ///
    /// # Errors
    /// Another server has it, a later version wrote it, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let mut connection = Connection::open(path)?;
        for_all(&connection)?;
        // FULL: with WAL, anything less loses what was acknowledged when the power goes.
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 2000)?;
        migrate::to_this_version(&mut connection)?;
        let failed = CancellationToken::new();
        let reserve = Arc::new(Reserve::beside(path));
        Ok(Self {
            path: path.to_owned(),
            writer: Writer::start(connection, failed.clone(), Arc::clone(&reserve))?,
            reserve,
            failed,
            readers: Arc::new(Mutex::new(Vec::new())),
            _lock: lock,
        })
    }
}

fn lock(path: &Path) -> Result<Lock, StoreError> {
    let beside = path.with_extension("lock");
    let failed = |error: std::io::Error| StoreError::Failed(format!("{}: {error}", beside.display()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // For whoever comes second. The lock itself is what counts, so a full disk is no reason not to start.
            let _ = file.set_len(0).and_then(|()| writeln!(&file, "{}", std::process::id()));
            Ok(Lock(file))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(in_use(path, &beside))),
        Err(refused) => Err(failed(refused.into())),
    }
}

fn in_use(path: &Path, lock: &Path) -> String {
    let holder = std::fs::read_to_string(lock).unwrap_or_default();
    match holder.trim().parse::<u32>() {
        Ok(process) => format!("{} (process {process})", path.display()),
        Err(_) => path.display().to_string(),
    }
}

fn for_all(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(())
}

pub(crate) fn for_reading(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    for_all(&connection)?;
    Ok(connection)
}
