//! The stores and the engine of this machine, and what a command line finds in them.

mod prospect;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use staith_builder::{
    cache::{Elsewhere, StepCache},
    docker::DockerEngine,
    engine::{Capabilities, Engine, EngineError, Image, ImageProgress, ImageSpec, Support},
    execute::{Budget, Passing, Workbench},
    layers::{LayerStore, Left},
    pipeline::Pipeline,
    plan::{self, Occasion, PlanError},
    sandbox::{BuiltInSandbox, find_program},
    secrets::{Environment, SecretsFile, Supply},
    source::{
        Called, FileMode, Globs, Named, Origin, Place, Progress, Resolved, Selection, SourceError, Sources,
    },
    step_log::RunLogs,
};
use staith_model::{Digest, Exit, Limits, Name, Plan, RelPath, StepPlan};

pub(crate) use self::prospect::{Prospect, Why};
use crate::{clock, home::Home, inner, output::Problem, packing::Tree, upkeep::Upkeep};

/// What every repository that Staith builds has in its project's folder.
pub(crate) const PIPELINE_FILE: &str = "runner.toml";

/// Everything that a run is made with, before it is known which run.
pub(crate) struct Workshop {
    engine: Isolation,
    sources: Sources,
    layers: Arc<LayerStore>,
    cache: StepCache,
    logs: RunLogs,
    secrets: SecretsFile,
    upkeep: Upkeep,
}

