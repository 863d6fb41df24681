//! Runs that a person wants tried again.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::service::{JobChange, JobState, RunStanding};

use super::{
    rows::{JobRow, change_job, word},
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
    for job in not_passed(connection, run)? {
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

fn not_passed(connection: &Connection, run: &str) -> Result<Vec<JobRow>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT name, state, retries FROM jobs WHERE run = ?1 AND state <> 'passed'")?;
    let rows = statement.query_map([run], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?))
    })?;
    rows.map(|row| {
        let (name, state, retries) = row?;
        let state: JobState = word("jobs", &format!("{run}/{name}"), &state)?;
        Ok(JobRow { run: run.to_owned(), name, state, retries })
    })
    .collect()
}
