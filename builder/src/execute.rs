//! One dispatcher starts steps, orders what they say into events, and ends with a report. Each attempt at a step is a task
//! of its own that owns its state; attempts and dispatcher exchange messages only.

mod attempt;
mod budget;
mod dispatcher;
mod lines;
mod log;
mod output;
mod passing_over;
mod retry;
mod schedule;
mod services;
mod shell;
mod stop;
mod verdict;
mod workspace;

use std::{collections::BTreeMap, sync::Arc};

pub use budget::Budget;
pub use log::{EventLog, Watcher};
pub use shell::{Shell, Visitor, Wanted};
use staith_model::{Digest, EventKind, ImpossibleEvent, Name, Plan, RunId, TestReport};
pub use stop::Stop;

use self::dispatcher::Dispatcher;
use crate::{
    cache::{Elsewhere, StepCache, StepRecord},
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
    pub layers: Arc<LayerStore>,
    /// What is known of steps that passed.
    pub cache: StepCache,
    /// Who else knows of steps that passed, if anybody does.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// What isolates steps.
    pub engine: Arc<dyn Engine>,
    /// The root file systems that steps and services see, by the name that the pipeline gives them; `None` is the host's.
    pub images: BTreeMap<Option<String>, Image>,
    /// What steps that run at once may use together.
    pub budget: Budget,
    /// The secrets that the plan's steps name, and what masks them.
    pub secrets: Supply,
    /// Where all that steps write is kept; `None` keeps no more than the events do.
    pub logs: Option<RunLogs>,
    /// Gives milliseconds since 1970, for the lines in the logs.
    pub clock: fn() -> u64,
    /// Steps that have passed in the run that this one goes on with, and are not run again, also where the cache does not
    /// answer.
    pub passed: BTreeMap<Name, Passing>,
}

/// How a step passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// On what it was run: what the steps below it had left, lowest first. On anything else it is run again.
    pub layers: Vec<(Name, Digest)>,
    /// What it came to.
    pub record: StepRecord,
}

/// How a run goes on when something goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether what does not need a failed step still runs. Otherwise what runs is finished and nothing new begins, but for
    /// steps whose condition is made for a failure.
    pub keep_going: bool,
}

impl Workbench {
    /// The root file system of this name. Every one that the plan's steps and services name has been resolved.
    ///
    /// # Panics
    /// The bench was made for another plan.
    fn image(&self, reference: &Option<String>) -> &Image {
        &self.images[reference]
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

/// Executes a plan: every step is run, found in the cache, or passed over for a reason that its event gives.
///
/// The log must hold nothing yet; it gets all events from `run-started` to the last `step-finished`. When `stop.cancel`
/// fires, running steps are asked to end and the others are cancelled, but for those whose condition is made for that: they
/// have a minute. `stop.kill` ends all at once. Either way the report covers every step, and nothing that a step started is
/// alive when this returns. Cancel-safe: dropping the future kills the steps, and leaves the log without an end.
///
/// # Errors
/// The host can't isolate steps (found out before the first step is run), or Staith has a bug.
pub async fn execute(
    bench: Arc<Workbench>,
    run: RunId,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    manner: Manner,
    log: &mut EventLog,
    stop: Stop,
) -> Result<TestReport, ExecuteError> {
    let started = EventKind::RunStarted {
        run: run.clone(),
        plan_digest: plan.digest(),
        plan: Box::new((*plan).clone()),
    };
    log.record(started)?;
    Dispatcher::new(bench, run, plan, source, manner, log, stop).run().await
}
