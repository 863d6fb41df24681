//! Runs as people see them.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::de::DeserializeOwned;
use staith_model::service::{AttemptView, JobState, JobView, RunPage, RunSummary, RunView};

use super::rows::word;
use crate::{
    queue::unmet::{Offer, unmet},
    store::{RunFilter, StoreError, page},
};

const SUMMARY: &str =
    "SELECT id, project, number, state, why, commit_id, plan_digest, trust, asked_by, concurrency, priority,
    created, ended, admitted FROM runs";

pub(super) fn runs(connection: &Connection, filter: &RunFilter) -> Result<RunPage, StoreError> {
    // One statement for each set of filters, so that each walks along an index.
    let filters = [
        filter.project.as_ref().map(|project| ("project = ?", project.to_string())),
        filter.number.map(|number| ("number = ?", number.to_string())),
        filter.state.map(|state| ("state = ?", state.to_string())),
        filter.after.as_ref().map(|after| ("id < ?", after.to_string())),
    ];
    let (wanted, values): (Vec<&str>, Vec<String>) = filters.into_iter().flatten().unzip();
    let filters = if wanted.is_empty() { String::new() } else { format!("WHERE {}", wanted.join(" AND ")) };
    let limit = filter.limit.max(1);
    let mut statement = connection
        .prepare_cached(&format!("{SUMMARY} {filters} ORDER BY id DESC LIMIT {}", u64::from(limit) + 1))?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| Ok(summary(row)))?;
    let mut found = Vec::new();
    for row in rows {
        match row? {
            Ok(run) => found.push(run),
            // One row must not hide the others; it is told by itself when it is asked for.
            Err(damaged @ StoreError::Damaged { .. }) => tracing::warn!(%damaged, "a run can't be listed"),
            Err(other) => return Err(other),
        }
    }
    let (runs, next) = page::cut(found, limit, |run| run.id.clone());
    Ok(RunPage { runs, next })
}

pub(super) fn run(connection: &Connection, id: &str) -> Result<RunView, StoreError> {
    let found = connection
        .prepare_cached(&format!("{SUMMARY} WHERE id = ?1"))?
        .query_row([id], |row| Ok((summary(row), row.get::<_, bool>(13)?)))
        .optional()?;
    let Some((summary, admitted)) = found else {
        return Err(StoreError::Unknown { what: "run", name: id.to_owned() });
    };
    let mut run = summary?;
    if let (false, false, Some(group)) = (admitted, run.state.is_over(), &run.concurrency) {
        run.why = Some(format!("it waits for its turn in the group `{group}`"));
    }
    let mut jobs = jobs(connection, id)?;
    if jobs.iter().any(|job| job.state == JobState::Queued) {
        let offers = offers(connection)?;
        jobs.iter_mut().filter(|job| job.state == JobState::Queued).for_each(|job| say_unmet(job, &offers));
    }
    for (job, attempt) in attempts(connection, id)? {
        if let Some(view) = jobs.iter_mut().find(|view| view.name.as_str() == job) {
            view.attempts.push(attempt);
        }
    }
    Ok(RunView { run, jobs })
}

fn summary(row: &Row<'_>) -> Result<RunSummary, StoreError> {
    let id: String = row.get(0)?;
    let text = |column| row.get::<_, String>(column);
    Ok(RunSummary {
        id: word("runs", &id, &id)?,
        project: word("runs", &id, &text(1)?)?,
        number: row.get(2)?,
        state: word("runs", &id, &text(3)?)?,
        why: row.get(4)?,
        commit: row.get(5)?,
        plan_digest: word("runs", &id, &text(6)?)?,
        trust: word("runs", &id, &text(7)?)?,
        asked_by: row.get(8)?,
        concurrency: row.get(9)?,
        priority: row.get(10)?,
        created: row.get(11)?,
        ended: row.get(12)?,
    })
}

fn jobs(connection: &Connection, run: &str) -> Result<Vec<JobView>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, state, why, pool, labels_json, needs_json, queued, ended FROM jobs WHERE run = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([run], |row| Ok(job(run, row)))?;
    rows.map(|row| row?).collect()
}

fn job(run: &str, row: &Row<'_>) -> Result<JobView, StoreError> {
    let name: String = row.get(0)?;
    let key = format!("{run}/{name}");
    Ok(JobView {
        name: word("jobs", &key, &name)?,
        state: word("jobs", &key, &row.get::<_, String>(1)?)?,
        why: row.get(2)?,
        pool: word("jobs", &key, &row.get::<_, String>(3)?)?,
        labels: value("jobs", &key, &row.get::<_, String>(4)?)?,
        unmet: BTreeSet::new(),
        needs: value("jobs", &key, &row.get::<_, String>(5)?)?,
        queued: row.get(6)?,
        ended: row.get(7)?,
        attempts: Vec::new(),
    })
}

/// What is said about runners is true when it is asked for: they come and go, and nothing of that is written to jobs.
fn say_unmet(job: &mut JobView, offers: &[Offer]) {
    let Some(unmet) = unmet(&job.pool, &job.labels, offers) else { return };
    job.unmet = unmet.labels;
    job.why = Some(match job.why.take() {
        None => unmet.why,
        Some(before) => format!("{}; before: {before}", unmet.why),
    });
}

fn offers(connection: &Connection) -> Result<Vec<Offer>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, pool, labels_json, state = 'active' FROM runners WHERE state <> 'revoked' AND target IS NULL",
    )?;
    let rows = statement.query_map([], |row| {
        let (id, pool, labels): (String, String, String) = (row.get(0)?, row.get(2)?, row.get(3)?);
        let (name, active) = (row.get(1)?, row.get(4)?);
        Ok(word("runners", &id, &pool)
            .and_then(|pool| Ok(Offer { name, pool, labels: value("runners", &id, &labels)?, active })))
    })?;
    rows.map(|row| row?).collect()
}

fn attempts(connection: &Connection, run: &str) -> Result<Vec<(String, AttemptView)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT a.id, a.job, a.number, a.state, a.runner, r.name, a.outcome_json, a.why, a.began, a.ended, a.streams_json
         FROM attempts a JOIN runners r ON r.id = a.runner WHERE a.run = ?1 ORDER BY a.job, a.number",
    )?;
    let rows = statement.query_map([run], |row| Ok(attempt(row)))?;
    rows.map(|row| row?).collect()
}

fn attempt(row: &Row<'_>) -> Result<(String, AttemptView), StoreError> {
    let id: String = row.get(0)?;
    let outcome = row.get::<_, Option<String>>(6)?.map(|json| value("attempts", &id, &json)).transpose()?;
    let streams = row.get::<_, Option<String>>(10)?.map(|json| value("attempts", &id, &json)).transpose()?;
    let view = AttemptView {
        id: word("attempts", &id, &id)?,
        number: row.get(2)?,
        state: word("attempts", &id, &row.get::<_, String>(3)?)?,
        runner: word("attempts", &id, &row.get::<_, String>(4)?)?,
        runner_name: row.get(5)?,
        outcome,
        why: row.get(7)?,
        began: row.get(8)?,
        ended: row.get(9)?,
        streams: streams.unwrap_or_default(),
    };
    Ok((row.get(1)?, view))
}

fn value<T: DeserializeOwned>(table: &'static str, row: &str, json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|bad| StoreError::Damaged {
        table,
        row: row.to_owned(),
        why: bad.to_string(),
    })
}