impl Workshop {
    /// Opens the stores below a home, and makes them where they are not there.
    pub(crate) fn open(home: &Home) -> Result<Self, Problem> {
        home.make().map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                .with_why(refused.to_string())
                .with_remedy("set STAITH_HOME to a directory of your own")
        })?;
        let upkeep = Upkeep::open(home)?;
        let engine = BuiltInSandbox::new(inner::sandbox_command(), home.sandbox()).within(upkeep.allowance());
        let owner = engine.file_owner();
        Ok(Self {
            sources: Sources::open(&home.store(), owner)?.within(upkeep.allowance()),
            layers: Arc::new(LayerStore::open(&home.store(), owner)?.within(upkeep.allowance())),
            upkeep,
            cache: StepCache::new(home.step_cache()),
            logs: RunLogs::below(home.runs()),
            secrets: SecretsFile::in_directory(home.path()),
            engine: Isolation::BuiltIn(engine),
        })
    }

    /// The budget that all that is kept is held to.
    pub(crate) fn upkeep(&self) -> Upkeep {
        self.upkeep.clone()
    }

    /// The same stores with another engine. All engines keep files under the same owner.
    #[must_use]
    pub(crate) fn isolated_by(self, engine: EngineName, home: &Home) -> Self {
        match engine {
            EngineName::BuiltIn => self,
            EngineName::Docker => {
                let engine = DockerEngine::new(inner::sandbox_command(), home.containers());
                Self { engine: Isolation::Containers(engine), ..self }
            }
        }
    }

    /// The same stores for a job of a server: what is known of steps is in `cache`, and logs go below `runs`.
    #[must_use]
    pub(crate) fn for_a_job(self, cache: PathBuf, runs: PathBuf) -> Self {
        Self { cache: StepCache::new(cache), logs: RunLogs::below(runs), ..self }
    }

    /// Where layers are kept.
    pub(crate) fn layers(&self) -> Arc<LayerStore> {
        Arc::clone(&self.layers)
    }

    /// Where sources are kept.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Removes what runs that were killed have left on this machine. Cancel-safe.
    ///
    /// # Errors
    /// The system refused.
    pub(crate) async fn reap(&self) -> Result<(), EngineError> {
        self.engine.as_dyn().reap().await.map(drop)
    }

    /// The exact source of an origin. Blocks while a repository on another machine is fetched, which `progress` hears of.
    pub(crate) fn find(
        &self,
        origin: &Origin,
        selection: &Selection,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Resolved, Problem> {
        Ok(self.sources.resolve(origin, selection, progress)?)
    }

    /// As [`find`](Self::find), for who tells one error from another.
    pub(crate) fn source(&self, origin: &Origin, selection: &Selection) -> Result<Resolved, SourceError> {
        self.sources.resolve(origin, selection, &mut |_| {})
    }

    /// The branches and tags that an origin has now.
    pub(crate) fn references(&self, origin: &Origin) -> Result<Vec<Named>, SourceError> {
        self.sources.references(origin, &mut |_| {})
    }

    /// Where in its repository a commit is that was found before.
    pub(crate) fn place_of(
        &self,
        origin: &Origin,
        commit: &str,
        name: Option<&str>,
    ) -> Result<Place, SourceError> {
        self.sources.place_of(origin, commit, name)
    }

    /// What a source goes by in its repository.
    pub(crate) fn called(&self, source: &Resolved, selection: &Selection) -> Result<Called, SourceError> {
        self.sources.called(source, selection)
    }

    /// The files in which a source differs from `base`.
    pub(crate) fn changed_since(
        &self,
        origin: &Origin,
        source: &Resolved,
        base: &str,
    ) -> Result<Vec<RelPath>, SourceError> {
        self.sources.changed_since(origin, source, base)
    }

    /// The pipeline in a source; `of` is what people call the source.
    pub(crate) fn pipeline(&self, source: &Resolved, of: &str) -> Result<Pipeline, Problem> {
        understood(&self.pipeline_text(source, of)?)
    }

    /// The pipeline in a source as it is written.
    pub(crate) fn pipeline_text(&self, source: &Resolved, of: &str) -> Result<String, Problem> {
        let file = source.files.iter().find(|(path, _)| path.as_str() == PIPELINE_FILE);
        match file {
            None => Err(no_pipeline(source, of)),
            // A link could lead out of the source: to a file of this machine, which an error would then show.
            Some((_, file)) if file.mode == FileMode::Symlink => {
                Err(Problem::new(Exit::Configuration, format!("{PIPELINE_FILE} of {of} is a symbolic link"))
                    .with_remedy("make it a file: what a run does must be in what is run"))
            }
            Some(_) => {
                let directory = self.sources.checkout(source, &[PIPELINE_FILE.to_owned()])?;
                read_pipeline(&directory.join(PIPELINE_FILE))
            }
        }
    }

    /// The text of a file of a source; `None` if it has none of this path.
    ///
    /// # Errors
    /// It is a link, longer than `most` bytes, or no text.
    pub(crate) fn text(&self, source: &Resolved, path: &str, most: u64) -> Result<Option<String>, Problem> {
        let Some((found, file)) = source.files.iter().find(|(known, _)| known.as_str() == path) else {
            return Ok(None);
        };
        let refuse = |why: &str| Err(Problem::new(Exit::Configuration, format!("{path} {why}")));
        // A link could lead out of the source: to a file of this machine.
        if file.mode == FileMode::Symlink {
            return refuse("is a symbolic link; make it a file");
        }
        if file.size > most {
            return refuse(&format!("is longer than {} KiB", most >> 10));
        }
        let directory = self.sources.checkout(source, &[crate::sealing::literally(found)])?;
        match std::fs::read_to_string(directory.join(found.as_str())) {
            Ok(text) => Ok(Some(text)),
            Err(refused) => refuse(&format!("can't be read: {refused}")),
        }
    }

    /// The plan for a source and its pipeline.
    ///
    /// # Errors
    /// A step would see nothing, or not a file that it names.
    pub(crate) fn plan(
        &self,
        pipeline: &Pipeline,
        source: &Resolved,
        occasion: &Occasion,
    ) -> Result<Plan, Problem> {
        // Steps often see the same files, and a source may have very many.
        let known = RefCell::new(BTreeMap::<Vec<String>, Digest>::new());
        let refused = RefCell::new(None);
        let digest = |globs: &[String]| {
            *known.borrow_mut().entry(globs.to_vec()).or_insert_with(|| {
                self.sources.input_digest(source, globs).unwrap_or_else(|bad| {
                    refused.replace(Some(bad));
                    Digest::of(b"")
                })
            })
        };
        let plan = plan::plan(pipeline, source.source.clone(), occasion, &digest)
            .map_err(|bad| Problem::new(exit_of(&bad), bad.to_string()))?;
        for step in &plan.steps {
            check_inputs(step, source)?;
        }
        match refused.take() {
            Some(bad) => Err(Problem::new(Exit::Configuration, bad.to_string())),
            None => Ok(plan),
        }
    }

    /// The root file systems that the plan's steps will see. Cancel-safe: what has come of an image is kept.
    ///
    /// # Errors
    /// A toolchain or an image is missing, or a program that a step surely runs; or the host can't isolate steps as the plan
    /// asks.
    pub(crate) async fn images(
        &self,
        plan: &Plan,
        progress: &ImageProgress<'_>,
    ) -> Result<BTreeMap<Option<String>, Image>, Problem> {
        self.engine.needs_images(plan)?;
        let of_steps = plan.steps.iter().map(|step| step.image.clone());
        let named: BTreeSet<_> =
            of_steps.chain(plan.services.iter().map(|service| service.image.clone())).collect();
        let mut images = BTreeMap::new();
        for reference in named {
            // Toolchains are the host's; an image has its own.
            let tools = if reference.is_none() { plan.tools.clone() } else { Vec::new() };
            let wanted = ImageSpec { reference: reference.clone(), tools };
            images.insert(reference, self.engine.as_dyn().image(&wanted, progress).await?);
        }
        if let Some(unenforced) = unenforced_limit(plan, &self.engine.as_dyn().probe().await?) {
            return Err(unenforced);
        }
        let found = |image: &Option<String>, program: &str| find_program(&images[image], program);
        let missing = plan::missing_programs(plan, &found);
        if missing.is_empty() { Ok(images) } else { Err(Problem::missing(&missing)) }
    }

    /// What people should know of the images that were just found.
    pub(crate) fn notices(&self) -> Vec<String> {
        match &self.engine {
            Isolation::BuiltIn(engine) => engine.take_notices(),
            Isolation::Containers(_) => Vec::new(),
        }
    }

    /// The secrets that the plan's steps name.
    ///
    /// # Errors
    /// One is nowhere, or can't be masked; or the plan is a pull request's, which gets none.
    pub(crate) async fn secrets(&self, plan: &Plan) -> Result<Supply, Problem> {
        // What somebody sets for one run comes before what is kept for all.
        Ok(Supply::gather(plan, &[&Environment::of_this_process(), &self.secrets]).await?)
    }

    /// A source that an earlier run wrote down; `None` where that is damaged.
    pub(crate) fn recall(&self, written: &[u8]) -> Option<Resolved> {
        self.sources.recall(written)
    }

    /// Whether what a step left is still kept; from here on it is.
    pub(crate) fn keeps(&self, layer: &Digest) -> bool {
        self.layers.path(layer).is_some()
    }

    /// What a step left, by its digest, as a tree with the places of its files.
    pub(crate) fn left_as(&self, layer: &Digest) -> Result<Tree, Problem> {
        if !self.keeps(layer) {
            return Err(Problem::new(
                Exit::Usage,
                format!("nothing that a step left has the digest {layer}"),
            )
            .with_remedy("`layer` in the events of a run (`staith run --json`) names what each step left"));
        }
        Ok(self.layers.merged(&[*layer])?)
    }

    /// Checks out the files of a source that a step sees.
    pub(crate) fn check_out(&self, source: &Resolved, inputs: &[String]) -> Result<PathBuf, SourceError> {
        self.sources.checkout(source, inputs)
    }

    /// Fetches the large files that a step sees, where they are not here.
    pub(crate) fn gather(
        &self,
        source: &Resolved,
        inputs: &[String],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), SourceError> {
        self.sources.gather(source, inputs, progress)
    }

    /// What a step left when it failed the last time, if that is kept.
    pub(crate) fn left(&self, project: &Name, step: &Name) -> Option<Left> {
        self.layers.left(project, step)
    }

    /// The bench for a run. `passed` are steps that are not run again, because they passed in the run that it goes on with.
    pub(crate) fn bench(
        self,
        images: BTreeMap<Option<String>, Image>,
        secrets: Supply,
        jobs: Option<NonZeroUsize>,
        passed: BTreeMap<Name, Passing>,
        elsewhere: Option<Arc<dyn Elsewhere>>,
    ) -> Arc<Workbench> {
        let engine = self.engine.into_shared();
        // What killed runs have left is removed while this one goes on; nobody waits for it.
        let sweeper = Arc::clone(&engine);
        tokio::spawn(async move {
            if let Err(refused) = sweeper.reap().await {
                tracing::warn!(%refused, "what a killed run left behind could not be removed");
            }
        });
        Arc::new(Workbench {
            sources: self.sources,
            layers: self.layers,
            cache: self.cache,
            elsewhere,
            engine,
            images,
            budget: Budget::of_this_machine(jobs),
            secrets,
            logs: Some(self.logs),
            clock: clock::unix_millis,
            passed,
        })
    }
}

