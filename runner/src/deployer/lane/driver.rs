//! Deployments are driven, one after the other: the one that has the environment first.

use std::{sync::Arc, time::Duration};

use staith_model::{DeploymentId, FleetState};

use super::{Lane, clerk::deployer};
use crate::output::Problem;

/// How often it is looked whether what is waited for has come: an hour of deployment, a check that holds.
const LOOK: Duration = Duration::from_secs(2);

/// Drives what is wanted in an environment, for as long as the process lives.
pub(super) async fn drive_all(lane: Arc<Lane>) {
    let mut guards = lane.office.guards();
    loop {
        if let Err(problem) = pass(&lane).await {
            tracing::warn!(project = %lane.project, environment = %lane.environment, what = problem.what, "not driven");
        }
        let is_idle = lane.office.state(&lane.project, &lane.environment).is_ok_and(|state| open(&state).is_empty());
        let look = async {
            if is_idle { std::future::pending().await } else { tokio::time::sleep(LOOK).await }
        };
        tokio::select! {
            () = lane.wake.notified() => {}
            _ = guards.changed() => {}
            () = look => {}
        }
    }
}

/// Deployments that are not over, in the order in which they are seen to.
fn open(state: &FleetState) -> Vec<DeploymentId> {
    let holder = state.holder().map(|record| record.deployment.clone());
    let others = state.in_order().filter(|record| !record.state.is_terminal());
    let others = others.map(|record| record.deployment.clone()).filter(|one| Some(one) != holder.as_ref());
    holder.clone().into_iter().chain(others.collect::<Vec<_>>()).collect()
}

async fn pass(lane: &Lane) -> Result<(), Problem> {
    let state = lane.office.state(&lane.project, &lane.environment)?;
    for deployment in open(&state) {
        let pipeline = lane.office.pipeline_of(&lane.project, &deployment)?;
        let site = lane.office.site(&lane.project, &lane.environment, &pipeline).await?;
        let deployer = deployer(&site).await?;
        // How it ends is in the ledger.
        if let Err(error) = deployer.drive(&deployment, &mut |_| {}).await {
            tracing::warn!(%deployment, %error, "a deployment does not go on now");
        }
    }
    Ok(())
}
