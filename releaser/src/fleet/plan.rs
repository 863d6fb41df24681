//! What will happen to each machine, from what is wanted and what is there. Pure.
//!
//! A [`FleetPlan`] says everything that can be known before: who changes in which wave, how many may be out of service, who
//! gets requests in between, what going back costs. What only the doing tells (which machine answers when) is decided by
//! [`decide`](super::drive::decide()), within these bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use staith_model::{
    Analysis, Digest, Direction, FleetEnvironment, FleetPlan, HookPlan, HookPoint, Name, Pace, PaceKind,
    ReleaseSetting, Rollout, Target, TargetAction, TargetPlan, TrafficPlan, Version,
};

use super::{balancer::BalancerState, machine::MachineState};

mod error;
mod floor;
mod lines;
mod pools;
#[cfg(test)]
mod tests;
mod waves;

pub use error::FleetPlanError;
pub use lines::{in_ten_thousand, lines};

/// What is wanted, and what was seen.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Where to.
    pub environment: &'a FleetEnvironment,
    /// Its machines: those of the file and those of the inventory.
    pub targets: &'a [Target],
    /// The release.
    pub release: Digest,
    /// How it runs there.
    pub setting: &'a ReleaseSetting,
    /// Whether this goes forward, or back to what was there.
    pub direction: Direction,
    /// Every machine that was looked at, or why it could not be.
    pub machines: &'a BTreeMap<Name, Result<MachineState, String>>,
    /// Who gets requests, where somebody decides that.
    pub traffic: Option<TrafficSeen<'a>>,
    /// Machines that a person took out of deployments.
    pub out: &'a BTreeSet<&'a Name>,
    /// Releases that came to serve, the newest first.
    pub history: &'a [Digest],
    /// Machines that run the release with files that are not its own, and how they differ; where that was looked at.
    pub damaged: &'a BTreeMap<Name, String>,
    /// Versions below which nothing may go, and which release said so.
    pub floors: &'a BTreeMap<Version, Digest>,
    /// Versions of releases, as far as they are known here.
    pub versions: &'a BTreeMap<Digest, Version>,
}

/// What was seen of whoever balances.
#[derive(Debug, Clone, Copy)]
pub struct TrafficSeen<'a> {
    /// Who gets requests.
    pub state: &'a BalancerState,
    /// The largest weight that means something.
    pub granularity: u32,
    /// How long clients believe what they were told before.
    pub lingers: Duration,
}

/// Plans how a release comes to the machines of an environment.
///
/// # Errors
/// The environment can't be deployed to as it is; see [`FleetPlanError`].
pub fn plan(situation: &Situation<'_>) -> Result<FleetPlan, FleetPlanError> {
    check(situation)?;
    let (kind, pool) = match &situation.environment.rollout {
        Rollout::BlueGreen { pools, .. } => {
            let kind = pools::choose(situation, pools)?;
            let PaceKind::Pools { to, .. } = &kind else { return Err(FleetPlanError::NoTargets) };
            let pool = to.clone();
            (kind, Some(pool))
        }
        _ => (PaceKind::InPlace, None),
    };
    let targets: Vec<TargetPlan> =
        situation.targets.iter().map(|target| target_plan(situation, target, pool.as_ref())).collect();
    let members: Vec<Name> = members(&targets);
    if members.is_empty() {
        return Err(FleetPlanError::AllOut { environment: situation.environment.name.clone() });
    }
    let floor = floor::floor(situation, &kind, &targets);
    let previous = previous(situation, &kind, &targets);
    let changes = changes(&kind, &targets);
    let pace = pace(situation, kind, members.len());
    let full_weight = situation.traffic.map_or(1, |seen| seen.granularity.clamp(1, 256));
    let mut plan = FleetPlan {
        environment: situation.environment.name.clone(),
        release: situation.release,
        previous,
        direction: situation.direction,
        setting: situation.setting.clone(),
        analysis: analysis(situation),
        waves: waves::waves(situation, &members, changes, full_weight),
        pace,
        traffic: situation.traffic.map(|seen| traffic_plan(situation, &seen, full_weight)),
        hooks: hooks(situation.setting, &targets),
        keep: keep(situation, &targets),
        undo_moves_bytes: without_files(situation, &targets),
        floor,
        epoch_seen: epoch_seen(situation),
        targets,
        warnings: Vec::new(),
    };
    plan.warnings = lines::warnings(&plan, situation.machines);
    Ok(plan)
}

