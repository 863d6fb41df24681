//! Statements about what is to be told to forges.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use staith_model::Name;

use super::{
    Sqlite,
    rows::{damaged, json, parsed},
};
use crate::store::{Letter, Outbox, Standing, StoreError, Told};

const STATUS: &str = "status";
/// The most runs that are told of in one transaction.
const AT_ONCE: u32 = 500;

#[async_trait]
impl Outbox for Sqlite {
    async fn collect(&self, now: u64) -> Result<u32, StoreError> {
        self.write(move |connection| collect(connection, now)).await
    }

    async fn post(&self, project: &Name, subject: &str, told: &Told, now: u64) -> Result<(), StoreError> {
        let (project, subject, told) = (project.clone(), subject.to_owned(), told.clone());
        self.write(move |connection| post(connection, project.as_str(), &subject, &told, now)).await
    }

    async fn letters(&self, now: u64, most: u32) -> Result<Vec<Letter>, StoreError> {
        self.read(move |connection| letters(connection, now, most)).await
    }

    async fn heard(&self, letter: &Letter, now: u64) -> Result<(), StoreError> {
        let (id, version) = (letter.id, letter.version);
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE outbox SET sent = ?3, last_error = NULL WHERE id = ?1 AND version = ?2",
                )?
                .execute(params![id, version, now])?;
            Ok(())
        })
        .await
    }

    async fn unheard(
        &self,
        letter: &Letter,
        again: Option<u64>,
        why: &str,
        now: u64,
    ) -> Result<(), StoreError> {
        let (id, version, why) = (letter.id, letter.version, why.to_owned());
        self.write(move |connection| {
            // What is never tried again counts as settled; why it was not heard stays beside it.
            connection
                .prepare_cached(
                    "UPDATE outbox SET tries = tries + 1, last_error = ?3, next_try = coalesce(?4, next_try),
                         sent = CASE WHEN ?4 IS NULL THEN ?5 END
                     WHERE id = ?1 AND version = ?2",
                )?
                .execute(params![id, version, why, again, now])?;
            Ok(())
        })
        .await
    }
}

/// A run as a row: id, project, number, state, why, the commit, the event.
type Raw = (String, String, u64, String, Option<String>, Option<String>, Option<String>);

fn collect(connection: &Connection, now: u64) -> Result<u32, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT r.id, r.project, r.number, r.state, r.why, json_extract(p.plan_json, '$.source.commit'),
             json_extract(p.plan_json, '$.trigger.kind')
         FROM runs r LEFT JOIN plans p ON p.run = r.id WHERE r.told IS NOT r.state ORDER BY r.created LIMIT ?1",
    )?;
    let raw = |row: &Row<'_>| -> rusqlite::Result<Raw> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
    };
    let runs = select.query_map([AT_ONCE], raw)?.collect::<Result<Vec<_>, _>>()?;
    for (id, project, number, state, why, commit, event) in &runs {
        if let (Some(commit), Some(standing)) = (commit, standing(state)) {
            let told = Told {
                commit: commit.clone(),
                state: standing,
                description: why.clone().unwrap_or_else(|| format!("run {number} {}", words(standing))),
                event: event.clone().unwrap_or_default(),
                number: Some(*number),
            };
            post(connection, project, &format!("run {id}"), &told, now)?;
        }
        connection.prepare_cached("UPDATE runs SET told = ?2 WHERE id = ?1")?.execute([id, state])?;
    }
    Ok(u32::try_from(runs.len()).unwrap_or(u32::MAX))
}

fn standing(state: &str) -> Option<Standing> {
    Some(match state {
        "waiting" => Standing::Waiting,
        "running" => Standing::Running,
        "passed" => Standing::Passed,
        "failed" => Standing::Failed,
        "cancelled" => Standing::Cancelled,
        _ => return None,
    })
}

const fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "waits for a runner",
        Standing::Running => "is under way",
        Standing::Passed => "passed",
        Standing::Failed => "failed",
        Standing::Cancelled => "was cancelled",
        Standing::Refused => "can't be made",
    }
}

fn post(
    connection: &Connection,
    project: &str,
    subject: &str,
    told: &Told,
    now: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO outbox (project, kind, subject, body_json, made, next_try) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
             ON CONFLICT (project, kind, subject) DO UPDATE SET body_json = excluded.body_json, made = excluded.made,
                 next_try = excluded.next_try, version = version + 1, tries = 0, last_error = NULL, sent = NULL",
        )?
        .execute(params![project, STATUS, subject, json(told)?, now])?;
    Ok(())
}

fn letters(connection: &Connection, now: u64, most: u32) -> Result<Vec<Letter>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id, version, project, body_json, tries, made FROM (
             SELECT *, row_number() OVER (PARTITION BY project ORDER BY next_try, id) AS place FROM outbox
             WHERE sent IS NULL AND next_try <= ?1 AND kind = ?2)
         WHERE place <= ?3 ORDER BY next_try, id",
    )?;
    type Raw = (i64, i64, String, String, u32, u64);
    let raw = |row: &Row<'_>| -> rusqlite::Result<Raw> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    };
    let rows = select.query_map(params![now, STATUS, most], raw)?.collect::<Result<Vec<_>, _>>()?;
    let understood = |(id, version, project, body, tries, made): Raw| -> Result<Letter, StoreError> {
        let row = id.to_string();
        let told = parsed("outbox", &row, &body)?;
        let project = project.parse().map_err(|bad: staith_model::NotAName| damaged("outbox", &row, &bad))?;
        Ok(Letter { id, version, project, told, tries, made })
    };
    let sound =
        |row| understood(row).inspect_err(|bad| tracing::error!(%bad, "a message is left alone")).ok();
    Ok(rows.into_iter().filter_map(sound).collect())
}
