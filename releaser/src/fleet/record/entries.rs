//! What the ledger of an environment says of its deployments, as the folds over them want it.

use std::collections::BTreeMap;

use staith_model::{
    DeploymentId, DeploymentRecord, DeploymentState, Digest, Direction, FleetEvent, FleetRelease, FleetState,
    Name, RunId, TargetAction, Version, Work, WorkResult,
};

use super::{DeploymentFact, Kind, Outcome, TargetFact};

/// What a release is made of, as far as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRelease {
    /// Its package.
    pub package: (Name, Version),
    /// The commit that it was made from, where that is known.
    pub commit: Option<String>,
    /// When that was made, in milliseconds since 1970, where that is known.
    pub committed_at: Option<u64>,
    /// The run that made it, where that is known.
    pub run: Option<RunId>,
}

impl KnownRelease {
    /// Of a release, and the run that made it.
    pub fn of(release: &FleetRelease, run: Option<RunId>) -> Self {
        Self {
            package: (release.package.name.clone(), release.package.version.clone()),
            commit: release.source.commit.clone(),
            committed_at: release.source.committed_at,
            run,
        }
    }
}

/// The deployments that a ledger's entries tell of, each with its time, in the order in which they were asked for.
///
/// # Errors
/// A release that was deployed is not known: it.
pub fn facts<'a>(
    entries: impl IntoIterator<Item = (u64, &'a FleetEvent)>,
    known: &BTreeMap<Digest, KnownRelease>,
) -> Result<Vec<DeploymentFact>, Digest> {
    let mut state = FleetState::default();
    let mut traces: BTreeMap<DeploymentId, Touched> = BTreeMap::new();
    for (at, event) in entries {
        let ignored = state.ignored;
        state.apply(at, event);
        // What a driver wrote that had lost its lease counts for nothing.
        if state.ignored == ignored {
            note(&mut traces, at, event);
        }
    }
    let untouched = Touched::default();
    let of = |record: &DeploymentRecord| {
        let release = known.get(&record.plan.release).ok_or(record.plan.release)?;
        let mut fact = fact(record, release, traces.get(&record.deployment).unwrap_or(&untouched));
        // A pool that this deployment took the requests from, and that was stopped since, serves nothing.
        if let Some(warm) = state.warm.as_ref().filter(|warm| warm.deployment == record.deployment) {
            let stopped = fact.targets.iter_mut().filter(|target| warm.is_stopped(&target.name));
            stopped.for_each(|target| (target.before, target.after) = (None, None));
        }
        Ok(fact)
    };
    state.in_order().map(of).collect()
}

/// What a deployment did to machines so far.
#[derive(Default)]
struct Touched {
    /// When something was first done that could be seen.
    began: Option<u64>,
    /// What each machine was last switched to, for certain. Unlike what the driver keeps, it outlasts a second attempt.
    switched: BTreeMap<Name, Option<Digest>>,
}

fn note(traces: &mut BTreeMap<DeploymentId, Touched>, at: u64, event: &FleetEvent) {
    match event {
        FleetEvent::Intent { deployment, work: Work::Switch { .. }, .. } => {
            traces.entry(deployment.clone()).or_default().began.get_or_insert(at);
        }
        FleetEvent::Outcome {
            deployment,
            work: Work::Switch { target, to },
            result: WorkResult::Done { .. },
            ..
        } => {
            traces.entry(deployment.clone()).or_default().switched.insert(target.clone(), *to);
        }
        _ => {}
    }
}

fn fact(record: &DeploymentRecord, known: &KnownRelease, touched: &Touched) -> DeploymentFact {
    let plan = &record.plan;
    let outcome = outcome(record.state);
    let targets = plan.targets.iter().filter_map(|one| {
        let name = one.target.name.clone();
        let switched = touched.switched.get(&name);
        // Of a machine that did not answer and was not changed, nothing is known.
        let is_known = switched.is_some() || one.before.is_some() || one.action == TargetAction::First;
        let after = switched.copied().unwrap_or(one.before);
        is_known.then_some(TargetFact { name, before: one.before, after })
    });
    DeploymentFact {
        deployment: record.deployment.clone(),
        environment: plan.environment.clone(),
        kind: match plan.direction {
            Direction::Forward => Kind::Deploy,
            Direction::Back => Kind::Rollback,
        },
        release: plan.release,
        plan: plan.digest(),
        package: known.package.clone(),
        run: known.run.clone(),
        commit: known.commit.clone(),
        committed_at: known.committed_at,
        who: record.by.clone(),
        requested_at: record.requested_at,
        began_at: touched.began,
        ended_at: record.state.is_terminal().then_some(record.since),
        outcome,
        why: record.trouble.as_ref().filter(|_| outcome != Outcome::Succeeded).map(|why| why.what.clone()),
        targets: targets.collect(),
    }
}

/// What came of a deployment that is in this state.
const fn outcome(state: DeploymentState) -> Outcome {
    match state {
        DeploymentState::Succeeded => Outcome::Succeeded,
        // Where nothing had become visible, what served before serves.
        DeploymentState::RolledBack | DeploymentState::Failed => Outcome::RolledBack,
        DeploymentState::RollbackFailed => Outcome::RollbackFailed,
        DeploymentState::NeedsDecision => Outcome::NeedsDecision,
        DeploymentState::Rejected
        | DeploymentState::Expired
        | DeploymentState::Superseded
        | DeploymentState::Cancelled => Outcome::NeverBegan,
        DeploymentState::Planned
        | DeploymentState::AwaitingGates
        | DeploymentState::Acquiring
        | DeploymentState::Staging
        | DeploymentState::Staged
        | DeploymentState::Migrating
        | DeploymentState::Switching { .. }
        | DeploymentState::Soaking { .. }
        | DeploymentState::Paused { .. }
        | DeploymentState::Finalizing
        | DeploymentState::Halting
        | DeploymentState::RollingBack => Outcome::UnderWay,
    }
}

#[cfg(test)]
mod tests;
