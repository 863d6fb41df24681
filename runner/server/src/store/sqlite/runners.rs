//! Statements about enrolments, runners and their sessions.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use staith_model::{
    Digest, Name, RunnerId,
    service::{Enrolled, EnrolmentAsked, NotATarget, RunnerChange, RunnerSeen, RunnerState, TargetOf},
};

use super::{
    Sqlite,
    audit::{Change, note},
};
use crate::store::{Actor, Applicant, Application, KnownRunner, NewSession, Runners, StoreError};

/// How long a code that nobody used is remembered after it expired, so that whoever comes late is told so.
const CODES_REMEMBERED: u64 = 24 * 3_600_000;
/// How long a session is remembered after it expired: its nonce can't be used again. A nonce says when it was made, and one that is
/// older than this is not taken at all.
pub(crate) const SESSIONS_REMEMBERED: u64 = 48 * 3_600_000;

#[async_trait]
impl Runners for Sqlite {
    async fn add_enrolment(
        &self,
        code: Digest,
        gives: EnrolmentAsked,
        expires: u64,
        by: Actor,
        now: u64,
    ) -> Result<(), StoreError> {
        self.write_new(move |connection| add_enrolment(connection, &code, &gives, expires, &by, now)).await
    }

    async fn enrol(&self, applicant: Applicant, now: u64) -> Result<Application, StoreError> {
        self.write_new(move |connection| enrol(connection, &applicant, now)).await
    }

    async fn known_runner(&self, runner: &RunnerId) -> Result<Option<KnownRunner>, StoreError> {
        let runner = runner.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&select("WHERE id = ?1"))?;
            let mut rows = statement.query([runner.as_str()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let state = read_state(runner.as_str(), &row.get::<_, String>(6)?)?;
            Ok(Some(KnownRunner { public_key: row.get(9)?, state }))
        })
        .await
    }

    async fn add_session(&self, session: NewSession, now: u64) -> Result<bool, StoreError> {
        self.write(move |connection| add_session(connection, &session, now)).await
    }

    async fn runners(&self) -> Result<Vec<RunnerSeen>, StoreError> {
        self.read(all_runners).await
    }

    async fn change_runner(
        &self,
        runner: &RunnerId,
        change: RunnerChange,
        by: Actor,
        now: u64,
    ) -> Result<RunnerState, StoreError> {
        let runner = runner.clone();
        self.write(move |connection| change_runner(connection, &runner, change, &by, now)).await
    }
}

fn add_enrolment(
    connection: &Connection,
    code: &Digest,
    gives: &EnrolmentAsked,
    expires: u64,
    by: &Actor,
    now: u64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM enrolments WHERE used_by IS NULL AND expires < ?1")?
        .execute([now.saturating_sub(CODES_REMEMBERED)])?;
    connection
        .prepare_cached(
            "INSERT INTO enrolments (hash, pool, labels_json, ephemeral, expires, target) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            code.to_string(),
            gives.pool.as_str(),
            json(&gives.labels)?,
            gives.ephemeral,
            expires,
            gives.target.as_ref().map(TargetOf::to_string)
        ])?;
    let after = json(gives)?;
    let subject = match &gives.target {
        Some(target) => format!("target {target}"),
        None => format!("pool {}", gives.pool),
    };
    let change =
        Change { by, at: now, what: "enrolment-made", subject: &subject, before: None, after: Some(&after) };
    note(connection, &change)
}

/// A code as it is kept.
struct Code {
    pool: String,
    labels: String,
    ephemeral: bool,
    expires: u64,
    used_by: Option<String>,
    target: Option<String>,
}

fn enrol(connection: &Connection, applicant: &Applicant, now: u64) -> Result<Application, StoreError> {
    let hash = applicant.code.to_string();
    let code = connection
        .prepare_cached(
            "SELECT pool, labels_json, ephemeral, expires, used_by, target FROM enrolments WHERE hash = ?1",
        )?
        .query_row([&hash], |row| {
            Ok(Code {
                pool: row.get(0)?,
                labels: row.get(1)?,
                ephemeral: row.get(2)?,
                expires: row.get(3)?,
                used_by: row.get(4)?,
                target: row.get(5)?,
            })
        })
        .optional()?;
    let Some(code) = code else { return Ok(Application::UnknownCode) };
    if let Some(runner) = &code.used_by {
        let known = find(
            connection,
            "WHERE id = ?1 AND public_key = ?2 AND name = ?3",
            &[runner, &applicant.public_key, applicant.name.as_str()],
        )?;
        return Ok(known.map_or(Application::UsedCode, |known| Application::Taken(enrolled(known))));
    }
    if code.expires <= now {
        return Ok(Application::ExpiredCode);
    }
    if find(connection, "WHERE public_key = ?1", &[&applicant.public_key])?.is_some() {
        return Ok(Application::KnownKey);
    }
    take(connection, applicant, &code, &hash, now).map(Application::Taken)
}

