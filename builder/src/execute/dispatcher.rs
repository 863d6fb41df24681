//! The one place where a run's events are made: starts attempts as needs, budget and conditions allow, takes what they say,
//! and decides what follows from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use staith_model::{
    Blame, EventKind, ImpossibleEvent, Name, Plan, Reason, RunId, RunState, StepOutcome, StepPlan,
    StepResults, StepState, TestReport,
};
use tokio::{
    sync::mpsc,
    task::{self, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Budget, EventLog, ExecuteError, Manner, Stop, Workbench,
    attempt::{Attempt, Ended, Message},
    passing_over, retry,
    schedule::{Demand, Queue},
};
use crate::source::Resolved;

/// What steps that are made for a cancelled run have for their work: enough to take down what a test put up.
const TIME_TO_CLEAN_UP: Duration = Duration::from_secs(60);

/// Messages that wait for the dispatcher. A line may have 64 KiB.
const LINES_ON_THE_WAY: usize = 128;

pub(super) struct Dispatcher<'a> {
    bench: Arc<Workbench>,
    run: RunId,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    manner: Manner,
    log: &'a mut EventLog,
    stop: Stop,
    hear: mpsc::Receiver<(Name, Message)>,
    tell: mpsc::Sender<(Name, Message)>,
    attempts: Attempts,
    queue: Queue,
    /// Steps that are tried again, and from when on.
    pauses: BTreeMap<Name, Instant>,
    cancelled: Option<Cancelled>,
}

/// The attempts that have not ended, which step each is for, and what it may use.
struct Attempts {
    tasks: JoinSet<()>,
    alive: BTreeMap<Name, (task::Id, Demand)>,
}

/// A run that was asked to end.
struct Cancelled {
    /// When the steps that clean up are asked to end, too.
    until: Instant,
    /// Asks them.
    clean_up: CancellationToken,
}

impl<'a> Dispatcher<'a> {
    pub(super) fn new(
        bench: Arc<Workbench>,
        run: RunId,
        plan: Arc<Plan>,
        source: Arc<Resolved>,
        manner: Manner,
        log: &'a mut EventLog,
        stop: Stop,
    ) -> Self {
        let (tell, hear) = mpsc::channel(LINES_ON_THE_WAY);
        Self {
            bench,
            run,
            plan,
            source,
            manner,
            log,
            stop,
            hear,
            tell,
            attempts: Attempts { tasks: JoinSet::new(), alive: BTreeMap::new() },
            queue: Queue::default(),
            pauses: BTreeMap::new(),
            cancelled: None,
        }
    }

    /// Carries the plan out. Cancel-safe: dropping it drops the attempts.
    pub(super) async fn run(mut self) -> Result<TestReport, ExecuteError> {
        loop {
            // First, so that nothing is called skipped that was cancelled.
            if self.stop.cancel.is_cancelled() {
                self.cancel_what_has_not_begun()?;
            }
            self.pass_over()?;
            self.begin_what_may();
            if self.state()?.all_finished() {
                break;
            }
            self.await_something().await?;
        }
        self.attempts.tasks.shutdown().await;
        Ok(self.state()?.report())
    }

    async fn await_something(&mut self) -> Result<(), ExecuteError> {
        let pause_over = self.pauses.values().min().copied();
        let clean_up_over = self.cancelled.as_ref().map(|cancelled| cancelled.until);
        tokio::select! {
            biased;
            () = self.stop.kill.cancelled() => self.end_all().await?,
            Some((step, message)) = self.hear.recv() => self.take(step, message).await?,
            Some(joined) = self.attempts.tasks.join_next_with_id() => self.notice_panic(joined)?,
            () = self.stop.cancel.cancelled(), if self.cancelled.is_none() => {}
            () = at(pause_over) => {}
            () = at(clean_up_over), if self.is_cleaning_up() => self.end_cleaning_up()?,
        }
        Ok(())
    }

