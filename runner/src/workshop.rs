//! The stores and the engine of this machine, and what a command line finds in them.

use std::{cell::RefCell, collections::BTreeMap, env, num::NonZeroUsize, path::Path, sync::Arc, thread};

use staith_builder::{
    cache::StepCache,
    engine::{Capabilities, Engine as _, Image, Support},
    execute::Workbench,
    layers::LayerStore,
    pipeline::Pipeline,
    plan,
    sandbox::{BuiltInSandbox, find_program},
    source::{Origin, Resolved, Selection, Sources},
};
use staith_model::{Digest, Exit, Plan};

use crate::{home::Home, inner, output::Problem};

/// What every repository that Staith builds has in its project's folder.
pub(crate) const PIPELINE_FILE: &str = "runner.toml";

/// Everything that a run is made with, before it is known which run.
pub(crate) struct Workshop {
    engine: BuiltInSandbox,
    sources: Sources,
    layers: LayerStore,
    cache: StepCache,
}

impl Workshop {
    /// Opens the stores below a home, and makes them where they are not there.
    pub(crate) fn open(home: &Home) -> Result<Self, Problem> {
        home.make().map_err(|refused| {
            Problem::new(Exit::Environment, format!("{} can't be made", home.path().display()))
                .with_why(refused.to_string())
                .with_remedy("set STAITH_HOME to a directory of your own")
        })?;
        let engine = BuiltInSandbox::new(inner::sandbox_command(), home.sandbox());
        let owner = engine.file_owner();
        Ok(Self {
            sources: Sources::open(&home.store(), owner)?,
            layers: LayerStore::open(&home.store(), owner)?,
            cache: StepCache::new(home.step_cache()),
            engine,
        })
    }

    /// The exact source that a command line means.
    pub(crate) fn find(&self, source: &str, selection: &Selection) -> Result<Resolved, Problem> {
        let here = env::current_dir().map_err(|refused| {
            Problem::new(Exit::Environment, "the current directory can't be read")
                .with_why(refused.to_string())
        })?;
        let origin = Origin::parse(source, &here)?;
        Ok(self.sources.resolve(&origin, selection, &mut |_| {})?)
    }

    /// The pipeline in a source.
    pub(crate) fn pipeline(&self, source: &Resolved) -> Result<Pipeline, Problem> {
        let directory = self.sources.checkout(source, &[PIPELINE_FILE.to_owned()])?;
        let text = read_pipeline(&directory.join(PIPELINE_FILE))?;
        let terminal = console::Term::stderr();
        let width = if terminal.is_term() { usize::from(terminal.size().1).clamp(40, 120) } else { 100 };
        let color = terminal.is_term() && console::colors_enabled_stderr();
        Pipeline::parse(PIPELINE_FILE, &text).map_err(|errors| Problem::pipeline(&errors, color, width))
    }

    /// The plan for a source and its pipeline.
    pub(crate) fn plan(&self, pipeline: &Pipeline, source: &Resolved) -> Plan {
        // Steps often see the same files, and a source may have very many.
        let known = RefCell::new(BTreeMap::<Vec<String>, Digest>::new());
        let digest = |globs: &[String]| {
            *known.borrow_mut().entry(globs.to_vec()).or_insert_with(|| {
                // The globs were checked when the pipeline was read.
                self.sources.input_digest(source, globs).unwrap_or(Digest::of(b"unreadable globs"))
            })
        };
        plan::plan(pipeline, source.source.clone(), &digest)
    }

    /// The root file system that the plan's steps will see.
    ///
    /// # Errors
    /// A toolchain is missing, or a program that a step surely runs; or the host can't isolate steps as the plan asks.
    pub(crate) async fn image(&self, plan: &Plan) -> Result<Image, Problem> {
        let image = self.engine.image(&plan.tools).await?;
        if let Some(unenforced) = unenforced_limit(plan, &self.engine.probe().await?) {
            return Err(unenforced);
        }
        let missing = plan::missing_programs(plan, &|program| find_program(&image, program));
        if missing.is_empty() { Ok(image) } else { Err(Problem::missing(&missing)) }
    }

    /// The bench for a run.
    pub(crate) fn bench(self, image: Image, jobs: Option<NonZeroUsize>) -> Arc<Workbench> {
        let engine = Arc::new(self.engine);
        // What killed runs have left is removed while this one goes on; nobody waits for it.
        let sweeper = Arc::clone(&engine);
        tokio::spawn(async move {
            if let Err(refused) = sweeper.reap().await {
                tracing::warn!(%refused, "what a killed run left behind could not be removed");
            }
        });
        let jobs = jobs
            .map_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get), NonZeroUsize::get);
        Arc::new(Workbench {
            sources: self.sources,
            layers: self.layers,
            cache: self.cache,
            engine,
            image,
            jobs,
        })
    }
}

/// A limit that a step asks for and this host does not enforce: isolation is never silently dropped.
fn unenforced_limit(plan: &Plan, host: &Capabilities) -> Option<Problem> {
    plan.steps.iter().find_map(|step| {
        let asked = [
            ("memory", step.limits.memory.is_some(), &host.memory_limit),
            ("cpu", step.limits.cpu_milli.is_some(), &host.cpu_limit),
            ("processes", step.limits.processes.is_some(), &host.process_limit),
        ];
        asked.into_iter().find_map(|(key, is_asked, support)| match support {
            Support::Absent(why) if is_asked => {
                let what =
                    format!("this host can't enforce `{key}` of step `{}`; nothing was run", step.name);
                let remedy = format!("run as root, or remove `{key}` from [steps.{}]", step.name);
                Some(Problem::new(Exit::Environment, what).with_why(why.as_str()).with_remedy(remedy))
            }
            _ => None,
        })
    })
}

fn read_pipeline(path: &Path) -> Result<String, Problem> {
    let bytes = std::fs::read(path).map_err(|refused| {
        Problem::new(Exit::Configuration, format!("the project's folder has no {PIPELINE_FILE}"))
            .with_why(refused.to_string())
            .with_remedy("write one; docs/runner-toml.md shows a whole one of 20 lines")
    })?;
    String::from_utf8(bytes).map_err(|_| {
        Problem::new(Exit::Configuration, format!("{PIPELINE_FILE} is not UTF-8 text"))
            .with_remedy("save it as UTF-8")
    })
}
