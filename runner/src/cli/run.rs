//! `staith run`.

mod release;
mod resume;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use clap::Args;
use staith_builder::{
    engine::Image,
    execute::{self, EventLog, Manner, Passing, Stop, Workbench},
    outlook::Standing,
    pipeline::Pipeline,
    source::{Progress, Resolved},
};
use staith_model::{
    Blame, EventKind, Exit, Name, NotPassed, PackagePlan, Passed, Plan, RunId, RunOutcome, StepOutcome,
    TestReport,
};
use staith_packager::{seal::Sealed, web_deploy::PackageReader};
use staith_releaser::{
    drive::{Deployed, Local},
    host::SealedPackage,
};

use self::{release::Destination, resume::Before};
use super::{
    offered, steps,
    subject::{Found, Subject},
};
use crate::{
    audience::Audience,
    clock,
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    resumption::{Recipe, noting, take_over},
    sealing::{Made, Sealing},
    upkeep::Upkeep,
    workshop::{EngineName, Workshop},
};

/// Run a project's steps, make its package, and release it if asked to
///
/// What runs is what is on the screen: the working directory with all that is not committed, but for what .gitignore lists.
/// Steps whose inputs have not changed are not run again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Release the package to this environment
    ///
    /// To machines, a release is made of what the run packed and deployed as `staith release deploy` does, with all that protects the
    /// environment. Not from a pull request.
    #[arg(long, value_name = "ENVIRONMENT", add = offered::environments())]
    release: Option<String>,
    #[command(flatten)]
    asked: release::Asked,
    /// Steps that may run at once; as many as there are processors if not given
    #[arg(long, short, value_name = "NUMBER", value_parser = jobs)]
    jobs: Option<NonZeroUsize>,
    /// Run only this step (all variants of a matrix) and what it needs, and make no package; may be given more than once
    #[arg(long = "step", value_name = "STEP", conflicts_with = "release", add = offered::steps())]
    steps: Vec<String>,
    /// After a failure, still run what does not need the failed step
    #[arg(long)]
    keep_going: bool,
    /// Go on with a run that failed, was cancelled or was killed: the newest of PATH, or the one whose id begins so
    ///
    /// It is the source, trigger and parameters of that run, whatever has changed since. Steps that passed in it are not run
    /// again, also where a run would run them each time; all others are. Goes on with its engine, if none is named.
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = OF_A_NEW_RUN, add = offered::runs())]
    resume: Option<String>,
}

/// What a run that is gone on with has said already.
const OF_A_NEW_RUN: [&str; 10] =
    ["reference", "onto", "clean", "event", "branch", "tag", "target", "base", "settings", "steps"];

/// What is to be run, before it is known with what.
struct Ready {
    workshop: Workshop,
    source: Resolved,
    pipeline: Pipeline,
    plan: Plan,
    place: PathBuf,
    as_it_is: bool,
    engine: EngineName,
    /// The run that this one goes on with.
    before: Option<Before>,
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| {
        "at least one step runs at a time: write a whole number from 1 on, or leave it out".to_owned()
    })
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let began = Instant::now();
        let stop = interrupt::listen()?;
        let home = Home::find()?;
        let ready = match &self.resume {
            Some(run) => resume::find(&self.subject, run, &home, mode).await?,
            None => self.named(&home, &stop, mode).await?,
        };
        let to = match &self.release {
            Some(name) => Some(Destination::find(name, &ready, &home, &self.asked).await?),
            None => None,
        };
        let Ready { workshop, source, plan, place, as_it_is, engine, before, pipeline: _ } = ready;
        let secrets = workshop.secrets(&plan).await?;
        let images = images(&workshop, &plan, &stop, mode).await?;
        let digests = images.iter().map(|(name, image)| (name.clone(), image.digest));
        let recipe = Recipe::new(&place, as_it_is, engine, digests);
        let (workshop, source) = (Arc::new(workshop), Arc::new(source));
        let passed = match before {
            None => BTreeMap::new(),
            Some(Before { state, recipe }) => {
                let image = |name: &Option<String>| images.get(name).map(|image| image.digest);
                let taken = take_over(&state, &recipe, &image, &|layer| workshop.keeps(layer));
                resume::check(Arc::clone(&workshop), &plan, &source, &state.run, &taken, mode).await?;
                taken.passed
            }
        };
        large_files(&workshop, &plan, &source, &passed, (&stop, mode)).await?;
        let workshop = Arc::into_inner(workshop).ok_or_else(|| Problem::bug("a check has not ended"))?;
        let run = Run {
            id: RunId::new(
                clock::unix_millis(),
                clock::chance().map_err(|error| Problem::bug(error.to_string()))?,
            ),
            audience: Audience::new(&home, mode, &stop),
            upkeep: workshop.upkeep(),
            bench: workshop.bench(images, secrets, self.jobs, passed),
            home,
            plan: Arc::new(plan),
            source,
            recipe,
            manner: Manner { keep_going: self.keep_going },
            stop,
            began,
            started: clock::unix_millis(),
            mode,
        };
        run.tell_the_story(to).await
    }

    /// What the command line names.
    async fn named(&self, home: &Home, stop: &Stop, mode: OutputMode) -> Result<Ready, Problem> {
        let Found { workshop, source, pipeline, occasion, place, as_it_is } =
            self.subject.find(home, stop, mode).await?;
        let plan = workshop.plan(&pipeline, &source, &occasion)?;
        let named = steps::names(&pipeline, &plan, &self.steps)?;
        let meant = steps::meant(&pipeline, &plan, &named)?;
        let plan = part_of(plan, &meant)?;
        let engine = self.subject.engine().unwrap_or_default();
        Ok(Ready { workshop, source, pipeline, plan, place, as_it_is, engine, before: None })
    }
}

