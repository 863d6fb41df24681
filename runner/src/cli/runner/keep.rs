//! `staith runner keep`: what the runner starts for each job. People have no use for it.

use std::path::PathBuf;

use clap::Args;
use staith_model::Exit;

use crate::{output::Problem, worker, workshop::EngineName};

/// Carry out the job in a directory
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The job's directory
    directory: PathBuf,
    /// What isolates its steps
    #[arg(long, value_enum, value_name = "ENGINE", default_value_t)]
    engine: EngineName,
}

impl Arguments {
    pub(crate) async fn obey(self) -> Result<Exit, Problem> {
        worker::keep(&self.directory, self.engine).await?;
        Ok(Exit::Passed)
    }
}
