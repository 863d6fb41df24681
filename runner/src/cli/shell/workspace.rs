//! From the command line to a workspace: what the step needs is run where it is not known.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use staith_builder::{
    execute::{self, EventLog, Manner, Shell, Stop, Wanted, Workbench},
    outlook::{Standing, outlook},
    redact::Masker,
    source::Resolved,
};
use staith_model::{Digest, EventKind, Exit, Name, Plan, RunId, RunOutcome, StepPlan, TestReport};

use super::{
    super::{run::images, steps, subject::Found},
    Arguments,
};
use crate::{
    audience::Audience,
    clock,
    execution::{exit_of, millis},
    home::Home,
    output::{self, OutputMode, Problem},
};

/// A workspace to be visited.
pub(super) struct Opened {
    pub(super) shell: Shell,
    pub(super) project: Name,
    pub(super) masker: Masker,
}

/// The workspace that the command line asks for; an exit code where a step before it was interrupted, which people have seen.
pub(super) async fn opened(
    asked: &Arguments,
    home: &Home,
    stop: &Stop,
    mode: OutputMode,
) -> Result<Result<Opened, Exit>, Problem> {
    let Found { workshop, source, pipeline, occasion, .. } = asked.subject.find(home, stop, mode).await?;
    let plan = workshop.plan(&pipeline, &source, &occasion)?;
    let named = steps::name(&pipeline, &plan, &asked.step)?;
    let has_left = |step: &Name| workshop.left(&plan.project, step).is_some();
    let name = match steps::meant(&pipeline, &plan, std::slice::from_ref(&named)) {
        Ok(meant) => one_step(meant, &has_left)?,
        // It may be a step of the run in which it failed.
        Err(_) if asked.last => named,
        Err(unknown) => return Err(unknown.into()),
    };
    if name.as_str() != asked.step {
        output::notice(&format!("the shell is in `{name}`"), mode);
    }
    let left = match asked.last {
        true => Some(workshop.left(&plan.project, &name).ok_or_else(|| nothing_left(&plan, &name))?),
        false => None,
    };
    let plan = match &left {
        Some(left) => left.plan.clone(),
        None => plan.only(std::slice::from_ref(&name))?,
    };
    let step = plan.step(&name).ok_or_else(|| Problem::bug("a part of a plan lacks its step"))?.clone();
    let secrets = workshop.secrets(&plan).await?;
    let images = images(&workshop, &plan, stop, mode).await?;
    let mut bench = workshop.bench(images, secrets, None, BTreeMap::new(), None);
    let (plan, source, masker) = (Arc::new(plan), Arc::new(source), bench.secrets.masker().clone());
    let project = plan.project.clone();
    let shell = match &left {
        Some(left) => {
            write_no_logs(&mut bench);
            Shell::reopen(&bench, &source, left)
        }
        None => {
            let before = Before { bench: &bench, plan: &plan, source: &source, step: &step };
            let layers = match before.layers(home, stop, mode).await? {
                Ok(layers) => layers,
                Err(exit) => return Ok(Err(exit)),
            };
            let wanted = if asked.fresh { Wanted::Fresh } else { Wanted::AsItWouldRun };
            write_no_logs(&mut bench);
            Shell::open(&bench, &plan, &source, &step, layers, wanted).await
        }
    };
    Ok(Ok(Opened { shell: shell.map_err(Problem::from)?, project, masker }))
}

/// A step with a matrix is several. Where one of them has failed, that is the one that people want to see.
fn one_step(meant: Vec<Name>, has_left: &dyn Fn(&Name) -> bool) -> Result<Name, Problem> {
    let mut failed = meant.iter().filter(|name| meant.len() < 2 || has_left(name));
    if let (Some(one), None) = (failed.next(), failed.next()) {
        return Ok(one.clone());
    }
    let names: Vec<&str> = meant.iter().map(Name::as_str).collect();
    Err(Problem::new(Exit::Usage, "a shell is in one step, and this name stands for several")
        .with_remedy(format!("name one of {}", names.join(", "))))
}

/// What services write beside a shell is no run's log.
fn write_no_logs(bench: &mut Arc<Workbench>) {
    if let Some(bench) = Arc::get_mut(bench) {
        bench.logs = None;
    }
}

