//! Arrivals as they are.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
use staith_model::{
    ArrivalId, Name,
    service::{Arrival, ArrivalState, RunSetOff},
};

use super::super::rows::{damaged, parsed};
use crate::store::{NewArrival, StoreError};

const SELECT: &str = "SELECT a.id, a.project, a.source, a.delivery, a.happening_json, a.received, a.state, a.why, a.remedy, a.tries,
    r.id, r.number FROM arrivals a LEFT JOIN runs r ON r.arrival = a.id";

pub(super) fn by_delivery(
    connection: &Connection,
    new: &NewArrival,
) -> Result<Option<ArrivalId>, StoreError> {
    let known = connection
        .prepare_cached("SELECT id FROM arrivals WHERE project = ?1 AND source = ?2 AND delivery = ?3")?
        .query_row([new.project.as_str(), new.source, &new.delivery], |row| row.get::<_, String>(0))
        .optional()?;
    known
        .map(|id| id.parse().map_err(|bad: staith_model::NotAnId| damaged("arrivals", &id, &bad)))
        .transpose()
}

pub(super) fn one(connection: &Connection, id: &ArrivalId) -> Result<Option<Arrival>, StoreError> {
    let mut select = connection.prepare_cached(&format!("{SELECT} WHERE a.id = ?1"))?;
    select.query_row([id.as_str()], raw).optional()?.map(Raw::understood).transpose()
}

pub(super) fn waiting(connection: &Connection, now: u64, most: u32) -> Result<Vec<Arrival>, StoreError> {
    // What happened to a branch later waits until what happened to it before was looked into.
    let statement = format!(
        "{SELECT} WHERE a.id IN (
             SELECT id FROM (
                 SELECT id, row_number() OVER (PARTITION BY project ORDER BY received, id) AS place FROM arrivals w
                 WHERE state = 'waiting' AND next_try <= ?1 AND NOT EXISTS (
                     SELECT 1 FROM arrivals b WHERE b.state = 'waiting' AND b.project = w.project AND b.next_try > ?1
                         AND b.id < w.id AND b.reference = w.reference))
             WHERE place <= ?2)
         ORDER BY a.received, a.id"
    );
    several(connection, &statement, params![now, most])
}

pub(super) fn of(
    connection: &Connection,
    project: &Name,
    before: Option<&ArrivalId>,
    most: u32,
) -> Result<Vec<Arrival>, StoreError> {
    let statement =
        format!("{SELECT} WHERE a.project = ?1 AND (?2 IS NULL OR a.id < ?2) ORDER BY a.id DESC LIMIT ?3");
    several(connection, &statement, params![project.as_str(), before.map(ArrivalId::as_str), most])
}

fn several(
    connection: &Connection,
    statement: &str,
    params: impl Params,
) -> Result<Vec<Arrival>, StoreError> {
    let mut select = connection.prepare_cached(statement)?;
    let rows = select.query_map(params, raw)?.collect::<Result<Vec<_>, _>>()?;
    let sound =
        |row: Raw| row.understood().inspect_err(|bad| tracing::error!(%bad, "an arrival is left alone")).ok();
    Ok(rows.into_iter().filter_map(sound).collect())
}

struct Raw {
    texts: [String; 5],
    received: u64,
    state: String,
    why: Option<String>,
    remedy: Option<String>,
    tries: u32,
    run: Option<(String, u64)>,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    let run = match row.get::<_, Option<String>>(10)? {
        Some(id) => Some((id, row.get(11)?)),
        None => None,
    };
    Ok(Raw {
        texts: [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?],
        received: row.get(5)?,
        state: row.get(6)?,
        why: row.get(7)?,
        remedy: row.get(8)?,
        tries: row.get(9)?,
        run,
    })
}

impl Raw {
    fn understood(self) -> Result<Arrival, StoreError> {
        let [id, project, source, delivery, happening] = self.texts;
        let bad = |why: &dyn std::fmt::Display| damaged("arrivals", &id, why);
        let run = match self.run {
            Some((run, number)) => Some(RunSetOff {
                id: run.parse().map_err(|why| bad(&why as &staith_model::NotAnId))?,
                number,
            }),
            None => None,
        };
        Ok(Arrival {
            happening: parsed("arrivals", &id, &happening)?,
            project: project.parse().map_err(|why: staith_model::NotAName| bad(&why))?,
            source,
            delivery,
            received: self.received,
            state: state(&self.state).ok_or_else(|| bad(&format!("`{}` is no state", self.state)))?,
            why: self.why,
            remedy: self.remedy,
            run,
            tries: self.tries,
            id: id.parse().map_err(|why: staith_model::NotAnId| bad(&why))?,
        })
    }
}

fn state(text: &str) -> Option<ArrivalState> {
    use ArrivalState::{Done, Held, Ignored, Refused, Waiting};
    [Waiting, Held, Done, Ignored, Refused].into_iter().find(|state| state.as_str() == text)
}
