//! One dispatcher starts steps, orders what they say into events, and ends with a report. Each attempt at a step is a task
//! of its own that owns its state; attempts and dispatcher exchange messages only.

mod attempt;
mod lines;
mod log;
mod output;
mod stop;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use log::{EventLog, Watcher};
use staith_model::{
    Blame, EventKind, ImpossibleEvent, Name, Plan, Reason, RunId, RunState, StepOutcome, StepPlan,
    StepResults, StepState, TestReport,
};
pub use stop::Stop;
use tokio::{
    sync::mpsc,
    task::{self, JoinError, JoinSet},
};

use self::attempt::{Attempt, Ended, Message};
use crate::{
    cache::StepCache,
    engine::{Engine, EngineError, Image},
    layers::LayerStore,
    secrets::Supply,
    source::{Resolved, Sources},
    step_log::RunLogs,
};

/// What a run is made with: stores, an engine and its image.
pub struct Workbench {
    /// Mirrors and checkouts.
    pub sources: Sources,
    /// What steps leave.
    pub layers: LayerStore,
    /// What is known of steps that passed.
    pub cache: StepCache,
    /// What isolates steps.
    pub engine: Arc<dyn Engine>,
    /// The root file systems that steps see, by the name that the pipeline gives them; `None` is the host's.
    pub images: BTreeMap<Option<String>, Image>,
    /// Steps that may run at once.
    pub jobs: usize,
    /// The secrets that the plan's steps name, and what masks them.
    pub secrets: Supply,
    /// Where all that steps write is kept; `None` keeps no more than the events do.
    pub logs: Option<RunLogs>,
    /// Gives milliseconds since 1970, for the lines in the logs.
    pub clock: fn() -> u64,
}

impl Workbench {
    /// The root file system of a step. Every one that the plan names has been resolved.
    ///
    /// # Panics
    /// The bench was made for another plan.
    fn image(&self, step: &StepPlan) -> &Image {
        &self.images[&step.image]
    }
}

/// Why a run could not be carried through. That a step failed is no error: the report says so.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The host can't isolate steps. No step was run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The events contradict each other: a bug in Staith.
    #[error("the run's events contradict each other: {0}")]
    Impossible(#[from] ImpossibleEvent),
}

/// Messages that wait for the dispatcher. A line may have 64 KiB.
const LINES_ON_THE_WAY: usize = 128;

/// Executes a plan: every step is run, found in the cache, or passed over because one that it needs did not succeed.
///
/// The log must hold nothing yet; it gets all events from `run-started` to the last `step-finished`. When `stop.cancel`
/// fires, running steps are asked to end and the others are cancelled; `stop.kill` ends all at once. Either way the report
/// covers every step, and nothing that a step started is alive when this returns. Cancel-safe: dropping the future kills
/// the steps, and leaves the log without an end.
///
/// # Errors
/// The host can't isolate steps (found out before the first step is run), or Staith has a bug.
pub async fn execute(
    bench: Arc<Workbench>,
    run: RunId,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    log: &mut EventLog,
    stop: Stop,
) -> Result<TestReport, ExecuteError> {
    let started = EventKind::RunStarted {
        run: run.clone(),
        plan_digest: plan.digest(),
        plan: Box::new((*plan).clone()),
    };
    log.record(started)?;
    let (tell, hear) = mpsc::channel(LINES_ON_THE_WAY);
    let attempts = Attempts { tasks: JoinSet::new(), alive: BTreeMap::new() };
    Dispatcher { bench, run, plan, source, log, stop, tell, attempts }.run(hear).await
}

struct Dispatcher<'a> {
    bench: Arc<Workbench>,
    run: RunId,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    log: &'a mut EventLog,
    stop: Stop,
    tell: mpsc::Sender<(Name, Message)>,
    attempts: Attempts,
}

/// The attempts that have not ended, and which step each is for.
struct Attempts {
    tasks: JoinSet<()>,
    alive: BTreeMap<Name, task::Id>,
}

