//! `staith run`.

use std::{collections::BTreeMap, env, num::NonZeroUsize, sync::Arc, time::Instant};

use clap::Args;
use staith_builder::{
    engine::Image,
    execute::{self, EventLog, Stop, Workbench},
    plan::Occasion,
    source::{Origin, Resolved, Selection},
};
use staith_model::{
    Blame, EventKind, Exit, Name, Passed, Plan, RunId, RunOutcome, StepOutcome, TestReport, Version,
};
use staith_packager::{
    seal::{self, Sealed},
    store::Store,
    web_deploy::PackageReader,
};
use staith_releaser::{
    drive::{Deployed, Local},
    host::SealedPackage,
};

use crate::{
    audience::Audience,
    clock, destination,
    home::Home,
    interrupt,
    output::{self, OutputMode, Problem},
    packing,
    workshop::{EngineName, Workshop},
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
    /// What isolates steps
    #[arg(long, value_enum, value_name = "ENGINE", env = "STAITH_ENGINE", default_value_t)]
    engine: EngineName,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let began = Instant::now();
        let stop = interrupt::listen()?;
        let home = Home::find()?;
        let origin = self.origin(&home)?;
        let workshop = Workshop::open(&home)?.isolated_by(self.engine, &home);
        let (workshop, source) = find(workshop, &origin, self.selection(), &stop, mode).await?;
        let pipeline = workshop.pipeline(&source, &origin.place().display().to_string())?;
        let to = match &self.release {
            Some(name) => Some(destination::find(name, &pipeline, &home).await?),
            None => None,
        };
        let plan = workshop.plan(&pipeline, &source, &Occasion::default())?;
        if self.release.is_some() && plan.package.is_none() {
            return Err(nothing_to_release(&plan));
        }
        let images = images(&workshop, &plan, &stop, mode).await?;
        let run = Run {
            id: RunId::new(
                clock::unix_millis(),
                clock::chance().map_err(|error| Problem::bug(error.to_string()))?,
            ),
            audience: Audience::new(&home, mode, &stop),
            bench: workshop.bench(images, self.jobs),
            home,
            plan: Arc::new(plan),
            source: Arc::new(source),
            stop,
            began,
            mode,
        };
        run.tell_the_story(to).await
    }

    fn origin(&self, home: &Home) -> Result<Origin, Problem> {
        let here = env::current_dir().map_err(|refused| {
            Problem::new(Exit::Environment, "the current directory can't be read")
                .with_why(refused.to_string())
                .with_remedy("change to a directory that exists")
        })?;
        let origin = Origin::parse(&self.source, &here)?;
        if let Origin::Directory { root, .. } = &origin
            && home.path().starts_with(root)
        {
            let what = format!("{} lies in the project itself", home.path().display());
            return Err(Problem::new(Exit::Configuration, what)
                .with_why("what Staith keeps would be part of what it builds, and change with every run")
                .with_remedy("set STAITH_HOME to a directory outside of the project"));
        }
        Ok(origin)
    }

    fn selection(&self) -> Selection {
        match &self.reference {
            Some(name) => Selection::Reference(name.clone()),
            None if self.clean => Selection::Head,
            None => Selection::AsItIs,
        }
    }
}

/// A release of something that this run would not make.
fn nothing_to_release(plan: &Plan) -> Problem {
    let why = plan.left_out.iter().find(|left| left.step.as_str() == "package").map(|left| left.why.clone());
    let problem = Problem::new(
        Exit::Configuration,
        "this run makes no package, so there would be nothing to release; nothing was run",
    )
    .with_remedy("see `when` in [package] of runner.toml, and of the steps that it is made from");
    Problem { why, ..problem }
}

