//! `staith stop`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::drive;

use super::place::Place;
use crate::{
    home::Home,
    output::{self, OutputMode, Problem},
};

/// End what was released on this machine: the applications and the proxy before them
///
/// Nothing is removed. The next release or rollback starts from what is there.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Every environment of every project
    #[arg(long, conflicts_with_all = ["project", "environment"])]
    all: bool,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let meant = if self.all { super::place::all(&home) } else { vec![self.place.one_of(&home)?] };
        for known in meant {
            let ran = drive::stop(&known.directory).await?;
            output::stopped(known.project.as_str(), known.environment.as_str(), ran, mode);
        }
        Ok(Exit::Passed)
    }
}
