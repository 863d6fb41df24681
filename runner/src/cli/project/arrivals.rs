//! `staith project arrivals`.

use clap::Args;
use staith_model::{Exit, Name, service::ArrivalPage};

use crate::{
    client::people::Server,
    output::{self, OutputMode, Problem},
};

/// List what happened at a project, the newest first, and what came of it
#[derive(Debug, Args)]
pub(crate) struct Arrivals {
    /// The project
    project: Name,
    /// How many at most, up to 200
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

impl Arrivals {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let path = format!("/api/v1/projects/{}/arrivals?limit={}", self.project, self.limit);
        let page: ArrivalPage = server.open()?.get(&path).await?;
        output::arrivals(&page.arrivals, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
