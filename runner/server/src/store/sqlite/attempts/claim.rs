//! A job is given to a runner.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{
    AttemptId, Name,
    service::{AttemptState, JobChange},
};

use super::{fence, live};
use crate::{
    queue::choice::{Head, choose},
    store::{
        Claim, Claimable, Given, StoreError,
        sqlite::{
            audit::{Change, note},
            queue::{change_job, job, settle, word},
            rows,
        },
    },
};

pub(super) fn claim(connection: &Connection, claim: &Claim, now: u64) -> Result<Claimable, StoreError> {
    if let Some(before) = by_nonce(connection, claim)? {
        return Ok(before);
    }
    let runner = runner(connection, claim.runner.as_str())?;
    let nothing = || Ok(Claimable::Nothing { kind: runner.kind.clone() });
    if !runner.may_begin {
        return nothing();
    }
    let mut damaged = BTreeSet::new();
    loop {
        let heads = heads(connection, &runner.pool, &damaged)?;
        let Some(chosen) = choose(&heads, &runner.labels, &live_of_projects(connection)?) else {
            return nothing();
        };
        match give(connection, claim, chosen, now) {
            // It is left alone, and must not stop the others.
            Err(bad @ StoreError::Damaged { .. }) => {
                tracing::error!(%bad, run = chosen.run, job = chosen.job, "a job can't be given away");
                damaged.insert(chosen.run.clone());
            }
            answer => return answer,
        }
    }
}

/// Gives a job to who claims one. If that fails, nothing of it was done.
fn give(connection: &Connection, claim: &Claim, chosen: &Head, now: u64) -> Result<Claimable, StoreError> {
    connection.execute_batch("SAVEPOINT giving")?;
    let answer = begin(connection, claim, chosen, now)
        .and_then(|number| given(connection, &claim.attempt, number, false))
        .map(Claimable::Given);
    // A failure that is more than a bad row may have ended the whole transaction already.
    if answer.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK TO giving")?;
    }
    if !connection.is_autocommit() {
        connection.execute_batch("RELEASE giving")?;
    }
    answer
}

/// What was given to the same question before. The hash of the token is renewed: if the server has lost the key that makes them, the
/// token that is told now is another one.
fn by_nonce(connection: &Connection, claim: &Claim) -> Result<Option<Claimable>, StoreError> {
    let found = connection
        .prepare_cached("SELECT id, number, state FROM attempts WHERE runner = ?1 AND nonce = ?2")?
        .query_row([claim.runner.as_str(), &claim.nonce], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((id, number, state)) = found else { return Ok(None) };
    if word::<AttemptState>("attempts", &id, &state)? != AttemptState::Leased {
        return Ok(Some(Claimable::Spent));
    }
    let attempt: AttemptId = word("attempts", &id, &id)?;
    let token = (claim.token)(&attempt).to_string();
    connection
        .prepare_cached("UPDATE attempts SET token_hash = ?2 WHERE id = ?1 AND token_hash <> ?2")?
        .execute(params![id, token])?;
    given(connection, &attempt, number, true).map(|given| Some(Claimable::Given(given)))
}

/// A runner, as far as jobs for it hang on that.
struct Runner {
    pool: String,
    labels: BTreeSet<Name>,
    kind: String,
    may_begin: bool,
}

fn runner(connection: &Connection, id: &str) -> Result<Runner, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT pool, labels_json, state = 'active' AND NOT (ephemeral = 1 AND EXISTS (SELECT 1 FROM attempts a WHERE a.runner = r.id))
             FROM runners r WHERE id = ?1",
        )?
        .query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?)))
        .optional()?;
    let Some((pool, labels, may_begin)) = found else {
        return Err(StoreError::Unknown { what: "runner", name: id.to_owned() });
    };
    let kind = format!("{pool} {labels}");
    Ok(Runner { labels: names("runners", id, &labels)?, pool, kind, may_begin })
}

fn names(table: &'static str, row: &str, json: &str) -> Result<BTreeSet<Name>, StoreError> {
    serde_json::from_str(json).map_err(|bad| StoreError::Damaged {
        table,
        row: row.to_owned(),
        why: bad.to_string(),
    })
}