fn epoch_seen(situation: &Situation<'_>) -> u64 {
    let machines = situation.machines.values().filter_map(|seen| seen.as_ref().ok()).map(|seen| seen.epoch);
    machines.chain(situation.traffic.and_then(|seen| seen.state.epoch)).max().unwrap_or_default()
}

/// Going back is measured by nobody.
fn analysis(situation: &Situation<'_>) -> Option<Analysis> {
    let forward = situation.direction == Direction::Forward;
    situation.environment.rollout.analysis().filter(|_| forward).cloned()
}

/// Whether clients may get something else than before: another release on a machine, or requests that go to another pool.
fn changes(kind: &PaceKind, targets: &[TargetPlan]) -> bool {
    let moves = matches!(kind, PaceKind::Pools { to, from } if from.as_ref() != Some(to));
    let stays =
        |action| matches!(action, TargetAction::Unchanged | TargetAction::Quarantined | TargetAction::Kept);
    moves || targets.iter().any(|one| !stays(one.action))
}

fn members(targets: &[TargetPlan]) -> Vec<Name> {
    let stays = |action| matches!(action, TargetAction::Quarantined | TargetAction::Kept);
    targets.iter().filter(|one| !stays(one.action)).map(|one| one.target.name.clone()).collect()
}

fn check(situation: &Situation<'_>) -> Result<(), FleetPlanError> {
    if situation.targets.is_empty() {
        return Err(FleetPlanError::NoTargets);
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = situation.targets.iter().find(|target| !names.insert(&target.name)) {
        return Err(FleetPlanError::NamedTwice { target: twice.name.clone() });
    }
    let serving = situation.traffic.map(|seen| seen.state.serving()).unwrap_or_default();
    match serving.into_iter().find(|member| !names.contains(member)) {
        Some(stranger) => Err(FleetPlanError::Stranger { member: stranger.clone() }),
        None => Ok(()),
    }
}

fn target_plan(situation: &Situation<'_>, target: &Target, pool: Option<&Name>) -> TargetPlan {
    let seen = situation.machines.get(&target.name).and_then(|seen| seen.as_ref().ok());
    let damage = situation.damaged.get(&target.name).cloned();
    let action = if situation.out.contains(&target.name) {
        TargetAction::Quarantined
    } else if pool.is_some() && target.pool.as_ref() != pool {
        TargetAction::Kept
    } else {
        match seen {
            None => TargetAction::Unreachable,
            Some(seen) if seen.current == Some(situation.release) && damage.is_some() => TargetAction::Repair,
            Some(seen) if seen.current == Some(situation.release) => TargetAction::Unchanged,
            Some(seen) if seen.current.is_none() => TargetAction::First,
            Some(_) => TargetAction::Switch,
        }
    };
    TargetPlan {
        target: target.clone(),
        action,
        before: seen.and_then(|seen| seen.current),
        staged: seen.is_some_and(|seen| seen.releases.contains(&situation.release)),
        damage: damage.filter(|_| action == TargetAction::Repair),
    }
}

/// What most machines run that are not in line with the release; where there are as many of two, the newer one. Of two pools, only the
/// one that gets requests counts: what the other one has is what it was left with.
fn previous(situation: &Situation<'_>, kind: &PaceKind, targets: &[TargetPlan]) -> Option<Digest> {
    let gets = situation.traffic.filter(|_| *kind != PaceKind::InPlace).map(|seen| seen.state.serving());
    let counts = |one: &&TargetPlan| match &gets {
        Some(gets) if !gets.is_empty() => gets.contains(&one.target.name),
        _ => one.action != TargetAction::Quarantined,
    };
    let others = targets.iter().filter(counts);
    let mut counts: BTreeMap<Digest, usize> = BTreeMap::new();
    for before in others.filter_map(|one| one.before).filter(|before| *before != situation.release) {
        *counts.entry(before).or_default() += 1;
    }
    let age =
        |release: &Digest| situation.history.iter().position(|known| known == release).unwrap_or(usize::MAX);
    counts
        .into_iter()
        .max_by_key(|(release, count)| (*count, core::cmp::Reverse(age(release))))
        .map(|(release, _)| release)
        .or_else(|| situation.history.iter().find(|known| **known != situation.release).copied())
}

fn pace(situation: &Situation<'_>, kind: PaceKind, members: usize) -> Pace {
    let balanced = situation.traffic.is_some() && kind == PaceKind::InPlace;
    let (max, drains) = match &situation.environment.rollout {
        Rollout::AllAtOnce { .. } | Rollout::BlueGreen { .. } => (members, false),
        Rollout::Rolling { max_unavailable, .. } | Rollout::Canary { max_unavailable, .. } => {
            let max = max_unavailable.of(members);
            // Somebody has to be left to answer.
            let others = if balanced { members.saturating_sub(1).max(1) } else { members };
            (max.min(others), balanced && members > 1)
        }
    };
    let keep_warm_seconds = match &situation.environment.rollout {
        Rollout::BlueGreen { keep_warm_seconds, .. } => *keep_warm_seconds,
        _ => None,
    };
    Pace { kind, max_unavailable: u32::try_from(max).unwrap_or(u32::MAX), drains, keep_warm_seconds }
}

fn traffic_plan(situation: &Situation<'_>, seen: &TrafficSeen<'_>, full_weight: u32) -> TrafficPlan {
    let serving = seen.state.serving();
    let weights =
        serving.into_iter().filter_map(|name| Some((name.clone(), seen.state.members.get(name)?.weight)));
    TrafficPlan {
        serving: weights.collect(),
        full_weight,
        drain_seconds: situation.environment.drain_seconds,
        linger_seconds: seen.lingers.as_secs() + u64::from(seen.lingers.subsec_nanos() > 0),
    }
}

/// In the order in which they run. One that runs once runs on the first machine that it is for.
fn hooks(setting: &ReleaseSetting, targets: &[TargetPlan]) -> Vec<HookPlan> {
    let mut hooks: Vec<HookPlan> = setting
        .hooks
        .iter()
        .map(|hook| {
            let stays = |action| {
                matches!(action, TargetAction::Quarantined | TargetAction::Kept | TargetAction::Unchanged)
            };
            let meant = |target: &Target| hook.roles.is_empty() || !hook.roles.is_disjoint(&target.roles);
            let most = if hook.once { 1 } else { usize::MAX };
            let names = targets.iter().filter(|one| !stays(one.action) && meant(&one.target));
            let targets = names.take(most).map(|one| one.target.name.clone()).collect();
            HookPlan { hook: hook.clone(), targets }
        })
        .collect();
    hooks.retain(|hook| !hook.targets.is_empty());
    hooks.sort_by_key(|hook| match hook.hook.at {
        HookPoint::BeforeSwitch => 0,
        HookPoint::BeforeRestart => 1,
        HookPoint::AfterRestart => 2,
        HookPoint::AfterSwitch => 3,
    });
    hooks
}

fn keep(situation: &Situation<'_>, targets: &[TargetPlan]) -> BTreeSet<Digest> {
    let newest = usize::try_from(situation.environment.keep_releases).unwrap_or(usize::MAX);
    let others = situation.history.iter().filter(|known| **known != situation.release).take(newest);
    targets.iter().filter_map(|one| one.before).chain([situation.release]).chain(others.copied()).collect()
}

fn without_files(situation: &Situation<'_>, targets: &[TargetPlan]) -> BTreeSet<Name> {
    let lacks = |one: &&TargetPlan| {
        let Some(Ok(seen)) = situation.machines.get(&one.target.name) else { return false };
        one.action == TargetAction::Switch
            && one.before.is_some_and(|before| !seen.releases.contains(&before))
    };
    targets.iter().filter(lacks).map(|one| one.target.name.clone()).collect()
}
