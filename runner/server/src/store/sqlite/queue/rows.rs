//! Rows of jobs, and their changes.

use std::{fmt::Display, str::FromStr};

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::service::{JobChange, JobState};

use crate::store::StoreError;

/// A job, as far as its changes hang on it.
pub(in crate::store::sqlite) struct JobRow {
    pub(in crate::store::sqlite) run: String,
    pub(in crate::store::sqlite) name: String,
    pub(in crate::store::sqlite) state: JobState,
    pub(in crate::store::sqlite) retries: u32,
}

/// A word or an id of a row, as what it means. What makes no sense is told with its place, and left alone.
pub(in crate::store::sqlite) fn word<T: FromStr<Err: Display>>(
    table: &'static str,
    row: &str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|bad: T::Err| StoreError::Damaged {
        table,
        row: row.to_owned(),
        why: bad.to_string(),
    })
}

pub(in crate::store::sqlite) fn job(
    connection: &Connection,
    run: &str,
    name: &str,
) -> Result<JobRow, StoreError> {
    let found = connection
        .prepare_cached("SELECT state, retries FROM jobs WHERE run = ?1 AND name = ?2")?
        .query_row([run, name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)))
        .optional()?;
    let Some((state, retries)) = found else {
        return Err(StoreError::Unknown { what: "job", name: format!("{run}/{name}") });
    };
    let state = word("jobs", &format!("{run}/{name}"), &state)?;
    Ok(JobRow { run: run.to_owned(), name: name.to_owned(), state, retries })
}

/// The jobs of a run that a condition of SQL holds for.
pub(in crate::store::sqlite) fn jobs_that(
    connection: &Connection,
    run: &str,
    condition: &'static str,
) -> Result<Vec<JobRow>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT name, state, retries FROM jobs WHERE run = ?1 AND {condition}"))?;
    let rows = statement.query_map([run], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?))
    })?;
    rows.map(|row| {
        let (name, state, retries) = row?;
        let state = word("jobs", &format!("{run}/{name}"), &state)?;
        Ok(JobRow { run: run.to_owned(), name, state, retries })
    })
    .collect()
}

/// Changes a job by the transition function. `why` takes the place of what was said before.
pub(in crate::store::sqlite) fn change_job(
    connection: &Connection,
    job: &JobRow,
    change: &JobChange,
    why: Option<&str>,
    now: u64,
) -> Result<JobState, StoreError> {
    let next =
        job.state.after(change).map_err(|bad| StoreError::Conflict(format!("job {}: {bad}", job.name)))?;
    let retries = match change {
        JobChange::Again(_) => job.retries + 1,
        JobChange::AskedAgain => 0,
        _ => job.retries,
    };
    // What is tried again keeps its place: it waited already.
    let queued = matches!(change, JobChange::Released).then_some(now);
    let changed = connection
        .prepare_cached(
            "UPDATE jobs SET state = ?3, why = ?4, retries = ?5, queued = coalesce(?6, queued), ended = ?7
             WHERE run = ?1 AND name = ?2 AND state = ?8",
        )?
        .execute(params![
            job.run,
            job.name,
            next.as_str(),
            why,
            retries,
            queued,
            next.is_over().then_some(now),
            job.state.as_str()
        ])?;
    if changed == 1 {
        return Ok(next);
    }
    Err(StoreError::Conflict(format!("job {} is not {} any more", job.name, job.state)))
}
