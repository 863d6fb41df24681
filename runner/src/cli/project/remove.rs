//! `staith project remove`.

use clap::Args;
use staith_model::{Exit, Name, service::Project};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// Remove a project from the server; its runs stay, and its repository is not touched
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The project
    project: Name,
}

impl Remove {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let (people, path) = (server.open()?, format!("/api/v1/projects/{}", self.project));
        let project: Project = people.get(&path).await?;
        people.delete(&path).await?;
        output::project_told(&project, "is no longer built from", mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
