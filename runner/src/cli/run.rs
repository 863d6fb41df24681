//! `staith run`.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use clap::Args;
use staith_builder::{
    execute::{self, EventLog, Stop, Workbench},
    pipeline::Pipeline,
    source::{Resolved, Selection},
};
use staith_model::{
    Blame, Event, EventKind, Exit, LocalEnvironment, Name, Passed, Plan, RunId, RunOutcome, RunState,
    StepOutcome, TestReport,
};
use staith_packager::{
    seal::{self, Sealed},
    store::Store,
    web_deploy::PackageReader,
};
use staith_releaser::{
    drive::{Deployed, Local},
    host::SealedPackage,
    keeper::{self, Keeper},
};

use crate::{
    clock,
    home::Home,
    inner, interrupt,
    journal::Journal,
    output::{OutputMode, Problem, Summary, Watch},
    packing,
    workshop::Workshop,
};

/// Run a project's steps, make its package, and release it if asked to
///
/// What runs is what is on the screen: the working directory with all that is not committed, but for what .gitignore lists.
/// Steps whose inputs have not changed are not run again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A project's directory, or, with --ref, a repository
    #[arg(default_value = ".")]
    source: String,
    /// Run this branch, tag or commit instead of the working directory
    #[arg(long = "ref", value_name = "NAME", conflicts_with = "clean")]
    reference: Option<String>,
    /// Run HEAD instead of the working directory
    #[arg(long)]
    clean: bool,
    /// Release the package to this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    release: Option<String>,
    /// Steps that may run at once; as many as there are processors if not given
    #[arg(long, short, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let workshop = Workshop::open(&home)?;
        let source = workshop.find(&self.source, &self.selection())?;
        let pipeline = workshop.pipeline(&source)?;
        let destination = self.destination(&pipeline, &home).await?;
        let plan = workshop.plan(&pipeline, &source);
        let image = workshop.image(&plan).await?;
        let stop = interrupt::listen().map_err(|refused| Problem::bug(format!("no signals: {refused}")))?;
        let run = Run {
            id: RunId::new(
                clock::unix_millis(),
                clock::chance().map_err(|error| Problem::bug(error.to_string()))?,
            ),
            bench: workshop.bench(image, self.jobs),
            home,
            plan: Arc::new(plan),
            source: Arc::new(source),
            stop,
        };
        run.tell_the_story(&pipeline, destination, mode).await
    }

    fn selection(&self) -> Selection {
        match &self.reference {
            Some(name) => Selection::Reference(name.clone()),
            None if self.clean => Selection::Head,
            None => Selection::AsItIs,
        }
    }

    /// Where the package goes, if anywhere. Refused here, before anything runs, if that can't work.
    async fn destination(&self, pipeline: &Pipeline, home: &Home) -> Result<Option<Local>, Problem> {
        let Some(name) = &self.release else { return Ok(None) };
        let environment = pipeline.environment(name).ok_or_else(|| no_environment(name, pipeline))?;
        let local = local(home, pipeline.name(), environment)?;
        if Keeper::connect(local.dir()).await?.is_none() {
            keeper::port_is_free(environment.listen)?;
        }
        Ok(Some(local))
    }
}

fn local(home: &Home, project: &Name, environment: &LocalEnvironment) -> Result<Local, Problem> {
    let launcher =
        inner::keeper_command().map_err(|refused| Problem::bug(format!("where am I? {refused}")))?;
    Ok(Local::new(&home.environment(project, &environment.name), launcher, environment.clone())?)
}

fn no_environment(name: &str, pipeline: &Pipeline) -> Problem {
    let known: Vec<String> =
        pipeline.environments().iter().map(|known| format!("`{}`", known.name)).collect();
    let why =
        if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Problem::new(Exit::Configuration, format!("runner.toml has no environment `{name}`; nothing was run"))
        .with_why(why)
        .with_remedy(format!("add [environments.{name}] to runner.toml; docs/runner-toml.md shows how"))
}

struct Run {
    id: RunId,
    home: Home,
    bench: Arc<Workbench>,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    stop: Stop,
}

impl Run {
    async fn tell_the_story(
        self,
        pipeline: &Pipeline,
        to: Option<Local>,
        mode: OutputMode,
    ) -> Result<Exit, Problem> {
        let began = Instant::now();
        let audience = Audience::new(&self.home, mode, &self.stop);
        let mut log = EventLog::new(clock::unix_millis, audience.watcher());
        let ended = self.build_and_release(pipeline, to, &mut log, began).await;
        drop(log);
        let (exit, url) = match &ended {
            Ok(Done { exit, url }) => (*exit, url.clone()),
            Err(problem) => (problem.exit, None),
        };
        audience.finish(exit, millis(began), url)?;
        ended.map(|done| done.exit)
    }

