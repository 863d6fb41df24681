//! What there is to show of a run: a fold over its events that keeps what a picture needs and no more.

use std::collections::VecDeque;

use staith_model::{
    DeploymentChange, DeploymentState, Digest, Event, EventKind, Name, Package, Plan, Reason, RunOutcome,
    RunState, StepOutcome, StepResults, StepState,
};

use super::super::{human, words};

/// Lines kept of a step's output: enough for the last words of a failure; the journal has them all.
const LINES_KEPT: usize = 200;

/// A run as it is shown. Times are milliseconds on the viewer's own clock, so that a log of another day ticks rightly too.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) plan_digest: Digest,
    pub(super) steps: Vec<StepView>,
    /// The packages that are made.
    pub(super) packages: Vec<PackageView>,
    /// When the last step ended, or the last package was made.
    pub(super) steps_done_at: u64,
    pub(super) end: Option<(RunOutcome, u64)>,
    pub(super) deployment: Option<DeploymentView>,
}

/// A step.
#[derive(Debug)]
pub(super) struct StepView {
    pub(super) name: Name,
    pub(super) state: StepState,
    pub(super) attempt: u32,
    /// Whether the pipeline allows it to fail.
    pub(super) may_fail: bool,
    pub(super) started_at: u64,
    pub(super) millis: u64,
    pub(super) reason: Option<Reason>,
    pub(super) results: StepResults,
    /// The last lines, each with the number of bytes left out of it.
    pub(super) tail: VecDeque<(String, usize)>,
    /// How many lines there were before the tail.
    pub(super) forgotten: u64,
    /// Services that it waits for.
    pub(super) starting: Vec<Name>,
    /// The last lines of its services, each with whose it is and the number of bytes left out of it.
    pub(super) services_said: Vec<(Name, String, usize)>,
}

/// A package that was made.
#[derive(Debug)]
pub(super) struct PackageView {
    pub(super) package: Package,
    pub(super) path: String,
    pub(super) cached: bool,
    pub(super) millis: u64,
}

/// A deployment.
#[derive(Debug)]
pub(super) struct DeploymentView {
    pub(super) environment: Name,
    pub(super) release: Digest,
    pub(super) previous: Option<Digest>,
    pub(super) state: DeploymentState,
    pub(super) operations: Vec<OperationView>,
    /// How many of the operations come from the plan; those after them take things back.
    pub(super) planned: usize,
    /// When the last thing happened.
    pub(super) at: u64,
    /// The planned operation that was under way when it was stopped.
    pub(super) failed_at: Option<usize>,
    /// Why it was stopped, and why it could not be taken back.
    pub(super) reasons: Vec<Reason>,
}

/// An operation of a deployment.
#[derive(Debug)]
pub(super) struct OperationView {
    pub(super) words: String,
    pub(super) state: OperationState,
}

/// Where an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OperationState {
    Planned,
    Done { millis: u64 },
    AlreadyDone,
}

impl Scene {
    /// The scene before the first event of the run whose plan this is.
    pub(super) fn new(plan: &Plan, plan_digest: Digest) -> Self {
        Self {
            plan: plan.clone(),
            plan_digest,
            steps: plan.steps.iter().map(|step| StepView::new(step.name.clone(), step.may_fail)).collect(),
            packages: Vec::new(),
            steps_done_at: 0,
            end: None,
            deployment: None,
        }
    }

    /// Takes an event that happened `now`; `state` is the run after it.
    pub(super) fn take(&mut self, event: &Event, state: &RunState, now: u64) {
        match &event.what {
            EventKind::RunStarted { .. } | EventKind::SecretUsed { .. } => {}
            EventKind::StepStarted { step, attempt } => {
                let services = self.plan.step(step).map(|step| step.services.clone()).unwrap_or_default();
                self.change_step(step, |view| {
                    (view.started_at, view.attempt) = (now, *attempt);
                    (view.starting, view.services_said) = (services, Vec::new());
                });
            }
            EventKind::ServiceReady { step, service, .. } => {
                self.change_step(step, |view| view.starting.retain(|starting| starting != service));
            }
            EventKind::ServiceEnded { .. } => {}
            EventKind::ServiceOutput { step, service, line } => {
                let (shown, more) = human::clip(line);
                let said = (service.clone(), shown.to_owned(), more);
                self.change_step(step, |view| view.services_said.push(said));
            }
            EventKind::StepRetried { step, reason, .. } => {
                self.change_step(step, |view| view.reason = reason.clone());
            }
            EventKind::StepOutput { step, line, .. } => {
                self.change_step(step, |view| view.wrote(line));
                return; // A line changes no state, and there may be a million a second.
            }
            EventKind::StepFinished { step, millis, reason, results, .. } => {
                self.steps_done_at = now;
                self.change_step(step, |view| {
                    (view.millis, view.reason, view.results) = (*millis, reason.clone(), results.clone());
                });
            }
            EventKind::PackageMade { package, path, cached, millis, .. } => {
                let (package, path) = (package.clone(), path.clone());
                self.packages.push(PackageView { package, path, cached: *cached, millis: *millis });
                self.steps_done_at = now;
            }
            EventKind::RunFinished { outcome, millis } => self.end = Some((*outcome, *millis)),
            EventKind::DeploymentPlanned { environment, release, previous, operations, .. } => {
                self.deployment = Some(DeploymentView {
                    environment: environment.clone(),
                    release: *release,
                    previous: *previous,
                    state: DeploymentState::Planned,
                    planned: operations.len(),
                    operations: operations.iter().map(|words| OperationView::planned(words)).collect(),
                    at: now,
                    failed_at: None,
                    reasons: Vec::new(),
                });
            }
            EventKind::DeploymentOperation { operation, already, millis, .. } => {
                if let Some(deployment) = &mut self.deployment {
                    deployment.did(operation, *already, *millis, now);
                }
            }
            EventKind::DeploymentChanged { change, reason, .. } => {
                if let Some(deployment) = &mut self.deployment {
                    deployment.changed(*change, reason.as_ref(), now);
                }
            }
        }
        self.follow(state);
    }

