//! `staith release status`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::fleet::drive::status;

use super::Environment;
use crate::output::{self, OutputMode, Problem};

/// Show which release serves in an environment, and where a deployment stands
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    environment: Environment,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let site = self.environment.site()?;
        let status = status(&site.log())?;
        output::fleet_status(&site.environment.name, &status, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
