//! What was longest of no use is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use crate::store::{BlobOf, StepCaps, StoreError, sqlite::rows::damaged};

/// Room is made for more than the next one: otherwise each new record would look through all.
const LEFT_OF_TEN: u64 = 9;

/// One record, of a run or of a key.
struct Row {
    of_run: bool,
    rowid: i64,
    blob: Option<(String, String)>,
    length: u64,
    /// Of a run that is not over.
    needed: bool,
}

pub(super) fn forget(connection: &Connection, caps: StepCaps) -> Result<Vec<BlobOf>, StoreError> {
    let (bytes, records) = sizes(connection)?;
    if bytes <= caps.bytes && records <= caps.records {
        return Ok(Vec::new());
    }
    let rows = rows(connection)?;
    let mut named: BTreeMap<&(String, String), u64> = BTreeMap::new();
    rows.iter().filter_map(|row| row.blob.as_ref()).for_each(|blob| *named.entry(blob).or_default() += 1);
    let (mut bytes, mut records, mut gone) = (bytes, records, Vec::new());
    let wanted = StepCaps { bytes: caps.bytes / 10 * LEFT_OF_TEN, records: caps.records / 10 * LEFT_OF_TEN };
    for row in rows.iter().filter(|row| !row.needed) {
        if bytes <= wanted.bytes && records <= wanted.records {
            break;
        }
        let table = if row.of_run { "run_steps" } else { "step_records" };
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE rowid = ?1"))?.execute([row.rowid])?;
        records = records.saturating_sub(1);
        let Some(blob) = &row.blob else { continue };
        let left = named.get(blob).copied().unwrap_or_default().saturating_sub(1);
        named.insert(blob, left);
        if left == 0 {
            bytes = bytes.saturating_sub(row.length);
            gone.push(blob_of(blob)?);
        }
    }
    Ok(gone)
}

/// Bytes of layers, each once, and the number of records.
fn sizes(connection: &Connection) -> Result<(u64, u64), StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT (SELECT coalesce(sum(length), 0) FROM (
                        SELECT project, blob, length FROM step_records WHERE blob IS NOT NULL
                        UNION SELECT project, blob, length FROM run_steps WHERE blob IS NOT NULL)),
                    (SELECT count(*) FROM step_records) + (SELECT count(*) FROM run_steps)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// All records, what was longest of no use first.
fn rows(connection: &Connection) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT 0, s.rowid, s.project, s.blob, s.length, 0, s.used FROM step_records s
         UNION ALL
         SELECT 1, s.rowid, s.project, s.blob, s.length, r.ended IS NULL, s.used FROM run_steps s
             JOIN runs r ON r.id = s.run
         ORDER BY 7, 1, 2",
    )?;
    let rows = statement.query_map(params![], |row| {
        let project: String = row.get(2)?;
        let blob: Option<String> = row.get(3)?;
        Ok(Row {
            of_run: row.get(0)?,
            rowid: row.get(1)?,
            blob: blob.map(|blob| (project, blob)),
            length: row.get(4)?,
            needed: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn named(connection: &Connection) -> Result<BTreeSet<BlobOf>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT project, blob FROM step_records WHERE blob IS NOT NULL
         UNION SELECT project, blob FROM run_steps WHERE blob IS NOT NULL",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.map(|row| blob_of(&row?)).collect()
}

fn blob_of((project, blob): &(String, String)) -> Result<BlobOf, StoreError> {
    let project_name = project.parse().map_err(|bad| damaged("step_records", project, &bad))?;
    Ok((project_name, blob.parse().map_err(|bad| damaged("step_records", blob, &bad))?))
}
