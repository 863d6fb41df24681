//! `staith release promote`.

use clap::Args;
use staith_model::{Exit, Name};
use staith_releaser::fleet::drive::status;

use super::{
    Project,
    deploy::{How, deploy_release},
};
use crate::{
    fleet::Site,
    home::Home,
    interrupt,
    output::{OutputMode, Problem},
};

/// Bring the release that serves in one environment to another, as it is
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The environment whose release is taken
    #[arg(long, value_name = "ENVIRONMENT")]
    from: Name,
    /// The environment that gets it
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Name,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    project: Project,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let home = Home::find()?;
        let from = Site::open(&home, &self.project.project_dir, &self.from)?;
        let serving = status(&from.log())?.release.ok_or_else(|| {
            Problem::new(Exit::Usage, format!("no release serves in `{}`", self.from))
                .with_remedy(format!("`staith release deploy --to {}` brings one there", self.from))
        })?;
        let to = Site::open(&home, &self.project.project_dir, &self.to)?;
        deploy_release(&to, &serving.hex(), None, &self.how, &stop, mode).await
    }
}
