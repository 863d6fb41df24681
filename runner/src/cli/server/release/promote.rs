//! `staith server release promote`.

use clap::Args;
use staith_model::{Digest, Exit, Name, service::DeployAsked};

use super::{
    There,
    deploy::{BelowFloor, Waiting, watched},
};
use crate::output::{OutputMode, Problem};

/// Bring the release that serves in one environment to another, as it is
///
/// It is a deployment like any other: what protects the other environment has to hold.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The environment whose release is taken
    #[arg(long, value_name = "ENVIRONMENT")]
    from: Name,
    /// The environment that gets it
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Name,
    /// Why; goes into the ledger
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Only if this is still the plan
    #[arg(long, value_name = "DIGEST")]
    plan: Option<Digest>,
    #[command(flatten)]
    floor: BelowFloor,
    #[command(flatten)]
    waiting: Waiting,
}

impl Arguments {
    pub(super) async fn obey(self, there: &There, mode: OutputMode) -> Result<Exit, Problem> {
        let serving = there.environment(&self.from).await?.serves.ok_or_else(|| {
            Problem::new(Exit::Usage, format!("no release serves in `{}`", self.from))
                .with_remedy(format!("`staith server release deploy --to {}` brings one there", self.from))
        })?;
        let Self { to, reason, plan, floor, waiting, .. } = self;
        let (release, override_floor) = (serving.to_string(), floor.override_floor);
        let asked = DeployAsked { release, plan, reason, repair: false, override_floor };
        let answer = there.order(&to, "deployments", &asked).await?;
        watched(there, &to, &answer, waiting, mode).await
    }
}
