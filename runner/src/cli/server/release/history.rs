//! `staith server release history`.

use clap::Args;
use staith_model::{Exit, Name};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// Show the deployments of an environment, the newest first and 50 at most
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Name,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let view = there.environment(&self.environment).await?;
        output::server_history(&view, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