/// The next job of each project and set of labels: one step through the index for each, however many are queued. A row that makes no
/// sense is passed over, and so are the runs that are known to have such; they must not stop the others.
fn heads(connection: &Connection, pool: &str, damaged: &BTreeSet<String>) -> Result<Vec<Head>, StoreError> {
    let damaged = rows::json(damaged)?;
    let mut next = connection.prepare_cached(
        "SELECT project, labels_json, priority, queued, run, name FROM jobs
         WHERE state = 'queued' AND pool = ?1 AND (project, labels_json) > (?2, ?3)
             AND run NOT IN (SELECT value FROM json_each(?4))
         ORDER BY project, labels_json, priority DESC, queued, run, name LIMIT 1",
    )?;
    let (mut heads, mut project, mut labels) = (Vec::new(), String::new(), String::new());
    loop {
        let found = next
            .query_row([pool, &project, &labels, &damaged], |row| {
                let head = Head {
                    project: row.get(0)?,
                    labels: BTreeSet::new(),
                    priority: row.get(2)?,
                    queued: row.get::<_, Option<u64>>(3)?.unwrap_or_default(),
                    run: row.get(4)?,
                    job: row.get(5)?,
                };
                Ok((head, row.get::<_, String>(1)?))
            })
            .optional()?;
        let Some((mut head, wanted)) = found else { return Ok(heads) };
        project.clone_from(&head.project);
        labels.clone_from(&wanted);
        match names("jobs", &head.run, &wanted) {
            Ok(wanted) => {
                head.labels = wanted;
                heads.push(head);
            }
            Err(damaged) => tracing::warn!(%damaged, "a job can't be given away"),
        }
    }
}

fn live_of_projects(connection: &Connection) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT project, count(*) FROM attempts WHERE state = 'leased' GROUP BY project")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn begin(connection: &Connection, claim: &Claim, chosen: &Head, now: u64) -> Result<u32, StoreError> {
    let row = job(connection, &chosen.run, &chosen.job)?;
    change_job(connection, &row, &JobChange::Claimed, None, now)?;
    let fence = fence::next(connection)?;
    let number: u32 = connection
        .prepare_cached(
            "UPDATE jobs SET attempts = attempts + 1 WHERE run = ?1 AND name = ?2 RETURNING attempts",
        )?
        .query_row([&row.run, &row.name], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO attempts (id, run, job, project, number, fence, runner, nonce, token_hash, state, began)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'leased', ?10)",
        )?
        .execute(params![
            claim.attempt.as_str(),
            row.run,
            row.name,
            chosen.project,
            number,
            fence,
            claim.runner.as_str(),
            claim.nonce,
            (claim.token)(&claim.attempt).to_string(),
            now
        ])?;
    let subject = format!("job {}/{}", row.run, row.name);
    let after = serde_json::json!({ "attempt": claim.attempt, "fence": fence }).to_string();
    note(
        connection,
        &Change {
            by: &claim.by,
            at: now,
            what: "job-claimed",
            subject: &subject,
            before: None,
            after: Some(&after),
        },
    )?;
    settle(connection, &row.run, now)?;
    Ok(number)
}

/// The specification goes through as text: nothing of a plan is read here.
fn given(
    connection: &Connection,
    attempt: &AttemptId,
    number: u32,
    again: bool,
) -> Result<Given, StoreError> {
    let live = live::by_id(connection, attempt.as_str())?;
    let damaged =
        |why: &str| StoreError::Damaged { table: "jobs", row: attempt.to_string(), why: why.to_owned() };
    let found: Option<(String, String)> = connection
        .prepare_cached(
            "SELECT j.spec_json, p.plan_json FROM attempts a
             JOIN jobs j ON j.run = a.run AND j.name = a.job JOIN plans p ON p.run = a.run WHERE a.id = ?1",
        )?
        .query_row([attempt.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (spec, plan) = found.ok_or_else(|| damaged("its run has no plan"))?;
    let rest = spec.strip_prefix('{').ok_or_else(|| damaged("its specification is no JSON object"))?;
    Ok(Given { live, number, spec_json: format!("{{\"plan\":{plan},{rest}"), again })
}
