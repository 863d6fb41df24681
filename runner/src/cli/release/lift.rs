//! `staith release lift`.

use clap::Args;
use staith_model::{Exit, FleetEvent};
use staith_releaser::{
    fleet::drive::{FleetDriveError, status},
    ledger::Who,
};

use super::Environment;
use crate::output::{self, OutputMode, Problem};

/// Let runs release to an environment again that somebody holds
///
/// Whoever goes back to an older release holds the environment with that: a run would only bring the newer one again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    environment: Environment,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let site = self.environment.site()?;
        let held = status(&site.log())?.held;
        if held.is_some() {
            let lifted = FleetEvent::HoldLifted { by: Who::of_this_process().user, reason: self.reason };
            site.log().append(lifted).await.map_err(FleetDriveError::from)?;
        }
        output::hold_lifted(&site.environment.name, held.as_deref(), mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
