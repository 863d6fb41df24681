//! What approvers say: `staith release approve`, `reject` and `override`.

use clap::Args;
use staith_model::{DeploymentId, Digest, Exit, FleetEvent};
use staith_releaser::{fleet::drive::FleetDriveError, ledger::Who};

use super::{Environment, ask::heeded};
use crate::{
    fleet::Site,
    output::{self, OutputMode, Problem},
};

/// Say yes to the deployment that waits, for exactly its plan
///
/// An approval is for a plan's digest, and dies when the plan changes. Who you are is what the system says.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    environment: Environment,
    /// The plan, as `staith release status` showed it, where it must be no other one, or where the deployment that has it waits behind another
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// A word to it
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

/// Say no to the deployment that waits; it ends
#[derive(Debug, Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    environment: Environment,
    /// The plan of the deployment, where it waits behind another
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: String,
}

/// Deploy in spite of what protects the environment; recorded with its reason
#[derive(Debug, Args)]
pub(crate) struct Override {
    #[command(flatten)]
    environment: Environment,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only a freeze is overridden; all else still has to hold
    #[arg(long, conflicts_with = "floor")]
    freeze: bool,
    /// The deployment that stopped above the rollback floor goes back nevertheless; what protects the environment is not overridden
    #[arg(long)]
    floor: bool,
}

impl Approve {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        said(&self.environment, self.plan, mode, |deployment, plan, by| FleetEvent::Voted {
            deployment,
            plan,
            by,
            approves: true,
            comment: self.comment,
        })
        .await
    }
}

impl Reject {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        said(&self.environment, self.plan, mode, |deployment, plan, by| FleetEvent::Voted {
            deployment,
            plan,
            by,
            approves: false,
            comment: self.comment,
        })
        .await
    }
}

impl Override {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        if !self.reason.chars().any(char::is_alphanumeric) {
            return Err(Problem::new(Exit::Usage, "going past a gate needs a reason, in words"));
        }
        if self.floor {
            return go_below(&self.environment, self.reason, mode).await;
        }
        said(&self.environment, None, mode, |deployment, plan, by| FleetEvent::Overridden {
            deployment,
            plan,
            by,
            reason: self.reason,
            freeze_only: self.freeze,
            floor: false,
        })
        .await
    }
}

/// The deployment that stopped because it would go back below the rollback floor does so.
async fn go_below(environment: &Environment, reason: String, mode: OutputMode) -> Result<Exit, Problem> {
    let site = environment.site()?;
    let state = site.state()?;
    let stopped = state.holder().filter(|record| record.may_not_go_back().is_some());
    let stopped = stopped.ok_or_else(|| {
        let name = &site.environment.name;
        Problem::new(Exit::Usage, format!("no deployment to `{name}` stopped above the rollback floor"))
            .with_remedy("for a plan that the floor refuses, give `--override-floor REASON` with the command that asks for it")
    })?;
    let (deployment, plan) = (stopped.deployment.clone(), stopped.plan.digest());
    let event = FleetEvent::Overridden {
        deployment: deployment.clone(),
        plan,
        by: Who::of_this_process().user,
        reason,
        freeze_only: false,
        floor: true,
    };
    heeded(&site, &deployment, event, mode).await
}

async fn said(
    environment: &Environment,
    expected: Option<Digest>,
    mode: OutputMode,
    event: impl FnOnce(DeploymentId, Digest, String) -> FleetEvent,
) -> Result<Exit, Problem> {
    let site = environment.site()?;
    let (deployment, plan) = meant(&site, expected).await?;
    let event = event(deployment.clone(), plan, Who::of_this_process().user);
    site.log().append(event).await.map_err(FleetDriveError::from)?;
    output::fleet_asked(&deployment, mode).map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}

/// The deployment that is meant, with its plan: the one that waits with the plan that is named, else the one whose turn it is.
async fn meant(site: &Site, expected: Option<Digest>) -> Result<(DeploymentId, Digest), Problem> {
    let state = site.state()?;
    let waiting = state.before_gates(site.protection()?.queue);
    if let Some(expected) = expected {
        let named = waiting.iter().find(|record| record.plan.digest() == expected);
        return match (named, waiting.first()) {
            (Some(record), _) => Ok((record.deployment.clone(), expected)),
            (None, Some(record)) => Err(another_plan(&expected, &record.plan.digest())),
            (None, None) => Err(nothing_waits(site)),
        };
    }
    let turn = site.gatekeeper()?.whose_turn().await?;
    // Where none of them will ever begin, or one is on its way back, it is still said to somebody.
    let turn = turn.or_else(|| Some(waiting.first()?.deployment.clone()));
    let record = turn.as_ref().and_then(|turn| state.deployment(turn)).ok_or_else(|| nothing_waits(site))?;
    Ok((record.deployment.clone(), record.plan.digest()))
}

fn another_plan(expected: &Digest, plan: &Digest) -> Problem {
    Problem::new(Exit::NeedsDecision, format!("the plan is not {} any more", expected.short()))
        .with_why(format!("it is {plan} now"))
        .with_remedy("look at it with `staith release status`")
}

fn nothing_waits(site: &Site) -> Problem {
    let name = &site.environment.name;
    Problem::new(Exit::Usage, format!("no deployment to `{name}` waits for anybody to say yes or no"))
        .with_remedy(format!("`staith release status {name}` shows what serves, and what is under way"))
}
