//! Statements about attempts.
//!
//! 1. `claim`: a job is given to a runner. `fence`: the numbers that tell attempts apart.
//! 2. `end`: an attempt ends, however it does.
//! 3. `live`: those that have not ended.

mod claim;
mod end;
mod fence;
mod live;

use async_trait::async_trait;
use staith_model::{
    AttemptId, Digest,
    service::{AttemptEnd, JobState, StopKind},
};

use super::Sqlite;
use crate::store::{Attempts, Claim, Claimable, Finish, Finished, Live, StoreError};

#[async_trait]
impl Attempts for Sqlite {
    async fn claim(&self, claim: Claim, now: u64) -> Result<Claimable, StoreError> {
        self.write_new(move |connection| claim::claim(connection, &claim, now)).await
    }

    async fn live(&self, attempt: AttemptId, token: Digest, fence: u64) -> Result<Option<Live>, StoreError> {
        self.read(move |connection| live::live(connection, attempt.as_str(), &token, fence)).await
    }

    async fn all_live(&self) -> Result<Vec<Live>, StoreError> {
        self.read(live::all_live).await
    }

    async fn finish(&self, finish: Finish, now: u64) -> Result<Finished, StoreError> {
        self.write(move |connection| end::finish(connection, &finish, now)).await
    }

    async fn give_up(
        &self,
        attempt: AttemptId,
        end: AttemptEnd,
        why: String,
        now: u64,
    ) -> Result<Option<JobState>, StoreError> {
        self.write(move |connection| end::give_up(connection, attempt.as_str(), &end, &why, now)).await
    }

    async fn ask_to_end(
        &self,
        attempt: AttemptId,
        kind: StopKind,
        why: String,
        now: u64,
    ) -> Result<(), StoreError> {
        self.write(move |connection| end::ask_to_end(connection, attempt.as_str(), kind, &why, now)).await
    }
}
