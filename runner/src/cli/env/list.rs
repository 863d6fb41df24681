//! `staith env list`.

use std::path::PathBuf;

use clap::Args;
use staith_model::{Exit, FleetState};
use staith_releaser::fleet::drive::FleetDriveError;

use crate::{
    fleet::{Site, pipeline_in},
    home::Home,
    output::{self, KnownEnvironment, OutputMode, Problem},
};

/// List the environments of runner.toml: where they are, how they are released to, and what serves there as their ledgers have it
///
/// No machine is asked, and no inventory.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let pipeline = pipeline_in(&self.project_dir)?;
        let mut known = Vec::new();
        for environment in pipeline.environments() {
            let Some(fleet) = environment.fleet() else {
                known.push(KnownEnvironment::Here { name: environment.name().clone() });
                continue;
            };
            let site = Site::open(&home, &self.project_dir, &fleet.name)?;
            let entries = site.log().since(0).map_err(FleetDriveError::from)?;
            let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
            let (has_machines, environment) = (site.has_machines, Box::new(site.environment));
            known.push(KnownEnvironment::Machines { environment, has_machines, state });
        }
        output::environments(&known, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
