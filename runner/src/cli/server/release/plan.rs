//! `staith server release plan`.

use clap::Args;
use staith_model::{Exit, Name, service::DeployAsked};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// Look at every machine, and say what a deployment would do; changes nothing
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The release: its number, the beginning of its digest, its package's version, or `latest`
    #[arg(default_value = "latest")]
    release: String,
    /// The environment
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Name,
    /// As `staith server release deploy --repair` would do it: reads every byte of the release on machines that run it already
    #[arg(long)]
    repair: bool,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let asked = DeployAsked {
            release: self.release,
            plan: None,
            reason: String::new(),
            repair: self.repair,
            override_floor: None,
        };
        let answer = there.order(&self.to, "plans", &asked).await?;
        let view = there.environment(&self.to).await?;
        let told =
            output::server_order(&answer, mode).and_then(|()| output::server_instructions(&view, mode));
        told.map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
