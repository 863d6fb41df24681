//! `staith plan`.

use std::collections::BTreeMap;

use clap::Args;
use staith_builder::source::Globs;
use staith_model::{Exit, Name};

use super::subject::{Found, Subject};
use crate::{
    clock,
    home::Home,
    interrupt,
    output::{self, Graph, OutputMode, PlanView, Problem},
};

/// Show what a run would do, and run nothing
///
/// The same commit, runner.toml and event give the same plan, and so the same hash, on every machine. Whether a step is
/// known already is this machine's: a run here would use its result.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Only the steps and what they need, as a tree or for Graphviz
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "tree")]
    graph: Option<Graph>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let (stop, home) = (interrupt::listen()?, Home::find()?);
        let Found { workshop, source, pipeline, occasion, .. } =
            self.subject.find(&home, &stop, mode).await?;
        let plan = workshop.plan(&pipeline, &source, &occasion)?;
        if let Some(graph) = self.graph.filter(|_| !mode.is_json()) {
            output::plan_graph(&plan, graph).map_err(|lost| Problem::unwritable(&lost))?;
            return Ok(Exit::Passed);
        }
        let prospect = workshop.prospect(&plan).await;
        let mut inputs: BTreeMap<&Name, usize> = BTreeMap::new();
        for step in &plan.steps {
            let globs = Globs::or_everything(&step.inputs)
                .map_err(|bad| Problem::new(Exit::Configuration, bad.to_string()))?;
            let seen = source.files.iter().filter(|(path, _)| globs.matches(path.as_str()));
            inputs.insert(&step.name, seen.count());
        }
        let view = PlanView { plan: &plan, prospect: &prospect, inputs: &inputs, now: clock::unix_millis() };
        output::plan(&view, mode.is_json()).map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}
