//! What nobody told: branches and tags that are otherwise than they were seen.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};
use staith_model::{ArrivalId, service::Happening};

use super::{insert, remember};
use crate::store::{NewArrival, Observed, Seen, StoreError};

pub(super) fn observed(
    connection: &Connection,
    seen: &Observed,
    now: u64,
) -> Result<Vec<ArrivalId>, StoreError> {
    let project = seen.project.as_str();
    super::must_be_there(connection, project)?;
    let last: Option<u64> = connection
        .prepare_cached("SELECT polled FROM projects WHERE name = ?1")?
        .query_row([project], |row| row.get(0))?;
    let before = known(connection, project)?;
    let mut new = Vec::new();
    for one in &seen.now {
        let was = before.get(&one.reference);
        if was == Some(&one.commit) {
            continue;
        }
        remember(connection, project, &one.reference, Some(&one.commit))?;
        let Some(last) = last else { continue };
        if was_told(connection, project, one, last)? {
            continue;
        }
        if let Some(happening) = happening(one, was) {
            let id = (seen.ids)(now);
            let delivery = format!("{} {} {id}", one.reference, one.commit);
            let arrival =
                NewArrival { id, project: seen.project.clone(), source: "poll", delivery, happening };
            insert(connection, &arrival, None, now)?;
            new.push(arrival.id);
        }
    }
    let there: BTreeSet<&String> = seen.now.iter().map(|one| &one.reference).collect();
    for gone in before.keys().filter(|name| !there.contains(name)) {
        remember(connection, project, gone, None)?;
    }
    connection
        .prepare_cached("UPDATE projects SET polled = ?2 WHERE name = ?1")?
        .execute(params![project, seen.began])?;
    Ok(new)
}

fn known(connection: &Connection, project: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let mut select =
        connection.prepare_cached("SELECT reference, target FROM seen_refs WHERE project = ?1")?;
    let rows = select.query_map([project], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Events may come in another order than they happened. What was told since the last comparison is no news, though something else
/// was told after it.
fn was_told(connection: &Connection, project: &str, one: &Seen, since: u64) -> Result<bool, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT 1 FROM arrivals WHERE project = ?1 AND reference = ?2 AND target = ?3 AND received >= ?4
             AND source <> 'poll'",
    )?;
    Ok(select.exists(params![project, one.reference, one.commit, since])?)
}

fn happening(one: &Seen, was: Option<&String>) -> Option<Happening> {
    if let Some(branch) = one.reference.strip_prefix("refs/heads/") {
        let (branch, before, after) = (branch.to_owned(), was.cloned(), one.commit.clone());
        return Some(Happening::Push { branch, before, after });
    }
    let tag = one.reference.strip_prefix("refs/tags/")?;
    Some(Happening::Tag { tag: tag.to_owned(), commit: one.commit.clone() })
}