/// What isolates steps, by the name that people give it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EngineName {
    /// Namespaces of this machine's kernel; nothing to install
    #[default]
    BuiltIn,
    /// Containers of Docker or Podman on this machine; each step needs an image
    Docker,
}

impl EngineName {
    /// As it is written in a command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::Docker => "docker",
        }
    }
}

impl std::fmt::Display for EngineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What isolates steps.
enum Isolation {
    BuiltIn(BuiltInSandbox),
    Containers(DockerEngine),
}

impl Isolation {
    fn as_dyn(&self) -> &dyn Engine {
        match self {
            Self::BuiltIn(engine) => engine,
            Self::Containers(engine) => engine,
        }
    }

    fn into_shared(self) -> Arc<dyn Engine> {
        match self {
            Self::BuiltIn(engine) => Arc::new(engine),
            Self::Containers(engine) => Arc::new(engine),
        }
    }

    /// The image, if nothing has to be fetched to know it.
    async fn known_image(&self, wanted: &ImageSpec) -> Result<Option<Image>, EngineError> {
        match self {
            // Asking for a registry's image would fetch it.
            Self::BuiltIn(_) if wanted.reference.is_some() => Ok(None),
            Self::BuiltIn(engine) => engine.image(wanted, &|_| {}).await.map(Some),
            Self::Containers(engine) => engine.known_image(wanted).await,
        }
    }

