//! One deployment to machines, as its events tell it.

mod samples;
mod work;

use std::collections::{BTreeMap, BTreeSet};

pub use samples::{Measured, Samples};

use super::{Ask, FleetPlan, HookPoint, TargetStep, Work};
use crate::{DeploymentChange, DeploymentId, DeploymentState, Digest, Name, Reason};

/// A deployment as its events tell it. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRecord {
    /// The deployment.
    pub deployment: DeploymentId,
    /// What is done.
    pub plan: FleetPlan,
    /// Who wanted it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether nobody asked for this very deployment.
    pub by_itself: bool,
    /// When it was asked for.
    pub requested_at: u64,
    /// Where it is.
    pub state: DeploymentState,
    /// Since when.
    pub since: u64,
    /// The epoch of whoever drives it; 0 before anybody does.
    pub epoch: u64,
    /// Whether it goes back to what was.
    pub back: bool,
    /// Whether it passed the barrier: something may have become visible.
    pub showed: bool,
    /// Counts decisions to try again and turns back, so that what is done anew is another operation.
    pub attempt: u32,
    /// How far each machine is.
    pub targets: BTreeMap<Name, TargetRecord>,
    /// What was last asked of whoever balances.
    pub serve: Option<ServeRecord>,
    /// Hooks that ran to a good end, or failed, by point, name and machine.
    pub hooks: BTreeMap<(HookPoint, Name, Name), Result<(), Reason>>,
    /// What was begun under the present epoch or an earlier one, without an outcome.
    pub pending: BTreeMap<Digest, Work>,
    /// What measurements said, by wave.
    pub samples: BTreeMap<u32, Samples>,
    /// Waves that a person let pass.
    pub waved_through: BTreeSet<u32>,
    /// Somebody wants it stopped: who, and why.
    pub abort: Option<(String, String)>,
    /// Somebody said that it may go below the rollback floor: who, and why.
    pub floor_override: Option<(String, String)>,
    /// Somebody wants it to stand still.
    pub pause: bool,
    /// Whether it stands still because measurements say neither yes nor no: then going on is a yes to the wave.
    pub unsure: bool,
    /// What somebody decided, not heeded yet.
    pub ask: Option<Ask>,
    /// Why it is not going forward any more, or why a person has to decide.
    pub trouble: Option<Reason>,
    /// What its gates waited for when they were judged last.
    pub gates: Vec<String>,
    /// Who was waited for in vain, where it was let through by default when the time for approvals was up.
    pub by_default: Option<String>,
    /// Whether what is there is not what the plan was made for.
    pub outdated: bool,
    /// How often it was planned anew.
    pub replans: u32,
}

/// How far a machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRecord {
    /// The last step that it took.
    pub step: TargetStep,
    /// Why it takes no other.
    pub failed: Option<Failure>,
    /// A person said to go on without it.
    pub skipped: bool,
    /// It was asked to switch, and whether it did is not known.
    pub switching: bool,
    /// What it was last switched to, for certain, in this attempt.
    pub switched: Option<Option<Digest>>,
    /// The release that was proven to work there after the last switch, and when last.
    pub proven: Option<(Digest, u64)>,
    /// Glances in a row that saw it not well.
    pub bad_glances: u32,
    /// When it was asked last how it is.
    pub asked_at: u64,
    /// Contact that was lost and has not come back.
    pub lost: Option<Lost>,
    /// Whether old releases were removed, or that was given up.
    pub retained: bool,
}

/// Why a machine takes no further step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step that it did not take.
    pub step: TargetStep,
    /// What happened, with its evidence.
    pub reason: Reason,
    /// Whether only a person can find out what is true.
    pub undecided: bool,
}

/// Contact that was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// When first.
    pub since: u64,
    /// When last.
    pub last: u64,
    /// How often in a row.
    pub tries: u32,
    /// How, the last time.
    pub why: String,
}

impl Lost {
    /// Takes one more loss of contact, at `at`.
    pub fn again(before: Option<&Self>, at: u64, why: &str) -> Self {
        let (since, tries) = before.map_or((at, 0), |lost| (lost.since, lost.tries));
        Self { since, last: at, tries: tries.saturating_add(1), why: why.to_owned() }
    }
}

/// What was asked of whoever balances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeRecord {
    /// Who is to serve.
    pub to: BTreeMap<Name, u32>,
    /// When it was certain that they do, and that whoever went has finished or ran out of time.
    pub settled: Option<u64>,
    /// Contact that was lost over it.
    pub lost: Option<Lost>,
    /// Why it can't be.
    pub failed: Option<Reason>,
}

impl TargetRecord {
    const NEW: Self = Self {
        step: TargetStep::Unknown,
        failed: None,
        skipped: false,
        switching: false,
        switched: None,
        proven: None,
        bad_glances: 0,
        asked_at: 0,
        lost: None,
        retained: false,
    };

    /// Whether this release was proven to work there, after the last switch.
    pub fn has_proven(&self, release: &Digest) -> bool {
        self.proven.as_ref().is_some_and(|(proven, _)| proven == release)
    }

    fn reach(&mut self, step: TargetStep) {
        self.step = self.step.max(step);
    }
}

