//! `staith env cloud-init`.

use std::path::PathBuf;

use clap::Args;
use staith_model::{Exit, Name};

use crate::{
    fleet::{Site, cloud_init},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// Print what cloud-init is told on a machine: the template of the environment's provision, with values
///
/// Secrets are in it as they are.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The environment
    environment: Name,
    /// The machine
    target: Name,
    /// The project's directory, with runner.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
}

impl Arguments {
    pub(crate) async fn obey(self, _: OutputMode) -> Result<Exit, Problem> {
        let site = Site::open(&Home::find()?, &self.project_dir, &self.environment)?;
        let told = cloud_init(&site, &self.target).await?;
        output::text(&told).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