/// The plan of only these steps and what they need; all of it if none is named.
fn part_of(plan: Plan, steps: &[Name]) -> Result<Plan, Problem> {
    if steps.is_empty() { Ok(plan) } else { Ok(plan.only(steps)?) }
}

/// Finds the images, and hears signals while it does: one that is not here is fetched.
pub(super) async fn images(
    workshop: &Workshop,
    plan: &Plan,
    stop: &Stop,
    mode: OutputMode,
) -> Result<BTreeMap<Option<String>, Image>, Problem> {
    let progress = output::fetching_images(mode);
    let images = tokio::select! {
        found = workshop.images(plan, &progress) => found?,
        () = stop.cancel.cancelled() => return Err(Problem::new(Exit::Interrupted, "interrupted before anything was run")),
    };
    workshop.notices().iter().for_each(|notice| output::notice(notice, mode));
    Ok(images)
}

/// Fetches what git-lfs keeps of the files that steps will see, where people can see it come. What can't be had is left to the
/// step that needs it: it may turn out to be known, or not to run.
async fn large_files(
    workshop: &Arc<Workshop>,
    plan: &Plan,
    source: &Arc<Resolved>,
    passed: &BTreeMap<Name, Passing>,
    (stop, mode): (&Stop, OutputMode),
) -> Result<(), Problem> {
    if !source.has_large_files() {
        return Ok(());
    }
    let prospect = workshop.prospect(plan).await;
    let is_known = |step: &Name| {
        passed.contains_key(step)
            || prospect.of(step).is_some_and(|one| matches!(one.standing, Standing::Known(_)))
    };
    let to_run = plan.steps.iter().filter(|step| !is_known(&step.name));
    let seen: Vec<Vec<String>> = to_run.map(|step| step.inputs.clone()).collect();
    let (workshop, source) = (Arc::clone(workshop), Arc::clone(source));
    let mut progress = output::fetching("large files", mode);
    let fetching = tokio::task::spawn_blocking(move || {
        for inputs in seen {
            let _ = workshop.gather(&source, &inputs, &mut |so_far| progress(&so_far));
        }
        progress(&Progress::default());
    });
    tokio::select! {
        fetched = fetching => fetched.map_err(|panicked| Problem::bug(panicked.to_string())),
        () = stop.cancel.cancelled() => Err(Problem::new(Exit::Interrupted, "interrupted before anything was run")),
    }
}

struct Run {
    id: RunId,
    home: Home,
    audience: Audience,
    bench: Arc<Workbench>,
    upkeep: Upkeep,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    recipe: Recipe,
    manner: Manner,
    stop: Stop,
    began: Instant,
    /// In milliseconds since 1970.
    started: u64,
    mode: OutputMode,
}

impl Run {
    async fn tell_the_story(self, to: Option<Destination>) -> Result<Exit, Problem> {
        self.say_what_is_used();
        let (runs, recipe, source) = (self.home.runs(), self.recipe.clone(), Arc::clone(&self.source));
        let watcher = noting(runs, recipe, source, self.audience.watcher());
        let mut log = EventLog::new(clock::unix_millis, watcher);
        let ended = self.build_and_release(to.as_ref(), &mut log).await;
        drop(log);
        let (exit, url) = match &ended {
            Ok(done) => (done.exit, done.url.clone()),
            Err(problem) => (problem.exit, None),
        };
        let shown = self.audience.finish(exit, millis(self.began), url).await;
        tidy_up(&self.upkeep, &self.home.runs().join(self.id.as_str()), self.mode);
        match (ended, shown.lost) {
            // What went wrong first is what people need to hear, and not twice.
            (Err(problem), _) if shown.told_why => {
                output::error_in_brief(&problem, self.mode.is_json());
                Ok(problem.exit)
            }
            (Err(problem), _) => Err(problem),
            // A run is cancelled when its output can't be written; that it could not is the reason.
            (Ok(Done { exit: Exit::Passed | Exit::Interrupted, .. }), Some(lost)) => Err(lost),
            (Ok(Done { sealed: Some(sealed), .. }), None) => match to {
                Some(Destination::Machines(to)) => {
                    to.release(&self.home, sealed, &self.plan, &self.stop, self.mode).await
                }
                _ => Ok(exit),
            },
            (Ok(done), _) => Ok(done.exit),
        }
    }

