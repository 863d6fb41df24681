//! `staith server release swap`.

use clap::Args;
use staith_model::{Exit, Name, service::SwapAsked};

use super::{
    There,
    deploy::{BelowFloor, Waiting, watched},
};
use crate::output::{OutputMode, Problem};

/// Give the requests of a blue-green environment to its other pool, with what that runs
///
/// The pool that served stays as it is: a second swap goes back. Nobody has to approve, so the other pool has to run a release that has
/// served here before.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Name,
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
        let Self { environment, reason, floor, waiting } = self;
        let asked = SwapAsked { reason, override_floor: floor.override_floor };
        let answer = there.order(&environment, "swaps", &asked).await?;
        watched(there, &environment, &answer, waiting, mode).await
    }
}