    fn state(&self) -> Result<&RunState, ImpossibleEvent> {
        self.log.state().ok_or(ImpossibleEvent::NotAStart(0))
    }

    fn begin_what_may(&mut self) {
        let now = Instant::now();
        self.pauses.retain(|_, until| *until > now);
        let Some(state) = self.log.state() else { return };
        let waits =
            |name: &&Name| !self.attempts.alive.contains_key(*name) && !self.pauses.contains_key(*name);
        let ready = state
            .ready()
            .filter(waits)
            .filter_map(|name| Some((name, demand(&self.bench.budget, &self.plan, self.plan.step(name)?))));
        self.queue.update(ready);
        let running: Vec<Demand> = self.attempts.alive.values().map(|(_, demand)| *demand).collect();
        for (name, demand) in self.queue.start(&running, &self.bench.budget) {
            if let Some(attempt) = self.attempt(&name) {
                let task = self.attempts.tasks.spawn(attempt.make());
                self.attempts.alive.insert(name, (task.id(), demand));
            }
        }
    }

    fn attempt(&self, name: &Name) -> Option<Attempt> {
        let step = self.plan.step(name)?.clone();
        let reports = &self.log.state()?.reports;
        // What ran in spite of a failure sees what is there.
        let left = |name: &Name| Some((name.clone(), reports.get(name)?.layer?));
        let stop = match &self.cancelled {
            None => self.stop.clone(),
            Some(cancelled) => Stop { cancel: cancelled.clean_up.clone(), kill: self.stop.kill.clone() },
        };
        Some(Attempt {
            bench: Arc::clone(&self.bench),
            run: self.run.clone(),
            plan: Arc::clone(&self.plan),
            layers: step.layers.iter().filter_map(left).collect(),
            step,
            source: Arc::clone(&self.source),
            stop,
            tell: self.tell.clone(),
        })
    }

    /// The names of the secrets that a step and the services beside it get, each once, with the service.
    fn secrets_of(&self, step: &Name) -> BTreeSet<(Option<Name>, String)> {
        let Some(step) = self.plan.step(step) else { return BTreeSet::new() };
        let own = step.secrets.values().map(|secret| (None, secret.clone()));
        let of_services = self.plan.services_of(step).into_iter().flat_map(|service| {
            service.secrets.values().map(|secret| (Some(service.name.clone()), secret.clone()))
        });
        own.chain(of_services).collect()
    }

