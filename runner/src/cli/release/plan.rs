//! `staith release plan`.

use std::sync::Arc;

use clap::Args;
use staith_model::{Exit, Name};

use super::{Project, deploy::planned};
use crate::{
    fleet::{Site, setting_for},
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
};

/// Show what a deployment would do to each machine, and do nothing
///
/// What approvers approve is this plan's digest: it covers the release, the machines, what they run now and the order of things.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The release: the beginning of its digest, its package's version, or `latest`
    #[arg(default_value = "latest")]
    release: String,
    /// The environment
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Name,
    /// As `staith release deploy --repair` would do it: reads every byte of the release on machines that run it already
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    project: Project,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let site = Site::open(&Home::find()?, &self.project.project_dir, &self.to)?;
        let release = site.release(&self.release)?;
        let setting = setting_for(&release, &self.to)?;
        let deployer = site.deployer(false, Arc::new(|_, _| {}), &stop.cancel).await?;
        let plan = tokio::select! {
            plan = planned(&deployer, &release, &setting, self.repair) => plan?,
            () = stop.cancel.cancelled() => return Ok(Exit::Interrupted),
        };
        let instructions =
            site.protection()?.approvals.map(|approvals| approvals.instructions).unwrap_or_default();
        output::fleet_plan(&plan, &instructions, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
