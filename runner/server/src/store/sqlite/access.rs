//! Statements about tokens.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use staith_model::{Digest, TokenId};

use super::{
    Sqlite,
    audit::{Change, note},
    runners::SPENT,
};
use crate::{
    api::Who,
    store::{Access, Actor, NewToken, StoreError, TokenSeen},
};

#[async_trait]
impl Access for Sqlite {
    async fn who_has(&self, token: &Digest, now: u64) -> Result<Option<Who>, StoreError> {
        let hash = token.to_string();
        self.read(move |connection| match of_a_token(connection, &hash, now)? {
            Some(who) => Ok(Some(who)),
            None => of_an_attempt(connection, &hash),
        })
        .await
    }

    async fn add_token(&self, token: NewToken, by: Actor, now: u64) -> Result<(), StoreError> {
        self.write_new(move |connection| add_token(connection, &token, &by, now)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenSeen>, StoreError> {
        self.read(all_tokens).await
    }

    async fn revoke_token(&self, id: &TokenId, by: Actor, now: u64) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |connection| revoke_token(connection, &id, &by, now)).await
    }
}

fn add_token(connection: &Connection, token: &NewToken, by: &Actor, now: u64) -> Result<(), StoreError> {
    let grants = serde_json::to_string(&token.grants).map_err(|bad| StoreError::Conflict(bad.to_string()))?;
    connection
        .prepare_cached(
            "INSERT INTO tokens (id, hash, name, grants_json, created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            token.id.as_str(),
            token.digest.to_string(),
            token.name,
            grants,
            now,
            token.expires
        ])?;
    let subject = format!("token {} {}", token.id, token.name);
    let change =
        Change { by, at: now, what: "token-made", subject: &subject, before: None, after: Some(&grants) };
    note(connection, &change)
}

fn all_tokens(connection: &Connection) -> Result<Vec<TokenSeen>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, grants_json, created, expires, revoked FROM tokens WHERE runner IS NULL ORDER BY id DESC",
    )?;
    let mut rows = statement.query([])?;
    let mut tokens = Vec::new();
    while let Some(row) = rows.next()? {
        match token(row) {
            Err(StoreError::Damaged { row, why, .. }) => {
                tracing::error!(row, why, "a token is damaged and left out");
            }
            token => tokens.push(token?),
        }
    }
    Ok(tokens)
}

fn token(row: &Row<'_>) -> Result<TokenSeen, StoreError> {
    let (id, grants): (String, String) = (row.get(0)?, row.get(2)?);
    let damaged = |why: String| StoreError::Damaged { table: "tokens", row: id.clone(), why };
    Ok(TokenSeen {
        id: id.parse().map_err(|bad: staith_model::NotAnId| damaged(bad.to_string()))?,
        name: row.get(1)?,
        grants: serde_json::from_str(&grants).map_err(|bad| damaged(bad.to_string()))?,
        created: row.get(3)?,
        expires: row.get(4)?,
        revoked: row.get(5)?,
    })
}

fn revoke_token(connection: &Connection, id: &TokenId, by: &Actor, now: u64) -> Result<(), StoreError> {
    let found = connection
        .prepare_cached("SELECT name, revoked FROM tokens WHERE id = ?1 AND runner IS NULL")?
        .query_row([id.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<u64>>(1)?)))
        .optional()?;
    let Some((name, revoked)) = found else {
        return Err(StoreError::Unknown { what: "token", name: id.to_string() });
    };
    if revoked.is_some() {
        return Ok(());
    }
    connection
        .prepare_cached("UPDATE tokens SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL")?
        .execute(params![id.as_str(), now])?;
    let subject = format!("token {id} {name}");
    let change = Change { by, at: now, what: "token-revoked", subject: &subject, before: None, after: None };
    note(connection, &change)
}

fn of_a_token(connection: &Connection, hash: &str, now: u64) -> Result<Option<Who>, StoreError> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT t.name, t.grants_json, t.runner, runners.target FROM tokens t LEFT JOIN runners ON runners.id = t.runner
             WHERE t.hash = ?1 AND t.expires > ?2 AND t.revoked IS NULL
               AND (runners.id IS NULL OR (runners.state <> 'revoked' AND NOT {SPENT}))"
        ))?
        .query_row(params![hash, now], |row| {
            let runner = (row.get::<_, Option<String>>(2)?, row.get::<_, Option<String>>(3)?);
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, runner))
        })
        .optional()?;
    let Some((name, grants, runner)) = found else { return Ok(None) };
    let damaged = |why: String| StoreError::Damaged { table: "tokens", row: name.clone(), why };
    let an_id = |text: String| text.parse().map_err(|bad: staith_model::NotAnId| damaged(bad.to_string()));
    Ok(Some(match runner {
        (Some(runner), None) => Who::Runner(an_id(runner)?),
        (Some(runner), Some(target)) => {
            let target =
                target.parse().map_err(|bad: staith_model::service::NotATarget| damaged(bad.to_string()));
            Who::Target(an_id(runner)?, target?)
        }
        (None, _) => {
            let grants = serde_json::from_str(&grants).map_err(|bad| damaged(bad.to_string()))?;
            Who::Person { name, grants }
        }
    }))
}

fn of_an_attempt(connection: &Connection, hash: &str) -> Result<Option<Who>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT a.id, r.project, r.trust FROM attempts a JOIN runs r ON r.id = a.run
             WHERE a.token_hash = ?1 AND a.state = 'leased'",
        )?
        .query_row([hash], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((id, project, trust)) = found else { return Ok(None) };
    let damaged = |why: String| StoreError::Damaged { table: "attempts", row: id.clone(), why };
    let attempt = id.parse().map_err(|bad: staith_model::NotAnId| damaged(bad.to_string()))?;
    let project = project.parse().map_err(|bad: staith_model::NotAName| damaged(bad.to_string()))?;
    let trust = trust.parse().map_err(|bad: staith_model::service::NotATrust| damaged(bad.to_string()))?;
    Ok(Some(Who::Attempt { attempt, project, trust }))
}
