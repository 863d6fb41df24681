//! What an environment's log says, for people.

use std::path::Path;

use serde::Serialize;
use staith_model::{DeploymentId, DeploymentState, Digest, FleetState, Name, Reason, TargetStep, WarmPool};

use super::{error::FleetDriveError, lingering, log::Log};
use crate::drive::lock;

/// An environment, as its log tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetStatus {
    /// The release that came to serve last.
    pub release: Option<Digest>,
    /// Why nothing is deployed by itself, if so.
    pub held: Option<String>,
    /// Machines that are out of deployments, and why.
    pub quarantined: std::collections::BTreeMap<Name, String>,
    /// The pool that served before the last swap, where it is kept for a time.
    pub warm: Option<WarmPool>,
    /// Until when clients may believe what a name server told them before who gets requests was changed last, in milliseconds since 1970.
    pub believed_until: Option<u64>,
    /// The highest epoch.
    pub epoch: u64,
    /// Deployments that are not over, and the last that is; in the order in which they were asked for.
    pub deployments: Vec<DeploymentStatus>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentStatus {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The release.
    pub release: Digest,
    /// What people approve.
    pub plan: Digest,
    /// Who wanted it.
    pub by: String,
    /// Where it is.
    pub state: DeploymentState,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// Why it does not go forward.
    pub trouble: Option<Reason>,
    /// What its gates wait for.
    pub gates: Vec<String>,
    /// How far each machine is.
    pub targets: Vec<TargetStatus>,
}

/// A machine in a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// The machine.
    pub target: Name,
    /// The last step that it took.
    pub step: TargetStep,
    /// Why it takes no other.
    pub failed: Option<Reason>,
    /// How contact was lost, if it is.
    pub lost: Option<String>,
    /// Whether a person said to go on without it.
    pub skipped: bool,
}

/// Whether a process drives a deployment, or makes machines, under the lock at `path` now. It may have ended when this returns.
pub fn is_driven(path: &Path) -> bool {
    lock::is_held(path)
}

/// Reads the log. Asks no machine.
///
/// # Errors
/// The log can't be read.
pub fn status(log: &Log) -> Result<FleetStatus, FleetDriveError> {
    let entries = log.since(0)?;
    let state = FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event)));
    let last = state.in_order().rfind(|record| record.state.is_terminal()).map(|record| &record.deployment);
    let told = |id: &DeploymentId, over: bool| !over || Some(id) == last;
    let deployments = state
        .in_order()
        .filter(|record| told(&record.deployment, record.state.is_terminal()))
        .map(|record| DeploymentStatus {
            deployment: record.deployment.clone(),
            release: record.plan.release,
            plan: record.plan.digest(),
            by: record.by.clone(),
            state: record.state,
            since: record.since,
            trouble: record.trouble.clone(),
            gates: record.gates.clone(),
            targets: record
                .targets
                .iter()
                .map(|(name, target)| TargetStatus {
                    target: name.clone(),
                    step: target.step,
                    failed: target.failed.as_ref().map(|failure| failure.reason.clone()),
                    lost: target.lost.as_ref().map(|lost| lost.why.clone()),
                    skipped: target.skipped,
                })
                .collect(),
        })
        .collect();
    Ok(FleetStatus {
        believed_until: lingering::of_all(&state),
        release: state.history.first().copied(),
        held: state.held,
        quarantined: state.quarantined,
        warm: state.warm,
        epoch: state.epoch,
        deployments,
    })
}
