//! Statements about streams.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use staith_model::{AttemptId, Name, RunId};

use super::{
    Sqlite,
    audit::{Change, note},
};
use crate::{
    store::{Actor, Closing, Growth, StoreError, StreamListed, StreamMark, StreamPlace, StreamRow, Streams},
    streams::StreamName,
};

#[async_trait]
impl Streams for Sqlite {
    async fn stream_place(&self, attempt: &AttemptId, name: &StreamName) -> Result<StreamPlace, StoreError> {
        let (attempt, name) = (attempt.to_string(), name.to_string());
        self.read(move |connection| place(connection, &attempt, &name)).await
    }

    async fn grow_streams(&self, all: Vec<Growth>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.write(move |connection| {
            let mut answers = Vec::with_capacity(all.len());
            for growth in &all {
                match grow(connection, growth) {
                    // These say something of one stream; what else goes wrong is the database's and holds for all.
                    answer @ (Ok(()) | Err(StoreError::StaleFence { .. } | StoreError::Conflict(_))) => {
                        answers.push(answer);
                    }
                    Err(failed) => return Err(failed),
                }
            }
            Ok(answers)
        })
        .await
    }

    async fn close_stream(&self, closing: Closing) -> Result<(), StoreError> {
        self.write(move |connection| close(connection, &closing)).await
    }

    async fn mark_stream(
        &self,
        attempt: &AttemptId,
        name: &StreamName,
        mark: StreamMark,
        now: u64,
    ) -> Result<(), StoreError> {
        let (attempt, name) = (attempt.to_string(), name.to_string());
        self.write(move |connection| set_mark(connection, &attempt, &name, mark, now)).await
    }

    async fn streams_of(&self, run: &RunId) -> Result<(Name, Vec<StreamListed>), StoreError> {
        let run = run.to_string();
        self.read(move |connection| Ok((project_of(connection, &run)?, list(connection, &run)?))).await
    }

    async fn source_of(&self, attempt: &AttemptId) -> Result<(Name, String), StoreError> {
        let attempt = attempt.to_string();
        self.read(move |connection| {
            let found: Option<(String, Option<String>)> = connection
                .prepare_cached(
                    "SELECT a.project, json_extract(p.plan_json, '$.source.tree')
                     FROM attempts a LEFT JOIN plans p ON p.run = a.run WHERE a.id = ?1",
                )?
                .query_row([&attempt], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let unknown = || StoreError::Unknown { what: "attempt", name: attempt.clone() };
            let (project, tree) = found.ok_or_else(unknown)?;
            let damaged = || StoreError::Damaged {
                table: "runs",
                row: attempt.clone(),
                why: "its plan names no source".to_owned(),
            };
            Ok((parsed("attempts", &attempt, &project)?, tree.ok_or_else(damaged)?))
        })
        .await
    }

    async fn sources_in_use(&self) -> Result<Vec<(Name, String)>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT DISTINCT r.project, json_extract(p.plan_json, '$.source.tree')
                 FROM runs r JOIN plans p ON p.run = r.id WHERE r.ended IS NULL",
            )?;
            let rows = select
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
            let mut all = Vec::new();
            for row in rows {
                let (project, Some(tree)) = row? else { continue };
                all.push((parsed("runs", &project, &project)?, tree));
            }
            Ok(all)
        })
        .await
    }

    async fn unclosed_streams(
        &self,
        attempt: &AttemptId,
        names: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let attempt = attempt.to_string();
        self.read(move |connection| {
            let closed: BTreeSet<String> = connection
                .prepare_cached("SELECT name FROM streams WHERE attempt = ?1 AND digest IS NOT NULL")?
                .query_map([attempt], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok(names.into_iter().filter(|name| !closed.contains(name)).collect())
        })
        .await
    }
}

fn place(connection: &Connection, attempt: &str, name: &str) -> Result<StreamPlace, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT a.run, r.project, a.fence, a.state = 'leased',
                    (SELECT count(*) FROM streams WHERE attempt = a.id),
                    (SELECT coalesce(sum(length), 0) FROM streams WHERE attempt = a.id)
             FROM attempts a JOIN runs r ON r.id = a.run WHERE a.id = ?1",
        )?
        .query_row([attempt], |row| {
            Ok((
                (row.get::<_, String>(0)?, row.get::<_, String>(1)?),
                (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?),
            ))
        })
        .optional()?;
    let Some(((run, project), (fence, live, streams, bytes))) = found else {
        return Err(StoreError::Unknown { what: "attempt", name: attempt.to_owned() });
    };
    let stream = row(connection, attempt, name)?;
    let (run, project) = (parsed("attempts", attempt, &run)?, parsed("attempts", attempt, &project)?);
    Ok(StreamPlace { run, project, fence, live, streams, bytes, stream })
}

fn row(connection: &Connection, attempt: &str, name: &str) -> Result<Option<StreamRow>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT length, digest, divergent, cut FROM streams WHERE attempt = ?1 AND name = ?2",
        )?
        .query_row(params![attempt, name], |row| read_row(row, 0))
        .optional()?;
    found.map(|raw| of_raw(attempt, name, raw)).transpose()
}

/// Length, digest, and the marks.
type Raw = (u64, Option<String>, bool, bool);

fn read_row(row: &Row<'_>, from: usize) -> rusqlite::Result<Raw> {
    Ok((row.get(from)?, row.get(from + 1)?, row.get(from + 2)?, row.get(from + 3)?))
}

