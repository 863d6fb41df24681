//! A plan carried out: its steps, then its packages. `staith run` does it for whoever looks on, a keeper for a server; there is
//! one way in which it is done.

use std::{path::Path, sync::Arc, time::Instant};

use staith_builder::{
    execute::{self, EventLog, Manner, Stop, Workbench},
    source::Resolved,
};
use staith_model::{
    Blame, EventKind, Exit, NotPassed, PackagePlan, Passed, Plan, RunId, RunOutcome, StepOutcome, TestReport,
    service::Trust,
};
use staith_packager::seal::{Sealed, sbom::Gap};

use crate::{
    home::Home,
    output::Problem,
    sealing::{Made, Sealing},
    upkeep::Upkeep,
};

/// Everything that a run is made with.
pub(crate) struct Execution {
    pub(crate) id: RunId,
    pub(crate) home: Home,
    pub(crate) bench: Arc<Workbench>,
    pub(crate) upkeep: Upkeep,
    pub(crate) plan: Arc<Plan>,
    pub(crate) source: Arc<Resolved>,
    pub(crate) manner: Manner,
    pub(crate) stop: Stop,
    pub(crate) began: Instant,
    /// In milliseconds since 1970.
    pub(crate) started: u64,
    /// Whose code it is, if a server says so; packages carry it.
    pub(crate) trust: Option<Trust>,
}

/// How a plan was carried out.
pub(crate) enum Built {
    /// All steps passed; the packages, in the order of the plan.
    Passed(Vec<Sealed>),
    /// Not all steps passed.
    Ended(TestReport),
}

impl Execution {
    /// Whoever makes room meanwhile leaves this run's log and packages alone.
    pub(crate) fn say_what_is_used(&self) {
        self.bench.layers.uses(&format!("runs/{}", self.id));
        for package in &self.plan.packages {
            self.bench.layers.uses(&format!("packages/{}", package.name));
        }
    }

    /// Carries the plan out and records all of it, up to the run's end. `incomplete` hears what bills of materials lack.
    ///
    /// # Errors
    /// It could not be carried through; that steps failed is none.
    pub(crate) async fn build(
        &self,
        log: &mut EventLog,
        incomplete: &(dyn Fn(&Gap) + Sync),
        cancelled: &(dyn Fn(&TestReport) -> bool + Sync),
    ) -> Result<Built, Problem> {
        let (bench, plan, source) =
            (Arc::clone(&self.bench), Arc::clone(&self.plan), Arc::clone(&self.source));
        let (id, stop) = (self.id.clone(), self.stop.clone());
        let executed = execute::execute(bench, id, plan, source, self.manner, log, stop).await;
        let report = match executed {
            Ok(report) => report,
            Err(error) => {
                self.finished(RunOutcome::Failed, log)?;
                return Err(error.into());
            }
        };
        let passed = report.clone().into_passed(&self.plan);
        if let Err(nothing @ NotPassed::NothingToPack { .. }) = &passed {
            self.finished(RunOutcome::Failed, log)?;
            return Err(Problem::new(Exit::StepFailed, "no package was made").with_why(nothing.to_string()));
        }
        let Ok(passed) = passed else {
            self.finished(if cancelled(&report) { RunOutcome::Cancelled } else { RunOutcome::Failed }, log)?;
            return Ok(Built::Ended(report));
        };
        let packed = self.pack_all(passed, log, incomplete).await;
        self.finished(if packed.is_ok() { RunOutcome::Passed } else { RunOutcome::Failed }, log)?;
        Ok(Built::Passed(packed?))
    }

    fn finished(&self, outcome: RunOutcome, log: &mut EventLog) -> Result<(), Problem> {
        log.record(EventKind::RunFinished { outcome, millis: millis(self.began) })?;
        Ok(())
    }

    /// Makes the packages one after the other, from the proof that every step passed.
    async fn pack_all(
        &self,
        passed: Passed,
        log: &mut EventLog,
        incomplete: &(dyn Fn(&Gap) + Sync),
    ) -> Result<Vec<Sealed>, Problem> {
        let sealing = Arc::new(Sealing {
            run: self.id.clone(),
            plan: Arc::clone(&self.plan),
            source: Arc::clone(&self.source),
            bench: Arc::clone(&self.bench),
            home: self.home.clone(),
            allowance: self.upkeep.allowance(),
            started: self.started,
            passed,
            trust: self.trust,
        });
        let mut packed = Vec::new();
        for wanted in &self.plan.packages {
            packed.push(pack(wanted.clone(), Arc::clone(&sealing), log, incomplete).await?);
        }
        Ok(packed)
    }

    /// Counts what the run has left at `log`, and makes room if it is too much: the bytes that were removed. Blocks for some
    /// seconds at most.
    pub(crate) fn tidy_up(&self, log: &Path) -> u64 {
        let log = log.join("events.jsonl");
        // On this thread: handing it to another and back takes longer than it does itself, unless there is room to be made.
        tokio::task::block_in_place(|| self.upkeep.after_run(&log))
    }
}

async fn pack(
    wanted: PackagePlan,
    sealing: Arc<Sealing>,
    log: &mut EventLog,
    incomplete: &(dyn Fn(&Gap) + Sync),
) -> Result<Sealed, Problem> {
    let began = Instant::now();
    let made = tokio::task::spawn_blocking(move || sealing.make(&wanted))
        .await
        .map_err(|panicked| Problem::bug(panicked.to_string()))??;
    let Made { sealed, companions, gaps } = made;
    gaps.iter().for_each(incomplete);
    log.record(EventKind::PackageMade {
        package: sealed.published.package.clone(),
        path: sealed.path.display().to_string(),
        cached: sealed.cached,
        millis: millis(began),
        companions,
    })?;
    Ok(sealed)
}

/// What the shell is told of a run that did not pass: the worst that happened, but for failures that are allowed.
pub(crate) fn exit_of(plan: &Plan, report: &TestReport) -> Exit {
    let is_allowed = |name, outcome| plan.step(name).is_some_and(|step| step.fails_as_it_may(outcome));
    let all = || report.steps.iter().map(|(name, step)| (name, step.outcome));
    let outcomes = || all().filter(|(name, outcome)| !is_allowed(name, *outcome)).map(|(_, outcome)| outcome);
    let blamed = |blame| outcomes().any(|outcome| outcome.blame() == Some(blame));
    if outcomes().any(|outcome| outcome == StepOutcome::Cancelled) {
        return Exit::Interrupted;
    }
    let worst = [Blame::Environment, Blame::Project].into_iter().find(|blame| blamed(*blame));
    worst.map_or(Exit::StepFailed, Exit::from)
}

/// Milliseconds since an instant.
pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
