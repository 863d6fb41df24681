//! The simulated world: what is true, whoever may know it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use staith_model::{Digest, Name};
use tokio::{sync::Notify, time::Instant};

use super::faults::{Fault, Faults};

/// The world. Clones are the same world.
#[derive(Clone)]
pub struct World {
    truth: Arc<Mutex<Truth>>,
    killed: Arc<Notify>,
    start: Instant,
}

/// What is true.
pub(super) struct Truth {
    pub(super) machines: BTreeMap<Name, SimulatedMachine>,
    /// Admitted members with their weights; `None` where nobody balances.
    pub(super) admitted: Option<BTreeMap<Name, u32>>,
    /// Those that were admitted at the beginning.
    pub(super) served_before: BTreeSet<Name>,
    pub(super) balancer_epoch: u64,
    pub(super) faults: Faults,
    pub(super) calls: usize,
    /// Calls that changed something, or tried to.
    pub(super) effects: Vec<String>,
    pub(super) violations: Vec<String>,
    /// The release that is being brought.
    pub(super) wanted: Digest,
    pub(super) max_unavailable: usize,
    pub(super) drains: bool,
    /// Whether no machine ran a release at the beginning.
    pub(super) nobody_before: bool,
    /// Machines that the deployment leaves alone.
    pub(super) left_out: BTreeSet<Name>,
    /// How long clients believe what they were told before.
    pub(super) lingers: Duration,
    /// When members were last taken away from those that get requests.
    pub(super) left: BTreeMap<Name, Instant>,
}

/// A machine.
#[derive(Debug, Clone)]
pub struct SimulatedMachine {
    /// The highest epoch that it has seen.
    pub epoch: u64,
    /// Releases on it.
    pub releases: BTreeSet<Digest>,
    /// Where `current` points.
    pub current: Option<Digest>,
    /// Where it pointed before.
    pub previous: Option<Digest>,
    /// The release whose process runs.
    pub running: Option<Digest>,
    /// Releases that start here and do not work.
    pub sick: BTreeSet<Digest>,
    /// Whether the service can't be restarted.
    pub stubborn: bool,
    /// A switch that was begun and not finished.
    pub unfinished: Option<Digest>,
    /// Outcomes of hooks, by operation.
    pub hooks: BTreeMap<Digest, i32>,
    /// Hooks that were begun, by operation.
    pub begun_hooks: BTreeSet<Digest>,
    /// Hooks as they really ran.
    pub hook_runs: Vec<Name>,
    /// Hooks that fail.
    pub failing_hooks: BTreeSet<Name>,
    /// How often its pointer came to point to each release.
    pub flips: BTreeMap<Option<Digest>, u32>,
    /// When it can be reached again, in milliseconds.
    pub dark_until: u64,
    /// Whether whoever asked last was told that it serves.
    pub told_well: bool,
    /// How often releases were brought to it.
    pub staged: u32,
}

impl SimulatedMachine {
    /// A machine that runs `current`, or nothing.
    pub fn running(current: Option<Digest>) -> Self {
        Self {
            epoch: 0,
            releases: current.into_iter().collect(),
            current,
            previous: None,
            running: current,
            sick: BTreeSet::new(),
            stubborn: false,
            unfinished: None,
            hooks: BTreeMap::new(),
            begun_hooks: BTreeSet::new(),
            hook_runs: Vec::new(),
            failing_hooks: BTreeSet::new(),
            flips: BTreeMap::new(),
            dark_until: 0,
            told_well: current.is_some(),
            staged: 0,
        }
    }

    /// Whether a client that asks it gets a good answer.
    pub fn answers(&self) -> bool {
        self.running.is_some_and(|release| !self.sick.contains(&release))
    }

    /// It starts anew: whatever `current` points to is started, and a switch that was under way is over.
    pub(super) fn reboot(&mut self) {
        self.running = if self.stubborn { None } else { self.current };
        self.unfinished = None;
    }
}

/// How a call went on its way to a machine.
pub(super) enum Way {
    Through,
    Lost,
}

