//! The state of a run or deployment: a fold over its events, by the transition tables.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    DeploymentState, Digest, EVENT_VERSION, Event, EventKind, ImpossibleDeploymentChange,
    ImpossibleStepChange, Name, Package, Plan, RunId, RunOutcome, StepChange, StepOutcome, StepReport,
    StepState, Stranded, TestReport,
};

/// A run (and the deployment that may follow it) as its events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    /// The run.
    pub run: RunId,
    /// Identity of its plan.
    pub plan_digest: Digest,
    /// Its plan.
    pub plan: Plan,
    /// Where each step is.
    pub steps: BTreeMap<Name, StepState>,
    /// Attempts begun at each step that has been started.
    pub attempts: BTreeMap<Name, u32>,
    /// Services that can be used, or have been, beside the last attempt at each step.
    pub services_ready: BTreeMap<Name, BTreeSet<Name>>,
    /// What is known of each finished step.
    pub reports: BTreeMap<Name, StepReport>,
    /// The packages that are made.
    pub packages: Vec<Package>,
    /// How the run ended, once it has.
    pub outcome: Option<RunOutcome>,
    /// Where the deployment is, if one followed.
    pub deployment: Option<DeploymentState>,
    /// The number of the next event.
    pub next_seq: u64,
}

/// An event that can't follow those before it: the log is damaged, or Staith has a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleEvent {
    /// A newer Staith wrote it.
    #[error(
        "event {seq} has version {v}; this Staith reads versions up to {EVENT_VERSION}: use the one that wrote it"
    )]
    NewerVersion {
        /// Its number.
        seq: u64,
        /// Its version.
        v: u16,
    },
    /// Events are missing or doubled.
    #[error("event {found} where {expected} was due")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that was found.
        found: u64,
    },
    /// The first event is not the start of a run, or a later one is.
    #[error("a log begins with `run-started` and has no other; event {0} breaks that")]
    NotAStart(u64),
    /// It names a step that the plan has not.
    #[error("event {seq} is about step `{step}`, which the plan has not")]
    UnknownStep {
        /// Its number.
        seq: u64,
        /// The step.
        step: Name,
    },
    /// A step can't change so.
    #[error("event {seq}: step `{step}`: {source}")]
    Step {
        /// Its number.
        seq: u64,
        /// The step.
        step: Name,
        /// Why not.
        source: ImpossibleStepChange,
    },
    /// A deployment can't change so.
    #[error("event {seq}: {source}")]
    Deployment {
        /// Its number.
        seq: u64,
        /// Why not.
        source: ImpossibleDeploymentChange,
    },
    /// It speaks of something that has not begun or is over.
    #[error("event {0} comes at a time when it can't have happened")]
    Untimely(u64),
}

impl RunState {
    /// The state after the first event.
    ///
    /// # Errors
    /// The event is not the start of a run, or was written by a newer Staith.
    pub fn begin(first: &Event) -> Result<Self, ImpossibleEvent> {
        check_version(first)?;
        match &first.what {
            EventKind::RunStarted { run, plan_digest, plan } if first.seq == 0 => {
                let mut state = Self {
                    run: run.clone(),
                    plan_digest: *plan_digest,
                    plan: (**plan).clone(),
                    steps: plan.steps.iter().map(|step| (step.name.clone(), StepState::Waiting)).collect(),
                    attempts: BTreeMap::new(),
                    services_ready: BTreeMap::new(),
                    reports: BTreeMap::new(),
                    packages: Vec::new(),
                    outcome: None,
                    deployment: None,
                    next_seq: 1,
                };
                state.ready_what_can_start();
                Ok(state)
            }
            _ => Err(ImpossibleEvent::NotAStart(first.seq)),
        }
    }

    /// The state after a whole log.
    ///
    /// # Errors
    /// The first event that can't follow those before it; an empty log has no first event.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, ImpossibleEvent> {
        let mut events = events.into_iter();
        let mut state = Self::begin(events.next().ok_or(ImpossibleEvent::NotAStart(0))?)?;
        events.try_for_each(|event| state.apply(event))?;
        Ok(state)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// The event can't follow; the state is then as before.
    pub fn apply(&mut self, event: &Event) -> Result<(), ImpossibleEvent> {
        check_version(event)?;
        if event.seq != self.next_seq {
            return Err(ImpossibleEvent::Gap { expected: self.next_seq, found: event.seq });
        }
        self.take(event)?;
        self.next_seq += 1;
        Ok(())
    }

