//! `staith server release lift`.

use clap::Args;
use staith_model::{Exit, Name, service::LiftAsked};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// Let runs release there again, after somebody went back
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Name,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let answer = there.order(&self.environment, "lifts", &LiftAsked { reason: self.reason }).await?;
        output::server_order(&answer, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
