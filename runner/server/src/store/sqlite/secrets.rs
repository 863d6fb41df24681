//! Statements about secrets.

mod released;

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{AttemptId, Name, service::Trust};

use super::{
    Sqlite,
    audit::{Change, note},
};
use crate::store::{
    Actor, ReleaseSecretsAsked, ReleaseSecretsFound, Reseal, SealedSecret, SecretPlace, SecretSeen, Secrets,
    StoreError,
};

#[async_trait]
impl Secrets for Sqlite {
    async fn set_secret(
        &self,
        secret: SealedSecret,
        protected: bool,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError> {
        self.write_new(move |connection| set(connection, &secret, protected, &by, now)).await
    }

    async fn rotate_secret(&self, secret: SealedSecret, by: Actor, now: u64) -> Result<u64, StoreError> {
        self.write(move |connection| rotate(connection, &secret, &by, now)).await
    }

    async fn reseal_secrets(&self, reseal: Reseal, by: Actor, now: u64) -> Result<u64, StoreError> {
        self.write(move |connection| reseal_all(connection, reseal, &by, now)).await
    }

    async fn secrets(&self, project: &Name) -> Result<Vec<SecretSeen>, StoreError> {
        let project = project.clone();
        self.read(move |connection| of_project(connection, &project)).await
    }

    async fn remove_secret(&self, place: &SecretPlace, by: Actor, now: u64) -> Result<(), StoreError> {
        let place = place.clone();
        self.write(move |connection| remove(connection, &place, &by, now)).await
    }

    async fn secrets_of_attempt(
        &self,
        attempt: &AttemptId,
        by: Actor,
        now: u64,
    ) -> Result<Vec<SealedSecret>, StoreError> {
        let attempt = attempt.clone();
        self.write(move |connection| of_attempt(connection, &attempt, &by, now)).await
    }

    async fn secrets_of_release(
        &self,
        asked: ReleaseSecretsAsked,
        by: Actor,
        now: u64,
    ) -> Result<ReleaseSecretsFound, StoreError> {
        self.write(move |connection| released::of_release(connection, &asked, &by, now)).await
    }

    async fn sealed_secret(&self, place: &SecretPlace) -> Result<Option<SealedSecret>, StoreError> {
        let place = place.clone();
        self.read(move |connection| {
            let sealed = connection
                .prepare_cached(
                    "SELECT sealed FROM secrets WHERE project = ?1 AND environment = ?2 AND name = ?3",
                )?
                .query_row([place.project.as_str(), environment(&place), place.name.as_str()], |row| {
                    row.get(0)
                })
                .optional()?;
            Ok(sealed.map(|sealed| SealedSecret { place, sealed }))
        })
        .await
    }

    async fn sealed_secrets(&self) -> Result<Vec<SealedSecret>, StoreError> {
        self.read(sealed).await
    }
}

fn environment(place: &SecretPlace) -> &str {
    place.environment.as_ref().map_or("", Name::as_str)
}

fn set(
    connection: &Connection,
    secret: &SealedSecret,
    protected: bool,
    by: &Actor,
    now: u64,
) -> Result<(), StoreError> {
    let place = &secret.place;
    let known = connection
        .prepare_cached("SELECT 1 FROM projects WHERE name = ?1")?
        .exists([place.project.as_str()])?;
    if !known {
        return Err(StoreError::Unknown { what: "project", name: place.project.to_string() });
    }
    connection
        .prepare_cached(
            "INSERT INTO secrets (project, environment, name, protected, sealed, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (project, environment, name) DO UPDATE
             SET protected = excluded.protected, sealed = excluded.sealed, changed = excluded.changed,
                 version = secrets.version + 1",
        )?
        .execute(params![
            place.project.as_str(),
            environment(place),
            place.name.as_str(),
            protected,
            secret.sealed,
            now
        ])?;
    let after = format!("{{\"protected\":{protected}}}");
    told(connection, "secret-set", place, Some(&after), by, now)
}

fn rotate(connection: &Connection, secret: &SealedSecret, by: &Actor, now: u64) -> Result<u64, StoreError> {
    let place = &secret.place;
    let version: Option<u64> = connection
        .prepare_cached(
            "UPDATE secrets SET sealed = ?4, changed = ?5, version = version + 1
             WHERE project = ?1 AND environment = ?2 AND name = ?3 RETURNING version",
        )?
        .query_row(
            params![place.project.as_str(), environment(place), place.name.as_str(), secret.sealed, now],
            |row| row.get(0),
        )
        .optional()?;
    let Some(version) = version else {
        return Err(StoreError::Unknown { what: "secret", name: place.about() });
    };
    let after = format!("{{\"version\":{version}}}");
    told(connection, "secret-rotated", place, Some(&after), by, now)?;
    Ok(version)
}

fn reseal_all(connection: &Connection, mut reseal: Reseal, by: &Actor, now: u64) -> Result<u64, StoreError> {
    let all = sealed(connection)?;
    let mut update = connection.prepare_cached(
        "UPDATE secrets SET sealed = ?4 WHERE project = ?1 AND environment = ?2 AND name = ?3",
    )?;
    for secret in &all {
        let place = &secret.place;
        let anew = reseal(secret);
        let anew = anew.map_err(|why| StoreError::Damaged { table: "secrets", row: place.about(), why })?;
        update.execute(params![place.project.as_str(), environment(place), place.name.as_str(), anew])?;
    }
    let count = all.len() as u64;
    let after = format!("{{\"secrets\":{count}}}");
    let (what, subject) = ("secrets-resealed", "all secrets");
    note(connection, &Change { by, at: now, what, subject, before: None, after: Some(&after) })?;
    Ok(count)
}

fn sealed(connection: &Connection) -> Result<Vec<SealedSecret>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT project, environment, name, sealed FROM secrets ORDER BY project, environment, name",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (project, environment, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let project: Name = project.parse().map_err(|bad: staith_model::NotAName| StoreError::Damaged {
            table: "secrets",
            row: format!("{}/{environment}/{name}", project.escape_debug()),
            why: bad.to_string(),
        })?;
        found.push(SealedSecret { place: place(&project, &environment, &name)?, sealed: row.get(3)? });
    }
    Ok(found)
}

