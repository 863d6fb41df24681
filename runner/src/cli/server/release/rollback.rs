//! `staith server release rollback`.

use clap::Args;
use staith_model::{Exit, Name, service::RollbackAsked};

use super::{
    There,
    deploy::{BelowFloor, Waiting, watched},
};
use crate::output::{OutputMode, Problem};

/// Bring back what was there: no bytes, no approvals
///
/// Whoever goes back holds the environment: runs don't release there by themselves until `lift`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Name,
    /// This release instead of the one before
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// Also where machines lack it or can't be asked: then bytes are moved
    #[arg(long)]
    force: bool,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    floor: BelowFloor,
    #[command(flatten)]
    waiting: Waiting,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let Self { environment, to, force, reason, floor, waiting } = self;
        let asked = RollbackAsked { to, force, reason, override_floor: floor.override_floor };
        let answer = there.order(&environment, "rollbacks", &asked).await?;
        watched(there, &environment, &answer, waiting, mode).await
    }
}
