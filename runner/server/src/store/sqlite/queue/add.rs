//! A run that is to be.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::service::JobState;

use super::{
    cancel::cancel_open,
    settle::{admit_next, settle},
};
use crate::{
    queue::needs::{self, Node},
    store::{
        NewJob, NewRun, StoreError,
        sqlite::audit::{Change, note},
    },
};

pub(super) fn add_run(connection: &Connection, run: &NewRun, now: u64) -> Result<u64, StoreError> {
    let arrival = run.arrival.as_ref().map(ToString::to_string);
    let known = connection
        .prepare_cached("SELECT number FROM runs WHERE arrival = ?1")?
        .query_row([&arrival], |row| row.get(0))
        .optional()?;
    if let Some(number) = known {
        return Ok(number);
    }
    check(run)?;
    let (id, number) = (run.id.to_string(), insert(connection, run, arrival.as_deref(), now)?);
    for job in &run.jobs {
        insert_job(connection, &id, number, run.priority, job)?;
    }
    let subject = format!("run {id}");
    note(
        connection,
        &Change { by: &run.by, at: now, what: "run-added", subject: &subject, before: None, after: None },
    )?;
    match &run.concurrency {
        None => settle(connection, &id, now)?,
        Some(group) => take_place(connection, run, group, number, now)?,
    }
    Ok(number)
}

fn check(run: &NewRun) -> Result<(), StoreError> {
    let nodes: Vec<Node> = run
        .jobs
        .iter()
        .map(|job| Node {
            name: job.spec.name.to_string(),
            state: JobState::Waiting,
            needs: job.needs.iter().map(ToString::to_string).collect(),
        })
        .collect();
    needs::check(&nodes).map_err(StoreError::Conflict)?;
    let same = |job: &NewJob| {
        let (spec, first) = (&job.spec, &run.jobs[0].spec);
        spec.run == run.id
            && spec.project == first.project
            && spec.trust == first.trust
            && spec.plan_digest == first.plan_digest
    };
    match run.jobs.iter().find(|job| !same(job)) {
        None => Ok(()),
        Some(other) => Err(StoreError::Conflict(format!(
            "the job `{}` has not the run, project, plan and trust of its run",
            other.spec.name
        ))),
    }
}

fn insert(connection: &Connection, run: &NewRun, arrival: Option<&str>, now: u64) -> Result<u64, StoreError> {
    let (id, spec) = (run.id.to_string(), &run.jobs[0].spec);
    let number: u64 = connection
        .prepare_cached("SELECT coalesce(max(number), 0) + 1 FROM runs WHERE project = ?1")?
        .query_row([spec.project.as_str()], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO runs (id, project, number, arrival, asked_by, commit_id, plan_digest, trust, concurrency, admitted,
                 priority, state, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'waiting', ?12)",
        )?
        .execute(params![
            id,
            spec.project.as_str(),
            number,
            arrival,
            run.by.who,
            spec.plan.source.commit,
            spec.plan_digest.to_string(),
            spec.trust.as_str(),
            run.concurrency,
            run.concurrency.is_none(),
            run.priority,
            now
        ])?;
    connection
        .prepare_cached("INSERT INTO plans (run, plan_json) VALUES (?1, ?2)")?
        .execute(params![id, json(&spec.plan)?])?;
    Ok(number)
}

fn insert_job(
    connection: &Connection,
    run: &str,
    number: u64,
    priority: i32,
    job: &NewJob,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO jobs (run, name, spec_json, project, priority, pool, labels_json, needs_json, timeout_millis, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'waiting')",
        )?
        .execute(params![
            run,
            job.spec.name.as_str(),
            without_plan(number, job)?,
            job.spec.project.as_str(),
            priority,
            job.pool.as_str(),
            json(&job.labels)?,
            json(&job.needs)?,
            job.spec.timeout_millis
        ])?;
    Ok(())
}

/// The plan is the same for all jobs of a run, and long: it is kept once, and put in again as text when a job is given away.
fn without_plan(number: u64, job: &NewJob) -> Result<String, StoreError> {
    let mut spec = serde_json::to_value(&job.spec).map_err(|bad| StoreError::Conflict(bad.to_string()))?;
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("plan");
        fields.insert("number".to_owned(), number.into());
    }
    json(&spec)
}

/// A run of a group: older ones make room if it wants that, and whoever is next has its turn.
fn take_place(
    connection: &Connection,
    run: &NewRun,
    group: &str,
    number: u64,
    now: u64,
) -> Result<(), StoreError> {
    let spec = &run.jobs[0].spec;
    let (project, trust) = (spec.project.as_str(), spec.trust.as_str());
    if run.supersedes {
        let older: Vec<String> = connection
            .prepare_cached(
                "SELECT id FROM runs WHERE project = ?1 AND trust = ?2 AND concurrency = ?3 AND number < ?4 AND ended IS NULL
                 ORDER BY number",
            )?
            .query_map(params![project, trust, group, number], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for id in older {
            cancel_open(
                connection,
                &id,
                &run.by,
                &format!("superseded by run {number} of the group `{group}`"),
                now,
            )?;
        }
    }
    admit_next(connection, project, trust, group, now)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|bad| StoreError::Conflict(bad.to_string()))
}
