//! Copies of the deployer's ledgers.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{
    Name,
    service::{LedgerEntry, LedgerHad},
};

use super::{
    super::{
        projects,
        rows::{damaged, json, parsed},
    },
    trim::trim,
};
use crate::store::StoreError;

/// The most that is kept of one copy, in bytes, if less is enough for what people are shown.
const MOST: u64 = 64 << 20;
/// After so many entries it is looked whether it is more.
const TRIMMED_EVERY: u64 = 256;

pub(super) fn append(
    connection: &Connection,
    project: &Name,
    environment: &Name,
    entries: &[LedgerEntry],
) -> Result<LedgerHad, StoreError> {
    projects::must_be_there(connection, project.as_str())?;
    let before = had(connection, project, environment)?;
    let mut position = before;
    for entry in entries {
        if entry.position <= position {
            same(connection, project, environment, entry)?;
            continue;
        }
        if entry.position != position + 1 {
            let what = format!(
                "the ledger of {project}/{environment} is known up to {position}, and what comes begins at {}",
                entry.position
            );
            return Err(StoreError::Conflict(what));
        }
        connection
            .prepare_cached(
                "INSERT INTO ledger_entries (project, environment, position, at, event_json) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                project.as_str(),
                environment.as_str(),
                entry.position,
                entry.at,
                json(&entry.event)?
            ])?;
        position = entry.position;
    }
    if before / TRIMMED_EVERY != position / TRIMMED_EVERY {
        trim(connection, project, environment, MOST)?;
    }
    Ok(LedgerHad { position })
}

fn had(connection: &Connection, project: &Name, environment: &Name) -> Result<u64, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT coalesce(max(position), 0) FROM ledger_entries WHERE project = ?1 AND environment = ?2",
        )?
        .query_row([project.as_str(), environment.as_str()], |row| row.get(0))?)
}

/// What was told once is not told otherwise later.
fn same(
    connection: &Connection,
    project: &Name,
    environment: &Name,
    entry: &LedgerEntry,
) -> Result<(), StoreError> {
    let there: Option<String> = connection
        .prepare_cached(
            "SELECT event_json FROM ledger_entries WHERE project = ?1 AND environment = ?2 AND position = ?3",
        )?
        .query_row(params![project.as_str(), environment.as_str(), entry.position], |row| row.get(0))
        .optional()?;
    let told = json(&entry.event)?;
    if there.is_none_or(|there| there == told) {
        return Ok(());
    }
    let what = format!(
        "entry {} of the ledger of {project}/{environment} is another than the one that was told first",
        entry.position
    );
    Err(StoreError::Conflict(what))
}

pub(super) fn all(
    connection: &Connection,
    project: &Name,
    environment: &Name,
) -> Result<Vec<LedgerEntry>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT position, at, event_json FROM ledger_entries WHERE project = ?1 AND environment = ?2 ORDER BY position",
    )?;
    let rows = select
        .query_map([project.as_str(), environment.as_str()], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?, row.get::<_, String>(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    rows.into_iter()
        .map(|(position, at, event)| {
            let row = format!("{project}/{environment}/{position}");
            Ok(LedgerEntry { position, at, event: parsed("ledger_entries", &row, &event)? })
        })
        .collect()
}

pub(super) fn environments(connection: &Connection, project: &Name) -> Result<Vec<Name>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT environment FROM ledger_entries WHERE project = ?1
         UNION SELECT environment FROM environment_rules WHERE project = ?1
         UNION SELECT e.value FROM releases r, json_each(r.environments_json) e WHERE r.project = ?1 ORDER BY 1",
    )?;
    let rows = select
        .query_map([project.as_str()], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let name =
        |text: String| text.parse().map_err(|bad: staith_model::NotAName| damaged("releases", &text, &bad));
    rows.into_iter().map(name).collect()
}
