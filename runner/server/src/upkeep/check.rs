//! Whether all that a server knows is as it was written.

use std::{collections::BTreeSet, path::Path};

use rusqlite::Connection;
use serde::{Serialize, de::DeserializeOwned};
use staith_model::{
    Digest,
    service::{Happening, ProjectSettings},
};

use super::files::{UpkeepError, digest};
use crate::{
    api::Grant,
    store::{StoreError, Told, reading, verify_audit},
};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// Whether something is lost. What is not is left alone by the server, which works without it.
    pub lost: bool,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Rows that were read.
    pub rows: u64,
    /// Streams whose bytes were read.
    pub streams: u64,
    /// Entries of the audit log.
    pub audit: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

impl Checked {
    fn note(&mut self, place: impl Into<String>, what: impl Into<String>, lost: bool) {
        self.findings.push(Finding { place: place.into(), what: what.into(), lost });
    }
}

/// Checks the database, whether a server has it open or not, and the streams that it knows.
///
/// # Errors
/// It can't be read at all.
pub fn check(database: &Path, data: &Path) -> Result<Checked, UpkeepError> {
    let connection = reading(database)?;
    let mut checked = Checked::default();
    pages(&connection, &mut checked).map_err(StoreError::from)?;
    rows(&connection, &mut checked).map_err(StoreError::from)?;
    streams(&connection, data, &mut checked)?;
    let verdict = verify_audit(database, None)?;
    checked.audit = verdict.whole;
    if let Some(broken) = verdict.broken {
        checked.note(format!("audit {}", broken.seq), broken.why, true);
    }
    Ok(checked)
}

fn pages(connection: &Connection, checked: &mut Checked) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check")?;
    let told: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for what in told.into_iter().filter(|what| what != "ok") {
        checked.note("the database", what, true);
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut dangling = statement.query([])?;
    while let Some(row) = dangling.next()? {
        let (table, rowid, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let row = rowid.map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
        checked.note(
            format!("{table} {row}"),
            format!("it names something in {parent} that is not there"),
            true,
        );
    }
    Ok(())
}

/// What a column holds.
type Reads = fn(&str) -> Result<(), String>;

fn an_id(text: &str) -> Result<(), String> {
    text.parse::<staith_model::RunId>().map(drop).map_err(|bad| bad.to_string())
}

fn a_name(text: &str) -> Result<(), String> {
    text.parse::<staith_model::Name>().map(drop).map_err(|bad| bad.to_string())
}

type Labels = BTreeSet<staith_model::Name>;
type AnObject = serde_json::Map<String, serde_json::Value>;

fn json<T: DeserializeOwned>(text: &str) -> Result<(), String> {
    serde_json::from_str::<T>(text).map(drop).map_err(|bad| bad.to_string())
}

/// Columns that are read as something, with what the row is called by.
const COLUMNS: &[(&str, &str, &str, Reads)] = &[
    ("projects", "name", "name", a_name),
    ("projects", "name", "settings_json", json::<ProjectSettings>),
    ("arrivals", "id", "id", an_id),
    ("arrivals", "id", "happening_json", json::<Happening>),
    ("runs", "id", "id", an_id),
    ("jobs", "run || ' ' || name", "name", a_name),
    ("jobs", "run || ' ' || name", "spec_json", json::<AnObject>),
    ("jobs", "run || ' ' || name", "labels_json", json::<Labels>),
    ("jobs", "run || ' ' || name", "needs_json", json::<Labels>),
    ("runners", "id", "id", an_id),
    ("runners", "id", "name", a_name),
    ("runners", "id", "pool", a_name),
    ("runners", "id", "labels_json", json::<Labels>),
    ("attempts", "id", "id", an_id),
    ("attempts", "id", "runner", an_id),
    ("plans", "run", "plan_json", json::<AnObject>),
    ("outbox", "id", "body_json", json::<Told>),
    ("tokens", "id", "grants_json", json::<Vec<Grant>>),
];

fn rows(connection: &Connection, checked: &mut Checked) -> rusqlite::Result<()> {
    for (table, called, column, reads) in COLUMNS {
        let mut statement =
            connection.prepare(&format!("SELECT CAST({called} AS TEXT), {column} FROM {table}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            checked.rows += 1;
            let name = row.get::<_, String>(0).unwrap_or_else(|_| "?".to_owned());
            let read = row.get::<_, String>(1).map_err(|bad| bad.to_string()).and_then(|text| reads(&text));
            if let Err(why) = read {
                checked.note(format!("{table} {name}"), format!("{column}: {why}"), false);
            }
        }
    }
    Ok(())
}

/// A stream as the database knows it.
pub(super) struct KnownStream {
    /// Its path below the directory of streams.
    pub(super) path: String,
    pub(super) length: u64,
    pub(super) digest: Option<String>,
}

pub(super) fn known_streams(connection: &Connection) -> rusqlite::Result<Vec<KnownStream>> {
    let mut statement = connection.prepare(
        "SELECT a.run || '/' || s.attempt || '/' || s.name, s.length, s.digest
         FROM streams s JOIN attempts a ON a.id = s.attempt ORDER BY 1",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(KnownStream { path: row.get(0)?, length: row.get(1)?, digest: row.get(2)? })
    })?;
    rows.collect()
}

fn streams(connection: &Connection, data: &Path, checked: &mut Checked) -> Result<(), UpkeepError> {
    for stream in known_streams(connection).map_err(StoreError::from)? {
        checked.streams += 1;
        if let Some(wrong) = wrong(&stream, &data.join("streams").join(&stream.path)) {
            checked.note(format!("stream {}", stream.path), wrong, true);
        }
    }
    Ok(())
}

fn wrong(stream: &KnownStream, file: &Path) -> Option<String> {
    if stream.length == 0 && !file.exists() {
        return None;
    }
    match digest(file, Some(stream.length)) {
        Err(error) => Some(error.to_string()),
        Ok((length, _)) if length < stream.length => {
            Some(format!("{length} bytes are there, and {} were acknowledged", stream.length))
        }
        Ok((_, digest)) => differs(stream.digest.as_deref(), &digest),
    }
}

pub(super) fn differs(known: Option<&str>, found: &Digest) -> Option<String> {
    let known = known?;
    (known != found.to_string()).then(|| format!("its digest is {found}, and was {known} when it was closed"))
}
