//! `staith release swap`.

use clap::Args;
use staith_model::Exit;

use super::{
    Environment,
    deploy::{How, carry_out},
};
use crate::{
    interrupt,
    output::{FleetWatch, OutputMode, Problem},
};

/// Give the requests of a blue-green environment to its other pool, with what that runs
///
/// The pool that served stays as it is: a second swap goes back.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    environment: Environment,
    #[command(flatten)]
    how: How,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen()?;
        let site = self.environment.site()?;
        let watch = FleetWatch::new(mode);
        let deployer = site.deployer(true, watch.staging(), &stop.cancel).await?;
        let plan = tokio::select! {
            plan = deployer.plan_swap() => plan?,
            () = stop.cancel.cancelled() => return Ok(Exit::Interrupted),
        };
        carry_out(&deployer, plan, &self.how, watch, &stop).await
    }
}