fn enrolled(runner: RunnerSeen) -> Enrolled {
    let RunnerSeen { id, labels, pool, ephemeral, target, .. } = runner;
    Enrolled { runner: id, labels, pool, ephemeral, target }
}

fn take(
    connection: &Connection,
    applicant: &Applicant,
    code: &Code,
    hash: &str,
    now: u64,
) -> Result<Enrolled, StoreError> {
    let damaged = |why: String| StoreError::Damaged { table: "enrolments", row: hash.to_owned(), why };
    let pool: Name = code.pool.parse().map_err(|bad: staith_model::NotAName| damaged(bad.to_string()))?;
    let mut labels: BTreeSet<Name> =
        serde_json::from_str(&code.labels).map_err(|bad| damaged(bad.to_string()))?;
    labels.extend(applicant.labels.iter().cloned());
    let target = code.target.as_deref().map(str::parse::<TargetOf>).transpose();
    let target = target.map_err(|bad: NotATarget| damaged(bad.to_string()))?;
    let by = Actor { who: format!("runner:{}", applicant.id), from: applicant.from.clone() };
    if let Some(target) = &target {
        replace(connection, target, &by, now)?;
    }
    connection
        .prepare_cached(
            "INSERT INTO runners (id, name, public_key, pool, labels_json, ephemeral, version, state, enrolled, seen, target)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'active', ?8, ?8, ?9)",
        )?
        .execute(params![
            applicant.id.as_str(),
            applicant.name.as_str(),
            applicant.public_key,
            pool.as_str(),
            json(&labels)?,
            code.ephemeral,
            applicant.version,
            now,
            target.as_ref().map(TargetOf::to_string)
        ])?;
    connection
        .prepare_cached("UPDATE enrolments SET used_by = ?2 WHERE hash = ?1 AND used_by IS NULL")?
        .execute(params![hash, applicant.id.as_str()])?;
    let enrolled = Enrolled { runner: applicant.id.clone(), labels, pool, ephemeral: code.ephemeral, target };
    let subject = format!("runner {} {}", applicant.id, applicant.name);
    let after = json(&enrolled)?;
    let change = Change {
        by: &by,
        at: now,
        what: "runner-enrolled",
        subject: &subject,
        before: None,
        after: Some(&after),
    };
    note(connection, &change)?;
    Ok(enrolled)
}

/// The host that was the machine before counts for nothing any more: its key may still be somewhere.
fn replace(connection: &Connection, target: &TargetOf, by: &Actor, now: u64) -> Result<(), StoreError> {
    let known = find(connection, "WHERE target = ?1 AND state <> 'revoked'", &[&target.to_string()])?;
    let Some(known) = known else { return Ok(()) };
    change_runner(connection, &known.id, RunnerChange::Revoke, by, now).map(|_| ())
}

/// The machines of a project that is no more count for nothing, and codes for them neither.
pub(super) fn targets_of_a_removed_project(
    connection: &Connection,
    project: &Name,
    by: &Actor,
    now: u64,
) -> Result<(), StoreError> {
    let of_it = format!("{project}/");
    connection
        .prepare_cached(
            "DELETE FROM enrolments WHERE used_by IS NULL AND substr(target, 1, length(?1)) = ?1",
        )?
        .execute([&of_it])?;
    let is_its =
        |runner: &RunnerSeen| runner.target.as_ref().is_some_and(|target| target.project == *project);
    for runner in all_runners(connection)?.iter().filter(|runner| is_its(runner)) {
        change_runner(connection, &runner.id, RunnerChange::Revoke, by, now)?;
    }
    Ok(())
}

