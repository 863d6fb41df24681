//! Until when clients believe what they were told before: the time to live of a name's records.
//!
//! A provider that answers names takes no request away from anybody; who went is still asked for so long. What is written down says when
//! the last change was certain, so whoever drives waits for the same moment, also for a change of an earlier deployment.

use staith_model::{DeploymentId, DeploymentRecord, FleetState};

/// When what was told before the last change of a deployment is forgotten, in milliseconds since 1970. `None` where nothing was changed,
/// or the provider takes requests away at once. Where it is not certain whether a change was made, the provider is asked, not the clock.
pub(super) fn of(record: &DeploymentRecord) -> Option<u64> {
    let linger = record.plan.traffic.as_ref()?.linger_seconds.saturating_mul(1000);
    let settled = record.serve.as_ref()?.settled?;
    (linger > 0).then(|| settled.saturating_add(linger))
}

/// The same for all deployments but one.
pub(super) fn of_others(state: &FleetState, but: &DeploymentId) -> Option<u64> {
    state.in_order().filter(|record| record.deployment != *but).filter_map(of).max()
}

/// The same for all.
pub(super) fn of_all(state: &FleetState) -> Option<u64> {
    state.in_order().filter_map(of).max()
}

/// A limit, and beside it the time in which clients forget what they were told: once for each machine, and once for what an earlier
/// deployment told them. That is waited for on purpose, so it is no reason to call a person.
pub(super) fn beside(record: &DeploymentRecord, limit: u64) -> u64 {
    let linger =
        record.plan.traffic.as_ref().map_or(0, |traffic| traffic.linger_seconds.saturating_mul(1000));
    let times = u64::try_from(record.plan.targets.len()).unwrap_or(u64::MAX).saturating_add(1);
    limit.saturating_add(linger.saturating_mul(times))
}
