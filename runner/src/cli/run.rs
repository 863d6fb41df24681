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
    execute::{EventLog, Manner, Passing, Stop},
    outlook::Standing,
    pipeline::Pipeline,
    source::{Progress, Resolved},
};
use staith_model::{EventKind, Exit, Name, Plan, RunId, TestReport};
use staith_packager::{
    seal::{Sealed, sbom::Gap},
    web_deploy::PackageReader,
};
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
    execution::{Built, Execution, exit_of, millis},
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    resumption::{Recipe, noting, take_over},
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
        let audience = Audience::new(&home, mode, &stop);
        let execution = Execution {
            id: RunId::new(
                clock::unix_millis(),
                clock::chance().map_err(|error| Problem::bug(error.to_string()))?,
            ),
            upkeep: workshop.upkeep(),
            bench: workshop.bench(images, secrets, self.jobs, passed, None),
            home,
            plan: Arc::new(plan),
            source,
            manner: Manner { keep_going: self.keep_going },
            stop,
            began,
            started: clock::unix_millis(),
            trust: None,
        };
        let run = Run { execution, audience, recipe, mode };
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
    execution: Execution,
    audience: Audience,
    recipe: Recipe,
    mode: OutputMode,
}

impl Run {
    async fn tell_the_story(self, to: Option<Destination>) -> Result<Exit, Problem> {
        let execution = &self.execution;
        execution.say_what_is_used();
        let runs = execution.home.runs();
        let (recipe, source) = (self.recipe.clone(), Arc::clone(&execution.source));
        let watcher = noting(runs.clone(), recipe, source, self.audience.watcher());
        let mut log = EventLog::new(clock::unix_millis, watcher);
        let ended = self.build_and_release(to.as_ref(), &mut log).await;
        drop(log);
        let (exit, url) = match &ended {
            Ok(done) => (done.exit, done.url.clone()),
            Err(problem) => (problem.exit, None),
        };
        let shown = self.audience.finish(exit, millis(execution.began), url).await;
        self.tidy_up(&runs.join(execution.id.as_str()));
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
                    to.release(&execution.home, sealed, &execution.plan, &execution.stop, self.mode).await
                }
                _ => Ok(exit),
            },
            (Ok(done), _) => Ok(done.exit),
        }
    }

    async fn build_and_release(&self, to: Option<&Destination>, log: &mut EventLog) -> Result<Done, Problem> {
        let incomplete = |gap: &Gap| {
            output::notice(&format!("the bill of materials is incomplete: {gap}"), self.mode);
        };
        let exit = |report: &TestReport| match self.audience.saw_a_bug() {
            true => Exit::Bug,
            false => exit_of(&self.execution.plan, report),
        };
        let was_cancelled = |report: &TestReport| exit(report) == Exit::Interrupted;
        let packed = match self.execution.build(log, &incomplete, &was_cancelled).await? {
            Built::Passed(packed) => packed,
            Built::Ended(report) => return Ok(Done { exit: exit(&report), url: None, sealed: None }),
        };
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

    /// Makes room if the run has left too much, and says so.
    fn tidy_up(&self, log: &Path) {
        let removed = self.execution.tidy_up(log);
        if removed > 0 {
            output::notice(&output::made_room(removed, self.execution.upkeep.budget()), self.mode);
        }
    }

    async fn release(&self, to: &Local, sealed: Sealed, log: &mut EventLog) -> Result<Deployed, Problem> {
        let unreadable = |why: String| Problem::new(Exit::Environment, why);
        let reader = PackageReader::open(&sealed.path).map_err(|error| unreadable(error.to_string()))?;
        let files = SealedPackage::new(reader).map_err(|error| unreadable(error.to_string()))?;
        let mut impossible = None;
        let mut tell = |what: EventKind| impossible = impossible.take().or(log.record(what).err());
        let deployed = to
            .deploy(
                sealed.published.package,
                Arc::new(files),
                Arc::new(|_| {}),
                &mut tell,
                &self.execution.stop.cancel,
            )
            .await;
        match impossible {
            Some(impossible) => Err(impossible.into()),
            None => Ok(deployed?),
        }
    }
}

struct Done {
    exit: Exit,
    url: Option<String>,
    /// What goes to machines after the run.
    sealed: Option<Sealed>,
}
