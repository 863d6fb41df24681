//! The pool that served before the last swap: kept as it is for going back at once, and stopped when its time is over.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{DeploymentRecord, PaceKind, TargetAction, WorkResult};
use crate::{DeploymentId, DeploymentState, Name};

/// How often a machine is asked to stop its service before that is given up. A machine that is gone must not be waited for by everybody
/// who comes.
const MOST_TRIES: u32 = 3;

/// A pool that is kept as it is for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarmPool {
    /// The deployment that took the requests away from it.
    pub deployment: DeploymentId,
    /// The pool.
    pub pool: Name,
    /// Its machines.
    pub targets: BTreeMap<Name, WarmTarget>,
    /// Until when it is kept, in milliseconds since 1970.
    pub until: u64,
    /// The epoch of whoever stops its services; 0 before anybody did.
    pub epoch: u64,
}

/// A machine of such a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WarmTarget {
    /// When its service was stopped, in milliseconds since 1970.
    pub stopped: Option<u64>,
    /// How often that was tried in vain.
    pub tries: u32,
    /// Why, the last time.
    pub why: Option<String>,
}

impl WarmPool {
    /// What a deployment left that has just ended at `at`: the pool that served, if it is to be stopped one day.
    fn left_by(record: &DeploymentRecord, at: u64) -> Option<Self> {
        let plan = &record.plan;
        let PaceKind::Pools { from: Some(pool), .. } = &plan.pace.kind else { return None };
        let seconds = plan.pace.keep_warm_seconds?;
        let kept = plan.targets.iter().filter(|one| one.action == TargetAction::Kept);
        let of_pool = kept.filter(|one| one.target.pool.as_ref() == Some(pool));
        Some(Self {
            deployment: record.deployment.clone(),
            pool: pool.clone(),
            targets: of_pool.map(|one| (one.target.name.clone(), WarmTarget::default())).collect(),
            until: at.saturating_add(seconds.saturating_mul(1000)),
            epoch: 0,
        })
    }

    /// The pool after a deployment has ended at `at`, and before it was `before`.
    pub(super) fn after(before: Option<Self>, record: &DeploymentRecord, at: u64) -> Option<Self> {
        match (&record.plan.pace.kind, record.state) {
            // Nothing was swapped.
            (PaceKind::Pools { to, from: Some(from) }, _) if to == from => before,
            (_, DeploymentState::Succeeded) => Self::left_by(record, at),
            // It was brought back to what it was, or to something else: it is looked at anew.
            (PaceKind::Pools { to, .. }, _) if record.showed => {
                let mut pool = before?;
                if pool.pool == *to {
                    pool.targets.values_mut().for_each(|target| *target = WarmTarget::default());
                }
                Some(pool)
            }
            _ => before,
        }
    }

    /// Takes what came of stopping the service of a machine.
    pub(super) fn learn(&mut self, target: &Name, result: &WorkResult, at: u64) -> bool {
        let Some(known) = self.targets.get_mut(target) else { return false };
        match result {
            WorkResult::Done { .. } => *known = WarmTarget { stopped: Some(at), ..WarmTarget::default() },
            WorkResult::Unknown { why }
            | WorkResult::Inconclusive { why }
            | WorkResult::Undecided { why } => known.missed(why),
            WorkResult::Failed { reason } => known.missed(&reason.what),
        }
        true
    }

    /// Machines whose services are still to be stopped.
    pub fn running(&self) -> impl Iterator<Item = &Name> {
        let is_due = |target: &WarmTarget| target.stopped.is_none() && target.tries < MOST_TRIES;
        self.targets.iter().filter(move |(_, target)| is_due(target)).map(|(name, _)| name)
    }

    /// Whether the service of a machine may have been stopped because its time was over: whoever did it may have died before saying so.
    pub fn may_be_stopped(&self, target: &Name) -> bool {
        self.epoch > 0 && self.targets.contains_key(target)
    }

    /// Whether the service of a machine was stopped because its time was over.
    pub fn is_stopped(&self, target: &Name) -> bool {
        self.targets.get(target).is_some_and(|target| target.stopped.is_some())
    }
}

impl WarmTarget {
    fn missed(&mut self, why: &str) {
        self.tries = self.tries.saturating_add(1);
        self.why = Some(why.to_owned());
    }
}