    /// Container engines have no root file system of the host.
    fn needs_images(&self, plan: &Plan) -> Result<(), Problem> {
        let without = tenants(plan).find(|one| one.image.is_none());
        match (self, without) {
            (Self::Containers(_), Some(one)) => Err(Problem::new(
                Exit::Configuration,
                format!("{one} names no image, and in a container it needs one; nothing was run"),
            )
            .with_why("a container has none of the host's programs")
            .with_remedy(format!(
                "write `image = \"...\"` at the top of {PIPELINE_FILE} for all steps, or in [{}]; or run without \
                 `--engine docker`",
                one.table()
            ))),
            _ => Ok(()),
        }
    }
}

/// A limit that somebody asks for and this host does not enforce: isolation is never silently dropped.
fn unenforced_limit(plan: &Plan, host: &Capabilities) -> Option<Problem> {
    tenants(plan).find_map(|one| {
        let asked = [
            ("memory", one.limits.memory.is_some(), &host.memory_limit),
            ("cpu", one.limits.cpu_milli.is_some(), &host.cpu_limit),
            ("processes", one.limits.processes.is_some(), &host.process_limit),
        ];
        asked.into_iter().find_map(|(key, is_asked, support)| match support {
            Support::Absent(why) if is_asked => {
                let what = format!("this host can't enforce `{key}` of {one}; nothing was run");
                let remedy = format!("run as root, or remove `{key}` from [{}]", one.table());
                Some(Problem::new(Exit::Environment, what).with_why(why.as_str()).with_remedy(remedy))
            }
            _ => None,
        })
    })
}

/// A step, or a service that one names: who gets a sandbox.
struct Tenant<'a> {
    kind: &'static str,
    name: &'a Name,
    image: &'a Option<String>,
    limits: &'a Limits,
}

impl Tenant<'_> {
    fn table(&self) -> String {
        format!("{}s.{}", self.kind, self.name)
    }
}

impl fmt::Display for Tenant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

fn tenants(plan: &Plan) -> impl Iterator<Item = Tenant<'_>> {
    let steps = plan.steps.iter().map(|step| ("step", &step.name, &step.image, &step.limits));
    let services =
        plan.services.iter().map(|service| ("service", &service.name, &service.image, &service.limits));
    steps.chain(services).map(|(kind, name, image, limits)| Tenant { kind, name, image, limits })
}

