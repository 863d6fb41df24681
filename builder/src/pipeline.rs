//! `runner.toml` as a value, or an error that points at the place.
//!
//! [`Pipeline::parse`] reads top to bottom: [`syntax`](self) makes TOML of the text, the readers of steps, package and
//! environments turn tables into values and collect what is wrong, and the checks over all steps (circles, colliding outputs)
//! come last. A person sees every mistake at once. `docs/runner-toml.md` describes the file.

use std::collections::BTreeMap;

use staith_model::{Command, Limits, LocalEnvironment, Name, Network, RelPath, StepKind, Tool, Version};

mod amounts;
mod environments;
mod graph;
mod outputs;
mod package;
mod problems;
mod render;
mod steps;
mod suggest;
mod syntax;
mod tools;
mod values;
mod walk;
mod web;

pub use problems::{PipelineError, PipelineErrors};
pub use render::render;
pub use suggest::closest;
pub use tools::KNOWN_TOOLS;

use problems::Problems;
use walk::{Keys, Table};

/// A project's pipeline as its `runner.toml` says it: every name resolved, every default filled in, no circles. There is no
/// other way to one than [`parse`](Self::parse), so whoever has one need not check it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    name: Name,
    version: Version,
    tools: Vec<Tool>,
    steps: Vec<Step>,
    package: Option<PackageSpec>,
    environments: Vec<LocalEnvironment>,
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Unique in the pipeline.
    pub name: Name,
    /// What it is for.
    pub kind: StepKind,
    /// What it runs.
    pub command: Command,
    /// Where it runs, below the workspace; `None` is the workspace itself.
    pub workdir: Option<RelPath>,
    /// Steps that must have succeeded first, in the order of the file's list.
    pub needs: Vec<Name>,
    /// Globs of the source files that it sees; empty means all.
    pub inputs: Vec<String>,
    /// Globs of the files that it leaves for others.
    pub outputs: Vec<String>,
    /// Globs of the JUnit files that it writes.
    pub reports: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// What it may reach.
    pub network: Network,
    /// Seconds after which it is ended.
    pub timeout_seconds: u64,
    /// Upper bounds.
    pub limits: Limits,
}

/// The package that a pipeline makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSpec {
    /// The package's name.
    pub name: Name,
    /// Steps whose outputs are packed. Empty where only files of the source are.
    pub from: Vec<Name>,
    /// The folder whose content becomes the package's root; `None` is the workspace itself.
    pub root: Option<RelPath>,
    /// Globs of what is packed, below the root; empty means all outputs.
    pub include: Vec<String>,
    /// Globs of what is not packed, below the root.
    pub exclude: Vec<String>,
    /// Globs of source files that are packed beside the outputs.
    pub source: Vec<String>,
}

const KEYS: Keys = Keys {
    known: &["name", "version", "tools", "steps", "package", "environments"],
    elsewhere: &[
        ("jobs", "steps"),
        ("job", "steps"),
        ("stages", "steps"),
        ("tasks", "steps"),
        ("project", "name"),
        ("env", "environments"),
        ("deploy", "environments"),
        ("toolchain", "tools"),
        ("toolchains", "tools"),
        ("artifact", "package"),
    ],
};

/// What kinds of environment there are, for people.
const ENVIRONMENT_KINDS: &str = "releases to other machines are not part of this version";

impl Pipeline {
    /// Reads the text of a `runner.toml`; `file_name` is what errors call it.
    ///
    /// # Errors
    /// All mistakes that were found, in the order of the file. While the text is not TOML, only those of syntax.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, PipelineErrors> {
        let problems = Problems::default();
        match read(text, &problems) {
            Some(pipeline) if problems.is_empty() => Ok(pipeline),
            _ => Err(problems.into_errors(file_name, syntax::presentable(text))),
        }
    }

    /// The project's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The version that the project gives itself.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Toolchains of the host that steps see.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The steps, in the order of the file; at least one. Their needs are steps of this list and form no circle.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The package to make, if any.
    pub fn package(&self) -> Option<&PackageSpec> {
        self.package.as_ref()
    }

    /// The environments, in the order of the file. Where there are any, there is a package.
    pub fn environments(&self) -> &[LocalEnvironment] {
        &self.environments
    }

    /// The environment of this name.
    pub fn environment(&self, name: &str) -> Option<&LocalEnvironment> {
        self.environments.iter().find(|environment| environment.name.as_str() == name)
    }
}

/// The pipeline of a text; trustworthy only where no problem was added.
fn read(text: &str, problems: &Problems) -> Option<Pipeline> {
    let root = syntax::read(text, problems)?;
    let file = Table::file(root.get_ref(), &KEYS, problems);
    let name = file.required("name", "name = \"my-project\"", values::name).map(|name| name.value);
    let version = file.required("version", "version = \"1.0.0\"", values::version);
    let tools = tools::read(&file);
    let drafts = steps::read(&file);
    let graph = graph::Graph::of(&drafts, problems);
    outputs::refuse_collisions(&drafts, &graph, problems);
    let package = package::read(&file, &drafts, name.as_ref());
    let environments = environments::read(&file);
    Some(Pipeline {
        name: name?,
        version: version?.value,
        tools,
        steps: resolved(drafts, &graph)?,
        package,
        environments,
    })
}

/// The steps with the names of what they need.
fn resolved(drafts: Vec<steps::Draft>, graph: &graph::Graph) -> Option<Vec<Step>> {
    let steps: Vec<Step> = drafts.into_iter().map(|draft| draft.step).collect::<Option<_>>()?;
    let names: Vec<Name> = steps.iter().map(|step| step.name.clone()).collect();
    let with_needs = |(index, step): (usize, Step)| Step {
        needs: graph.needs(index).iter().map(|need| names[*need].clone()).collect(),
        ..step
    };
    Some(steps.into_iter().enumerate().map(with_needs).collect())
}
