//! `staith runs show`.

use clap::Args;
use staith_model::{Exit, service::RunView};

use crate::{
    client::{WhichRun, people::Server},
    output::{self, OutputMode, Problem},
};

/// Show a run: what it builds, its jobs, each attempt with its runner and its cause
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The run: its id, or PROJECT#NUMBER
    run: WhichRun,
}

impl Show {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let people = server.open()?;
        let run = self.run.find(&people).await?;
        let view: RunView = people.get(&format!("/api/v1/runs/{run}")).await?;
        output::server_run(&view, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
