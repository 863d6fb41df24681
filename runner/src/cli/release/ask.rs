//! What people want of a deployment that is under way: `staith release abort`, `pause`, `resume`, `retry`, `skip` and `accept`.

use clap::Args;
use staith_model::{Ask, DeploymentId, Exit, Name};
use staith_releaser::{
    fleet::drive::{FleetDriveError, status},
    ledger::Who,
};

use super::{Environment, deploy::go_on};
use crate::{
    fleet::Site,
    interrupt,
    output::{self, FleetWatch, OutputMode, Problem},
};

/// Stop the deployment that is under way, and take back what is visible
///
/// Accepted in every state, and heeded within a second by the process that drives it. If none does, this one takes over.
#[derive(Debug, Args)]
pub(crate) struct Abort {
    #[command(flatten)]
    environment: Environment,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Let the deployment that is under way stand still: what is begun is finished, nothing new is begun
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    environment: Environment,
}

/// Go on with a deployment that was paused, or whose process died
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    environment: Environment,
}

/// Try again what failed in a deployment, and only that
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    environment: Environment,
}

/// Go on without a machine; it counts as out of service
#[derive(Debug, Args)]
pub(crate) struct Skip {
    #[command(flatten)]
    environment: Environment,
    /// The machine
    target: Name,
}

/// Take what is there as the end of a deployment that waits for a decision
#[derive(Debug, Args)]
pub(crate) struct Accept {
    #[command(flatten)]
    environment: Environment,
}

impl Abort {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Some(Ask::Abort { reason: self.reason }), true, mode).await
    }
}

impl Pause {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Some(Ask::Pause), false, mode).await
    }
}

impl Resume {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Some(Ask::Resume), true, mode).await
    }
}

impl Retry {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Some(Ask::Retry), true, mode).await
    }
}

impl Skip {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Some(Ask::Skip { target: self.target }), true, mode).await
    }
}

impl Accept {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Some(Ask::Accept), true, mode).await
    }
}

/// Writes down what is wanted of the deployment that is under way. If nobody drives it and `drives`, this process does.
async fn asked(
    environment: &Environment,
    ask: Option<Ask>,
    drives: bool,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    let stop = interrupt::listen()?;
    let site = environment.site()?;
    let deployment = under_way(&site)?;
    let watch = FleetWatch::new(mode);
    let deployer = site.deployer(true, watch.staging(), &stop.cancel).await?;
    if let Some(ask) = ask {
        deployer.ask(&deployment, &Who::of_this_process().user, ask).await?;
    }
    if !drives {
        output::fleet_asked(&deployment, mode).map_err(|lost| Problem::unwritable(&lost))?;
        return Ok(Exit::Passed);
    }
    if let Some(exit) = go_on(&deployer, &deployment, watch, &stop).await? {
        return Ok(exit);
    }
    // Another process drives it, and has heard.
    output::fleet_asked(&deployment, mode).map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}

/// The deployment that is under way, or waits.
pub(super) fn under_way(site: &Site) -> Result<DeploymentId, Problem> {
    let status = status(&site.log()).map_err(|error: FleetDriveError| Problem::from(error))?;
    let open = status.deployments.into_iter().find(|one| !one.state.is_terminal());
    open.map(|one| one.deployment).ok_or_else(|| {
        Problem::new(Exit::Usage, format!("no deployment to `{}` is under way", site.environment.name))
            .with_remedy(format!("`staith release status {}` shows what serves", site.environment.name))
    })
}
