//! `staith runs cancel`.

use clap::Args;
use staith_model::{
    Exit,
    service::{CancelAsked, RunView},
};

use crate::{
    client::{WhichRun, people::Server},
    output::{self, OutputMode, Problem},
};

/// End a run
///
/// What no runner has ends at once; runners are asked to end what they have. A run that is over stays as it is.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The run: its id, or PROJECT#NUMBER
    run: WhichRun,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

impl Cancel {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let people = server.open()?;
        let run = self.run.find(&people).await?;
        let asked = CancelAsked { why: self.why };
        let view: RunView = people.post(&format!("/api/v1/runs/{run}/cancel"), &asked).await?;
        output::server_run_told(&view, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
