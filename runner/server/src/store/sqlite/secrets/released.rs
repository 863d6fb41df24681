//! Which secrets of an environment a release may have.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{Name, service::Trust};

use super::{
    super::audit::{Change, note},
    Actor, SealedSecret, SecretPlace, StoreError,
};
use crate::store::{ReleaseSecret, ReleaseSecretsAsked, ReleaseSecretsFound, SecretsOf};

pub(super) fn of_release(
    connection: &Connection,
    asked: &ReleaseSecretsAsked,
    by: &Actor,
    now: u64,
) -> Result<ReleaseSecretsFound, StoreError> {
    // Of what nobody knows, nobody knows whose code it is.
    let trust = trust(connection, asked)?.unwrap_or(Trust::Fork);
    let mut found = ReleaseSecretsFound::default();
    for name in &asked.names {
        let Some(kept) = kept(connection, asked, name)? else { continue };
        let may = trust == Trust::Protected || (trust == Trust::Branch && !kept.is_protected);
        if !may {
            found.withheld.insert(name.clone());
        } else if asked.known.get(name) == Some(&kept.secret.version) {
            found.same.insert(name.clone());
        } else {
            told(connection, asked, &kept, by, now)?;
            found.given.push(kept.secret);
        }
    }
    Ok(found)
}

struct Kept {
    secret: ReleaseSecret,
    number: u64,
    is_protected: bool,
}

fn kept(
    connection: &Connection,
    asked: &ReleaseSecretsAsked,
    name: &Name,
) -> Result<Option<Kept>, StoreError> {
    let (project, environment) = (asked.project.clone(), Some(asked.environment.clone()));
    let place = SecretPlace { project, environment, name: name.clone() };
    let row = connection
        .prepare_cached(
            "SELECT sealed, protected, version, changed FROM secrets WHERE project = ?1 AND environment = ?2 AND name = ?3",
        )?
        .query_row([place.project.as_str(), asked.environment.as_str(), name.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, u64>(2)?, row.get::<_, u64>(3)?))
        })
        .optional()?;
    Ok(row.map(|(sealed, is_protected, number, changed)| {
        // One that was removed and set again begins with version 1 again, at another time.
        let version = format!("{number}.{changed}");
        Kept {
            secret: ReleaseSecret { sealed: SealedSecret { place, sealed }, version },
            number,
            is_protected,
        }
    }))
}

/// Whose code a release of the project is; `None` if there is none that goes there. Where protected code has made the very same as other
/// code, it is protected code.
fn trust(connection: &Connection, asked: &ReleaseSecretsAsked) -> Result<Option<Trust>, StoreError> {
    let (project, environment) = (asked.project.as_str(), asked.environment.as_str());
    let found: Vec<String> = match &asked.of {
        SecretsOf::Making(number) => connection
            .prepare_cached(
                "SELECT trust FROM releases WHERE project = ?1 AND number = ?2 AND state = 'making'",
            )?
            .query_map(params![project, number], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
        SecretsOf::Release(digest) => connection
            .prepare_cached(
                "SELECT trust FROM releases WHERE project = ?1 AND digest = ?2 AND state = 'made'
                 AND EXISTS (SELECT 1 FROM json_each(environments_json) WHERE value = ?3)",
            )?
            .query_map([project, digest.to_string().as_str(), environment], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
    };
    // What can't be understood is not trusted.
    Ok(found.iter().filter_map(|trust| trust.parse().ok()).max())
}

fn told(
    connection: &Connection,
    asked: &ReleaseSecretsAsked,
    kept: &Kept,
    by: &Actor,
    at: u64,
) -> Result<(), StoreError> {
    let subject = format!("secret {}", kept.secret.sealed.place.about());
    let after = match &asked.of {
        SecretsOf::Making(number) => serde_json::json!({ "version": kept.number, "making": number }),
        SecretsOf::Release(digest) => serde_json::json!({ "version": kept.number, "release": digest }),
    };
    let after = after.to_string();
    let change = Change { by, at, what: "secret-read", subject: &subject, before: None, after: Some(&after) };
    note(connection, &change)
}
