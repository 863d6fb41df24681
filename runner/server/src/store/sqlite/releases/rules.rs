//! What protects environments, and which of them are released to by themselves.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{Name, service::EnvironmentRules};

use super::{
    super::{
        projects,
        rows::{damaged, json, parsed},
    },
    told,
};
use crate::store::{Actor, Due, StoreError};

pub(super) fn of(
    connection: &Connection,
    project: &Name,
    environment: &Name,
) -> Result<Option<EnvironmentRules>, StoreError> {
    let found: Option<String> = connection
        .prepare_cached("SELECT rules_json FROM environment_rules WHERE project = ?1 AND environment = ?2")?
        .query_row([project.as_str(), environment.as_str()], |row| row.get(0))
        .optional()?;
    // What can't be understood opens nothing: it is an error.
    found.map(|text| parsed("environment_rules", &format!("{project}/{environment}"), &text)).transpose()
}

pub(super) fn all(connection: &Connection) -> Result<Vec<(Name, Name, EnvironmentRules)>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT project, environment, rules_json FROM environment_rules ORDER BY 1, 2")?;
    let rows = select
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    rows.into_iter()
        .map(|(project, environment, rules)| {
            let row = format!("{project}/{environment}");
            let rules = parsed("environment_rules", &row, &rules)?;
            Ok((name(&row, &project)?, name(&row, &environment)?, rules))
        })
        .collect()
}

fn name(row: &str, text: &str) -> Result<Name, StoreError> {
    text.parse().map_err(|bad: staith_model::NotAName| damaged("environment_rules", row, &bad))
}

pub(super) fn set(
    connection: &Connection,
    (project, environment): (&Name, &Name),
    rules: Option<&EnvironmentRules>,
    by: &Actor,
    now: u64,
) -> Result<(), StoreError> {
    projects::must_be_there(connection, project.as_str())?;
    let before = of(connection, project, environment)?;
    let subject = format!("environment {project}/{environment}");
    let before_text = before.as_ref().map(json).transpose()?;
    let Some(rules) = rules else {
        if before.is_none() {
            return Err(StoreError::Unknown {
                what: "protection of",
                name: format!("{project}/{environment}"),
            });
        }
        connection
            .prepare_cached("DELETE FROM environment_rules WHERE project = ?1 AND environment = ?2")?
            .execute([project.as_str(), environment.as_str()])?;
        return told(connection, ("protection-removed", &subject), (before_text.as_deref(), None), by, now);
    };
    let after = json(rules)?;
    connection
        .prepare_cached(
            "INSERT INTO environment_rules (project, environment, rules_json, changed) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET rules_json = excluded.rules_json, changed = excluded.changed",
        )?
        .execute(params![project.as_str(), environment.as_str(), after, now])?;
    told(connection, ("protection-set", &subject), (before_text.as_deref(), Some(&after)), by, now)
}

/// The newest run that is due, for each environment that is released to by itself.
pub(super) fn due(connection: &Connection) -> Result<Vec<Due>, StoreError> {
    let mut found = Vec::new();
    let mut select = connection.prepare_cached(
        "SELECT r.id FROM runs r JOIN environment_rules e ON e.project = r.project AND e.environment = ?2
         WHERE r.project = ?1 AND r.state = 'passed' AND r.trust = 'protected' AND r.created >= e.changed
           AND r.number > coalesce((SELECT max(o.number) FROM released_by_itself d JOIN runs o ON o.id = d.run
                                    WHERE d.project = ?1 AND d.environment = ?2), 0)
         ORDER BY r.number DESC LIMIT 1",
    )?;
    for (project, environment, rules) in all(connection)? {
        if !rules.automatic {
            continue;
        }
        let run: Option<String> =
            select.query_row([project.as_str(), environment.as_str()], |row| row.get(0)).optional()?;
        if let Some(run) = run {
            let run = run.parse().map_err(|bad: staith_model::NotAnId| damaged("runs", &run, &bad))?;
            found.push(Due { project, environment, run });
        }
    }
    Ok(found)
}

pub(super) fn seen_to(connection: &Connection, done: &Due) -> Result<Vec<Due>, StoreError> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO released_by_itself (project, environment, run) VALUES (?1, ?2, ?3)",
        )?
        .execute([done.project.as_str(), done.environment.as_str(), done.run.as_str()])?;
    due(connection)
}