impl Dispatcher<'_> {
    async fn run(mut self, mut hear: mpsc::Receiver<(Name, Message)>) -> Result<TestReport, ExecuteError> {
        let mut asked = false;
        loop {
            self.pass_over_stranded()?;
            if self.stop.cancel.is_cancelled() {
                asked = true;
                self.cancel(|state, alive| !alive && state.outcome().is_none())?;
            }
            self.begin_what_is_ready();
            if self.state()?.all_finished() {
                break;
            }
            tokio::select! {
                biased;
                () = self.stop.kill.cancelled() => {
                    self.attempts.tasks.shutdown().await;
                    self.attempts.alive.clear();
                    self.cancel(|state, _| state.outcome().is_none())?;
                }
                Some((step, message)) = hear.recv() => self.take(step, message).await?,
                Some(joined) = self.attempts.tasks.join_next_with_id() => self.notice_panic(joined)?,
                () = self.stop.cancel.cancelled(), if !asked => {}
            }
        }
        self.attempts.tasks.shutdown().await;
        Ok(self.state()?.report())
    }

    fn state(&self) -> Result<&RunState, ImpossibleEvent> {
        self.log.state().ok_or(ImpossibleEvent::NotAStart(0))
    }

    fn begin_what_is_ready(&mut self) {
        let Some(state) = self.log.state() else { return };
        let ready: Vec<Name> =
            state.ready().filter(|name| !self.attempts.alive.contains_key(*name)).cloned().collect();
        for name in ready {
            if self.attempts.alive.len() >= self.bench.jobs.max(1) {
                return;
            }
            if let Some(attempt) = self.attempt(&name) {
                let task = self.attempts.tasks.spawn(attempt.make());
                self.attempts.alive.insert(name, task.id());
            }
        }
    }

    fn attempt(&self, name: &Name) -> Option<Attempt> {
        let step = self.plan.step(name)?.clone();
        let reports = &self.log.state()?.reports;
        let left = |name: &Name| Some((name.clone(), reports.get(name)?.layer?));
        Some(Attempt {
            bench: Arc::clone(&self.bench),
            run: self.run.clone(),
            plan: Arc::clone(&self.plan),
            layers: step.layers.iter().filter_map(left).collect(),
            step,
            source: Arc::clone(&self.source),
            stop: self.stop.clone(),
            tell: self.tell.clone(),
        })
    }

    async fn take(&mut self, step: Name, message: Message) -> Result<(), ExecuteError> {
        match message {
            Message::Started => {
                self.log.record(EventKind::StepStarted { step: step.clone(), attempt: 1 })?;
                for secret in self.secrets_of(&step) {
                    self.log.record(EventKind::SecretUsed { step: step.clone(), secret })?;
                }
                self.state()?
            }
            Message::Line(stream, line) => self.log.record(EventKind::StepOutput { step, stream, line })?,
            Message::Ended(Ended { verdict, took, results, layer }) => {
                self.attempts.alive.remove(&step);
                let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                let (outcome, reason) = (verdict.outcome, verdict.reason);
                self.log.record(EventKind::StepFinished { step, outcome, millis, reason, results, layer })?
            }
            Message::CannotIsolate(error) => {
                self.attempts.tasks.shutdown().await;
                self.attempts.alive.clear();
                self.cancel(|state, _| state.outcome().is_none())?;
                return Err(error.into());
            }
        };
        Ok(())
    }

    /// The names of the secrets that a step gets, each once.
    fn secrets_of(&self, step: &Name) -> BTreeSet<String> {
        self.plan.step(step).into_iter().flat_map(|step| step.secrets.values().cloned()).collect()
    }

    fn pass_over_stranded(&mut self) -> Result<(), ImpossibleEvent> {
        loop {
            // Passing over one step may strand others.
            let stranded = self.state()?.stranded().next().cloned();
            let Some(step) = stranded else { return Ok(()) };
            self.log.record(unrun(step, StepOutcome::Skipped, None))?;
        }
    }

    fn cancel(&mut self, which: impl Fn(StepState, bool) -> bool) -> Result<(), ImpossibleEvent> {
        let chosen = |(name, state): (&Name, &StepState)| {
            which(*state, self.attempts.alive.contains_key(name)).then(|| name.clone())
        };
        let steps: Vec<Name> = self.state()?.steps.iter().filter_map(chosen).collect();
        for step in steps {
            self.log.record(unrun(step, StepOutcome::Cancelled, None))?;
        }
        Ok(())
    }

    /// An attempt that panicked tells nothing any more; without this the run would wait for it for ever.
    fn notice_panic(&mut self, joined: Result<(task::Id, ()), JoinError>) -> Result<(), ImpossibleEvent> {
        let Err(error) = joined else { return Ok(()) };
        let Some(step) =
            self.attempts.alive.iter().find(|(_, id)| **id == error.id()).map(|(step, _)| step.clone())
        else {
            return Ok(());
        };
        self.attempts.alive.remove(&step);
        let reason =
            Reason { blame: Blame::Us, what: format!("Staith's own code failed: {error}"), remedy: None };
        self.log.record(unrun(step, StepOutcome::EngineBroken, Some(reason))).map(drop)
    }
}

fn unrun(step: Name, outcome: StepOutcome, reason: Option<Reason>) -> EventKind {
    EventKind::StepFinished { step, outcome, millis: 0, reason, results: StepResults::default(), layer: None }
}
