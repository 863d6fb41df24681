//! `staith server release list`.

use clap::Args;
use staith_model::{Exit, service::ReleaseSeen};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// List the releases of a project, the newest first
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let all: Vec<ReleaseSeen> = there.people.all(&there.path("releases"), "releases").await?;
        output::server_releases(&all, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
