//! Deployments are driven, one after the other: the one that has the environment first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use staith_model::{DeploymentId, FleetState};
use staith_releaser::fleet::drive::{Cooled, FleetDriveError, Stopped, WaitsFor};

use super::{Lane, clerk::deployer};
use crate::{clock, fleet::Site, output::Problem};

/// How often it is looked whether what is waited for has come: an hour of deployment, a check that holds.
const LOOK: Duration = Duration::from_secs(2);
/// When something is tried again that could not be driven, in milliseconds.
const AGAIN: u64 = 30_000;

/// A deployment that waits for somebody. Taking it up is an entry in the ledger, so it is let be until there is another, or its time is up.
struct Rest {
    /// The last entry when it was left.
    position: u64,
    /// In milliseconds since 1970.
    until: u64,
}

type Rests = BTreeMap<DeploymentId, Rest>;

/// Drives what is wanted in an environment, for as long as the process lives.
pub(super) async fn drive_all(lane: Arc<Lane>) {
    let (mut guards, mut rests) = (lane.office.guards(), Rests::new());
    loop {
        let passed = match pass(&lane, &mut rests).await {
            Ok(false) => Ok(Some(LOOK)),
            Ok(true) => cool(&lane).await,
            Err(problem) => Err(problem),
        };
        let next = passed.unwrap_or_else(|problem| {
            let (project, environment) = (&lane.project, &lane.environment);
            let what = lane.office.keyring.masked(&problem.what);
            tracing::warn!(%project, %environment, what, "not driven");
            Some(LOOK)
        });
        let look = async {
            match next {
                None => std::future::pending().await,
                Some(pause) => tokio::time::sleep(pause).await,
            }
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
    let holder = state.holder().map(|record| &record.deployment);
    let open = state.in_order().filter(|record| !record.state.is_terminal()).map(|record| &record.deployment);
    let others = open.filter(|one| Some(*one) != holder);
    holder.into_iter().chain(others).cloned().collect()
}

/// Sees to each once; whether there is nothing more to see to.
async fn pass(lane: &Lane, rests: &mut Rests) -> Result<bool, Problem> {
    let state = {
        let _asked = lane.asking.lock().await;
        lane.state()?
    };
    for deployment in open(&state) {
        let position = lane.position()?;
        let rests_on = |rest: &Rest| rest.position >= position && clock::unix_millis() < rest.until;
        if rests.get(&deployment).is_some_and(rests_on) {
            continue;
        }
        let until = see_to(lane, &deployment).await?;
        match until {
            None => rests.remove(&deployment),
            Some(until) => rests.insert(deployment, Rest { position: lane.position()?, until }),
        };
    }
    Ok(open(&lane.state()?).is_empty())
}

/// Stops the pool that served before the last swap, when its time is over; how long until there is something to do again, if ever.
async fn cool(lane: &Lane) -> Result<Option<Duration>, Problem> {
    let now = clock::unix_millis();
    let pause = |state: &FleetState| -> Option<Duration> {
        let warm = state.warm.as_ref().filter(|warm| warm.running().next().is_some())?;
        // A clock may be set: nothing is waited for in one piece for longer than a minute.
        let left = warm.until.checked_sub(now).map_or(AGAIN, |left| left.clamp(1000, 60_000));
        Some(Duration::from_millis(left))
    };
    let state = lane.state()?;
    let Some(warm) = state.overdue(now) else { return Ok(pause(&state)) };
    let site = site_of(lane, &state, &warm.deployment).await?;
    match deployer(&site).await?.cool().await {
        Ok(Cooled::Needed(why)) => {
            tracing::warn!(environment = %lane.environment, why, "a pool is not stopped");
        }
        Ok(Cooled::Asked { pool, left, .. }) => {
            for (target, why) in left {
                tracing::warn!(environment = %lane.environment, %pool, %target, why, "not stopped");
            }
        }
        Ok(Cooled::Nothing | Cooled::Busy) => {}
        Err(error) => {
            let error = lane.office.keyring.masked(&error.to_string());
            tracing::warn!(environment = %lane.environment, error, "a pool is not stopped");
        }
    }
    Ok(pause(&lane.state()?))
}

/// The environment as a deployment of it goes by, with the server's secrets for its release.
async fn site_of(lane: &Lane, state: &FleetState, deployment: &DeploymentId) -> Result<Site, Problem> {
    let recipe = lane.office.recipe_of(&lane.project, deployment)?;
    let Some(record) = state.deployment(deployment) else { return lane.site(&recipe).await };
    let (office, release) = (&lane.office, &record.plan.release);
    Ok(office.site_with_what_may_be(&lane.project, &lane.environment, &recipe, release).await?.0)
}

/// Drives one as far as it goes now; until when it is let be, if so. How it ends is in the ledger.
async fn see_to(lane: &Lane, deployment: &DeploymentId) -> Result<Option<u64>, Problem> {
    let site = site_of(lane, &lane.state()?, deployment).await?;
    let driven = deployer(&site).await?.drive(deployment, &mut |_| {}).await;
    Ok(match driven {
        Ok(Stopped::Waits(waiting)) => match waiting.what {
            WaitsFor::Resume(_) | WaitsFor::Decision(_) => Some(waiting.until),
            // Gates open by themselves.
            WaitsFor::Gates(_) | WaitsFor::Progress => None,
        },
        Ok(Stopped::Over(_) | Stopped::Outdated) => None,
        Err(error) => {
            let error = lane.office.keyring.masked(&error.to_string());
            tracing::warn!(%deployment, error, "a deployment does not go on now");
            Some(clock::unix_millis().saturating_add(AGAIN))
        }
    })
}

impl Lane {
    /// The place of the ledger's last entry.
    fn position(&self) -> Result<u64, Problem> {
        let log = self.office.log(&self.project, &self.environment);
        let entries = log.since(0).map_err(FleetDriveError::from)?;
        Ok(entries.last().map_or(0, |entry| entry.position))
    }
}
