//! Attempts that have not ended.

use rusqlite::{Connection, OptionalExtension as _, Row};
use staith_model::{Digest, service::AttemptState};

use crate::store::{Live, StoreError, sqlite::queue::word};

/// An attempt as it is in the database, ended or not.
pub(super) struct AttemptRow {
    pub(super) id: String,
    pub(super) run: String,
    pub(super) job: String,
    pub(super) fence: u64,
    pub(super) token: String,
    pub(super) state: AttemptState,
    pub(super) outcome: Option<String>,
    pub(super) stop: Option<String>,
    pub(super) why: Option<String>,
    pub(super) runner: String,
}

pub(super) fn find(connection: &Connection, id: &str) -> Result<Option<AttemptRow>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT run, job, fence, token_hash, state, outcome_json, stop, why, runner FROM attempts WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let state = row.get::<_, String>(4)?;
            let found = AttemptRow {
                id: id.to_owned(),
                run: row.get(0)?,
                job: row.get(1)?,
                fence: row.get(2)?,
                token: row.get(3)?,
                state: AttemptState::Lost,
                outcome: row.get(5)?,
                stop: row.get(6)?,
                why: row.get(7)?,
                runner: row.get(8)?,
            };
            Ok((found, state))
        })
        .optional()?;
    let Some((mut found, state)) = found else { return Ok(None) };
    found.state = word("attempts", id, &state)?;
    Ok(Some(found))
}

/// What is said to an attempt that does not count any more.
pub(super) fn stale(found: &AttemptRow, given: u64) -> StoreError {
    let now = match found.state {
        AttemptState::Leased => "the attempt has another fence".to_owned(),
        AttemptState::Finished => "the attempt has finished".to_owned(),
        AttemptState::Lost => {
            format!("the attempt was given up: {}", found.why.as_deref().unwrap_or("its runner was lost"))
        }
    };
    StoreError::StaleFence { given, now }
}

pub(super) fn live(
    connection: &Connection,
    id: &str,
    token: &Digest,
    fence: u64,
) -> Result<Option<Live>, StoreError> {
    let Some(found) = find(connection, id)? else { return Ok(None) };
    if found.token != token.to_string() {
        return Ok(None);
    }
    if found.fence != fence || found.state != AttemptState::Leased {
        return Err(stale(&found, fence));
    }
    by_id(connection, id).map(Some)
}

const COLUMNS: &str = "SELECT a.id, a.fence, a.runner, a.began, j.timeout_millis, a.stop, a.why
    FROM attempts a JOIN jobs j ON j.run = a.run AND j.name = a.job";

pub(super) fn by_id(connection: &Connection, id: &str) -> Result<Live, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE a.id = ?1"))?;
    statement.query_row([id], |row| Ok(read(row)))?
}

pub(super) fn all_live(connection: &Connection) -> Result<Vec<Live>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("{COLUMNS} WHERE a.state = 'leased' ORDER BY a.fence"))?;
    let rows = statement.query_map([], |row| Ok(read(row)))?;
    let mut all = Vec::new();
    for row in rows {
        match row? {
            Ok(live) => all.push(live),
            // The leases of the others hang on this list.
            Err(damaged @ StoreError::Damaged { .. }) => {
                tracing::error!(%damaged, "an attempt is left alone")
            }
            Err(other) => return Err(other),
        }
    }
    Ok(all)
}

fn read(row: &Row<'_>) -> Result<Live, StoreError> {
    let id: String = row.get(0)?;
    let stop = row.get::<_, Option<String>>(5)?;
    let why = row.get::<_, Option<String>>(6)?.unwrap_or_default();
    Ok(Live {
        attempt: word("attempts", &id, &id)?,
        fence: row.get(1)?,
        runner: word("attempts", &id, &row.get::<_, String>(2)?)?,
        began: row.get(3)?,
        timeout_millis: row.get(4)?,
        stop: stop.map(|stop| word("attempts", &id, &stop)).transpose()?.map(|stop| (stop, why)),
    })
}
