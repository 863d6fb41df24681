//! Statements about what happened.

mod observed;
mod read;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{
    ArrivalId, Name,
    service::{Arrival, ArrivalState, Happening},
};

use super::{
    Sqlite,
    audit::{Change, note},
    projects::must_be_there,
    rows::json,
};
use crate::store::{Actor, Approval, Arrivals, Finding, NewArrival, Observed, StoreError};

#[async_trait]
impl Arrivals for Sqlite {
    async fn arrive(&self, new: Vec<NewArrival>, now: u64) -> Result<Vec<ArrivalId>, StoreError> {
        self.write_new(move |connection| new.iter().map(|one| arrive(connection, one, now)).collect()).await
    }

    async fn observed(&self, seen: Observed, now: u64) -> Result<Vec<ArrivalId>, StoreError> {
        self.write_new(move |connection| observed::observed(connection, &seen, now)).await
    }

    async fn waiting(&self, now: u64, most: u32) -> Result<Vec<Arrival>, StoreError> {
        self.read(move |connection| read::waiting(connection, now, most)).await
    }

    async fn settle(&self, id: &ArrivalId, finding: Finding, now: u64) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(move |connection| settle(connection, &id, &finding, now)).await
    }

    async fn arrival(&self, id: &ArrivalId) -> Result<Option<Arrival>, StoreError> {
        let id = id.clone();
        self.read(move |connection| read::one(connection, &id)).await
    }

    async fn arrivals_of(
        &self,
        project: &Name,
        before: Option<&ArrivalId>,
        most: u32,
    ) -> Result<Vec<Arrival>, StoreError> {
        let (project, before) = (project.clone(), before.cloned());
        self.read(move |connection| read::of(connection, &project, before.as_ref(), most)).await
    }

    async fn approve(&self, approval: Approval, by: &Actor, now: u64) -> Result<u32, StoreError> {
        let by = by.clone();
        self.write_new(move |connection| approve(connection, &approval, &by, now)).await
    }

    async fn is_approved(&self, approval: &Approval) -> Result<bool, StoreError> {
        let approval = approval.clone();
        self.read(move |connection| {
            let Approval { project, number, head, pipeline } = &approval;
            let mut select = connection.prepare_cached(
                "SELECT 1 FROM approvals WHERE project = ?1 AND number = ?2 AND head = ?3 AND pipeline = ?4",
            )?;
            Ok(select.exists(params![project.as_str(), number, head, pipeline.to_string()])?)
        })
        .await
    }
}

/// Writes one thing down, and what is known of its branch or tag from then on.
pub(super) fn arrive(connection: &Connection, new: &NewArrival, now: u64) -> Result<ArrivalId, StoreError> {
    if let Some(known) = read::by_delivery(connection, new)? {
        return Ok(known);
    }
    must_be_there(connection, new.project.as_str())?;
    let moved = new.happening.moved();
    let told_before = match &moved {
        Some((reference, commit)) => is_known(connection, &new.project, reference, *commit)?,
        None => false,
    };
    let why = told_before.then_some("this was known already: another source had told it");
    insert(connection, new, why, now)?;
    if let Some((reference, commit)) = moved {
        remember(connection, new.project.as_str(), &reference, commit)?;
    }
    if let Happening::PullRequest { number, .. } | Happening::PullRequestClosed { number } = &new.happening {
        void_held(connection, new, *number)?;
    }
    Ok(new.id.clone())
}

pub(super) fn insert(
    connection: &Connection,
    new: &NewArrival,
    ignored: Option<&str>,
    now: u64,
) -> Result<(), StoreError> {
    let state = if ignored.is_some() { ArrivalState::Ignored } else { ArrivalState::Waiting };
    let (reference, target) = new.happening.moved().unzip();
    connection
        .prepare_cached(
            "INSERT INTO arrivals (id, project, source, delivery, happening_json, reference, target, received, state, why, next_try)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?8)",
        )?
        .execute(params![
            new.id.as_str(),
            new.project.as_str(),
            new.source,
            new.delivery,
            json(&new.happening)?,
            reference,
            target.flatten(),
            now,
            state.as_str(),
            ignored
        ])?;
    Ok(())
}

