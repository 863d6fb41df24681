//! Statements about requests that may be sent again.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Sqlite;
use crate::store::{Repetition, Repetitions, StoreError, StoredAnswer};

/// How long a key is remembered, in milliseconds.
const REMEMBERED: u64 = 24 * 3_600_000;

#[async_trait]
impl Repetitions for Sqlite {
    async fn asked(&self, who: &str, key: &str, request: &str, now: u64) -> Result<Repetition, StoreError> {
        let (who, key, request) = (who.to_owned(), key.to_owned(), request.to_owned());
        self.write(move |connection| asked(connection, &who, &key, &request, now)).await
    }

    async fn answered(&self, who: &str, key: &str, answer: Option<StoredAnswer>) -> Result<(), StoreError> {
        let (who, key) = (who.to_owned(), key.to_owned());
        self.write(move |connection| answered(connection, &who, &key, answer.as_ref())).await
    }
}

fn asked(
    connection: &Connection,
    who: &str,
    key: &str,
    request: &str,
    now: u64,
) -> Result<Repetition, StoreError> {
    connection
        .prepare_cached("DELETE FROM repetitions WHERE asked < ?1")?
        .execute([now.saturating_sub(REMEMBERED)])?;
    let first = connection
        .prepare_cached(
            "INSERT INTO repetitions (who, key, request, asked) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![who, key, request, now])?;
    if first == 1 {
        return Ok(Repetition::First);
    }
    let found = connection
        .prepare_cached(
            "SELECT request, status, content_type, body FROM repetitions WHERE who = ?1 AND key = ?2",
        )?
        .query_row([who, key], |row| {
            let answer = match row.get::<_, Option<u16>>(1)? {
                Some(status) => Some(StoredAnswer { status, content_type: row.get(2)?, body: row.get(3)? }),
                None => None,
            };
            Ok((row.get::<_, String>(0)?, answer))
        })
        .optional()?;
    Ok(match found {
        Some((known, _)) if known != request => Repetition::Other,
        Some((_, Some(answer))) => Repetition::Answered(answer),
        _ => Repetition::Unknown,
    })
}

fn answered(
    connection: &Connection,
    who: &str,
    key: &str,
    answer: Option<&StoredAnswer>,
) -> Result<(), StoreError> {
    match answer {
        Some(answer) => connection
            .prepare_cached(
                "UPDATE repetitions SET status = ?3, content_type = ?4, body = ?5 WHERE who = ?1 AND key = ?2",
            )?
            .execute(params![who, key, answer.status, answer.content_type, answer.body])?,
        None => connection
            .prepare_cached("DELETE FROM repetitions WHERE who = ?1 AND key = ?2 AND status IS NULL")?
            .execute([who, key])?,
    };
    Ok(())
}
