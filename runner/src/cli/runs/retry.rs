//! `staith runs retry`.

use clap::Args;
use staith_model::{Exit, service::RunView};

use crate::{
    client::{WhichRun, people::Server},
    output::{self, OutputMode, Problem},
};

/// Try again what did not pass in a run
///
/// With the same plan of the same commit. The attempts before stay as they are, with their logs.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The run: its id, or PROJECT#NUMBER
    run: WhichRun,
}

impl Retry {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let people = server.open()?;
        let run = self.run.find(&people).await?;
        let view: RunView = people.post(&format!("/api/v1/runs/{run}/retry"), &serde_json::json!({})).await?;
        output::server_run_told(&view, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
