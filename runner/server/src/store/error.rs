//! What can go wrong with a store.

/// Why something is not kept, or not found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server has this database open.
    #[error("{0} is in use by another server")]
    InUse(String),
    /// It was written by a later version.
    #[error("the database has the version {found}, and this program knows {known}")]
    TooNew {
        /// The database's.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// The disk is full. Nothing was changed.
    #[error("the disk of the database is full")]
    Full,
    /// What is asked for is not there.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// What is asked for can't be done with what is there.
    #[error("{0}")]
    Conflict(String),
    /// An effect of an attempt that is no longer the one that counts.
    #[error("the fence {given} is stale: {now}")]
    StaleFence {
        /// What the caller has.
        given: u64,
        /// What is true.
        now: String,
    },
    /// A row doesn't make sense. It is left alone.
    #[error("{table} {row} is damaged: {why}")]
    Damaged {
        /// Where.
        table: &'static str,
        /// Which.
        row: String,
        /// What is wrong with it.
        why: String,
    },
    /// The database failed. The server must not go on: what is durable is not known.
    #[error("the database failed: {0}")]
    Failed(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Failed(error.to_string()),
        }
    }
}
