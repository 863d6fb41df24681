//! The chain of what was changed: each entry has the hash of the one before, so that nothing can be altered, taken out or exchanged
//! without that being seen.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use staith_model::Digest;

use super::Sqlite;
use crate::store::{Actor, Audit, AuditEntry, AuditVerdict, BrokenEntry, StoreError};

/// What was changed.
pub(crate) struct Change<'a> {
    /// On whose behalf.
    pub(crate) by: &'a Actor,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
    /// A word for it, like `run-cancelled`.
    pub(crate) what: &'a str,
    /// Of what: `run 01j…`, `project shop`.
    pub(crate) subject: &'a str,
    /// As it was and as it is, in JSON; never a secret.
    pub(crate) before: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
}

/// Appends to the chain, in the transaction of the change itself.
pub(crate) fn note(connection: &Connection, change: &Change<'_>) -> Result<(), StoreError> {
    let last = connection
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let (seq, previous) = last.map_or((1, String::new()), |(seq, hash)| (seq + 1, hash));
    let hash = hash(seq, &previous, change);
    connection.prepare_cached("INSERT INTO audit (seq, at, who, origin, what, subject, before, after, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![seq, change.at, change.by.who, change.by.from, change.what, change.subject, change.before, change.after, previous, hash])?;
    Ok(())
}

/// The hash of an entry: of all its columns as a JSON array, so that no two entries have the same bytes.
pub(crate) fn hash(seq: i64, previous: &str, change: &Change<'_>) -> String {
    let columns = serde_json::json!([
        seq,
        change.at,
        change.by.who,
        change.by.from,
        change.what,
        change.subject,
        change.before,
        change.after,
        previous
    ]);
    Digest::of(columns.to_string().as_bytes()).to_string()
}

#[async_trait]
impl Audit for Sqlite {
    async fn audit(&self, after: u64, most: u32) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached(&format!("{COLUMNS} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?;
            let rows = statement.query_map(params![after, most], entry)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

const COLUMNS: &str = "SELECT seq, at, who, origin, what, subject, before, after, previous, hash FROM audit";

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        seq: row.get(0)?,
        at: row.get(1)?,
        who: row.get(2)?,
        origin: row.get(3)?,
        what: row.get(4)?,
        subject: row.get(5)?,
        before: row.get(6)?,
        after: row.get(7)?,
        previous: row.get(8)?,
        hash: row.get(9)?,
    })
}

/// Computes the chain of a database anew, whether a server has it open or not, and says up to where it is whole. With `head`, the hash
/// of an entry that was kept elsewhere, that entry has to be in it.
///
/// # Errors
/// The database can't be read.
pub fn verify_audit(database: &Path, head: Option<&str>) -> Result<AuditVerdict, StoreError> {
    let connection = super::open::for_reading(database)?;
    let mut statement = connection.prepare(&format!("{COLUMNS} ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    let (mut whole, mut last, mut seen) = (0, None::<String>, head.is_none());
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, u64>(0).unwrap_or(whole + 1);
        let wrong = match entry(row) {
            Ok(entry) => wrong(&entry, whole + 1, last.as_deref().unwrap_or_default()),
            Err(bad) => Some(bad.to_string()),
        };
        if let Some(why) = wrong {
            return Ok(AuditVerdict { whole, head: last, broken: Some(BrokenEntry { seq, why }) });
        }
        whole += 1;
        let hash: String = row.get(9)?;
        seen |= head == Some(&hash);
        last = Some(hash);
    }
    let cut = || {
        BrokenEntry {
        seq: whole + 1,
        why: "the entry with the hash that was kept elsewhere is not there: the end was cut off, or all of it was written anew"
            .to_owned(),
    }
    };
    Ok(AuditVerdict { whole, head: last, broken: (!seen).then(cut) })
}

fn wrong(entry: &AuditEntry, expected: u64, previous: &str) -> Option<String> {
    if entry.seq != expected {
        return Some(format!("entry {expected} is missing"));
    }
    if entry.previous != previous {
        return Some("it does not carry the hash of the entry before it".to_owned());
    }
    let by = Actor { who: entry.who.clone(), from: entry.origin.clone() };
    let change = Change {
        by: &by,
        at: entry.at,
        what: &entry.what,
        subject: &entry.subject,
        before: entry.before.as_deref(),
        after: entry.after.as_deref(),
    };
    let seq = i64::try_from(entry.seq).unwrap_or(i64::MAX);
    (hash(seq, previous, &change) != entry.hash)
        .then(|| "it was altered: its hash is that of something else".to_owned())
}
