//! `runner.toml` as a value, or an error that points at the place.
//!
//! [`Pipeline::parse`] reads top to bottom: [`syntax`](self) makes TOML of the text, the readers of steps, package and
//! environments turn tables into values and collect what is wrong, and the checks over all steps (circles, colliding outputs)
//! come last. A person sees every mistake at once. `docs/runner-toml.md` describes the file.

use std::collections::BTreeMap;

use staith_model::{
    Command, CoverageBar, FindingsBar, Limits, Name, Network, Placement, RelPath, Retry, ServicePlan,
    StepKind, Tool, service::RunGroup,
};

mod amounts;
mod bars;
mod commands;
mod concurrency;
mod condition;
mod cron;
mod environments;
mod flaw;
mod graph;
mod hosts;
mod images;
mod inner_place;
mod keys;
mod matrix;
mod outputs;
mod package;
mod parameters;
mod patterns;
mod placement;
mod problems;
#[cfg(test)]
mod reference;
mod render;
mod resources;
mod retries;
mod schema;
mod services;
mod step_keys;
mod steps;
mod suggest;
mod syntax;
mod template;
mod tools;
mod triggers;
mod values;
mod variables;
mod version;
mod walk;
mod web;

pub use condition::When;
pub use environments::{Destination, Environment};
pub use matrix::Variant;
pub use parameters::{Parameter, ParameterKind};
pub use problems::{PipelineError, PipelineErrors};
pub use render::render;
pub use schema::schema;
pub use steps::KNOWN_MATCHERS;
pub use suggest::closest;
pub use tools::KNOWN_TOOLS;

pub(crate) use condition::{Decision, Facts};
pub(crate) use images::filled as filled_image;
use keys::{IMAGE, Keys, NAME, REQUIRED, Shape, VERSION, key};
pub(crate) use matrix::variable as matrix_variable;
pub(crate) use template::fill;
pub(crate) use version::resolve as resolve_version;

use condition::Known;
use problems::Problems;
use triggers::Triggers;
use walk::Table;

use crate::plan::Occasion;

/// A project's pipeline as its `runner.toml` says it: every name resolved, every default filled in, no circles. There is no
/// other way to one than [`parse`](Self::parse), so whoever has one need not check it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    name: Name,
    version: String,
    parameters: Vec<Parameter>,
    triggers: Option<Triggers>,
    concurrency: Option<RunGroup>,
    tools: Vec<Tool>,
    services: Vec<ServicePlan>,
    steps: Vec<Step>,
    packages: Vec<PackageSpec>,
    environments: Vec<Destination>,
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
    /// Globs of the files with results that it writes: tests, coverage, findings.
    pub reports: Vec<String>,
    /// Environment variables, those that it inherits too.
    pub env: BTreeMap<String, String>,
    /// What it may reach.
    pub network: Network,
    /// Seconds after which it is ended.
    pub timeout_seconds: u64,
    /// Upper bounds.
    pub limits: Limits,
    /// Its root file system; `None` is the host image.
    pub image: Option<String>,
    /// Environment variables whose values are secrets: variable to secret's name.
    pub secrets: BTreeMap<String, String>,
    /// The only hosts that it may reach with an outbound network, in lower case; empty means all.
    pub allow: Vec<String>,
    /// When it is tried again; `None` is never.
    pub retry: Option<Retry>,
    /// Whether a run may pass though this step did not.
    pub may_fail: bool,
    /// Services that run beside it.
    pub services: Vec<Name>,
    /// What finds problems in its output: one of [`KNOWN_MATCHERS`].
    pub matcher: Option<String>,
    /// What has to be covered.
    pub coverage: Option<CoverageBar>,
    /// What may be found; `None` is no error in a report.
    pub findings: Option<FindingsBar>,
    /// Which runners of a server may take it.
    pub runner: Placement,
    /// In which runs it takes part, and after what; `None` is in all, once what it needs has succeeded.
    pub when: Option<When>,
    /// The steps of a plan that it stands for; empty where it has no matrix and stands for itself. In the image, in values of
    /// the environment and in paths, `{matrix.NAME}` and `{parameters.NAME}` stand for what a plan puts there.
    pub variants: Vec<Variant>,
}

