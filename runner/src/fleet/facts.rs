//! What the ledger of an environment says of its deployments, as the folds over them want it. Pure, but for [`known_releases`] and
//! [`with_commit_times`].

use std::{collections::BTreeMap, path::Path};

use staith_builder::source::committed_at;
use staith_model::{
    DeploymentId, DeploymentRecord, DeploymentState, Digest, Direction, Exit, FleetEvent, FleetRelease,
    FleetState, Name, RunId, TargetAction, Work, WorkResult,
};
use staith_packager::store::Store;
use staith_releaser::fleet::{
    drive::{FleetDriveError, Stamped},
    freeze::FleetShelf,
    record::{DeploymentFact, Kind, Outcome, TargetFact},
};

use super::Site;
use crate::{home::Home, output::Problem};

/// What a release is made of, and the run that made it, where that is known.
pub(crate) struct KnownRelease {
    release: FleetRelease,
    run: Option<RunId>,
}

/// The deployments to these environments of one project, of each environment in the order in which they were asked for.
///
/// # Errors
/// A ledger can't be read, or a release that was deployed is not among the project's.
pub(crate) fn facts_of_all(home: &Home, sites: &[Site]) -> Result<Vec<DeploymentFact>, Problem> {
    let Some(first) = sites.first() else { return Ok(Vec::new()) };
    let known = known_releases(home, &first.shelf())?;
    let mut all = Vec::new();
    for site in sites {
        let entries = site.log().since(0).map_err(FleetDriveError::from)?;
        all.extend(facts(&entries, &known).map_err(|missing| {
            let name = &site.environment.name;
            Problem::new(
                Exit::Environment,
                format!("release {} was deployed to `{name}`, and is not here", missing.short()),
            )
            .with_remedy("ask on the machine where it was made, or bring its releases directory back")
        })?);
    }
    Ok(all)
}

/// When each machine was last heard of, in milliseconds since 1970, as these entries tell it.
pub(crate) fn contacts(entries: &[Stamped]) -> BTreeMap<Name, u64> {
    let mut heard = BTreeMap::new();
    for entry in entries {
        if let FleetEvent::Outcome {
            work, result: WorkResult::Done { .. } | WorkResult::Failed { .. }, ..
        } = &entry.event
            && let Some(target) = work.target()
        {
            heard.insert(target.clone(), entry.at);
        }
    }
    heard
}

/// The same facts; of releases that were made before their commits' times were written down, the repository of the project in `folder`
/// is asked. Where it does not know, nothing is known.
pub(crate) fn with_commit_times(mut facts: Vec<DeploymentFact>, folder: &Path) -> Vec<DeploymentFact> {
    let mut known: BTreeMap<String, Option<u64>> = BTreeMap::new();
    for fact in facts.iter_mut().filter(|fact| fact.committed_at.is_none()) {
        let Some(commit) = &fact.commit else { continue };
        let asked = || committed_at(folder, commit).ok().flatten();
        fact.committed_at = *known.entry(commit.clone()).or_insert_with(asked);
    }
    facts
}

/// All releases of a project by their digests.
fn known_releases(home: &Home, shelf: &FleetShelf) -> Result<BTreeMap<Digest, KnownRelease>, Problem> {
    // Looking makes no store.
    let store = if home.packages().is_dir() { Some(Store::open(&home.packages())?) } else { None };
    let mut known = BTreeMap::new();
    for release in shelf.all()? {
        let package = &release.package;
        let published = match &store {
            Some(store) => store.find(&package.name, &package.version)?,
            None => None,
        };
        // Another package that took this version's name was made by another run.
        let same = published.filter(|published| published.package.digest == package.digest);
        let run = same.and_then(|published| published.origin).map(|origin| origin.run);
        known.insert(release.digest(), KnownRelease { release, run });
    }
    Ok(known)
}

/// The deployments that these entries tell of, in the order in which they were asked for.
///
/// # Errors
/// A release that was deployed is not known: it.
fn facts(entries: &[Stamped], known: &BTreeMap<Digest, KnownRelease>) -> Result<Vec<DeploymentFact>, Digest> {
    let mut state = FleetState::default();
    let mut traces: BTreeMap<DeploymentId, Touched> = BTreeMap::new();
    for entry in entries {
        let ignored = state.ignored;
        state.apply(entry.at, &entry.event);
        // What a driver wrote that had lost its lease counts for nothing.
        if state.ignored == ignored {
            note(&mut traces, entry);
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

fn note(traces: &mut BTreeMap<DeploymentId, Touched>, entry: &Stamped) {
    match &entry.event {
        FleetEvent::Intent { deployment, work: Work::Switch { .. }, .. } => {
            traces.entry(deployment.clone()).or_default().began.get_or_insert(entry.at);
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
    let (plan, release) = (&record.plan, &known.release);
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
        package: (release.package.name.clone(), release.package.version.clone()),
        run: known.run.clone(),
        commit: release.source.commit.clone(),
        committed_at: release.source.committed_at,
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
