//! How much there is of everything.

use async_trait::async_trait;

use super::StoreError;

/// How much waits, and how much was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depths {
    /// Jobs that wait for a runner.
    pub jobs_queued: u64,
    /// Jobs that wait for other jobs.
    pub jobs_waiting: u64,
    /// Attempts that a runner has.
    pub leases: u64,
    /// Attempts whose runner said how they ended.
    pub attempts_finished: u64,
    /// Attempts whose runner was lost.
    pub attempts_lost: u64,
    /// Runs that have not ended.
    pub runs_open: u64,
    /// Runners that get jobs.
    pub runners_active: u64,
    /// Happenings that were not looked into yet.
    pub arrivals_waiting: u64,
    /// Messages that were not delivered yet.
    pub outbox_waiting: u64,
}

/// For monitoring.
#[async_trait]
pub trait Health {
    /// How much there is of everything, at one moment.
    async fn depths(&self) -> Result<Depths, StoreError>;
}