    /// States come from the one fold that knows the rules; nothing here decides them.
    fn follow(&mut self, state: &RunState) {
        for view in &mut self.steps {
            if let Some(step) = state.steps.get(&view.name) {
                view.state = *step;
            }
            if view.state.outcome().is_some_and(StepOutcome::is_success) {
                view.tail = VecDeque::new();
            }
        }
        if let (Some(view), Some(state)) = (&mut self.deployment, state.deployment) {
            view.state = state;
        }
    }

    fn change_step(&mut self, name: &Name, change: impl FnOnce(&mut StepView)) {
        if let Some(view) = self.steps.iter_mut().find(|view| view.name == *name) {
            change(view);
        }
    }

    /// The package of this name, once it is made.
    pub(super) fn made(&self, name: &Name) -> Option<&PackageView> {
        self.packages.iter().find(|made| made.package.name == *name)
    }

    /// The package that is being made, which no event says: packages are made one after the other.
    pub(super) fn packing(&self) -> Option<&Name> {
        let outcome = |name: &Name| self.steps.iter().find(|step| step.name == *name)?.state.outcome();
        let next =
            self.plan.packages.iter().map(|package| &package.name).find(|name| self.made(name).is_none());
        let is_due = self.end.is_none()
            && self.steps.iter().all(|step| step.state.outcome().is_some())
            && self.plan.judge(&outcome).is_ok();
        next.filter(|_| is_due)
    }

    /// The steps whose endings have to be explained, in the order of the plan; what may fail keeps its reason in its row.
    pub(super) fn failed_steps(&self) -> impl Iterator<Item = &StepView> {
        self.steps.iter().filter(|step| {
            step.state.outcome().is_some_and(words::needs_explaining) && !step.failed_as_it_may()
        })
    }
}

impl StepView {
    fn new(name: Name, may_fail: bool) -> Self {
        Self {
            name,
            state: StepState::Waiting,
            attempt: 0,
            may_fail,
            started_at: 0,
            millis: 0,
            reason: None,
            results: StepResults::default(),
            tail: VecDeque::new(),
            forgotten: 0,
            starting: Vec::new(),
            services_said: Vec::new(),
        }
    }

    /// Whether it failed, and the pipeline allows that.
    pub(super) fn failed_as_it_may(&self) -> bool {
        self.may_fail && self.state.outcome().is_some_and(words::needs_explaining)
    }

    fn wrote(&mut self, line: &str) {
        // The oldest line's memory is used again: a flood of output must not become a flood of allocations.
        let mut kept = if self.tail.len() < LINES_KEPT {
            String::new()
        } else {
            self.forgotten += 1;
            self.tail.pop_front().map(|(line, _)| line).unwrap_or_default()
        };
        let (shown, more) = human::clip(line);
        kept.clear();
        kept.push_str(shown);
        self.tail.push_back((kept, more));
    }
}

impl OperationView {
    fn planned(words: &str) -> Self {
        Self { words: words.to_owned(), state: OperationState::Planned }
    }
}

impl DeploymentView {
    fn did(&mut self, words: &str, already: bool, millis: u64, now: u64) {
        self.at = now;
        let state = if already { OperationState::AlreadyDone } else { OperationState::Done { millis } };
        let planned = self.operations.iter_mut().take(self.planned);
        let due = planned
            .filter(|operation| operation.state == OperationState::Planned)
            .find(|operation| operation.words == words);
        match due {
            Some(operation) if !turns_back(self.state) => operation.state = state,
            _ => self.operations.push(OperationView { words: words.to_owned(), state }),
        }
    }

    fn changed(&mut self, change: DeploymentChange, reason: Option<&Reason>, now: u64) {
        if change == DeploymentChange::Aborted {
            self.failed_at = self.current();
        }
        self.at = now;
        self.reasons.extend(reason.cloned());
    }

    /// The operation that is under way: the first that is not done, in the phases that do something.
    pub(super) fn current(&self) -> Option<usize> {
        let works = matches!(
            self.state,
            DeploymentState::Staging | DeploymentState::Switching { .. } | DeploymentState::Finalizing
        );
        self.operations
            .iter()
            .position(|operation| operation.state == OperationState::Planned)
            .filter(|_| works)
    }
}

/// Whether a deployment undoes what it did.
pub(super) const fn turns_back(state: DeploymentState) -> bool {
    matches!(state, DeploymentState::Halting | DeploymentState::RollingBack)
}

/// Whether a deployment ended, and not with the new release.
pub(super) const fn ended_badly(state: DeploymentState) -> bool {
    state.is_over() && !matches!(state, DeploymentState::Succeeded)
}
