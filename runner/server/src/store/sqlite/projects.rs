//! Statements about projects.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use staith_model::{
    Name, RunId,
    service::{Project, ProjectSettings},
};

use super::{
    Sqlite,
    audit::{Change, note},
    rows::{damaged, json, parsed},
    runners::targets_of_a_removed_project,
};
use crate::store::{Actor, Projects, Seen, StoreError};

#[async_trait]
impl Projects for Sqlite {
    async fn add_project(&self, project: Project, seen: Vec<Seen>, by: &Actor) -> Result<(), StoreError> {
        let by = by.clone();
        self.write_new(move |connection| add(connection, &project, &seen, &by)).await
    }

    async fn project(&self, name: &Name) -> Result<Option<Project>, StoreError> {
        let name = name.clone();
        self.read(move |connection| project(connection, name.as_str())).await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.read(all).await
    }

    async fn change_project(
        &self,
        name: &Name,
        from: &ProjectSettings,
        to: &ProjectSettings,
        by: &Actor,
        now: u64,
    ) -> Result<(), StoreError> {
        let (name, from, to, by) = (name.clone(), from.clone(), to.clone(), by.clone());
        self.write(move |connection| change(connection, &name, &from, &to, &by, now)).await
    }

    async fn open_runs(&self, project: &Name, group: &str) -> Result<Vec<RunId>, StoreError> {
        let (project, group) = (project.clone(), group.to_owned());
        self.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id FROM runs WHERE project = ?1 AND concurrency = ?2 AND ended IS NULL",
            )?;
            let ids = select.query_map([project.as_str(), &group], |row| row.get::<_, String>(0))?;
            let parsed =
                |id: String| id.parse().map_err(|bad: staith_model::NotAnId| damaged("runs", &id, &bad));
            ids.map(|id| parsed(id?)).collect()
        })
        .await
    }

    async fn remove_project(&self, name: &Name, by: &Actor, now: u64) -> Result<(), StoreError> {
        let (name, by) = (name.clone(), by.clone());
        self.write(move |connection| remove(connection, &name, &by, now)).await
    }
}

const COLUMNS: &str = "name, origin, settings_json, created";

fn add(connection: &Connection, project: &Project, seen: &[Seen], by: &Actor) -> Result<(), StoreError> {
    let (name, now) = (project.name.as_str(), project.created);
    let settings = json(&project.settings)?;
    let added = connection
        .prepare_cached(
            "INSERT INTO projects (name, origin, settings_json, created, polled) VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT (name) DO UPDATE SET origin = excluded.origin, settings_json = excluded.settings_json,
                 created = excluded.created, polled = excluded.polled, removed = NULL
             WHERE removed IS NOT NULL",
        )?
        .execute(params![name, project.origin, settings, now])?;
    if added == 0 {
        return Err(StoreError::Conflict(format!("there is a project `{name}` already")));
    }
    for table in ["seen_refs", "schedules", "approvals"] {
        connection.execute(&format!("DELETE FROM {table} WHERE project = ?1"), [name])?;
    }
    let mut insert = connection
        .prepare_cached("INSERT INTO seen_refs (project, reference, target) VALUES (?1, ?2, ?3)")?;
    for one in seen {
        insert.execute([name, &one.reference, &one.commit])?;
    }
    noted(connection, "project-added", name, by, now, (None, Some(&json(project)?)))
}

pub(super) fn project(connection: &Connection, name: &str) -> Result<Option<Project>, StoreError> {
    let mut select = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM projects WHERE name = ?1 AND removed IS NULL"))?;
    select.query_row([name], raw).optional()?.map(understood).transpose()
}

/// # Errors
/// There is no such project.
pub(super) fn must_be_there(connection: &Connection, name: &str) -> Result<Project, StoreError> {
    project(connection, name)?.ok_or_else(|| StoreError::Unknown { what: "project", name: name.to_owned() })
}

fn all(connection: &Connection) -> Result<Vec<Project>, StoreError> {
    let mut select = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM projects WHERE removed IS NULL ORDER BY name"))?;
    let rows = select.query_map([], raw)?.collect::<Result<Vec<_>, _>>()?;
    let sound =
        |row| understood(row).inspect_err(|bad| tracing::error!(%bad, "a project is left alone")).ok();
    Ok(rows.into_iter().filter_map(sound).collect())
}

type Raw = (String, String, String, u64);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn understood((name, origin, settings, created): Raw) -> Result<Project, StoreError> {
    let settings = parsed("projects", &name, &settings)?;
    let name = name.parse::<Name>().map_err(|bad| damaged("projects", &name, &bad))?;
    Ok(Project { name, origin, settings, created })
}

fn change(
    connection: &Connection,
    name: &Name,
    from: &ProjectSettings,
    to: &ProjectSettings,
    by: &Actor,
    now: u64,
) -> Result<(), StoreError> {
    if must_be_there(connection, name.as_str())?.settings != *from {
        let what = format!(
            "the settings of `{name}` were changed by somebody else meanwhile; look at them, and try again"
        );
        return Err(StoreError::Conflict(what));
    }
    connection
        .prepare_cached("UPDATE projects SET settings_json = ?2 WHERE name = ?1")?
        .execute([name.as_str(), &json(to)?])?;
    noted(connection, "project-changed", name.as_str(), by, now, (Some(&json(from)?), Some(&json(to)?)))
}

fn remove(connection: &Connection, name: &Name, by: &Actor, now: u64) -> Result<(), StoreError> {
    let before = must_be_there(connection, name.as_str())?;
    let open: u64 = connection
        .prepare_cached("SELECT count(*) FROM runs WHERE project = ?1 AND ended IS NULL")?
        .query_row([name.as_str()], |row| row.get(0))?;
    if open > 0 {
        let what =
            format!("`{name}` has {open} run(s) that have not ended; cancel them, or wait for their end");
        return Err(StoreError::Conflict(what));
    }
    connection
        .prepare_cached("UPDATE projects SET removed = ?2 WHERE name = ?1")?
        .execute(params![name.as_str(), now])?;
    connection
        .prepare_cached(
            "UPDATE arrivals SET state = 'ignored', why = 'the project was removed'
             WHERE project = ?1 AND state IN ('waiting', 'held')",
        )?
        .execute([name.as_str()])?;
    // Another project may be given the name: what was kept secret for this one is not for that one's code.
    connection.prepare_cached("DELETE FROM secrets WHERE project = ?1")?.execute([name.as_str()])?;
    // Nor do its machines get what that one deploys.
    targets_of_a_removed_project(connection, name, by, now)?;
    noted(connection, "project-removed", name.as_str(), by, now, (Some(&json(&before.shown())?), None))
}

fn noted(
    connection: &Connection,
    what: &str,
    name: &str,
    by: &Actor,
    at: u64,
    (before, after): (Option<&str>, Option<&str>),
) -> Result<(), StoreError> {
    let subject = format!("project {name}");
    note(connection, &Change { by, at, what, subject: &subject, before, after })
}
