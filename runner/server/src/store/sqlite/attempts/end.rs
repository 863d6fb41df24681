//! An attempt ends, however it does.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use staith_model::service::{
    AttemptChange, AttemptEnd, AttemptOutcome, AttemptState, JobChange, JobState, StopKind, after_attempt,
};

use super::live::{AttemptRow, find, stale};
use crate::store::{
    Actor, Finish, Finished, StoreError,
    sqlite::{
        audit::{Change, note},
        queue::{change_job, job, settle, word},
    },
};

pub(super) fn finish(connection: &Connection, finish: &Finish, now: u64) -> Result<Finished, StoreError> {
    let Some(found) = find(connection, finish.attempt.as_str())? else { return Ok(Finished::NotTheirs) };
    if found.token != finish.token.to_string() {
        return Ok(Finished::NotTheirs);
    }
    if found.fence != finish.fence || found.state == AttemptState::Lost {
        return Err(stale(&found, finish.fence));
    }
    let outcome = json(&finish.outcome)?;
    if found.state == AttemptState::Finished {
        return match found.outcome.as_deref() == Some(outcome.as_str()) {
            true => Ok(Finished::Before),
            false => Err(StoreError::Conflict("the attempt finished with another outcome before".to_owned())),
        };
    }
    let unclosed = unclosed(connection, finish)?;
    if !unclosed.is_empty() {
        return Ok(Finished::Unclosed(unclosed));
    }
    let streams = json(&finish.streams)?;
    end(connection, &found, AttemptChange::Finished, (Some(&outcome), Some(&streams), None), now)?;
    let end = AttemptEnd::Told(finish.outcome.clone());
    let state = decide(connection, &found, &end, &told(&finish.outcome), now)?;
    let change = Change {
        by: &finish.by,
        at: now,
        what: "attempt-finished",
        subject: &format!("attempt {}", found.id),
        before: None,
        after: Some(&outcome),
    };
    note(connection, &change)?;
    settle(connection, &found.run, now)?;
    Ok(Finished::Taken(state))
}

/// Looked at in the transaction of the end: with it the attempt's token ends, and what is not here then never comes.
fn unclosed(connection: &Connection, finish: &Finish) -> Result<Vec<String>, StoreError> {
    let closed: BTreeSet<String> = connection
        .prepare_cached("SELECT name FROM streams WHERE attempt = ?1 AND digest IS NOT NULL")?
        .query_map([finish.attempt.as_str()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(finish.streams.iter().filter(|name| !closed.contains(*name)).cloned().collect())
}

pub(super) fn give_up(
    connection: &Connection,
    attempt: &str,
    ended: &AttemptEnd,
    why: &str,
    now: u64,
) -> Result<Option<JobState>, StoreError> {
    let Some(found) = find(connection, attempt)? else { return Ok(None) };
    if found.state != AttemptState::Leased {
        return Ok(None);
    }
    end(connection, &found, AttemptChange::GivenUp, (None, None, Some(why)), now)?;
    let state = decide(connection, &found, ended, why, now)?;
    let after = serde_json::json!({ "why": why, "job": state }).to_string();
    let change = Change {
        by: &Actor::server(),
        at: now,
        what: "attempt-given-up",
        subject: &format!("attempt {}", found.id),
        before: None,
        after: Some(&after),
    };
    note(connection, &change)?;
    settle(connection, &found.run, now)?;
    Ok(Some(state))
}

pub(super) fn ask_to_end(
    connection: &Connection,
    attempt: &str,
    kind: StopKind,
    why: &str,
    now: u64,
) -> Result<(), StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE attempts SET stop = ?2, why = ?3 WHERE id = ?1 AND state = 'leased' AND stop IS NULL",
        )?
        .execute(params![attempt, kind.as_str(), why])?;
    if changed == 0 {
        return Ok(());
    }
    let (subject, after) = (format!("attempt {attempt}"), serde_json::json!(why).to_string());
    let change = Change {
        by: &Actor::server(),
        at: now,
        what: "attempt-to-end",
        subject: &subject,
        before: None,
        after: Some(&after),
    };
    note(connection, &change)
}

/// Its row, by the transition function. A host that was to have one job has had it.
fn end(
    connection: &Connection,
    found: &AttemptRow,
    change: AttemptChange,
    (outcome, streams, why): (Option<&str>, Option<&str>, Option<&str>),
    now: u64,
) -> Result<(), StoreError> {
    let next = found.state.after(change).map_err(|bad| StoreError::Conflict(bad.to_string()))?;
    connection
        .prepare_cached(
            "UPDATE attempts SET state = ?2, outcome_json = ?3, streams_json = ?4, why = coalesce(?5, why), ended = ?6
             WHERE id = ?1 AND state = 'leased'",
        )?
        .execute(params![found.id, next.as_str(), outcome, streams, why, now])?;
    connection
        .prepare_cached("UPDATE runners SET state = 'revoked' WHERE id = ?1 AND ephemeral = 1")?
        .execute([&found.runner])?;
    Ok(())
}

/// What the end means for the job. The cause decides, in the model.
fn decide(
    connection: &Connection,
    found: &AttemptRow,
    end: &AttemptEnd,
    told: &str,
    now: u64,
) -> Result<JobState, StoreError> {
    let row = job(connection, &found.run, &found.job)?;
    let stop: Option<StopKind> =
        found.stop.as_deref().map(|stop| word("attempts", &found.id, stop)).transpose()?;
    let change = after_attempt(end, stop, row.retries);
    let why = match (&change, stop) {
        (JobChange::Passed, _) => None,
        (JobChange::Again(cause), _) => Some(format!("{cause}: {told}; it is tried again")),
        // What the server wanted says more than that it was done.
        (_, Some(_)) => found.why.clone().or_else(|| Some(told.to_owned())),
        (_, None) => Some(told.to_owned()),
    };
    change_job(connection, &row, &change, why.as_deref(), now)
}

fn told(outcome: &AttemptOutcome) -> String {
    match outcome {
        AttemptOutcome::Passed => "it passed".to_owned(),
        AttemptOutcome::Failed { why, .. } => why.clone(),
        AttemptOutcome::Cancelled => "its runner ended it".to_owned(),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|bad| StoreError::Conflict(bad.to_string()))
}