    async fn build_and_release(
        &self,
        pipeline: &Pipeline,
        to: Option<Local>,
        log: &mut EventLog,
        began: Instant,
    ) -> Result<Done, Problem> {
        let (bench, plan, source) =
            (Arc::clone(&self.bench), Arc::clone(&self.plan), Arc::clone(&self.source));
        let report = execute::execute(bench, self.id.clone(), plan, source, log, self.stop.clone()).await?;
        let Ok(passed) = report.clone().into_passed(&self.plan) else {
            let exit = exit_of(&report);
            let outcome = if exit == Exit::Interrupted { RunOutcome::Cancelled } else { RunOutcome::Failed };
            log.record(EventKind::RunFinished { outcome, millis: millis(began) })?;
            return Ok(Done { exit, url: None });
        };
        let package = match self.pack(pipeline, passed, log).await {
            Err(problem) => {
                log.record(EventKind::RunFinished { outcome: RunOutcome::Failed, millis: millis(began) })?;
                return Err(problem);
            }
            Ok(package) => package,
        };
        log.record(EventKind::RunFinished { outcome: RunOutcome::Passed, millis: millis(began) })?;
        match (to, package) {
            (Some(to), Some(sealed)) => {
                let deployed = self.release(&to, sealed, log).await?;
                Ok(Done { exit: Exit::Passed, url: deployed.url })
            }
            _ => Ok(Done { exit: Exit::Passed, url: None }),
        }
    }

    /// Makes the package, from the proof that every step passed.
    async fn pack(
        &self,
        pipeline: &Pipeline,
        passed: Passed,
        log: &mut EventLog,
    ) -> Result<Option<Sealed>, Problem> {
        let Some(wanted) = self.plan.package.clone() else { return Ok(None) };
        let began = Instant::now();
        let (bench, source) = (Arc::clone(&self.bench), Arc::clone(&self.source));
        let (version, packages) = (pipeline.version().clone(), self.home.packages());
        let work = move || -> Result<_, Problem> {
            let left = |step: &Name| passed.report().steps.get(step)?.layer;
            let outputs = bench.layers.merged(&wanted.layers.iter().filter_map(left).collect::<Vec<_>>())?;
            let beside = match wanted.source.is_empty() {
                true => packing::Tree::default(),
                false => {
                    let checkout = bench.sources.checkout(&source, &wanted.source)?;
                    packing::read_tree(&checkout).map_err(|refused| {
                        Problem::new(Exit::Environment, "the source files of the package can't be read")
                            .with_why(refused.to_string())
                    })?
                }
            };
            let content = packing::choose(&wanted, outputs, beside)
                .map_err(|bad| Problem::new(Exit::Configuration, bad.to_string()))?;
            let store = Store::open(&packages)?;
            Ok(seal::seal(&passed, &wanted.name, &version, &content, &store, &|_| {})?)
        };
        let sealed = tokio::task::spawn_blocking(work)
            .await
            .map_err(|panicked| Problem::bug(panicked.to_string()))??;
        log.record(EventKind::PackageMade {
            package: sealed.package.clone(),
            path: sealed.path.display().to_string(),
            cached: sealed.cached,
            millis: millis(began),
        })?;
        Ok(Some(sealed))
    }

    async fn release(&self, to: &Local, sealed: Sealed, log: &mut EventLog) -> Result<Deployed, Problem> {
        let unreadable = |why: String| Problem::new(Exit::Environment, why);
        let reader = PackageReader::open(&sealed.path).map_err(|error| unreadable(error.to_string()))?;
        let files = SealedPackage::new(reader).map_err(|error| unreadable(error.to_string()))?;
        let mut impossible = None;
        let mut tell = |what: EventKind| impossible = impossible.take().or(log.record(what).err());
        let deployed =
            to.deploy(sealed.package, Arc::new(files), Arc::new(|_| {}), &mut tell, &self.stop.cancel).await;
        match impossible {
            Some(impossible) => Err(impossible.into()),
            None => Ok(deployed?),
        }
    }
}

struct Done {
    exit: Exit,
    url: Option<String>,
}

/// What the shell is told of a run that did not pass: the worst that happened.
fn exit_of(report: &TestReport) -> Exit {
    let outcomes = || report.steps.values().map(|step| step.outcome);
    let blamed = |blame| outcomes().any(|outcome| outcome.blame() == Some(blame));
    if outcomes().any(|outcome| outcome == StepOutcome::Cancelled) {
        return Exit::Interrupted;
    }
    let worst = [Blame::Us, Blame::Environment, Blame::Project].into_iter().find(|blame| blamed(*blame));
    worst.map_or(Exit::StepFailed, Exit::from)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Who hears of a run's events: the screen and the journal.
struct Audience {
    shared: Arc<Mutex<(Box<dyn Watch>, Journal)>>,
    stop: Stop,
}

impl Audience {
    fn new(home: &Home, mode: OutputMode, stop: &Stop) -> Self {
        let shared = Arc::new(Mutex::new((mode.watch(), Journal::new(&home.runs()))));
        Self { shared, stop: stop.clone() }
    }

    fn watcher(&self) -> execute::Watcher {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        Box::new(move |event: &Event, state: &RunState| {
            let mut audience = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (watch, journal) = &mut *audience;
            journal.write(event);
            watch.event(event, state);
            if watch.is_gone() {
                // Nobody reads any more (`staith run | head`): whoever wanted the run to go on would have kept reading.
                stop.cancel.cancel();
            }
        })
    }

    fn finish(&self, exit: Exit, millis: u64, url: Option<String>) -> Result<(), Problem> {
        let mut audience = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (watch, journal) = &mut *audience;
        watch.finish(&Summary { exit, millis, url, log: None });
        journal.finish().map_err(|refused| {
            Problem::new(Exit::Environment, "the run's log could not be written")
                .with_why(refused.to_string())
                .with_remedy("make room, or set STAITH_HOME to a directory on another disk")
        })
    }
}
