//! What will happen to each machine of an environment, with nothing left to choose but what only the doing tells.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Analysis, Floor, Hook, ReleaseSetting, Target};
use crate::{Digest, Name};

/// A deployment to machines, decided. Kept in the environment's log, so that whoever goes on with it needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetPlan {
    /// Where to.
    pub environment: Name,
    /// The release that will serve.
    pub release: Digest,
    /// What most machines run now, and what is gone back to if it fails; each target's own is [`TargetPlan::before`].
    pub previous: Option<Digest>,
    /// Whether it goes forward, or back to what was.
    pub direction: Direction,
    /// How the release runs there: values, never references to what may change.
    pub setting: ReleaseSetting,
    /// In which order machines change, as numbers.
    pub pace: Pace,
    /// Every machine of the environment, in the order in which they change.
    pub targets: Vec<TargetPlan>,
    /// The waves, in order. Each begins when the one before held.
    pub waves: Vec<Wave>,
    /// What decides whether waves held that are analysed.
    pub analysis: Option<Analysis>,
    /// Who sends requests, where somebody does.
    pub traffic: Option<TrafficPlan>,
    /// What runs where around the switch, in order.
    pub hooks: Vec<HookPlan>,
    /// Releases that stay on the machines afterwards, beside each one's current and previous.
    pub keep: BTreeSet<Digest>,
    /// Machines on which going back would have to move bytes: what they run is not among their releases.
    pub undo_moves_bytes: BTreeSet<Name>,
    /// How far back the environment may go, where a release said something of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
    /// The highest epoch that a machine or the traffic provider had seen: a lost log must not fence its own successor.
    pub epoch_seen: u64,
    /// What a person should know before saying yes.
    pub warnings: Vec<String>,
}

/// Whether a deployment goes forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// A release comes.
    Forward,
    /// A release that was there comes back: no gates, no canary.
    Back,
}

/// In which order machines change, as numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pace {
    /// How machines get the release.
    pub kind: PaceKind,
    /// Machines that may be out of service at once, whatever the cause.
    pub max_unavailable: u32,
    /// Whether machines are taken out of traffic before they change. Not where nobody else would be left to answer.
    pub drains: bool,
    /// Seconds that the pool which served stays as it is.
    pub keep_warm_seconds: Option<u64>,
}

/// How machines get the release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum PaceKind {
    /// In place, one after another or all at once.
    InPlace,
    /// A pool without traffic gets the release, then the traffic.
    Pools {
        /// The pool that will serve.
        to: Name,
        /// The pool that serves now; `None` if nobody does.
        from: Option<Name>,
    },
}

/// What happens to one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPlan {
    /// The machine as it was when this was planned.
    pub target: Target,
    /// What happens to it.
    pub action: TargetAction,
    /// What its `current` pointed to.
    pub before: Option<Digest>,
    /// Whether the release's files are on it already.
    pub staged: bool,
    /// How the files of the release that it runs are not as they should be, where that was looked at and they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// What happens to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetAction {
    /// It runs the release already; it is looked at.
    Unchanged,
    /// It gets its first release.
    First,
    /// It changes from one release to another.
    Switch,
    /// It runs the release already, with files that are not the release's: they are brought anew, and the service is restarted.
    Repair,
    /// It could not be reached; it is tried again while others are staged, and nothing shows anywhere before it answers.
    Unreachable,
    /// A person took it out of deployments.
    Quarantined,
    /// Its pool keeps what it has.
    Kept,
}

/// Machines that change before anything is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// They, in order.
    pub targets: Vec<Name>,
    /// Seconds that they are watched before the next wave.
    pub bake_seconds: u64,
    /// Weight of machines with the new release while the wave is watched; the others have [`TrafficPlan::full_weight`].
    pub weight: u32,
    /// Requests of ten thousand that the new release gets then, as far as weights can express it.
    pub share: u32,
    /// Whether measurements decide whether it held.
    pub analysed: bool,
}

/// Who sends requests, and how much time that takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficPlan {
    /// Who gets requests now, with their weights.
    pub serving: BTreeMap<Name, u32>,
    /// The weight of a machine that gets its full share.
    pub full_weight: u32,
    /// Seconds that requests in flight are given.
    pub drain_seconds: u64,
    /// Seconds beyond that for which clients believe what they were told before.
    pub linger_seconds: u64,
}

/// A hook, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPlan {
    /// The hook.
    pub hook: Hook,
    /// The machines that it runs on, in order.
    pub targets: Vec<Name>,
}

impl FleetPlan {
    /// The identity of the plan: release, machines, what they run and who serves now, and the order of things. Approvals are
    /// for this. What is staged already is not part of it: bringing bytes early changes nothing that anybody approved.
    pub fn digest(&self) -> Digest {
        let targets: Vec<_> =
            self.targets.iter().map(|one| (&one.target, &one.action, &one.before)).collect();
        let what = (&self.environment, &self.release, &self.direction, &self.setting);
        let how = (&self.pace, &self.waves, &self.analysis, &self.traffic, &self.hooks, &self.keep);
        let digest = Digest::of_value("staith.fleet-plan.v1", &(what, targets, how));
        match &self.floor {
            None => digest,
            Some(floor) => Digest::of_value("staith.fleet-plan-above.v1", &(digest, floor)),
        }
    }

    /// What happens to a machine.
    pub fn target(&self, name: &Name) -> Option<&TargetPlan> {
        self.targets.iter().find(|one| one.target.name == *name)
    }

    /// Machines that shall run the release in the end, in order.
    pub fn members(&self) -> impl Iterator<Item = &TargetPlan> {
        let out = |action| matches!(action, TargetAction::Quarantined | TargetAction::Kept);
        self.targets.iter().filter(move |one| !out(one.action))
    }

    /// Machines that change in this wave or in one before it.
    pub fn up_to(&self, wave: u32) -> impl Iterator<Item = &Name> {
        let waves = usize::try_from(wave).unwrap_or(usize::MAX).saturating_add(1);
        self.waves.iter().take(waves).flat_map(|wave| &wave.targets)
    }

    /// Whether this is the last wave.
    pub fn is_last(&self, wave: u32) -> bool {
        usize::try_from(wave).is_ok_and(|wave| wave + 1 >= self.waves.len())
    }

    /// The wave of this number.
    pub fn wave(&self, wave: u32) -> Option<&Wave> {
        self.waves.get(usize::try_from(wave).ok()?)
    }

    /// Whether every machine ran the release when this was planned.
    pub fn changes_nothing(&self) -> bool {
        self.targets.iter().all(|one| {
            matches!(one.action, TargetAction::Unchanged | TargetAction::Quarantined | TargetAction::Kept)
        })
    }
}
