//! Runs that are to end.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{
    AttemptId,
    service::{JobChange, StopKind},
};

use super::{
    rows::{change_job, jobs_that, word},
    settle::settle,
};
use crate::store::{
    Actor, StoreError,
    sqlite::audit::{Change, note},
};

pub(super) fn cancel_run(
    connection: &Connection,
    run: &str,
    by: &Actor,
    why: &str,
    now: u64,
) -> Result<Vec<AttemptId>, StoreError> {
    let over = connection
        .prepare_cached("SELECT ended IS NOT NULL FROM runs WHERE id = ?1")?
        .query_row([run], |row| row.get::<_, bool>(0))
        .optional()?;
    match over {
        None => Err(StoreError::Unknown { what: "run", name: run.to_owned() }),
        Some(true) => Ok(Vec::new()),
        Some(false) => cancel_open(connection, run, by, why, now),
    }
}

/// Cancels what is open of a run: all that no runner has, before what follows from that is looked at.
pub(super) fn cancel_open(
    connection: &Connection,
    run: &str,
    by: &Actor,
    why: &str,
    now: u64,
) -> Result<Vec<AttemptId>, StoreError> {
    for job in jobs_that(connection, run, "state IN ('waiting', 'queued')")? {
        change_job(connection, &job, &JobChange::Cancelled, Some(why), now)?;
    }
    connection.prepare_cached("UPDATE runs SET why = ?2 WHERE id = ?1")?.execute([run, why])?;
    let asked = ask_those_at_work(connection, run, why)?;
    let subject = format!("run {run}");
    note(
        connection,
        &Change {
            by,
            at: now,
            what: "run-cancelled",
            subject: &subject,
            before: None,
            after: Some(&serde_json::json!(why).to_string()),
        },
    )?;
    settle(connection, run, now)?;
    Ok(asked)
}

fn ask_those_at_work(connection: &Connection, run: &str, why: &str) -> Result<Vec<AttemptId>, StoreError> {
    connection
        .prepare_cached(
            "UPDATE attempts SET stop = ?2, why = ?3 WHERE run = ?1 AND state = 'leased' AND stop IS NULL",
        )?
        .execute(params![run, StopKind::Cancel.as_str(), why])?;
    let mut statement = connection
        .prepare_cached("SELECT id FROM attempts WHERE run = ?1 AND state = 'leased' ORDER BY fence")?;
    let rows = statement.query_map([run], |row| row.get::<_, String>(0))?;
    rows.map(|row| row.map_err(StoreError::from).and_then(|id| word("attempts", &id, &id))).collect()
}
