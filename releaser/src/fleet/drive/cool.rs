//! Stops what is not needed any more: the pool that served before the last swap, when the time is over for which it was kept.
//!
//! Nobody waits for that time. When it will be over is in the log, and whoever comes next sees to it: once, under the driver's lock and
//! an epoch of its own, and never to a machine that gets requests. The machines keep the release; a swap back starts it again, and proves
//! it, before requests move.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt as _, stream};
use staith_model::{Digest, FleetEvent, FleetState, Name, Reason, WarmPool, WorkResult};

use super::{
    super::{
        balancer::BalancerState,
        machine::{MachineError, Order},
    },
    deployer::Deployer,
    error::{FleetDriveError, NO_ANSWER},
    lingering,
};
use crate::drive::{
    LockError,
    lock::{self, Lock},
};

/// How long a machine may take to stop its service.
const STOP: Duration = Duration::from_secs(180);

/// How long whoever balances may take to say who gets requests.
const LOOK: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cooled {
    /// There is nothing to stop now.
    Nothing,
    /// A deployment, or another process, is at work there.
    Busy,
    /// Nothing was stopped, because the pool may be needed; why.
    Needed(String),
    /// Machines were asked to stop their services; those that did not, and why not.
    Asked {
        /// The pool.
        pool: Name,
        /// Those that stopped.
        stopped: Vec<Name>,
        /// Those that did not, and why not.
        left: Vec<(Name, String)>,
    },
}

/// Which pool's services are to be stopped at `now`: its time is over, nobody believes any more that it serves, and no deployment is
/// under way or waits.
pub(super) fn overdue(state: &FleetState, now: u64) -> Option<&WarmPool> {
    let is_believed = lingering::of_all(state).is_some_and(|until| until > now);
    state.overdue(now).filter(|_| !is_believed)
}

impl Deployer {
    /// Stops the services of the pool that served before the last swap, if the time is over for which it was kept. Does nothing else,
    /// and nothing at all while a deployment is under way or waits. Killed at any point, it leaves machines that the next call stops.
    ///
    /// # Errors
    /// The log or the traffic provider can't be read, or another process has taken over. A machine that can't be stopped is no error.
    pub async fn cool(&self) -> Result<Cooled, FleetDriveError> {
        if overdue(&self.state()?, self.fleet.clock.now()).is_none() {
            return Ok(Cooled::Nothing);
        }
        let Some(_lock) = self.free().await? else { return Ok(Cooled::Busy) };
        let state = self.state()?;
        let Some(pool) = overdue(&state, self.fleet.clock.now()).cloned() else { return Ok(Cooled::Nothing) };
        let seen = self.who_serves().await?;
        if let Some(why) = needed(&pool, &seen) {
            return Ok(Cooled::Needed(why));
        }
        let epoch = state.epoch.max(seen.epoch.unwrap_or_default()).saturating_add(1);
        let (deployment, who) = (pool.deployment.clone(), self.fleet.who.clone());
        self.fleet.log.append(FleetEvent::Cooling { deployment, epoch, who }).await?;
        let quarantined: BTreeSet<Name> = state.quarantined.into_keys().collect();
        let due = pool.running().filter(|name| !quarantined.contains(*name));
        let stops = due.map(|name| self.stop(&pool, name, epoch));
        let mut came = stream::iter(stops.collect::<Vec<_>>()).buffer_unordered(self.fleet.limits.at_once);
        let (mut stopped, mut left) = (Vec::new(), Vec::new());
        while let Some(one) = came.next().await {
            match one? {
                (name, None) => stopped.push(name),
                (name, Some(why)) => left.push((name, why)),
            }
        }
        stopped.sort();
        left.sort();
        Ok(Cooled::Asked { pool: pool.pool.clone(), stopped, left })
    }

    /// The environment for itself, unless somebody has it: nobody waits for that. `Some(None)` where nobody else could.
    async fn free(&self) -> Result<Option<Option<Lock>>, FleetDriveError> {
        let Some(path) = &self.fleet.lock else { return Ok(Some(None)) };
        match lock::take(path, Duration::ZERO).await {
            Ok(lock) => Ok(Some(Some(lock))),
            Err(LockError::Held { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn who_serves(&self) -> Result<BalancerState, FleetDriveError> {
        let Some(balancer) = &self.fleet.balancer else {
            return Err(FleetDriveError::TrafficUnseen { why: "nobody balances".into() });
        };
        match tokio::time::timeout(LOOK, balancer.observe()).await {
            Ok(Ok(state)) => Ok(state),
            Ok(Err(error)) => Err(FleetDriveError::TrafficUnseen { why: error.to_string() }),
            Err(_) => Err(FleetDriveError::TrafficUnseen { why: NO_ANSWER.into() }),
        }
    }

    /// Stops the service of one machine and writes down what came of it; why it did not, where it did not.
    async fn stop(
        &self,
        pool: &WarmPool,
        name: &Name,
        epoch: u64,
    ) -> Result<(Name, Option<String>), FleetDriveError> {
        // Whoever took over since may be about to give this pool the requests.
        let state = self.state()?;
        if state.epoch != epoch || state.warm.as_ref().is_none_or(|warm| warm.epoch != epoch) {
            let why = format!("its epoch is {}, ours is {epoch}", state.epoch);
            return Err(FleetDriveError::Overtaken { why });
        }
        let operation = Digest::of_value("staith.fleet-cooling.v1", &(&pool.deployment, name));
        let order = Order { epoch, deployment: pool.deployment.clone(), operation };
        let unknown = |why: String| WorkResult::Unknown { why };
        let result = match self.fleet.machines.get(name) {
            None => unknown("nobody said how it is reached".into()),
            Some(machine) => match tokio::time::timeout(STOP, machine.switch(&order, None)).await {
                Ok(Ok(done)) => WorkResult::done(done.already),
                Ok(Err(error @ MachineError::Fenced { .. })) => {
                    return Err(FleetDriveError::Overtaken { why: error.to_string() });
                }
                Ok(Err(ref error @ MachineError::Refused { ref remedy, blame, .. })) => {
                    let (what, remedy) = (error.to_string(), Some(remedy.clone()));
                    WorkResult::Failed { reason: Reason { blame, what, remedy } }
                }
                Ok(Err(error)) => unknown(error.to_string()),
                Err(_) => unknown(format!("no answer within {} s", STOP.as_secs())),
            },
        };
        let why = match &result {
            WorkResult::Failed { reason } => Some(reason.what.clone()),
            WorkResult::Unknown { why } => Some(why.clone()),
            _ => None,
        };
        let (deployment, target) = (pool.deployment.clone(), name.clone());
        self.fleet.log.append(FleetEvent::Cooled { deployment, epoch, target, result }).await?;
        Ok((name.clone(), why))
    }
}

/// Why the pool may not be stopped, if so: somebody made it serve, or nobody else does.
fn needed(pool: &WarmPool, seen: &BalancerState) -> Option<String> {
    let gets =
        |name: &&Name| seen.members.get(*name).is_some_and(|member| member.admitted && member.weight > 0);
    if let Some(name) = pool.targets.keys().find(gets) {
        return Some(format!("{name} of pool {} gets requests", pool.pool));
    }
    let others = seen.serving().into_iter().any(|name| !pool.targets.contains_key(name));
    (!others).then(|| format!("nobody but pool {} could answer requests", pool.pool))
}
