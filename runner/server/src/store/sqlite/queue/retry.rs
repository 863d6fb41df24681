//! Runs that a person wants tried again.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::service::{JobChange, RunStanding};

use super::{
    rows::{change_job, jobs_that, word},
    settle::{admit_next, settle},
};
use crate::store::{
    Actor, StoreError,
    sqlite::audit::{Change, note},
};

/// The run stays the one that it is: same plan, same number. Its attempts stay, and new ones get the next numbers.
pub(super) fn retry_run(connection: &Connection, run: &str, by: &Actor, now: u64) -> Result<(), StoreError> {
    let (state, project, trust, group) = find(connection, run)?;
    match state {
        RunStanding::Waiting | RunStanding::Running => {
            return Err(StoreError::Conflict(
                "the run is not over: cancel it, or wait for its end, and retry it then".to_owned(),
            ));
        }
        RunStanding::Passed => {
            return Err(StoreError::Conflict("the run passed: there is nothing to try again".to_owned()));
        }
        RunStanding::Failed | RunStanding::Cancelled => {}
    }
    for job in jobs_that(connection, run, "state <> 'passed'")? {
        change_job(connection, &job, &JobChange::AskedAgain, None, now)?;
    }
    connection
        .prepare_cached(
            "UPDATE runs SET state = 'waiting', why = NULL, ended = NULL, admitted = ?2 WHERE id = ?1",
        )?
        .execute(params![run, group.is_none()])?;
    let (subject, before) = (format!("run {run}"), format!("\"{state}\""));
    note(
        connection,
        &Change { by, at: now, what: "run-retried", subject: &subject, before: Some(&before), after: None },
    )?;
    if let Some(group) = group {
        admit_next(connection, &project, &trust, &group, now)?;
    }
    settle(connection, run, now)
}

type Found = (RunStanding, String, String, Option<String>);

fn find(connection: &Connection, run: &str) -> Result<Found, StoreError> {
    let found = connection
        .prepare_cached("SELECT state, project, trust, concurrency FROM runs WHERE id = ?1")?
        .query_row([run], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((state, project, trust, group)) = found else {
        return Err(StoreError::Unknown { what: "run", name: run.to_owned() });
    };
    Ok((word("runs", run, &state)?, project, trust, group))
}
