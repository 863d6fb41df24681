//! Statements about where packages came from.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{Digest, Name, service::Trust};

use super::{
    Sqlite,
    audit::{Change, note},
};
use crate::store::{PackageOrigin, Packages, Pushed, StoreError, Yielded};

#[async_trait]
impl Packages for Sqlite {
    async fn knows_project(&self, project: &Name) -> Result<bool, StoreError> {
        let project = project.to_string();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM projects WHERE name = ?1")?;
            Ok(statement.exists([project])?)
        })
        .await
    }

    async fn note_push(&self, pushed: Pushed, now: u64) -> Result<(), StoreError> {
        self.write(move |connection| note_push(connection, &pushed, now)).await
    }

    async fn note_yield(&self, yielded: Yielded, now: u64) -> Result<(), StoreError> {
        self.write(move |connection| note_yield(connection, &yielded, now)).await
    }

    async fn package_origin(
        &self,
        project: &Name,
        name: &Name,
        manifest: &Digest,
    ) -> Result<Option<PackageOrigin>, StoreError> {
        let key = [project.to_string(), name.to_string(), manifest.to_string()];
        self.read(move |connection| origin(connection, &key)).await
    }
}

fn origin(connection: &Connection, key: &[String; 3]) -> Result<Option<PackageOrigin>, StoreError> {
    let found: Option<(String, Option<String>)> = connection
        .prepare_cached("SELECT trust, run FROM packages WHERE project = ?1 AND name = ?2 AND manifest = ?3")?
        .query_row(params![key[0], key[1], key[2]], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((trust, run)) = found else { return Ok(None) };
    let damaged = |why: String| StoreError::Damaged { table: "packages", row: key.join(" "), why };
    let trust: Trust =
        trust.parse().map_err(|bad: staith_model::service::NotATrust| damaged(bad.to_string()))?;
    let run = run.map(|run| run.parse().map_err(|bad: staith_model::NotAnId| damaged(bad.to_string())));
    Ok(Some(PackageOrigin { trust, run: run.transpose()? }))
}

fn note_push(connection: &Connection, pushed: &Pushed, now: u64) -> Result<(), StoreError> {
    let run = pushed.attempt.as_ref().map(|attempt| live_run(connection, attempt.as_str())).transpose()?;
    let key = [pushed.project.to_string(), pushed.name.to_string(), pushed.manifest.to_string()];
    let before = origin(connection, &key)?;
    if before.as_ref().is_some_and(|before| before.trust >= pushed.trust) {
        return Ok(());
    }
    let [project, name, manifest] = &key;
    connection
        .prepare_cached(
            "INSERT INTO packages (project, name, manifest, trust, run, pushed_by, pushed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET trust = excluded.trust, run = excluded.run,
                 pushed_by = excluded.pushed_by, pushed = excluded.pushed",
        )?
        .execute(params![project, name, manifest, pushed.trust.as_str(), run, pushed.by.who, now])?;
    let quoted = |trust: Trust| format!("\"{}\"", trust.as_str());
    let before = before.map(|before| quoted(before.trust));
    note(
        connection,
        &Change {
            by: &pushed.by,
            at: now,
            what: "package-pushed",
            subject: &format!("package {project}/{name}@{manifest}"),
            before: before.as_deref(),
            after: Some(&quoted(pushed.trust)),
        },
    )
}

fn note_yield(connection: &Connection, yielded: &Yielded, now: u64) -> Result<(), StoreError> {
    let Yielded { project, name, version, had, trust, to, by } = yielded;
    let before = serde_json::json!({ "manifest": had, "trust": trust }).to_string();
    let after = serde_json::json!({ "manifest": to }).to_string();
    note(
        connection,
        &Change {
            by,
            at: now,
            what: "version-yielded",
            subject: &format!("package {project}/{name}@{version}"),
            before: Some(&before),
            after: Some(&after),
        },
    )
}

/// The run of an attempt that still counts.
fn live_run(connection: &Connection, attempt: &str) -> Result<String, StoreError> {
    let found: Option<(String, u64, String)> = connection
        .prepare_cached("SELECT run, fence, state FROM attempts WHERE id = ?1")?
        .query_row([attempt], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match found {
        Some((run, _, state)) if state == "leased" => Ok(run),
        Some((_, fence, state)) => {
            Err(StoreError::StaleFence { given: fence, now: format!("the attempt is {state}") })
        }
        None => Err(StoreError::Unknown { what: "attempt", name: attempt.to_owned() }),
    }
}