    async fn take(&mut self, step: Name, message: Message) -> Result<(), ExecuteError> {
        match message {
            Message::Started => {
                let attempt = self.state()?.attempts(&step) + 1;
                self.log.record(EventKind::StepStarted { step: step.clone(), attempt })?;
                for (service, secret) in self.secrets_of(&step) {
                    self.log.record(EventKind::SecretUsed { step: step.clone(), service, secret })?;
                }
            }
            Message::Line(stream, line) => {
                self.log.record(EventKind::StepOutput { step, stream, line })?;
            }
            Message::ServiceReady(service, took) => {
                self.log.record(EventKind::ServiceReady { step, service, millis: millis(took) })?;
            }
            Message::ServiceEnded(service, how) => {
                self.log.record(EventKind::ServiceEnded { step, service, how })?;
            }
            Message::ServiceLine(service, line) => {
                self.log.record(EventKind::ServiceOutput { step, service, line })?;
            }
            Message::Ended(ended) => self.ended(step, ended)?,
            Message::CannotIsolate(error) => {
                self.end_all().await?;
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn ended(&mut self, step: Name, ended: Ended) -> Result<(), ImpossibleEvent> {
        self.attempts.alive.remove(&step);
        let Ended { verdict, took, results, layer } = ended;
        let attempt = self.state()?.attempts(&step);
        let retry = self.plan.step(&step).and_then(|step| step.retry.as_ref());
        let retry = retry.filter(|_| !self.stop.cancel.is_cancelled());
        let (outcome, reason) = (verdict.outcome, verdict.reason);
        let what = match retry::pause(retry, attempt, outcome, reason.as_ref()) {
            Some(pause) => {
                self.pauses.insert(step.clone(), Instant::now() + pause);
                EventKind::StepRetried { step, attempt, outcome, reason, pause_millis: millis(pause) }
            }
            None => {
                let millis = millis(took);
                EventKind::StepFinished { step, outcome, millis, reason, results, layer }
            }
        };
        self.log.record(what).map(drop)
    }

    /// Records the end of all steps that will not run, given what has happened.
    fn pass_over(&mut self) -> Result<(), ImpossibleEvent> {
        loop {
            // Passing over one step may strand others.
            let is_idle = |name: &Name| !self.attempts.alive.contains_key(name);
            let Some((step, why)) = passing_over::next(self.state()?, self.manner, is_idle) else {
                return Ok(());
            };
            let reason = Reason { blame: Blame::Project, what: why, remedy: None };
            self.log.record(unrun(step, StepOutcome::Skipped, Some(reason)))?;
        }
    }

    /// Steps that are made for the worst keep their turn, as long as there is time for them.
    fn cancel_what_has_not_begun(&mut self) -> Result<(), ImpossibleEvent> {
        let began = self.cancelled.get_or_insert_with(|| Cancelled {
            until: Instant::now() + TIME_TO_CLEAN_UP,
            clean_up: CancellationToken::new(),
        });
        let is_late = began.clean_up.is_cancelled();
        let plan = Arc::clone(&self.plan);
        let cleans_up = |name: &Name| {
            let when = plan.step(name).and_then(|step| step.when.as_ref());
            !is_late && when.is_some_and(staith_model::Condition::is_for_the_worst)
        };
        let is_tried_again: Vec<Name> = std::mem::take(&mut self.pauses).into_keys().collect();
        self.cancel(|name, state, alive| {
            !alive && state.outcome().is_none() && (is_tried_again.contains(name) || !cleans_up(name))
        })
    }

    fn is_cleaning_up(&self) -> bool {
        self.cancelled.as_ref().is_some_and(|cancelled| !cancelled.clean_up.is_cancelled())
    }

    fn end_cleaning_up(&mut self) -> Result<(), ImpossibleEvent> {
        if let Some(cancelled) = &self.cancelled {
            cancelled.clean_up.cancel();
        }
        self.cancel_what_has_not_begun()
    }

    /// Ends every attempt at once, and cancels what has no end yet.
    async fn end_all(&mut self) -> Result<(), ImpossibleEvent> {
        self.attempts.tasks.shutdown().await;
        self.attempts.alive.clear();
        self.cancel(|_, state, _| state.outcome().is_none())
    }

    fn cancel(&mut self, which: impl Fn(&Name, StepState, bool) -> bool) -> Result<(), ImpossibleEvent> {
        let chosen = |(name, state): (&Name, &StepState)| {
            which(name, *state, self.attempts.alive.contains_key(name)).then(|| name.clone())
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
        let of_task = |(_, (id, _)): &(&Name, &(task::Id, Demand))| *id == error.id();
        let Some(step) = self.attempts.alive.iter().find(of_task).map(|(step, _)| step.clone()) else {
            return Ok(());
        };
        self.attempts.alive.remove(&step);
        let reason =
            Reason { blame: Blame::Us, what: format!("Staith's own code failed: {error}"), remedy: None };
        self.log.record(unrun(step, StepOutcome::EngineBroken, Some(reason))).map(drop)
    }
}

/// What a step and the services beside it may use.
fn demand(budget: &Budget, plan: &Plan, step: &StepPlan) -> Demand {
    budget.demand(&step.limits, plan.services_of(step).into_iter().map(|service| &service.limits))
}

fn unrun(step: Name, outcome: StepOutcome, reason: Option<Reason>) -> EventKind {
    EventKind::StepFinished { step, outcome, millis: 0, reason, results: StepResults::default(), layer: None }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