impl World {
    pub(super) fn new(truth: Truth) -> Self {
        Self { truth: Arc::new(Mutex::new(truth)), killed: Arc::new(Notify::new()), start: Instant::now() }
    }

    /// Milliseconds of the simulation's own time.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns at that time, or at once if it has passed.
    pub async fn at(&self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis.saturating_sub(self.now()).min(1 << 40))).await;
    }

    pub(super) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the schedule kills the driver.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    /// From now on, this plan's deployment is what the oracle watches.
    pub fn is_about(&self, plan: &staith_model::FleetPlan) {
        let kept = plan.targets.iter().filter(|one| one.action == staith_model::TargetAction::Kept);
        let mut truth = self.truth();
        truth.wanted = plan.release;
        truth.left_out = kept.map(|one| one.target.name.clone()).collect();
    }

    /// What happened that must never happen.
    pub fn violations(&self) -> Vec<String> {
        self.truth().violations.clone()
    }

    /// What was changed, or tried, in order.
    pub fn effects(&self) -> Vec<String> {
        self.truth().effects.clone()
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.truth().calls
    }

    /// A machine as it is now.
    pub fn machine(&self, name: &Name) -> Option<SimulatedMachine> {
        self.truth().machines.get(name).cloned()
    }

    /// Who is admitted now.
    pub fn admitted(&self) -> Option<BTreeMap<Name, u32>> {
        self.truth().admitted.clone()
    }

    /// Changes a machine behind everybody's back.
    pub fn tamper(&self, name: &Name, with: impl FnOnce(&mut SimulatedMachine)) {
        if let Some(machine) = self.truth().machines.get_mut(name) {
            with(machine);
        }
    }

    /// Somebody changes by hand who gets requests.
    pub fn admit(&self, members: BTreeMap<Name, u32>) {
        self.truth().admitted = Some(members);
    }

    /// From now on, this goes wrong with the calls that come.
    pub fn schedule(&self, faults: Faults) {
        let mut truth = self.truth();
        (truth.faults, truth.calls) = (faults, 0);
    }

    /// Nothing goes wrong from now on.
    pub fn heal(&self) {
        let mut truth = self.truth();
        truth.faults.clear();
        truth.machines.values_mut().for_each(|machine| machine.dark_until = 0);
    }

    /// What the schedule has for the next call. A machine that is dark does not hear of it.
    pub(super) async fn before(&self, target: Option<&Name>) -> (Way, Option<Fault>) {
        let fault = {
            let mut truth = self.truth();
            let call = truth.calls;
            truth.calls += 1;
            truth.faults.remove(&call)
        };
        let delay = match fault {
            Some(Fault::Slow(millis)) => millis,
            _ => 5,
        };
        tokio::time::sleep(Duration::from_millis(delay)).await;
        match fault {
            Some(Fault::KillBefore) => self.kill().await,
            Some(Fault::RebootBefore) => self.reboot(target),
            Some(Fault::Unreachable(millis)) => {
                if let Some(target) = target {
                    let until = self.now().saturating_add(millis);
                    self.tamper(target, |machine| machine.dark_until = until);
                }
            }
            _ => {}
        }
        let now = self.now();
        let dark = |name| self.truth().machines.get(name).is_some_and(|machine| machine.dark_until > now);
        let lost = fault == Some(Fault::LostRequest) || target.is_some_and(dark);
        if lost {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (if lost { Way::Lost } else { Way::Through }, fault)
    }

    /// What the schedule has for the answer.
    pub(super) async fn after(&self, target: Option<&Name>, fault: Option<Fault>) -> Way {
        match fault {
            Some(Fault::KillAfter) => self.kill().await,
            Some(Fault::RebootAfter) => self.reboot(target),
            _ => {}
        }
        if fault == Some(Fault::LostReply) { Way::Lost } else { Way::Through }
    }

    pub(super) fn reboot(&self, target: Option<&Name>) {
        if let Some(target) = target {
            self.tamper(target, SimulatedMachine::reboot);
        }
    }

    async fn kill(&self) {
        self.killed.notify_one();
        pending().await
    }
}