    /// Whoever makes room meanwhile leaves this run's log and packages alone.
    fn say_what_is_used(&self) {
        self.bench.layers.uses(&format!("runs/{}", self.id));
        for package in &self.plan.packages {
            self.bench.layers.uses(&format!("packages/{}", package.name));
        }
    }

    async fn build_and_release(&self, to: Option<&Destination>, log: &mut EventLog) -> Result<Done, Problem> {
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
            let exit = if self.audience.saw_a_bug() { Exit::Bug } else { exit_of(&self.plan, &report) };
            let interrupted = exit == Exit::Interrupted;
            self.finished(if interrupted { RunOutcome::Cancelled } else { RunOutcome::Failed }, log)?;
            return Ok(Done { exit, url: None, sealed: None });
        };
        let packed = self.pack_all(passed, log).await;
        self.finished(if packed.is_ok() { RunOutcome::Passed } else { RunOutcome::Failed }, log)?;
        let packed = packed?;
        let Some(to) = to else { return Ok(Done { exit: Exit::Passed, url: None, sealed: None }) };
        let sealed = packed.into_iter().find(|sealed| sealed.published.package.name == *to.package());
        let url = match (to, sealed) {
            (Destination::Local { local, .. }, Some(sealed)) => self.release(local, sealed, log).await?.url,
            // Machines come when the run is over and its log closed: a deployment has a ledger of its own.
            (Destination::Machines(_), sealed) => {
                return Ok(Done { exit: Exit::Passed, url: None, sealed });
            }
            (Destination::Local { .. }, None) => None,
        };
        Ok(Done { exit: Exit::Passed, url, sealed: None })
    }

    fn finished(&self, outcome: RunOutcome, log: &mut EventLog) -> Result<(), Problem> {
        log.record(EventKind::RunFinished { outcome, millis: millis(self.began) })?;
        Ok(())
    }

    /// Makes the packages one after the other, from the proof that every step passed.
    async fn pack_all(&self, passed: Passed, log: &mut EventLog) -> Result<Vec<Sealed>, Problem> {
        let sealing = Arc::new(Sealing {
            run: self.id.clone(),
            plan: Arc::clone(&self.plan),
            source: Arc::clone(&self.source),
            bench: Arc::clone(&self.bench),
            home: self.home.clone(),
            allowance: self.upkeep.allowance(),
            started: self.started,
            passed,
        });
        let mut made = Vec::new();
        for wanted in &self.plan.packages {
            made.push(self.pack(wanted.clone(), Arc::clone(&sealing), log).await?);
        }
        Ok(made)
    }

    async fn pack(
        &self,
        wanted: PackagePlan,
        sealing: Arc<Sealing>,
        log: &mut EventLog,
    ) -> Result<Sealed, Problem> {
        let began = Instant::now();
        let made = tokio::task::spawn_blocking(move || sealing.make(&wanted))
            .await
            .map_err(|panicked| Problem::bug(panicked.to_string()))??;
        let Made { sealed, companions, gaps } = made;
        for gap in gaps {
            output::notice(&format!("the bill of materials is incomplete: {gap}"), self.mode);
        }
        log.record(EventKind::PackageMade {
            package: sealed.published.package.clone(),
            path: sealed.path.display().to_string(),
            cached: sealed.cached,
            millis: millis(began),
            companions,
        })?;
        Ok(sealed)
    }

    async fn release(&self, to: &Local, sealed: Sealed, log: &mut EventLog) -> Result<Deployed, Problem> {
        let unreadable = |why: String| Problem::new(Exit::Environment, why);
        let reader = PackageReader::open(&sealed.path).map_err(|error| unreadable(error.to_string()))?;
        let files = SealedPackage::new(reader).map_err(|error| unreadable(error.to_string()))?;
        let mut impossible = None;
        let mut tell = |what: EventKind| impossible = impossible.take().or(log.record(what).err());
        let deployed = to
            .deploy(sealed.published.package, Arc::new(files), Arc::new(|_| {}), &mut tell, &self.stop.cancel)
            .await;
        match impossible {
            Some(impossible) => Err(impossible.into()),
            None => Ok(deployed?),
        }
    }
}

/// Makes room if a run has left too much, and says so.
fn tidy_up(upkeep: &Upkeep, log: &Path, mode: OutputMode) {
    let budget = upkeep.budget();
    let log = log.join("events.jsonl");
    // On this thread: handing it to another and back takes longer than it does itself, unless there is room to be made.
    let removed = tokio::task::block_in_place(|| upkeep.after_run(&log));
    if removed > 0 {
        output::notice(&output::made_room(removed, budget), mode);
    }
}

struct Done {
    exit: Exit,
    url: Option<String>,
    /// What goes to machines after the run.
    sealed: Option<Sealed>,
}

/// What the shell is told of a run that did not pass: the worst that happened, but for failures that are allowed.
pub(super) fn exit_of(plan: &Plan, report: &TestReport) -> Exit {
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

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
