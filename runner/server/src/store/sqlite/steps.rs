//! Statements about what steps came to.

mod forget;

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{
    AttemptId, Digest, Name,
    service::{AttemptState, StepCame, StepGiven, Trust},
};

use super::{
    Sqlite,
    queue::word,
    rows::{damaged, json, parsed},
};
use crate::store::{BlobOf, StepCaps, Steps, StoreError};

/// A use is noted once in this time, in milliseconds.
const NOTED_EVERY: u64 = 60_000;

#[async_trait]
impl Steps for Sqlite {
    async fn note_step(
        &self,
        attempt: &AttemptId,
        step: &Name,
        given: StepGiven,
        now: u64,
    ) -> Result<(), StoreError> {
        let (attempt, step) = (attempt.clone(), step.clone());
        self.write(move |connection| note_step(connection, &attempt, &step, &given, now)).await
    }

    async fn step_of_run(&self, attempt: &AttemptId, step: &Name) -> Result<Option<StepCame>, StoreError> {
        let (attempt, step) = (attempt.clone(), step.clone());
        self.read(move |connection| {
            let of = Of::live(connection, &attempt)?;
            let found: Option<String> = connection
                .prepare_cached("SELECT came_json FROM run_steps WHERE run = ?1 AND step = ?2")?
                .query_row([&of.run, step.as_str()], |row| row.get(0))
                .optional()?;
            found.map(|text| parsed("run_steps", step.as_str(), &text)).transpose()
        })
        .await
    }

    async fn step_known(
        &self,
        attempt: &AttemptId,
        key: &Digest,
        now: u64,
    ) -> Result<Option<StepCame>, StoreError> {
        let (reader, key) = (attempt.clone(), *key);
        let found = self.read(move |connection| known(connection, &reader, &key)).await?;
        let Some(Known { came, project, trust, used }) = found else { return Ok(None) };
        if now.saturating_sub(used) > NOTED_EVERY {
            self.write(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE step_records SET used = ?4 WHERE project = ?1 AND key = ?2 AND trust = ?3",
                    )?
                    .execute(params![project, key.to_string(), trust.as_str(), now])?;
                Ok(())
            })
            .await?;
        }
        Ok(Some(came))
    }

    async fn layer_for(&self, attempt: &AttemptId, blob: &Digest) -> Result<Option<(Name, u64)>, StoreError> {
        let (attempt, blob) = (attempt.clone(), *blob);
        self.read(move |connection| layer_for(connection, &attempt, &blob)).await
    }

    async fn forget_steps(&self, caps: StepCaps) -> Result<Vec<BlobOf>, StoreError> {
        self.write(move |connection| forget::forget(connection, caps)).await
    }

    async fn layers_named(&self) -> Result<BTreeSet<BlobOf>, StoreError> {
        self.read(forget::named).await
    }
}

/// What an attempt is of. Its trust is its run's.
struct Of {
    run: String,
    project: String,
    trust: Trust,
    fence: u64,
    /// The steps of its job; all of the plan's if none are said.
    steps: Option<BTreeSet<String>>,
}

impl Of {
    fn live(connection: &Connection, attempt: &AttemptId) -> Result<Self, StoreError> {
        let found = connection
            .prepare_cached(
                "SELECT a.run, r.project, r.trust, a.fence, a.state, json_extract(j.spec_json, '$.part.steps')
                 FROM attempts a JOIN runs r ON r.id = a.run JOIN jobs j ON j.run = a.run AND j.name = a.job
                 WHERE a.id = ?1",
            )?
            .query_row([attempt.as_str()], |row| {
                let words: (String, String) = (row.get(2)?, row.get(4)?);
                let steps: Option<String> = row.get(5)?;
                let of = Self {
                    run: row.get(0)?,
                    project: row.get(1)?,
                    trust: Trust::Fork,
                    fence: row.get(3)?,
                    steps: None,
                };
                Ok((of, words, steps))
            })
            .optional()?;
        let Some((of, (trust, state), steps)) = found else {
            return Err(StoreError::Unknown { what: "attempt", name: attempt.to_string() });
        };
        if word::<AttemptState>("attempts", attempt.as_str(), &state)? != AttemptState::Leased {
            return Err(StoreError::StaleFence { given: of.fence, now: format!("the attempt is {state}") });
        }
        let steps = steps.map(|text| parsed("jobs", &of.run, &text)).transpose()?;
        Ok(Self { trust: word("runs", &of.run, &trust)?, steps, ..of })
    }
}

