//! Statements about runs and jobs; those about attempts are in `attempts`.
//!
//! 1. `rows`: a row's change by the transition function, with an "allowed from" check.
//! 2. `add`: a run that is to be. `settle`: what follows from a change of a job, up to the run and its group.
//! 3. `cancel`, `retry`: what people ask of runs. `views`: runs as they see them.

mod add;
mod cancel;
mod retry;
mod rows;
mod settle;
mod views;

use async_trait::async_trait;
use staith_model::{
    AttemptId, RunId,
    service::{RunPage, RunView},
};

pub(super) use self::{
    rows::{change_job, job, word},
    settle::settle,
};
use super::Sqlite;
use crate::store::{Actor, NewRun, Queue, RunFilter, StoreError};

#[async_trait]
impl Queue for Sqlite {
    async fn add_run(&self, run: NewRun, now: u64) -> Result<u64, StoreError> {
        self.write_new(move |connection| add::add_run(connection, &run, now)).await
    }

    async fn cancel_run(
        &self,
        run: RunId,
        by: Actor,
        why: String,
        now: u64,
    ) -> Result<Vec<AttemptId>, StoreError> {
        self.write(move |connection| cancel::cancel_run(connection, run.as_str(), &by, &why, now)).await
    }

    async fn retry_run(&self, run: RunId, by: Actor, now: u64) -> Result<(), StoreError> {
        self.write_new(move |connection| retry::retry_run(connection, run.as_str(), &by, now)).await
    }

    async fn runs(&self, filter: RunFilter) -> Result<RunPage, StoreError> {
        self.read(move |connection| views::runs(connection, &filter)).await
    }

    async fn run(&self, run: RunId) -> Result<RunView, StoreError> {
        self.read(move |connection| views::run(connection, run.as_str())).await
    }
}