fn of_raw(attempt: &str, name: &str, raw: Raw) -> Result<StreamRow, StoreError> {
    let (length, digest, divergent, cut) = raw;
    let digest = digest.map(|text| parsed("streams", &format!("{attempt}/{name}"), &text)).transpose()?;
    Ok(StreamRow { length, digest, divergent, cut })
}

fn parsed<T: std::str::FromStr>(table: &'static str, row: &str, text: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|bad: T::Err| StoreError::Damaged {
        table,
        row: row.to_owned(),
        why: bad.to_string(),
    })
}

/// Goes on only if the fence is that of the attempt and the attempt still counts.
fn must_count(connection: &Connection, attempt: &str, given: u64) -> Result<(), StoreError> {
    let found: Option<(u64, String)> = connection
        .prepare_cached("SELECT fence, state FROM attempts WHERE id = ?1")?
        .query_row([attempt], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((fence, state)) = found else {
        return Err(StoreError::Unknown { what: "attempt", name: attempt.to_owned() });
    };
    if state != "leased" {
        return Err(StoreError::StaleFence { given, now: format!("the attempt is {state}") });
    }
    if fence != given {
        return Err(StoreError::StaleFence { given, now: format!("the attempt has {fence}") });
    }
    Ok(())
}

fn grow(connection: &Connection, growth: &Growth) -> Result<(), StoreError> {
    let (attempt, name) = (growth.attempt.to_string(), growth.name.to_string());
    must_count(connection, &attempt, growth.fence)?;
    connection
        .prepare_cached(
            "INSERT INTO streams (attempt, name, length) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET length = excluded.length
             WHERE digest IS NULL AND excluded.length > length",
        )?
        .execute(params![attempt, name, growth.length])?;
    match row(connection, &attempt, &name)? {
        Some(row) if row.digest.is_some() && row.length != growth.length => {
            Err(StoreError::Conflict(format!("the stream {name} is closed with {} bytes", row.length)))
        }
        _ => Ok(()),
    }
}

fn close(connection: &Connection, closing: &Closing) -> Result<(), StoreError> {
    let (attempt, name) = (closing.attempt.to_string(), closing.name.to_string());
    let found = row(connection, &attempt, &name)?;
    if let Some(StreamRow { length, digest: Some(digest), .. }) = found {
        let is_same = length == closing.length && digest == closing.digest;
        let conflict = || format!("the stream {name} is closed with {length} bytes and the digest {digest}");
        return if is_same { Ok(()) } else { Err(StoreError::Conflict(conflict())) };
    }
    must_count(connection, &attempt, closing.fence)?;
    let length = found.map_or(0, |row| row.length);
    if length != closing.length {
        let why = format!("the stream {name} has {length} bytes here, not {}", closing.length);
        return Err(StoreError::Conflict(why));
    }
    connection
        .prepare_cached(
            "INSERT INTO streams (attempt, name, length, digest) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET digest = excluded.digest",
        )?
        .execute(params![attempt, name, closing.length, closing.digest.to_string()])?;
    Ok(())
}

fn set_mark(
    connection: &Connection,
    attempt: &str,
    name: &str,
    mark: StreamMark,
    now: u64,
) -> Result<(), StoreError> {
    let known = row(connection, attempt, name)?.unwrap_or_default();
    let (is_set, column, what) = match mark {
        StreamMark::Divergent => (known.divergent, "divergent", "stream-divergent"),
        StreamMark::Cut => (known.cut, "cut", "stream-cut"),
    };
    if is_set {
        return Ok(());
    }
    let statement = format!(
        "INSERT INTO streams (attempt, name, length, {column}) VALUES (?1, ?2, 0, 1)
         ON CONFLICT DO UPDATE SET {column} = 1"
    );
    connection.prepare_cached(&statement)?.execute(params![attempt, name])?;
    let (by, subject) =
        (Actor { who: format!("attempt:{attempt}"), from: None }, format!("stream {attempt}/{name}"));
    note(connection, &Change { by: &by, at: now, what, subject: &subject, before: None, after: None })
}

fn project_of(connection: &Connection, run: &str) -> Result<Name, StoreError> {
    let found: Option<String> = connection
        .prepare_cached("SELECT project FROM runs WHERE id = ?1")?
        .query_row([run], |row| row.get(0))
        .optional()?;
    let project = found.ok_or_else(|| StoreError::Unknown { what: "run", name: run.to_owned() })?;
    parsed("runs", run, &project)
}

fn list(connection: &Connection, run: &str) -> Result<Vec<StreamListed>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT a.id, a.job, a.number, a.state = 'leased', s.name, s.length, s.digest, s.divergent, s.cut
         FROM attempts a JOIN streams s ON s.attempt = a.id WHERE a.run = ?1 ORDER BY a.began, a.id, s.name",
    )?;
    let rows = statement.query_map([run], |row| {
        let names = (row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(4)?);
        Ok((names, row.get(2)?, row.get(3)?, read_row(row, 5)?))
    })?;
    rows.map(|found| {
        let ((attempt, job, name), number, live, raw) = found?;
        Ok(StreamListed {
            row: of_raw(&attempt, &name, raw)?,
            job: parsed("attempts", &attempt, &job)?,
            name: parsed("streams", &attempt, &name)?,
            attempt: parsed("attempts", &attempt, &attempt)?,
            number,
            live,
        })
    })
    .collect()
}