fn told(
    connection: &Connection,
    what: &str,
    place: &SecretPlace,
    after: Option<&str>,
    by: &Actor,
    now: u64,
) -> Result<(), StoreError> {
    let subject = format!("secret {}", place.about());
    note(connection, &Change { by, at: now, what, subject: &subject, before: None, after })
}

fn of_project(connection: &Connection, project: &Name) -> Result<Vec<SecretSeen>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT environment, name, protected, changed, version FROM secrets WHERE project = ?1 ORDER BY environment, name",
    )?;
    let mut rows = statement.query([project.as_str()])?;
    let mut seen = Vec::new();
    while let Some(row) = rows.next()? {
        let place = place(project, &row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?;
        seen.push(SecretSeen { place, protected: row.get(2)?, changed: row.get(3)?, version: row.get(4)? });
    }
    Ok(seen)
}

fn place(project: &Name, environment: &str, name: &str) -> Result<SecretPlace, StoreError> {
    let read = |text: &str| {
        text.parse::<Name>().map_err(|bad| StoreError::Damaged {
            table: "secrets",
            row: format!("{project}/{environment}/{name}"),
            why: bad.to_string(),
        })
    };
    let environment = if environment.is_empty() { None } else { Some(read(environment)?) };
    Ok(SecretPlace { project: project.clone(), environment, name: read(name)? })
}

fn remove(connection: &Connection, place: &SecretPlace, by: &Actor, now: u64) -> Result<(), StoreError> {
    let removed = connection
        .prepare_cached("DELETE FROM secrets WHERE project = ?1 AND environment = ?2 AND name = ?3")?
        .execute([place.project.as_str(), environment(place), place.name.as_str()])?;
    if removed == 0 {
        return Err(StoreError::Unknown { what: "secret", name: place.about() });
    }
    told(connection, "secret-removed", place, None, by, now)
}

fn of_attempt(
    connection: &Connection,
    attempt: &AttemptId,
    by: &Actor,
    now: u64,
) -> Result<Vec<SealedSecret>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT r.project, r.trust, j.spec_json FROM attempts a
             JOIN runs r ON r.id = a.run JOIN jobs j ON j.run = a.run AND j.name = a.job
             WHERE a.id = ?1 AND a.state = 'leased'",
        )?
        .query_row([attempt.as_str()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((project, trust, spec)) = found else {
        return Err(StoreError::Unknown { what: "attempt", name: attempt.to_string() });
    };
    let damaged = |why: String| StoreError::Damaged { table: "attempts", row: attempt.to_string(), why };
    let trust: Trust =
        trust.parse().map_err(|bad: staith_model::service::NotATrust| damaged(bad.to_string()))?;
    let project: Name = project.parse().map_err(|bad: staith_model::NotAName| damaged(bad.to_string()))?;
    if trust == Trust::Fork {
        return Ok(Vec::new());
    }
    let mut given = Vec::new();
    for name in named(&spec).map_err(damaged)? {
        let row = connection
            .prepare_cached(
                "SELECT sealed FROM secrets WHERE project = ?1 AND environment = '' AND name = ?2 AND protected <= ?3",
            )?
            .query_row(params![project.as_str(), name.as_str(), trust == Trust::Protected], |row| row.get(0))
            .optional()?;
        if let Some(sealed) = row {
            let place = SecretPlace { project: project.clone(), environment: None, name };
            given.push(SealedSecret { place, sealed });
        }
    }
    if !given.is_empty() {
        let names: Vec<&str> = given.iter().map(|secret| secret.place.name.as_str()).collect();
        let subject = format!("attempt {attempt} of {project}");
        let after = serde_json::json!(names).to_string();
        let change = Change {
            by,
            at: now,
            what: "secrets-read",
            subject: &subject,
            before: None,
            after: Some(&after),
        };
        note(connection, &change)?;
    }
    Ok(given)
}

/// What a job names, of its spec.
fn named(spec: &str) -> Result<BTreeSet<Name>, String> {
    #[derive(serde::Deserialize)]
    struct Names {
        #[serde(default)]
        secrets: BTreeSet<Name>,
    }
    serde_json::from_str::<Names>(spec).map(|names| names.secrets).map_err(|bad| bad.to_string())
}
