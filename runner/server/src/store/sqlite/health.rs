//! Statements that count.

use async_trait::async_trait;
use rusqlite::Connection;

use super::Sqlite;
use crate::store::{Depths, Health, StoreError};

#[async_trait]
impl Health for Sqlite {
    async fn depths(&self) -> Result<Depths, StoreError> {
        self.read(depths).await
    }
}

fn depths(connection: &Connection) -> Result<Depths, StoreError> {
    let many = |statement: &str| -> Result<u64, StoreError> {
        Ok(connection.prepare_cached(statement)?.query_row([], |row| row.get(0))?)
    };
    // Open runs are few, and by them what waits is found without looking at what has ended.
    let jobs = |state: &str| {
        many(&format!(
            "SELECT count(*) FROM runs r JOIN jobs j ON j.run = r.id WHERE r.ended IS NULL AND j.state = '{state}'"
        ))
    };
    Ok(Depths {
        jobs_queued: many("SELECT count(*) FROM jobs WHERE state = 'queued'")?,
        jobs_waiting: jobs("waiting")?,
        leases: many("SELECT count(*) FROM attempts WHERE state = 'leased'")?,
        attempts_finished: many("SELECT count(*) FROM attempts WHERE state = 'finished'")?,
        attempts_lost: many("SELECT count(*) FROM attempts WHERE state = 'lost'")?,
        runs_open: many("SELECT count(*) FROM runs WHERE ended IS NULL")?,
        runners_active: many("SELECT count(*) FROM runners WHERE state = 'active' AND target IS NULL")?,
        arrivals_waiting: many("SELECT count(*) FROM arrivals WHERE state = 'waiting'")?,
        outbox_waiting: many("SELECT count(*) FROM outbox WHERE sent IS NULL")?,
    })
}