    fn take(&mut self, event: &Event) -> Result<(), ImpossibleEvent> {
        let seq = event.seq;
        match &event.what {
            EventKind::RunStarted { .. } => return Err(ImpossibleEvent::NotAStart(seq)),
            EventKind::StepStarted { step, attempt } => {
                if *attempt != self.attempts(step) + 1 {
                    return Err(ImpossibleEvent::Untimely(seq));
                }
                self.step_changed(seq, step, StepChange::Started)?;
                self.attempts.insert(step.clone(), *attempt);
                self.services_ready.remove(step);
            }
            EventKind::StepRetried { step, attempt, outcome, .. } => {
                if *attempt != self.attempts(step) || outcome.is_success() {
                    return Err(ImpossibleEvent::Untimely(seq));
                }
                self.step_changed(seq, step, StepChange::Retried)?;
            }
            EventKind::StepOutput { step, .. } | EventKind::SecretUsed { step, service: None, .. } => {
                self.expect_running(seq, step)?;
            }
            EventKind::SecretUsed { step, service: Some(service), .. }
            | EventKind::ServiceEnded { step, service, .. }
            | EventKind::ServiceOutput { step, service, .. } => self.expect_beside(seq, step, service)?,
            EventKind::ServiceReady { step, service, .. } => {
                self.expect_beside(seq, step, service)?;
                if !self.services_ready.entry(step.clone()).or_default().insert(service.clone()) {
                    return Err(ImpossibleEvent::Untimely(seq));
                }
            }
            EventKind::StepFinished { step, outcome, results, layer, .. } => {
                let attempts = self.attempts(step);
                // What was tried can't turn out never to have had its turn.
                if *outcome == StepOutcome::Skipped && attempts > 0 {
                    return Err(ImpossibleEvent::Untimely(seq));
                }
                self.step_changed(seq, step, StepChange::Ended(*outcome))?;
                let (results, layer) = (results.clone(), *layer);
                let report = StepReport { outcome: *outcome, results, layer, attempts };
                self.reports.insert(step.clone(), report);
                self.ready_what_can_start();
            }
            EventKind::PackageMade { package, .. } => {
                let again = self.packages.iter().any(|made| made.name == package.name);
                if self.outcome.is_some() || !self.is_pass() || again {
                    return Err(ImpossibleEvent::Untimely(seq));
                }
                self.packages.push(package.clone());
            }
            EventKind::RunFinished { outcome, .. } => {
                let is_false = *outcome == RunOutcome::Passed && !self.is_pass();
                if self.outcome.is_some() || !self.all_finished() || is_false {
                    return Err(ImpossibleEvent::Untimely(seq));
                }
                self.outcome = Some(*outcome);
            }
            EventKind::DeploymentPlanned { .. } => {
                if self.outcome != Some(RunOutcome::Passed) || self.deployment.is_some() {
                    return Err(ImpossibleEvent::Untimely(seq));
                }
                self.deployment = Some(DeploymentState::Planned);
            }
            EventKind::DeploymentOperation { .. } => {
                self.deployment.ok_or(ImpossibleEvent::Untimely(seq))?;
            }
            EventKind::DeploymentChanged { change, .. } => {
                let state = self.deployment.ok_or(ImpossibleEvent::Untimely(seq))?;
                let next =
                    state.after(*change).map_err(|source| ImpossibleEvent::Deployment { seq, source })?;
                self.deployment = Some(next);
            }
        }
        Ok(())
    }

    fn expect_running(&self, seq: u64, step: &Name) -> Result<(), ImpossibleEvent> {
        let is_running = self.steps.get(step) == Some(&StepState::Running);
        is_running.then_some(()).ok_or(ImpossibleEvent::Untimely(seq))
    }

    /// Expects that a service runs beside a step.
    fn expect_beside(&self, seq: u64, step: &Name, service: &Name) -> Result<(), ImpossibleEvent> {
        self.expect_running(seq, step)?;
        let is_beside = self.plan.step(step).is_some_and(|step| step.services.contains(service));
        is_beside.then_some(()).ok_or(ImpossibleEvent::Untimely(seq))
    }

    fn step_changed(&mut self, seq: u64, step: &Name, change: StepChange) -> Result<(), ImpossibleEvent> {
        let state = self
            .steps
            .get_mut(step)
            .ok_or_else(|| ImpossibleEvent::UnknownStep { seq, step: step.clone() })?;
        *state = state.after(change).map_err(|source| ImpossibleEvent::Step {
            seq,
            step: step.clone(),
            source,
        })?;
        Ok(())
    }

    /// A step is ready as soon as its needs and its condition say so: that follows from the other events, so no event says it.
    fn ready_what_can_start(&mut self) {
        for step in &self.plan.steps {
            let outcome = |step: &Name| self.outcome_of(step);
            if self.steps.get(&step.name) == Some(&StepState::Waiting) && self.plan.may_start(step, &outcome)
            {
                self.steps.insert(step.name.clone(), StepState::Ready);
            }
        }
    }

    /// What a step came to, once it has ended.
    pub fn outcome_of(&self, step: &Name) -> Option<StepOutcome> {
        self.steps.get(step)?.outcome()
    }

    /// Attempts begun at a step.
    pub fn attempts(&self, step: &Name) -> u32 {
        self.attempts.get(step).copied().unwrap_or_default()
    }

    /// Whether all steps have ended as a pass needs it.
    pub fn is_pass(&self) -> bool {
        self.plan.judge(&|step| self.outcome_of(step)).is_ok()
    }

    /// Steps that may start, in the order of the plan.
    pub fn ready(&self) -> impl Iterator<Item = &Name> {
        self.plan
            .steps
            .iter()
            .map(|step| &step.name)
            .filter(|name| self.steps.get(*name) == Some(&StepState::Ready))
    }

    /// Steps that can never start, and why, in the order of the plan.
    pub fn stranded(&self) -> impl Iterator<Item = (&Name, Stranded)> {
        let waiting = |name: &Name| self.steps.get(name) == Some(&StepState::Waiting);
        self.plan.steps.iter().filter(move |step| waiting(&step.name)).filter_map(|step| {
            let why = self.plan.stranded(step, &|step| self.outcome_of(step))?;
            Some((&step.name, why))
        })
    }

    /// Whether every step has ended.
    pub fn all_finished(&self) -> bool {
        self.steps.values().all(|state| state.outcome().is_some())
    }

    /// The report of what has ended so far.
    pub fn report(&self) -> TestReport {
        TestReport { run: self.run.clone(), plan: self.plan_digest, steps: self.reports.clone() }
    }
}

fn check_version(event: &Event) -> Result<(), ImpossibleEvent> {
    if event.v > EVENT_VERSION {
        return Err(ImpossibleEvent::NewerVersion { seq: event.seq, v: event.v });
    }
    Ok(())
}