/// A package that a pipeline makes.
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
    /// The file that declares the package's parameters, below the project's folder.
    pub parameters: Option<RelPath>,
    /// In which runs it is made; `None` is in all.
    pub when: Option<When>,
}

/// Whether an occasion starts a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it does.
    pub starts: bool,
    /// Why, or why not, for people.
    pub why: String,
}

impl Verdict {
    fn starts(why: impl Into<String>) -> Self {
        Self { starts: true, why: why.into() }
    }

    fn not(why: impl Into<String>) -> Self {
        Self { starts: false, why: why.into() }
    }
}

const KEYS: Keys = Keys {
    known: &[
        key(
            "name",
            Shape::Text(&NAME),
            REQUIRED,
            "What the project is called; also the package's name, unless it has one of its own.",
        ),
        key("version", Shape::Text(&VERSION), REQUIRED, "The version that the project gives itself."),
        key(
            "on",
            Shape::Table(&triggers::KEYS),
            "everything",
            "What starts runs. A person can always start one.",
        ),
        key(
            "concurrency",
            concurrency::SHAPE,
            "as the project's settings say",
            "The group of this pipeline's runs that keep apart on a server, see [Runs that keep apart](#runs-that-keep-apart).",
        ),
        key(
            "parameters",
            Shape::Named { names: &NAME, of: &Shape::Table(&parameters::KEYS), filled: false, most: None },
            "none",
            "What a person may choose for a run, with `--set NAME=VALUE`.",
        ),
        key("tools", tools::SHAPE, "none", "Toolchains of the host that every step sees, read-only."),
        key(
            "image",
            Shape::Text(&IMAGE),
            "`\"host\"`",
            "The root file system of steps and services that name no other: an OCI image, or `\"host\"` for this machine's own \
             programs.",
        ),
        key(
            "runner",
            placement::SHAPE,
            "any runner of the project's pool",
            "Which runners of a server may take steps that name none, see [Where steps run](#where-steps-run).",
        ),
        key(
            "defaults",
            Shape::Table(&resources::KEYS),
            "none",
            "Resources, network and environment of steps that say nothing else.",
        ),
        key(
            "services",
            Shape::Named { names: &NAME, of: &Shape::Table(&services::KEYS), filled: false, most: None },
            "none",
            "What runs beside steps that name it.",
        ),
        key(
            "steps",
            Shape::Named {
                names: &NAME,
                of: &Shape::Table(&step_keys::KEYS),
                filled: true,
                most: Some(steps::MOST_STEPS),
            },
            REQUIRED,
            "At least one step, and 200 at most.",
        ),
        key(
            "package",
            package::SHAPE,
            "none",
            "What is packed: one package, or several as tables by their names, `[package.NAME]`.",
        ),
        key(
            "environments",
            Shape::Named {
                names: &NAME,
                of: &environments::SHAPE,
                filled: false,
                most: Some(environments::MOST_ENVIRONMENTS),
            },
            "none",
            "Where packages are released: on this machine, or on others. 100 at most.",
        ),
    ],
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
        ("triggers", "on"),
        ("trigger", "on"),
        ("concurrency-group", "concurrency"),
        ("resource_group", "concurrency"),
        ("resource-group", "concurrency"),
        ("lock", "concurrency"),
        ("inputs", "parameters"),
        ("params", "parameters"),
        ("default", "defaults"),
        ("resources", "defaults"),
        ("container", "image"),
        ("runs-on", "runner"),
        ("runs_on", "runner"),
        ("pool", "runner"),
        ("agent", "runner"),
    ],
};

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

    /// The version that the project gives itself, as the file says it: `{commit}`, `{branch}` and `{tag}` in it stand for what
    /// a [plan](crate::plan::plan) is of.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What a person may choose for a run, in the order of the file.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// A value for each parameter: what `settings` say, or its default.
    pub(crate) fn settled(
        &self,
        settings: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, (String, String, String)> {
        parameters::settled(&self.parameters, settings)
    }

    /// When a clock starts runs: five fields of cron each, in [`Pipeline::schedule_zone`].
    pub fn schedules(&self) -> &[String] {
        self.triggers.as_ref().map_or(&[], Triggers::schedules)
    }

    /// The time zone whose clocks show these times: a name of the IANA database.
    pub fn schedule_zone(&self) -> &str {
        self.triggers.as_ref().map_or("UTC", Triggers::zone)
    }

    /// Whether such a clock starts a run though nothing has changed since the last one.
    pub fn runs_unchanged(&self) -> bool {
        self.triggers.as_ref().is_some_and(Triggers::runs_unchanged)
    }

    /// The group of its runs that keep apart on a server. It is no part of a plan: it changes nothing of what is done.
    pub fn concurrency(&self) -> Option<&RunGroup> {
        self.concurrency.as_ref()
    }

    /// Whether an occasion starts a run, and why. What the plan of that run would leave out is another matter.
    pub fn triggers_on(&self, occasion: &Occasion) -> Verdict {
        match &self.triggers {
            Some(triggers) => triggers.verdict(occasion),
            None => Verdict::starts("the pipeline has no `[on]`, so everything starts a run"),
        }
    }

    /// Toolchains of the host that steps see.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The services, in the order of the file.
    pub fn services(&self) -> &[ServicePlan] {
        &self.services
    }

    /// The steps, in the order of the file; at least one. Their needs are steps of this list and form no circle.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The packages to make, in the order of the file; their names differ.
    pub fn packages(&self) -> &[PackageSpec] {
        &self.packages
    }

    /// The environments, in the order of the file. Where there are any, there is a package.
    pub fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.environments.iter().map(|to| &to.environment)
    }

    /// The environment of this name.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.destination(name).map(|to| &to.environment)
    }

    /// The environment of this name, with the package that is released to it and what comes before it.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.environments.iter().find(|to| to.environment.name().as_str() == name)
    }

    /// All environments in the order in which a release goes through them: each after those that it names in `after`, and
    /// otherwise as the file has them.
    pub fn destinations(&self) -> Vec<&Destination> {
        environments::ordered(&self.environments)
    }

    /// The package that is released to the environment of this name.
    pub fn package_for(&self, environment: &str) -> Option<&Name> {
        self.destination(environment).map(|to| &to.package)
    }
}