fn nothing_left(plan: &Plan, step: &Name) -> Problem {
    match plan.only(std::slice::from_ref(step)) {
        Err(unknown) => unknown.into(),
        Ok(_) => Problem::new(Exit::Usage, format!("step `{step}` has left no workspace that is kept"))
            .with_why("one is kept when a step has failed, until it passes or room is needed")
            .with_remedy("leave --last out: the shell is then in a fresh workspace"),
    }
}

/// What comes before the step.
struct Before<'a> {
    bench: &'a Arc<Workbench>,
    plan: &'a Plan,
    source: &'a Arc<Resolved>,
    step: &'a StepPlan,
}

type Layers = Vec<(Name, Digest)>;

impl Before<'_> {
    /// What the steps before it have left, lowest first: known, or made now.
    async fn layers(
        &self,
        home: &Home,
        stop: &Stop,
        mode: OutputMode,
    ) -> Result<Result<Layers, Exit>, Problem> {
        if let Some(known) = self.known() {
            return Ok(Ok(known));
        }
        let report = self.run(home, stop, mode).await?;
        let goes_on = |need: &&Name| {
            let outcome = report.steps.get(*need).map(|report| report.outcome);
            outcome.is_some_and(|outcome| self.plan.step(need).is_some_and(|step| step.lets_go_on(outcome)))
        };
        // A condition may be made for a failure; then the step sees what is there.
        let lacking = self.step.needs.iter().find(|need| self.step.when.is_none() && !goes_on(need));
        if stop.cancel.is_cancelled() {
            return Ok(Err(Exit::Interrupted));
        }
        if let Some(need) = lacking {
            let what =
                format!("`{}` needs `{need}`, which did not pass; so there is no workspace", self.step.name);
            let remedy = format!("`staith shell {need}` opens a shell there");
            return Err(Problem::new(exit_of(self.plan, &report), what).with_remedy(remedy));
        }
        let left = |name: &Name| Some((name.clone(), report.steps.get(name)?.layer?));
        Ok(Ok(self.step.layers.iter().filter_map(left).collect()))
    }

    /// Nothing is run where all of it is known, and nothing said.
    fn known(&self) -> Option<Layers> {
        let image = |name: &Option<String>| self.bench.images.get(name);
        let all = outlook(self.plan, &self.bench.cache, &self.bench.layers, &image);
        let before = self.plan.before(self.step);
        let is_known = |name: &Name| {
            all.iter().any(|one| one.step == *name && matches!(one.standing, Standing::Known(_)))
        };
        let of_step = all.iter().find(|one| one.step == self.step.name)?;
        before.iter().all(is_known).then(|| of_step.layers.clone())
    }

    /// Runs it, as `run --step` would. The run is recorded like any other, but nobody can go on with it: it is no run of
    /// somebody's who wants to know whether all is well.
    async fn run(&self, home: &Home, stop: &Stop, mode: OutputMode) -> Result<TestReport, Problem> {
        let began = Instant::now();
        let part = Arc::new(self.plan.only(&self.step.needs)?);
        let chance = clock::chance().map_err(|error| Problem::bug(error.to_string()))?;
        let id = RunId::new(clock::unix_millis(), chance);
        let audience = Audience::new(home, mode, stop);
        self.bench.layers.uses(&format!("runs/{id}"));
        let mut log = EventLog::new(clock::unix_millis, audience.watcher());
        let (bench, source) = (Arc::clone(self.bench), Arc::clone(self.source));
        let executed =
            execute::execute(bench, id, Arc::clone(&part), source, Manner::default(), &mut log, stop.clone())
                .await;
        let (outcome, exit) = match &executed {
            Ok(report) if report.clone().into_passed(&part).is_ok() => (RunOutcome::Passed, Exit::Passed),
            Ok(report) => match exit_of(&part, report) {
                Exit::Interrupted => (RunOutcome::Cancelled, Exit::Interrupted),
                exit => (RunOutcome::Failed, exit),
            },
            Err(_) => (RunOutcome::Failed, Exit::Environment),
        };
        log.record(EventKind::RunFinished { outcome, millis: millis(began) })?;
        drop(log);
        let shown = audience.finish(exit, millis(began), None).await;
        match shown.lost {
            Some(lost) => Err(lost),
            None => Ok(executed?),
        }
    }
}