/// Who has to mend it: whoever wrote the command line, or the pipeline.
fn exit_of(bad: &PlanError) -> Exit {
    match bad {
        PlanError::Setting { .. } | PlanError::Image { .. } => Exit::Usage,
        PlanError::Version { .. } => Exit::Configuration,
    }
}

/// A step that sees nothing would pass, be remembered, and be green for ever: the usual cause is a slip of the pen.
fn check_inputs(step: &StepPlan, source: &Resolved) -> Result<(), Problem> {
    let matches = |pattern: &str| -> Result<bool, Problem> {
        let glob = Globs::new(&[pattern.to_owned()])
            .map_err(|bad| Problem::new(Exit::Configuration, bad.to_string()))?;
        Ok(source.files.iter().any(|(path, _)| glob.matches(path.as_str())))
    };
    let mut any = step.inputs.is_empty();
    for pattern in &step.inputs {
        let found = matches(pattern)?;
        let names_one_file = !pattern.contains(['*', '?', '[', '{']);
        if names_one_file && !found {
            return Err(unseen_input(step, &format!("no file of the source is called `{pattern}`")));
        }
        any |= found;
    }
    if any { Ok(()) } else { Err(unseen_input(step, "no file of the source matches them")) }
}

fn unseen_input(step: &StepPlan, why: &str) -> Problem {
    Problem::new(
        Exit::Configuration,
        format!("`inputs` of step `{}` can't be right; nothing was run", step.name),
    )
    .with_why(why)
    .with_remedy(format!(
        "correct `inputs` in [steps.{}]; a file that .gitignore lists is not part of the source",
        step.name
    ))
}

/// What is said where there is no pipeline: which source, where there is one instead, or how a first one looks.
fn no_pipeline(source: &Resolved, of: &str) -> Problem {
    let suffix = format!("/{PIPELINE_FILE}");
    let folders: Vec<&str> =
        source.files.iter().filter_map(|(path, _)| path.as_str().strip_suffix(&suffix)).collect();
    let commit = source.source.commit.as_deref().filter(|_| !source.source.dirty);
    let place = commit.map_or_else(
        || of.to_owned(),
        |commit| format!("commit {} of {of}", commit.get(..12).unwrap_or(commit)),
    );
    let problem = Problem::new(Exit::Configuration, format!("{place} has no {PIPELINE_FILE}"));
    if folders.is_empty() {
        let how = match commit {
            None => "`staith init` writes one that fits the project; or write one yourself",
            Some(_) => {
                "`staith init` in a working directory writes one that fits the project; commit it. Or write one yourself"
            }
        };
        problem.with_remedy(format!("{how}, for example:\n{FIRST_PIPELINE}"))
    } else {
        problem.with_remedy(format!("it has one in {}: run that folder", folders.join(", ")))
    }
}

/// A pipeline to begin with.
const FIRST_PIPELINE: &str = "\
name = \"my-project\"
version = \"0.1.0\"

[steps.test]
run = \"make test\"";

/// The pipeline that a text is; its mistakes as they are shown in the file.
///
/// # Errors
/// It can't work (20).
pub(crate) fn understood(text: &str) -> Result<Pipeline, Problem> {
    let terminal = console::Term::stderr();
    let width = if terminal.is_term() { usize::from(terminal.size().1).clamp(40, 120) } else { 100 };
    let color = terminal.is_term() && console::colors_enabled_stderr();
    Pipeline::parse(PIPELINE_FILE, text).map_err(|errors| Problem::pipeline(&errors, color, width))
}

/// The same on a server: its mistakes as lines, for those who ask from elsewhere.
///
/// # Errors
/// It can't work (20).
pub(crate) fn understood_from_afar(text: &str) -> Result<Pipeline, Problem> {
    Pipeline::parse(PIPELINE_FILE, text).map_err(|errors| Problem::pipeline_in_words(&errors))
}

fn read_pipeline(path: &Path) -> Result<String, Problem> {
    let bytes = std::fs::read(path).map_err(|refused| {
        Problem::new(Exit::Environment, format!("{PIPELINE_FILE} can't be read"))
            .with_why(refused.to_string())
    })?;
    String::from_utf8(bytes).map_err(|_| {
        Problem::new(Exit::Configuration, format!("{PIPELINE_FILE} is not UTF-8 text"))
            .with_remedy("save it as UTF-8")
    })
}
