//! `staith server release status`.

use clap::Args;
use staith_model::{Exit, Name, service::EnvironmentView};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// Say what serves in an environment, what is under way, and what protects it; of all environments if none is named
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Option<Name>,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let all: Vec<EnvironmentView> = match &self.environment {
            Some(environment) => vec![there.environment(environment).await?],
            None => there.people.get(&there.path("environments")).await?,
        };
        output::server_environments(&all, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