/// Finds the source, and hears signals while it does: a repository on another machine may take its time.
async fn find(
    workshop: Workshop,
    origin: &Origin,
    selection: Selection,
    stop: &Stop,
    mode: OutputMode,
) -> Result<(Workshop, Resolved), Problem> {
    let place = origin.place().display().to_string();
    let (origin, mut progress) = (origin.clone(), output::fetching(&place, mode));
    let finding = tokio::task::spawn_blocking(move || {
        let found = workshop.find(&origin, &selection, &mut |seen| progress(&seen));
        found.map(|source| (workshop, source))
    });
    let (workshop, source) = tokio::select! {
        found = finding => found.map_err(|panicked| Problem::bug(panicked.to_string()))??,
        () = stop.cancel.cancelled() => return Err(Problem::new(Exit::Interrupted, "interrupted before anything was run")),
    };
    source.notices.iter().for_each(|notice| output::notice(notice, mode));
    Ok((workshop, source))
}

/// Finds the images, and hears signals while it does: one that is not here is fetched.
async fn images(
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

struct Run {
    id: RunId,
    home: Home,
    audience: Audience,
    bench: Arc<Workbench>,
    plan: Arc<Plan>,
    source: Arc<Resolved>,
    stop: Stop,
    began: Instant,
    mode: OutputMode,
}

impl Run {
    async fn tell_the_story(self, to: Option<Local>) -> Result<Exit, Problem> {
        let mut log = EventLog::new(clock::unix_millis, self.audience.watcher());
        let ended = self.build_and_release(to, &mut log).await;
        drop(log);
        let (exit, url) = match &ended {
            Ok(done) => (done.exit, done.url.clone()),
            Err(problem) => (problem.exit, None),
        };
        let shown = self.audience.finish(exit, millis(self.began), url).await;
        match (ended, shown.lost) {
            // What went wrong first is what people need to hear, and not twice.
            (Err(problem), _) if shown.told_why => {
                output::error_in_brief(&problem, self.mode.is_json());
                Ok(problem.exit)
            }
            (Err(problem), _) => Err(problem),
            // A run is cancelled when its output can't be written; that it could not is the reason.
            (Ok(Done { exit: Exit::Passed | Exit::Interrupted, .. }), Some(lost)) => Err(lost),
            (Ok(done), _) => Ok(done.exit),
        }
    }

    async fn build_and_release(&self, to: Option<Local>, log: &mut EventLog) -> Result<Done, Problem> {
        let (bench, plan, source) =
            (Arc::clone(&self.bench), Arc::clone(&self.plan), Arc::clone(&self.source));
        let executed = execute::execute(bench, self.id.clone(), plan, source, log, self.stop.clone()).await;
        let report = match executed {
            Ok(report) => report,
            Err(error) => {
                self.finished(RunOutcome::Failed, log)?;
                return Err(error.into());
            }
        };
        let Ok(passed) = report.clone().into_passed(&self.plan) else {
            let exit = if self.audience.saw_a_bug() { Exit::Bug } else { exit_of(&report) };
            let interrupted = exit == Exit::Interrupted;
            self.finished(if interrupted { RunOutcome::Cancelled } else { RunOutcome::Failed }, log)?;
            return Ok(Done { exit, url: None });
        };
        let packed = self.pack(passed, log).await;
        self.finished(if packed.is_ok() { RunOutcome::Passed } else { RunOutcome::Failed }, log)?;
        match (to, packed?) {
            (Some(to), Some(sealed)) => {
                let deployed = self.release(&to, sealed, log).await?;
                Ok(Done { exit: Exit::Passed, url: deployed.url })
            }
            _ => Ok(Done { exit: Exit::Passed, url: None }),
        }
    }

    fn finished(&self, outcome: RunOutcome, log: &mut EventLog) -> Result<(), Problem> {
        log.record(EventKind::RunFinished { outcome, millis: millis(self.began) })?;
        Ok(())
    }

    /// Makes the package, from the proof that every step passed.
    async fn pack(&self, passed: Passed, log: &mut EventLog) -> Result<Option<Sealed>, Problem> {
        let Some(wanted) = self.plan.package.clone() else { return Ok(None) };
        let began = Instant::now();
        let (bench, source) = (Arc::clone(&self.bench), Arc::clone(&self.source));
        let version: Version = self.plan.version.parse().map_err(|bad| Problem::bug(format!("{bad}")))?;
        let packages = self.home.packages();
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
    let worst = [Blame::Environment, Blame::Project].into_iter().find(|blame| blamed(*blame));
    worst.map_or(Exit::StepFailed, Exit::from)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