/// The pipeline of a text; trustworthy only where no problem was added.
fn read(text: &str, problems: &Problems) -> Option<Pipeline> {
    let root = syntax::read(text, problems)?;
    let file = Table::file(root.get_ref(), &KEYS, problems);
    let name = file.required("name", "name = \"my-project\"", values::name).map(|name| name.value);
    let version = file.required("version", "version = \"1.0.0\"", version::scheme);
    let triggers = triggers::read(&file);
    let concurrency = concurrency::read(&file);
    let parameters = parameters::read(&file);
    let tools = tools::read(&file);
    let known = Known { parameters: &parameters, matrix: &[], outcomes: false };
    let defaults = resources::defaults(&file, &known);
    let services = services::read(&file, &defaults.image, &known);
    let context = steps::Context { defaults: &defaults, services: &services, parameters: &parameters };
    let drafts = steps::read(&file, &context);
    steps::refuse_crowds(&drafts, problems);
    let graph = graph::Graph::of(&drafts, problems);
    graph.refuse_strangers(&drafts, problems);
    outputs::refuse_collisions(&drafts, &graph, problems);
    let packages = package::read(&file, &drafts, name.as_ref(), &parameters);
    let environments = environments::read(&file, &packages.names, name.as_ref());
    Some(Pipeline {
        name: name?,
        version: version?.value,
        parameters,
        triggers,
        concurrency,
        tools,
        services: services.plans,
        steps: resolved(drafts, &graph)?,
        packages: packages.specs,
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
