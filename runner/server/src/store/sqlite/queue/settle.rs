//! What follows from a change of a job: for those that need it, for its run, and for the runs that wait for that.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::service::{JobState, RunStanding};

use super::rows::{JobRow, change_job, word};
use crate::{
    queue::needs::{Node, follow},
    store::StoreError,
};

/// What a run's standing hangs on.
struct RunRow {
    project: String,
    trust: String,
    group: Option<String>,
    admitted: bool,
    state: RunStanding,
}

/// Carries on what follows from changes of jobs of a run. To be called once after all of them, in their transaction: it is the one place
/// in which a run's state is written.
pub(in crate::store::sqlite) fn settle(
    connection: &Connection,
    run: &str,
    now: u64,
) -> Result<(), StoreError> {
    let before = row(connection, run)?;
    let jobs = nodes(connection, run)?;
    let mut states: Vec<(&str, JobState)> = jobs.iter().map(|job| (job.name.as_str(), job.state)).collect();
    for (name, change, why) in follow(&jobs, before.admitted) {
        let job = JobRow { run: run.to_owned(), name, state: JobState::Waiting, retries: 0 };
        let next = change_job(connection, &job, &change, why.as_deref(), now)?;
        if let Some(entry) = states.iter_mut().find(|(name, _)| *name == job.name) {
            entry.1 = next;
        }
    }
    let standing = RunStanding::of(states.into_iter().map(|(_, state)| state));
    if standing == before.state {
        return Ok(());
    }
    // A wish to end it that came too late says nothing about a run that passed.
    connection
        .prepare_cached(
            "UPDATE runs SET state = ?2, ended = ?3, why = iif(?2 = 'passed', NULL, why) WHERE id = ?1",
        )?
        .execute(params![run, standing.as_str(), standing.is_over().then_some(now)])?;
    match &before.group {
        Some(group) if standing.is_over() => {
            admit_next(connection, &before.project, &before.trust, group, now)
        }
        _ => Ok(()),
    }
}

/// Gives a group's turn to the next of its runs, if none has it: the highest priority, then the oldest.
pub(super) fn admit_next(
    connection: &Connection,
    project: &str,
    trust: &str,
    group: &str,
    now: u64,
) -> Result<(), StoreError> {
    let first = connection
        .prepare_cached(
            "SELECT id, admitted FROM runs WHERE project = ?1 AND trust = ?2 AND concurrency = ?3 AND ended IS NULL
             ORDER BY admitted DESC, priority DESC, number LIMIT 1",
        )?
        .query_row([project, trust, group], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))
        .optional()?;
    match first {
        Some((next, false)) => {
            connection.prepare_cached("UPDATE runs SET admitted = 1 WHERE id = ?1")?.execute([&next])?;
            settle(connection, &next, now)
        }
        _ => Ok(()),
    }
}

fn row(connection: &Connection, run: &str) -> Result<RunRow, StoreError> {
    let found = connection
        .prepare_cached("SELECT project, trust, concurrency, admitted, state FROM runs WHERE id = ?1")?
        .query_row([run], |row| {
            let state = row.get::<_, String>(4)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, state))
        })
        .optional()?;
    let Some((project, trust, group, admitted, state)) = found else {
        return Err(StoreError::Unknown { what: "run", name: run.to_owned() });
    };
    Ok(RunRow { project, trust, group, admitted, state: word("runs", run, &state)? })
}

fn nodes(connection: &Connection, run: &str) -> Result<Vec<Node>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT name, state, needs_json FROM jobs WHERE run = ?1 ORDER BY name")?;
    let rows = statement.query_map([run], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (name, state, needs) = row?;
        let state = word("jobs", &format!("{run}/{name}"), &state)?;
        // Only those that wait are asked what for.
        let needs = if state == JobState::Waiting {
            serde_json::from_str(&needs).map_err(|bad| StoreError::Damaged {
                table: "jobs",
                row: format!("{run}/{name}"),
                why: bad.to_string(),
            })?
        } else {
            std::collections::BTreeSet::new()
        };
        found.push(Node { name, state, needs });
    }
    Ok(found)
}
