//! `staith release rollback`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::{
    fleet::drive::{Deployer, Rollback},
    ledger::Who,
};

use super::{
    Environment,
    deploy::{How, carry_out},
};
use crate::{
    interrupt,
    output::{FleetWatch, OutputMode, Problem},
};

/// Bring back a release that served before
///
/// No bytes are moved and nobody has to approve. Every machine is asked first whether it still has the release. No run releases there
/// from then on, until somebody deploys by hand or says `staith release lift`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    environment: Environment,
    /// This release instead of the one before
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// Also where machines lack it or can't be asked: then bytes are moved
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: How,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let site = self.environment.site()?;
        let to =
            self.to.as_deref().map(|text| site.release(text)).transpose()?.map(|release| release.digest());
        let watch = FleetWatch::new(mode);
        let deployer = site.deployer(true, watch.staging(), &stop.cancel).await?;
        let plan = tokio::select! {
            plan = async { deployer.plan_rollback(&Rollback { to, force: self.force }).await } => plan?,
            () = stop.cancel.cancelled() => return Ok(Exit::Interrupted),
        };
        // Nobody holds an environment for a way back that is refused.
        deployer.refuse_while_undecided(plan.direction)?;
        Deployer::refuse_below_floor(&plan, self.how.override_floor.as_deref())?;
        let by = Who::of_this_process().user;
        let why = self.how.reason.trim();
        let colon = if why.is_empty() { "" } else { ": " };
        deployer
            .hold(&by, &format!("{by} went back to release {}{colon}{why}", plan.release.short()))
            .await?;
        carry_out(&deployer, plan, &self.how, watch, &stop).await
    }
}