fn is_known(
    connection: &Connection,
    project: &Name,
    reference: &str,
    commit: Option<&str>,
) -> Result<bool, StoreError> {
    let seen = connection
        .prepare_cached("SELECT target FROM seen_refs WHERE project = ?1 AND reference = ?2")?
        .query_row([project.as_str(), reference], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(commit.is_some() && seen.as_deref() == commit)
}

pub(super) fn remember(
    connection: &Connection,
    project: &str,
    reference: &str,
    commit: Option<&str>,
) -> Result<(), StoreError> {
    match commit {
        Some(commit) => connection
            .prepare_cached(
                "INSERT INTO seen_refs (project, reference, target) VALUES (?1, ?2, ?3)
                 ON CONFLICT (project, reference) DO UPDATE SET target = excluded.target",
            )?
            .execute([project, reference, commit])?,
        None => connection
            .prepare_cached("DELETE FROM seen_refs WHERE project = ?1 AND reference = ?2")?
            .execute([project, reference])?,
    };
    Ok(())
}

/// Whatever happens to a request makes what was held of it before void: nobody can agree to it any more.
fn void_held(connection: &Connection, new: &NewArrival, number: u64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE arrivals SET state = 'ignored', why = 'the request has changed since', remedy = NULL
             WHERE project = ?1 AND state = 'held' AND id <> ?2 AND json_extract(happening_json, '$.number') = ?3",
        )?
        .execute(params![new.project.as_str(), new.id.as_str(), number])?;
    Ok(())
}

fn settle(connection: &Connection, id: &ArrivalId, finding: &Finding, now: u64) -> Result<(), StoreError> {
    let unknown = || StoreError::Unknown { what: "arrival", name: id.to_string() };
    let was = read::one(connection, id)?.ok_or_else(unknown)?;
    match finding {
        Finding::Is(state, why, remedy) => {
            if !was.state.may_become(*state) {
                let what =
                    format!("the arrival {id} is {} and can't become {}", was.state.as_str(), state.as_str());
                return Err(StoreError::Conflict(what));
            }
            connection
                .prepare_cached(
                    "UPDATE arrivals SET state = ?2, why = ?3, remedy = ?4, tries = tries + 1 WHERE id = ?1",
                )?
                .execute(params![id.as_str(), state.as_str(), why, remedy])?;
        }
        Finding::Again(at, why) => {
            connection
                .prepare_cached(
                    "UPDATE arrivals SET next_try = ?2, why = ?3, tries = tries + 1 WHERE id = ?1 AND state = 'waiting'",
                )?
                .execute(params![id.as_str(), (*at).max(now), why])?;
        }
    }
    Ok(())
}

fn approve(connection: &Connection, approval: &Approval, by: &Actor, now: u64) -> Result<u32, StoreError> {
    let Approval { project, number, head, pipeline } = approval;
    must_be_there(connection, project.as_str())?;
    connection
        .prepare_cached(
            "INSERT INTO approvals (project, number, head, pipeline, approved_by, approved) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![project.as_str(), number, head, pipeline.to_string(), by.who, now])?;
    let freed = connection
        .prepare_cached(
            "UPDATE arrivals SET state = 'waiting', why = NULL, remedy = NULL, next_try = ?4
             WHERE project = ?1 AND state = 'held' AND json_extract(happening_json, '$.number') = ?2
                 AND json_extract(happening_json, '$.head') = ?3",
        )?
        .execute(params![project.as_str(), number, head, now])?;
    let (subject, after) = (
        format!("project {project}"),
        serde_json::json!({ "number": number, "head": head, "pipeline": pipeline }).to_string(),
    );
    let what = "fork-pipeline-approved";
    note(connection, &Change { by, at: now, what, subject: &subject, before: None, after: Some(&after) })?;
    Ok(u32::try_from(freed).unwrap_or(u32::MAX))
}
