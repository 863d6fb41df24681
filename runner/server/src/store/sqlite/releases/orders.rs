//! What the deployer is told, and what it answered.

use rusqlite::{Connection, OptionalExtension as _, params};
use staith_model::{
    Name,
    service::{OpenOrder, Order, OrderAnswer, OrderSeen},
};

use super::{
    super::{
        projects,
        rows::{damaged, json, parsed},
    },
    told,
};
use crate::store::{Actor, NewOrder, StoreError};

/// Who it is, as ledgers write people down.
pub(super) fn person(by: &Actor) -> &str {
    by.who.strip_prefix("person:").unwrap_or(&by.who)
}

pub(super) fn add(connection: &Connection, new: &NewOrder, by: &Actor, now: u64) -> Result<u64, StoreError> {
    projects::must_be_there(connection, new.project.as_str())?;
    let environment = new.order.environment().map(Name::as_str);
    connection
        .prepare_cached(
            "INSERT INTO orders (project, environment, order_json, asked_by, asked) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![new.project.as_str(), environment, json(&new.order)?, new.who, now])?;
    let order = u64::try_from(connection.last_insert_rowid()).unwrap_or_default();
    let subject = match environment {
        Some(environment) => format!("environment {}/{environment}", new.project),
        None => format!("project {}", new.project),
    };
    let after = json(&shown(order, &new.order))?;
    told(connection, (new.what, &subject), (None, Some(&after)), by, now)?;
    Ok(order)
}

/// An order for the audit log: without the pipeline file, which is the commit's.
fn shown(order: u64, what: &Order) -> serde_json::Value {
    let mut value = serde_json::to_value(what).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("pipeline");
        if let Some(material) = fields.get_mut("material").and_then(serde_json::Value::as_object_mut) {
            material.remove("pipeline");
        }
        fields.insert("number".to_owned(), order.into());
    }
    value
}

pub(super) fn open(connection: &Connection) -> Result<Vec<OpenOrder>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT seq, project, asked_by, asked, order_json FROM orders WHERE answered IS NULL ORDER BY seq LIMIT 100",
    )?;
    let rows = select
        .query_map([], |row| {
            let texts = (row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(4)?);
            Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(3)?, texts))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    rows.into_iter()
        .map(|(order, asked, (project, by, what))| {
            let row = order.to_string();
            let what = parsed("orders", &row, &what)?;
            Ok(OpenOrder { order, project: name(&row, &project)?, by, asked, what })
        })
        .collect()
}

fn name(row: &str, text: &str) -> Result<Name, StoreError> {
    text.parse().map_err(|bad: staith_model::NotAName| damaged("orders", row, &bad))
}

pub(super) fn one(connection: &Connection, order: u64) -> Result<OrderSeen, StoreError> {
    let found = connection
        .prepare_cached("SELECT project, asked_by, asked, answer_json FROM orders WHERE seq = ?1")?
        .query_row([order], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, u64>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })
        .optional()?;
    let row = order.to_string();
    let Some((project, by, asked, answer)) = found else {
        return Err(StoreError::Unknown { what: "order", name: row });
    };
    let answer = answer.map(|text| parsed("orders", &row, &text)).transpose()?;
    Ok(OrderSeen { order, project: name(&row, &project)?, by, asked, answer })
}

pub(super) fn answer(
    connection: &Connection,
    order: u64,
    answer: &OrderAnswer,
    by: &Actor,
    now: u64,
) -> Result<(), StoreError> {
    let found: Option<(String, String, bool)> = connection
        .prepare_cached("SELECT project, order_json, answered IS NOT NULL FROM orders WHERE seq = ?1")?
        .query_row([order], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let row = order.to_string();
    let Some((project, what, is_answered)) = found else {
        return Err(StoreError::Unknown { what: "order", name: row });
    };
    if is_answered {
        return Ok(());
    }
    connection
        .prepare_cached("UPDATE orders SET answer_json = ?2, answered = ?3 WHERE seq = ?1")?
        .execute(params![order, json(&without_release(answer))?, now])?;
    let what: Order = parsed("orders", &row, &what)?;
    if let Order::Make { material } = &what {
        made(connection, &project, material.number, answer)?;
    }
    let after = json(&summary(answer))?;
    told(
        connection,
        ("order-answered", &format!("order {order} of {project}")),
        (None, Some(&after)),
        by,
        now,
    )
}

/// What became of a release that was to be made.
fn made(connection: &Connection, project: &str, number: u64, answer: &OrderAnswer) -> Result<(), StoreError> {
    let mut update = connection.prepare_cached(
        "UPDATE releases SET state = ?3, digest = ?4, environments_json = ?5, why = ?6, frozen_json = ?7
         WHERE project = ?1 AND number = ?2",
    )?;
    match answer {
        OrderAnswer::Made { release, environments, frozen } => {
            let (digest, environments) = (release.to_string(), json(environments)?);
            // Nothing is shown for a release that is not it.
            let frozen = frozen.as_ref().filter(|frozen| frozen.digest() == *release);
            let frozen = frozen.map(json).transpose()?;
            let none = None::<String>;
            update.execute(params![project, number, "made", digest, environments, none, frozen])?;
        }
        OrderAnswer::Refused { what, why, .. } => {
            let why =
                [Some(what.as_str()), why.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
            let none = None::<String>;
            update.execute(params![project, number, "refused", none, "[]", why, none])?;
        }
        OrderAnswer::Done | OrderAnswer::Planned { .. } => {}
    }
    Ok(())
}

/// An answer without the release, which is kept with the releases.
fn without_release(answer: &OrderAnswer) -> OrderAnswer {
    match answer {
        OrderAnswer::Made { release, environments, .. } => {
            OrderAnswer::Made { release: *release, environments: environments.clone(), frozen: None }
        }
        other => other.clone(),
    }
}

/// An answer without the whole of a plan or a release.
fn summary(answer: &OrderAnswer) -> serde_json::Value {
    let mut value = serde_json::to_value(without_release(answer)).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("plan");
    }
    value
}
