//! What people want of a deployment that is under way: `staith release abort`, `pause`, `resume`, `retry`, `skip` and `accept`.

use clap::Args;
use staith_builder::execute::Stop;
use staith_model::{Ask, DeploymentId, DeploymentRecord, Exit, FleetEvent, Name};
use staith_releaser::{
    fleet::drive::{FleetDriveError, is_driven},
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

/// Go on without a machine; it stays as it is
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
        asked(&self.environment, Ask::Abort { reason: self.reason }, true, mode).await
    }
}

impl Pause {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Ask::Pause, false, mode).await
    }
}

impl Resume {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Ask::Resume, true, mode).await
    }
}

impl Retry {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Ask::Retry, true, mode).await
    }
}

impl Skip {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Ask::Skip { target: self.target }, true, mode).await
    }
}

impl Accept {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        asked(&self.environment, Ask::Accept, true, mode).await
    }
}

/// Writes down what is wanted of a deployment, before anything else is looked at: whoever drives it heeds it, also while its inventory
/// hangs here. If nobody drives it and `drives`, this process does.
async fn asked(environment: &Environment, ask: Ask, drives: bool, mode: OutputMode) -> Result<Exit, Problem> {
    let stop = interrupt::listen()?;
    let site = environment.site()?;
    let deployment = addressed(&site, &ask)?;
    let by = Who::of_this_process().user;
    let event = FleetEvent::Asked { deployment: deployment.clone(), by, ask };
    written(&site, &deployment, event, mode).await?;
    if drives { driven(&site, &deployment, &stop, mode).await } else { Ok(Exit::Passed) }
}

/// Writes down what somebody says of a deployment, and drives it if nobody does.
pub(super) async fn heeded(
    site: &Site,
    deployment: &DeploymentId,
    event: FleetEvent,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    let stop = interrupt::listen()?;
    written(site, deployment, event, mode).await?;
    driven(site, deployment, &stop, mode).await
}

async fn written(
    site: &Site,
    deployment: &DeploymentId,
    event: FleetEvent,
    mode: OutputMode,
) -> Result<(), Problem> {
    site.log().append(event).await.map_err(FleetDriveError::from)?;
    output::fleet_asked(deployment, mode).map_err(|lost| Problem::unwritable(&lost))
}

async fn driven(
    site: &Site,
    deployment: &DeploymentId,
    stop: &Stop,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    if is_driven(&site.driver_lock()) {
        return Ok(Exit::Passed);
    }
    let watch = FleetWatch::new(mode);
    let deployer = site.deployer(true, watch.staging(), &stop.cancel).await?;
    // Where another process drives it by now, that one has heard.
    Ok(go_on(&deployer, deployment, watch, stop).await?.unwrap_or(Exit::Passed))
}

/// A machine is one of those that the deployment is about: no other word is taken for a decision.
fn must_be_there(record: &DeploymentRecord, target: &Name) -> Result<(), Problem> {
    let names: Vec<&str> = record.plan.targets.iter().map(|one| one.target.name.as_str()).collect();
    if names.contains(&target.as_str()) {
        return Ok(());
    }
    let what = format!("the deployment that is under way is not about a machine `{target}`");
    Err(Problem::new(Exit::Usage, what).with_why(format!("it is about {}", names.join(", "))))
}

/// The deployment that is meant by whoever wants it stopped, or to go on.
fn addressed(site: &Site, ask: &Ask) -> Result<DeploymentId, Problem> {
    if let Some(record) = site.state()?.addressed(site.protection()?.queue) {
        if let Ask::Skip { target } = ask {
            must_be_there(record, target)?;
        }
        return Ok(record.deployment.clone());
    }
    let name = &site.environment.name;
    let problem = Problem::new(Exit::Usage, format!("no deployment to `{name}` is under way"));
    Err(match site.provision_state()?.waiting {
        // A deployment is asked for once its machines are there.
        Some(_) => problem.with_why("a plan for its machines waits, and nothing is deployed before they are made").with_remedy(
            format!("say yes to it with `staith env approve {name}`, then give `staith release deploy --to {name}` again"),
        ),
        None => problem.with_remedy(format!("`staith release status {name}` shows what serves")),
    })
}
