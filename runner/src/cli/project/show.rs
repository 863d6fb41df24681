//! `staith project show`.

use clap::Args;
use staith_model::{Exit, Name, service::Project};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Show a project and its settings
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The project
    project: Name,
}

impl Show {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let project: Project = server.open()?.get(&format!("/api/v1/projects/{}", self.project)).await?;
        output::project_shown(&project, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
