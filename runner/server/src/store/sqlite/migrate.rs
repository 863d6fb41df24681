//! Versions of the database. Only forward; each in one transaction with the number that says it was done, so that a server killed in
//! the middle finds the version before.

use rusqlite::Connection;

use crate::store::StoreError;

/// What each version adds, from 1 on. A version that was released is never edited.
const VERSIONS: &[&str] = &[
    include_str!("../../../migrations/0001.sql"),
    include_str!("../../../migrations/0002-secret-versions.sql"),
    include_str!("../../../migrations/0003-releases.sql"),
    include_str!("../../../migrations/0004-steps.sql"),
    include_str!("../../../migrations/0005-targets.sql"),
    include_str!("../../../migrations/0006-frozen-releases.sql"),
];

pub(super) fn to_this_version(connection: &mut Connection) -> Result<(), StoreError> {
    let known = u32::try_from(VERSIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for (version, script) in (1..).zip(VERSIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
