//! `staith server status`.

use clap::Args;
use staith_model::{Exit, service::ServerStatus};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Show whether a server answers, which version it is, and how much waits
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    server: Server,
}

impl Status {
    pub(super) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let status: ServerStatus = self.server.open()?.get("/api/v1/status").await?;
        output::server_status(&status, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
