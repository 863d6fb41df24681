//! `staith server release deploy`, and how a deployment is waited for.

use std::time::Duration;

use clap::Args;
use staith_model::{
    DeploymentId, DeploymentState, Digest, Exit, Name,
    service::{DeployAsked, DeploymentView, OrderAnswer},
};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// Ask for a deployment, and wait until it is over or waits for people
///
/// The server's deployer does it; interrupting this command changes nothing about that.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The release: its number, the beginning of its digest, its package's version, or `latest`
    #[arg(default_value = "latest")]
    release: String,
    /// The environment
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Name,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Only if this is still the plan
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// Read every byte of the release on machines that run it already, and bring anew what was changed there
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    floor: BelowFloor,
    #[command(flatten)]
    waiting: Waiting,
}

/// Whether somebody goes below the rollback floor.
#[derive(Debug, Args)]
pub(super) struct BelowFloor {
    /// Although it leads below the rollback floor, or contracts the schema too early; for this reason, which is recorded. Administrators
    /// may
    #[arg(long, value_name = "REASON")]
    pub(super) override_floor: Option<String>,
}

/// How long somebody waits.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Waiting {
    /// Do not wait for people: end with 41 while approvals are missing
    #[arg(long)]
    no_wait: bool,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let Self { release, to, reason, plan, repair, floor, waiting } = self;
        let asked = DeployAsked { release, plan, reason, repair, override_floor: floor.override_floor };
        let answer = there.order(&to, "deployments", &asked).await?;
        watched(there, &to, &answer, waiting, mode).await
    }
}

/// Shows what was asked for, and waits for it.
pub(super) async fn watched(
    there: &There,
    environment: &Name,
    answer: &OrderAnswer,
    waiting: Waiting,
    mode: OutputMode,
) -> Result<Exit, Problem> {
    output::server_order(answer, mode).map_err(|lost| Problem::unwritable(&lost))?;
    let OrderAnswer::Planned { deployment: Some(deployment), .. } = answer else { return Ok(Exit::Passed) };
    let mut told = None;
    loop {
        let now = look(there, environment, deployment).await?;
        let is_news = now.as_ref().map(|now| (now.state, &now.gates))
            != told.as_ref().map(|told: &DeploymentView| (told.state, &told.gates));
        if let Some(now) = now.as_ref().filter(|_| is_news) {
            output::server_deployment(now, mode).map_err(|lost| Problem::unwritable(&lost))?;
        }
        if let Some(exit) = now.as_ref().and_then(|now| ended(now, waiting)) {
            return Ok(exit);
        }
        told = now.or(told);
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(
    there: &There,
    environment: &Name,
    deployment: &DeploymentId,
) -> Result<Option<DeploymentView>, Problem> {
    let view = there.environment(environment).await?;
    Ok(view.deployments.into_iter().find(|one| one.deployment == *deployment))
}

/// What the shell is told, once there is nothing more to wait for.
fn ended(now: &DeploymentView, waiting: Waiting) -> Option<Exit> {
    match now.state {
        DeploymentState::Succeeded => Some(Exit::Passed),
        DeploymentState::NeedsDecision | DeploymentState::RollbackFailed => Some(Exit::NeedsDecision),
        DeploymentState::AwaitingGates if waiting.no_wait && !now.gates.is_empty() => {
            Some(Exit::NeedsDecision)
        }
        _ if now.over => Some(Exit::RolledBack),
        _ => None,
    }
}
