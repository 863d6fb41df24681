//! `staith release list`.

use std::cmp::Reverse;

use clap::Args;
use staith_model::Exit;

use super::Project;
use crate::{
    fleet::{pipeline_in, shelf_of},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// List the project's releases
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    project: Project,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let pipeline = pipeline_in(&self.project.project_dir)?;
        let shelf = shelf_of(&Home::find()?, pipeline.name());
        let mut releases = shelf.all()?;
        // The newest first, as `latest` means it.
        releases.sort_by_cached_key(|release| Reverse((shelf.kept_at(&release.digest()), release.digest())));
        output::releases(&releases, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
