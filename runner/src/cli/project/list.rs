//! `staith project list`.

use clap::Args;
use staith_model::{Exit, service::Project};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// List the projects of the server
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let projects: Vec<Project> = server.open()?.all("/api/v1/projects", "projects").await?;
        output::project_list(&projects, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