fn add_session(connection: &Connection, session: &NewSession, now: u64) -> Result<bool, StoreError> {
    let heard = connection
        .prepare_cached(&format!(
            "UPDATE runners SET seen = ?2, version = ?3 WHERE id = ?1 AND state <> 'revoked' AND NOT {SPENT}"
        ))?
        .execute(params![session.runner.as_str(), now, session.version])?;
    if heard == 0 {
        return Err(StoreError::Conflict("the runner was revoked".to_owned()));
    }
    connection
        .prepare_cached("DELETE FROM tokens WHERE runner IS NOT NULL AND expires < ?1")?
        .execute([now.saturating_sub(SESSIONS_REMEMBERED)])?;
    let added = connection
        .prepare_cached(
            "INSERT INTO tokens (id, hash, name, grants_json, runner, created, expires)
             VALUES (?1, ?2, 'session', '[]', ?3, ?4, ?5) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            format!("{}.{}", session.runner, session.nonce),
            session.digest.to_string(),
            session.runner.as_str(),
            now,
            session.expires
        ])?;
    Ok(added == 1)
}

fn change_runner(
    connection: &Connection,
    runner: &RunnerId,
    change: RunnerChange,
    by: &Actor,
    now: u64,
) -> Result<RunnerState, StoreError> {
    let Some(known) = find(connection, "WHERE id = ?1", &[runner.as_str()])? else {
        return Err(StoreError::Unknown { what: "runner", name: runner.to_string() });
    };
    let Some(after) = known.state.after(change) else {
        return Err(StoreError::Conflict(format!(
            "the runner {runner} was revoked, which is for good; enrol the host again"
        )));
    };
    if after == known.state {
        return Ok(after);
    }
    connection
        .prepare_cached("UPDATE runners SET state = ?2 WHERE id = ?1 AND state = ?3")?
        .execute(params![runner.as_str(), after.as_str(), known.state.as_str()])?;
    let subject = format!("runner {runner} {}", known.name);
    let (before, now_is) = (json(&known.state)?, json(&after)?);
    let change = Change {
        by,
        at: now,
        what: "runner-changed",
        subject: &subject,
        before: Some(&before),
        after: Some(&now_is),
    };
    note(connection, &change)?;
    Ok(after)
}

/// A runner that gets one job only counts as revoked as soon as an attempt of it has ended, however it ended: asked here, so that no
/// way of ending an attempt can forget it.
pub(super) const SPENT: &str = "(ephemeral = 1 AND EXISTS (SELECT 1 FROM attempts a WHERE a.runner = runners.id AND a.state <> 'leased'))";

fn select(condition: &str) -> String {
    format!(
        "SELECT id, name, pool, labels_json, ephemeral, version, CASE WHEN {SPENT} THEN 'revoked' ELSE state END,
         enrolled, seen, public_key, target FROM runners {condition}"
    )
}

fn find(
    connection: &Connection,
    condition: &'static str,
    values: &[&str],
) -> Result<Option<RunnerSeen>, StoreError> {
    let mut statement = connection.prepare_cached(&select(condition))?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    rows.next()?.map(runner).transpose()
}

fn all_runners(connection: &Connection) -> Result<Vec<RunnerSeen>, StoreError> {
    let mut statement = connection.prepare_cached(&select("ORDER BY id DESC"))?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        match runner(row) {
            Err(StoreError::Damaged { row, why, .. }) => {
                tracing::error!(row, why, "a runner is damaged and left out");
            }
            runner => all.push(runner?),
        }
    }
    Ok(all)
}

fn runner(row: &Row<'_>) -> Result<RunnerSeen, StoreError> {
    let id: String = row.get(0)?;
    let damaged = |why: String| StoreError::Damaged { table: "runners", row: id.clone(), why };
    let a_name = |text: String| text.parse().map_err(|bad: staith_model::NotAName| damaged(bad.to_string()));
    let labels: String = row.get(3)?;
    Ok(RunnerSeen {
        id: id.parse().map_err(|bad: staith_model::NotAnId| damaged(bad.to_string()))?,
        name: a_name(row.get(1)?)?,
        pool: a_name(row.get(2)?)?,
        labels: serde_json::from_str(&labels).map_err(|bad| damaged(bad.to_string()))?,
        ephemeral: row.get(4)?,
        version: row.get(5)?,
        state: read_state(&id, &row.get::<_, String>(6)?)?,
        enrolled: row.get(7)?,
        seen: row.get(8)?,
        target: row
            .get::<_, Option<String>>(10)?
            .map(|text| text.parse().map_err(|bad: NotATarget| damaged(bad.to_string())))
            .transpose()?,
    })
}

fn read_state(runner: &str, text: &str) -> Result<RunnerState, StoreError> {
    RunnerState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| StoreError::Damaged {
        table: "runners",
        row: runner.to_owned(),
        why: format!("`{text}` is no state of a runner"),
    })
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|bad| StoreError::Conflict(bad.to_string()))
}