impl DeploymentRecord {
    pub(super) fn new(
        deployment: DeploymentId,
        plan: FleetPlan,
        (by, reason, by_itself): (String, String, bool),
        at: u64,
    ) -> Self {
        let targets = plan.targets.iter().map(|one| (one.target.name.clone(), TargetRecord::NEW)).collect();
        Self {
            deployment,
            plan,
            by,
            reason,
            by_itself,
            requested_at: at,
            state: DeploymentState::Planned,
            since: at,
            epoch: 0,
            back: false,
            showed: false,
            attempt: 0,
            targets,
            serve: None,
            hooks: BTreeMap::new(),
            pending: BTreeMap::new(),
            samples: BTreeMap::new(),
            waved_through: BTreeSet::new(),
            abort: None,
            floor_override: None,
            pause: false,
            unsure: false,
            ask: None,
            trouble: None,
            gates: Vec::new(),
            by_default: None,
            outdated: false,
            replans: 0,
        }
    }

    /// The identity of some work: the same each time it is asked for, until it is decided to do it anew.
    pub fn operation(&self, work: &Work) -> Digest {
        Digest::of_value("staith.fleet-operation.v1", &(&self.deployment, self.attempt, work))
    }

    /// How far a machine is.
    pub fn target(&self, name: &Name) -> &TargetRecord {
        self.targets.get(name).unwrap_or(&TargetRecord::NEW)
    }

    fn edit(&mut self, name: &Name) -> &mut TargetRecord {
        self.targets.entry(name.clone()).or_insert(TargetRecord::NEW)
    }

    pub(super) fn replan(&mut self, plan: FleetPlan) {
        for one in &plan.targets {
            self.edit(&one.target.name);
        }
        self.plan = plan;
        self.outdated = false;
        self.floor_override = None;
        self.replans = self.replans.saturating_add(1);
        self.gates.clear();
        self.by_default = None;
    }

    /// Goes on, if the table knows the change. Returns whether it does.
    pub(super) fn change(&mut self, change: DeploymentChange, reason: Option<&Reason>, at: u64) -> bool {
        let Ok(next) = self.state.after(change) else { return false };
        if let (DeploymentState::Soaking { wave }, DeploymentChange::NextWave) = (self.state, change) {
            self.waved_through.insert(wave);
        }
        (self.state, self.since) = (next, at);
        self.ask = None;
        if let Some(reason) = reason {
            self.trouble = Some(reason.clone());
        }
        match change {
            DeploymentChange::SwitchBegan | DeploymentChange::MigrationBegan => self.showed = true,
            DeploymentChange::Paused => (self.pause, self.unsure) = (true, reason.is_some()),
            DeploymentChange::Aborted => self.turn_back(),
            DeploymentChange::PlanOutdated => self.outdated = true,
            // What is there is the end, whatever was wanted before.
            DeploymentChange::Accepted => (self.abort, self.back) = (None, false),
            DeploymentChange::Retried => self.begin_anew(false),
            DeploymentChange::RollbackBegan => self.begin_anew(true),
            _ => {}
        }
        true
    }

    /// What was skipped on the way is brought back nevertheless, if it was touched.
    fn turn_back(&mut self) {
        self.back = true;
        for target in self.targets.values_mut() {
            target.skipped &= target.step < TargetStep::Switched;
        }
    }

    /// What failed may be tried again, as another operation.
    fn begin_anew(&mut self, back: bool) {
        self.attempt = self.attempt.saturating_add(1);
        self.back = back;
        if !back {
            (self.abort, self.trouble) = (None, None);
            // What was measured is about what was there then.
            self.samples.clear();
        }
        self.hooks.retain(|_, outcome| outcome.is_ok());
        for target in self.targets.values_mut() {
            (target.failed, target.lost, target.switched) = (None, None, None);
            target.bad_glances = 0;
        }
        if let Some(serve) = &mut self.serve {
            (serve.failed, serve.lost) = (None, None);
        }
    }

    /// Why it does not go back by itself, if so: what served before is below the rollback floor, and nobody said that it may.
    pub fn may_not_go_back(&self) -> Option<&str> {
        let floor = self.plan.floor.as_ref().filter(|_| self.floor_override.is_none());
        floor.and_then(|floor| floor.undo_refused.as_deref())
    }

    /// Somebody said that this plan may go below the rollback floor. One that stopped there goes back now.
    pub(super) fn overrule_floor(&mut self, by: &str, why: &str) {
        if self.back && self.state == DeploymentState::NeedsDecision && self.may_not_go_back().is_some() {
            self.ask = Some(Ask::Retry);
        }
        self.floor_override = Some((by.to_owned(), why.to_owned()));
    }

    pub(super) fn hear(&mut self, by: &str, ask: &Ask) {
        match ask {
            Ask::Abort { reason } => self.abort = Some((by.to_owned(), reason.clone())),
            Ask::RollBack => self.abort = Some((by.to_owned(), "a person wants it rolled back".into())),
            Ask::Pause => self.pause = true,
            Ask::Resume => {
                self.pause = false;
                if let (DeploymentState::Paused { wave, soaking: true }, true) = (self.state, self.unsure) {
                    self.waved_through.insert(wave);
                }
            }
            Ask::Skip { target } => {
                let record = self.edit(target);
                (record.skipped, record.failed) = (true, None);
                self.ask = Some(ask.clone());
            }
            Ask::Retry | Ask::Accept => self.ask = Some(ask.clone()),
        }
    }
}
