//! What approvers say: `staith server release approve` and `reject`.

use clap::Args;
use staith_model::{DeploymentState, Digest, Exit, Name, Queue, service::VoteAsked};

use super::There;
use crate::output::{self, OutputMode, Problem};

/// Say yes to the deployment that waits, with the token that you are known by
///
/// It is bound to the plan: when machines change and the plan is made anew, it has to be said again.
#[derive(Debug, Args)]
pub(super) struct Approve {
    /// The environment
    environment: Name,
    /// The plan, where it must be no other one, or where the deployment that has it waits behind another
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

/// Say no to the deployment that waits: it ends, whoever else says yes
#[derive(Debug, Args)]
pub(super) struct Reject {
    /// The environment
    environment: Name,
    /// The plan of the deployment, where it waits behind another
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
}

impl Approve {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        said(there, &self.environment, self.plan, (true, self.comment), mode).await
    }
}

impl Reject {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        said(there, &self.environment, self.plan, (false, self.comment), mode).await
    }
}

async fn said(
    there: &There,
    environment: &Name,
    plan: Option<Digest>,
    (approves, comment): (bool, String),
    mode: OutputMode,
) -> Result<Exit, Problem> {
    let plan = match plan {
        Some(plan) => plan,
        None => waiting(there, environment).await?,
    };
    let answer = there.order(environment, "votes", &VoteAsked { plan, approves, comment }).await?;
    output::server_order(&answer, mode).map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}

/// The plan of the deployment that waits, and whose turn it is where several do.
pub(super) async fn waiting(there: &There, environment: &Name) -> Result<Digest, Problem> {
    let view = there.environment(environment).await?;
    let waits = |state| matches!(state, DeploymentState::Planned | DeploymentState::AwaitingGates);
    let mut waiting = view.deployments.into_iter().filter(|one| waits(one.state));
    let found = match view.rules.queue {
        // The newest is the first that is shown.
        Queue::NewestWins => waiting.next(),
        Queue::InOrder => waiting.next_back(),
    };
    found.map(|one| one.plan).ok_or_else(|| {
        Problem::new(
            Exit::Usage,
            format!("no deployment to `{environment}` waits for anybody to say yes or no"),
        )
        .with_remedy(format!(
            "`staith server release status {environment}` shows what serves, and what is under way"
        ))
    })
}
