//! The stores and the engine of this machine, and what a command line finds in them.

use std::{env, num::NonZeroUsize, path::Path, sync::Arc, thread};

use staith_builder::{
    cache::StepCache,
    engine::{Engine as _, Image},
    execute::Workbench,
    layers::LayerStore,
    pipeline::Pipeline,
    plan,
    sandbox::{BuiltInSandbox, find_program},
    source::{Origin, Resolved, Selection, Sources},
};
use staith_model::{Exit, Plan};

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
        // The globs were checked when the pipeline was read.
        let digest = |globs: &[String]| {
            self.sources.input_digest(source, globs).unwrap_or(staith_model::Digest::of(b"unreadable globs"))
        };
        plan::plan(pipeline, source.source.clone(), &digest)
    }

    /// The root file system that the plan's steps will see.
    ///
    /// # Errors
    /// A toolchain is missing, or a program that a step surely runs.
    pub(crate) async fn image(&self, plan: &Plan) -> Result<Image, Problem> {
        let image = self.engine.image(&plan.tools).await?;
        let missing = plan::missing_programs(plan, &|program| find_program(&image, program));
        if missing.is_empty() { Ok(image) } else { Err(Problem::missing(&missing)) }
    }

    /// The bench for a run.
    pub(crate) fn bench(self, image: Image, jobs: Option<NonZeroUsize>) -> Arc<Workbench> {
        let jobs = jobs
            .map_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get), NonZeroUsize::get);
        Arc::new(Workbench {
            sources: self.sources,
            layers: self.layers,
            cache: self.cache,
            engine: Arc::new(self.engine),
            image,
            jobs,
        })
    }
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
