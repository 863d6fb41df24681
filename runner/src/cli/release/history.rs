//! `staith release history`.

use clap::Args;
use staith_model::{Exit, FleetState};
use staith_releaser::fleet::drive::FleetDriveError;

use super::Environment;
use crate::output::{self, OutputMode, Problem};

/// List the deployments to an environment, the newest first
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    environment: Environment,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let site = self.environment.site()?;
        let entries = site.log().since(0).map_err(FleetDriveError::from)?;
        let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
        let records: Vec<_> = state.in_order().rev().collect();
        output::fleet_history(&records, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