fn note_step(
    connection: &Connection,
    attempt: &AttemptId,
    step: &Name,
    given: &StepGiven,
    now: u64,
) -> Result<(), StoreError> {
    let of = Of::live(connection, attempt)?;
    if of.fence != given.fence {
        let now = "the attempt has another fence".to_owned();
        return Err(StoreError::StaleFence { given: given.fence, now });
    }
    if of.steps.as_ref().is_some_and(|steps| !steps.contains(step.as_str())) {
        return Err(StoreError::Conflict(format!("the step `{step}` is none of the attempt's job")));
    }
    let came = json(&given.came)?;
    let blob = given.came.layer.map(|layer| layer.blob.to_string());
    let length = given.came.layer.map_or(0, |layer| layer.length);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO run_steps (run, step, project, came_json, blob, length, attempt, used)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![of.run, step.as_str(), of.project, came, blob, length, attempt.as_str(), now])?;
    let Some(key) = &given.key else { return Ok(()) };
    let key = key.to_string();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO step_records (project, key, trust, came_json, blob, length, attempt, used)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![of.project, key, of.trust.as_str(), came, blob, length, attempt.as_str(), now])?;
    Ok(())
}

struct Known {
    came: StepCame,
    project: String,
    trust: Trust,
    used: u64,
}

/// The record that the attempt may read, of the most trusted maker. What may be read is decided by [`Trust::may_read`] and nowhere else.
fn known(connection: &Connection, attempt: &AttemptId, key: &Digest) -> Result<Option<Known>, StoreError> {
    let of = Of::live(connection, attempt)?;
    let mut statement = connection
        .prepare_cached("SELECT trust, came_json, used FROM step_records WHERE project = ?1 AND key = ?2")?;
    let rows = statement.query_map([&of.project, &key.to_string()], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, u64>(2)?))
    })?;
    let mut best: Option<(Trust, String, u64)> = None;
    for row in rows {
        let (trust, came, used) = row?;
        let trust: Trust = word("step_records", &key.to_string(), &trust)?;
        if of.trust.may_read(trust) && best.as_ref().is_none_or(|(best, ..)| *best < trust) {
            best = Some((trust, came, used));
        }
    }
    best.map(|(trust, came, used)| {
        let came = parsed("step_records", &key.to_string(), &came)?;
        Ok(Known { came, project: of.project, trust, used })
    })
    .transpose()
}

fn layer_for(
    connection: &Connection,
    attempt: &AttemptId,
    blob: &Digest,
) -> Result<Option<(Name, u64)>, StoreError> {
    let (of, blob) = (Of::live(connection, attempt)?, blob.to_string());
    let project = || of.project.parse().map_err(|bad| damaged("runs", &of.run, &bad));
    let own: Option<u64> = connection
        .prepare_cached("SELECT length FROM run_steps WHERE run = ?1 AND blob = ?2")?
        .query_row([&of.run, &blob], |row| row.get(0))
        .optional()?;
    if let Some(length) = own {
        return Ok(Some((project()?, length)));
    }
    let mut statement = connection
        .prepare_cached("SELECT trust, length FROM step_records WHERE project = ?1 AND blob = ?2")?;
    let rows = statement
        .query_map([&of.project, &blob], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))?;
    for row in rows {
        let (trust, length) = row?;
        if of.trust.may_read(word("step_records", &blob, &trust)?) {
            return Ok(Some((project()?, length)));
        }
    }
    Ok(None)
}
