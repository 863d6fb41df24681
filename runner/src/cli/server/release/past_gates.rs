//! `staith server release override`.

use clap::Args;
use staith_model::{DeploymentState, Digest, Exit, Name, service::OverrideAsked};

use super::{There, vote::waiting};
use crate::output::{self, OutputMode, Problem};

/// Let the deployment that waits go on in spite of what protects the environment; recorded with its reason
///
/// Administrators may, for exactly the plan that waits. Where people have to agree, it is not for who asked for the deployment, unless
/// the protection says that the requester may. Nobody goes past a rejection, nor past whose code may be deployed there.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment
    environment: Name,
    /// Why; goes into the ledger and the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only a freeze is overridden; all else still has to hold
    #[arg(long, conflicts_with = "floor")]
    freeze: bool,
    /// The deployment that stopped above the rollback floor goes back nevertheless; what protects the environment is not overridden
    #[arg(long)]
    floor: bool,
    /// Only if the plan is this one
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        if !self.reason.chars().any(char::is_alphanumeric) {
            return Err(Problem::new(Exit::Usage, "going past a gate needs a reason, in words"));
        }
        let plan = match self.plan {
            Some(plan) => plan,
            None if self.floor => stopped(there, &self.environment).await?,
            None => waiting(there, &self.environment).await?,
        };
        let Self { environment, reason, freeze: freeze_only, floor, .. } = self;
        let asked = OverrideAsked { plan, reason, freeze_only, floor };
        let answer = there.order(&environment, "overrides", &asked).await?;
        output::server_order(&answer, mode).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// The plan of the deployment that stopped and waits for a decision.
async fn stopped(there: &There, environment: &Name) -> Result<Digest, Problem> {
    let view = there.environment(environment).await?;
    let found = view.deployments.into_iter().find(|one| one.state == DeploymentState::NeedsDecision);
    found.map(|one| one.plan).ok_or_else(|| {
        let what = format!("no deployment to `{environment}` stopped above the rollback floor");
        Problem::new(Exit::Usage, what).with_remedy(
            "for a plan that the floor refuses, give `--override-floor REASON` with the command that asks for it",
        )
    })
}
