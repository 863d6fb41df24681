//! What will be done, with nothing left to choose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Condition, CoverageBar, Digest, FindingsBar, Name, Placement, RelPath};

/// A build plan: a pure value. The same source, `runner.toml` and event give the same plan, and so the same
/// [`digest`](Plan::digest), on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The project's name.
    pub project: Name,
    /// The version that the project gives itself.
    pub version: String,
    /// What is built.
    pub source: Source,
    /// What set the run off.
    pub trigger: Trigger,
    /// Toolchains of the host that every step sees, read-only, beside the host image.
    pub tools: Vec<Tool>,
    /// The steps, each after all it needs.
    pub steps: Vec<StepPlan>,
    /// Steps of the pipeline that this trigger leaves out, and why.
    pub left_out: Vec<LeftOut>,
    /// Services that steps name.
    pub services: Vec<ServicePlan>,
    /// The packages to make once every step has passed, in the order of the pipeline.
    ///
    /// Versions of Staith that knew one package at most wrote `package`, which may be null.
    #[serde(default, alias = "package", deserialize_with = "packages")]
    pub packages: Vec<PackagePlan>,
}

/// Packages of a plan, as this version of Staith writes them or an earlier one did.
fn packages<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<PackagePlan>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Several(Vec<PackagePlan>),
        One(PackagePlan),
    }
    Ok(match Option::<Written>::deserialize(from)? {
        None => Vec::new(),
        Some(Written::One(package)) => vec![package],
        Some(Written::Several(packages)) => packages,
    })
}

impl Plan {
    /// The identity of the plan.
    pub fn digest(&self) -> Digest {
        Digest::of_value("staith.plan.v1", self)
    }

    /// The step of this name.
    pub fn step(&self, name: &Name) -> Option<&StepPlan> {
        self.steps.iter().find(|step| step.name == *name)
    }

    /// The services that run beside a step, by name: the order in which the step names them means nothing.
    pub fn services_of(&self, step: &StepPlan) -> Vec<&ServicePlan> {
        let is_named = |service: &&ServicePlan| step.services.contains(&service.name);
        let mut beside: Vec<&ServicePlan> = self.services.iter().filter(is_named).collect();
        beside.sort_by(|a, b| a.name.cmp(&b.name));
        beside
    }
}

/// The exact source of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Git tree id (40 or 64 hexadecimal digits) of the project's folder.
    pub tree: String,
    /// The commit the tree came from, or that the working directory was based on; none where there is no commit yet.
    pub commit: Option<String>,
    /// Whether the tree holds uncommitted changes.
    pub dirty: bool,
}

/// What set a run off. Conditions of steps ask it; steps that name them see it as `STAITH_EVENT`, `STAITH_BRANCH`,
/// `STAITH_TARGET` and `STAITH_TAG`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// What happened.
    pub kind: TriggerKind,
    /// The branch that is built; of a pull request, the one it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The branch that a pull request asks to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The tag that is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The branch that the commit was merged into for this run: the tree is the result, which is no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
}

/// What can set a run off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TriggerKind {
    /// A person, on their own machine.
    #[default]
    Local,
    /// Commits that reached a branch.
    Push,
    /// A request to merge, or new commits on its branch.
    PullRequest,
    /// A tag that was made.
    Tag,
    /// A clock.
    Schedule,
}

impl TriggerKind {
    /// Every kind, for messages and tables.
    pub const ALL: [Self; 5] = [Self::Local, Self::Push, Self::PullRequest, Self::Tag, Self::Schedule];

    /// As pipelines and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Push => "push",
            Self::PullRequest => "pull-request",
            Self::Tag => "tag",
            Self::Schedule => "schedule",
        }
    }
}

/// A step that is not part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The step.
    pub step: Name,
    /// The condition that does not hold, or the step left out that it needs, for people.
    pub why: String,
}

/// A toolchain of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// One that Staith knows how to find, by its name: `rust`, `python`, `node`.
    Known(Name),
    /// A directory that the project names; its `bin`, if it has one, comes first in `PATH`.
    Directory {
        /// What the pipeline calls it.
        name: Name,
        /// Absolute path on the host.
        path: String,
    },
}

/// What a step is for. The kinds that Staith knows order a run's display and its report; any name of one's own may follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Looks at the source without building it.
    Lint,
    /// Fetches dependencies.
    Restore,
    /// Makes what will be packed.
    Build,
    /// Tests parts of the program.
    UnitTest,
    /// Tests the built program from outside.
    IntegrationTest,
    /// A kind of the project's own.
    Other(Name),
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A script for `/bin/sh -e`.
    Shell(String),
    /// A program and its arguments, with no shell between.
    Argv(Vec<String>),
}

/// What a step may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing: not even a loopback interface that is up.
    None,
    /// A loopback interface of its own; the host's is not visible.
    Loopback,
    /// The above, and other machines through a proxy that Staith runs (HTTP and HTTPS). Never this host.
    Outbound,
}

/// Upper bounds for one step. `None` means the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, swap excluded.
    pub memory: Option<u64>,
    /// Processes and threads alive at once.
    pub processes: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// Bytes that it may write to its workspace, measured as it runs and so not to the last byte. What it writes elsewhere
    /// (`/tmp`, its home) is in memory, and may be as much again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
}

/// When a step that did not pass is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts at most, the first included.
    pub attempts: u32,
    /// Only for these causes.
    pub on: Vec<RetryCause>,
}

/// Why a step may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryCause {
    /// The machine or the engine failed, not the step.
    Environment,
    /// It ended with a failure of its own.
    Failure,
    /// It took too long.
    Timeout,
    /// It wanted too much memory.
    OutOfMemory,
}

/// A service that runs beside each step that names it, for as long as the step does: in a sandbox of its own, over the files
/// that the step sees. The step reaches it under its name, at its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Its name, and its host name for the steps.
    pub name: Name,
    /// Its root file system; `None` is the host image with the plan's tools.
    pub image: Option<String>,
    /// What it runs; `None` is what its image says.
    pub command: Option<Command>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values are secrets: variable to secret's name.
    pub secrets: BTreeMap<String, String>,
    /// How it shows that it can be used.
    pub ready: Readiness,
    /// Seconds that it has for that.
    pub ready_seconds: u64,
    /// Ports at which steps reach it, that of its readiness among them; ascending, each once.
    pub ports: Vec<u16>,
    /// Upper bounds.
    pub limits: Limits,
}

/// How a service shows that it can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// It accepts connections on this port.
    Port(u16),
    /// A command in its sandbox succeeds.
    Command(Command),
}

impl Readiness {
    /// The port that it names.
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Port(port) => Some(*port),
            Self::Command(_) => None,
        }
    }
}

/// One step with everything resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPlan {
    /// Unique in the plan.
    pub name: Name,
    /// What it is for.
    pub kind: StepKind,
    /// What it runs.
    pub command: Command,
    /// Where it runs, below the workspace; `None` is the workspace itself.
    pub workdir: Option<RelPath>,
    /// Steps that must have succeeded first, as the pipeline says.
    pub needs: Vec<Name>,
    /// All steps whose outputs it sees (the needs, their needs, ...), lowest layer first.
    pub layers: Vec<Name>,
    /// Which source files it sees, as globs; empty means all. What a step can't see can't change it, so its cache is
    /// sound by construction.
    pub inputs: Vec<String>,
    /// Digest of the source files it sees.
    pub input_tree: Digest,
    /// Which files it leaves for later steps, as globs.
    pub outputs: Vec<String>,
    /// Files with results that it writes (tests, coverage, findings), as globs; each file's format is read off its content.
    pub reports: Vec<String>,
    /// Environment, beside what the engine sets.
    pub env: BTreeMap<String, String>,
    /// What it may reach.
    pub network: Network,
    /// Seconds after which it is ended.
    pub timeout_seconds: u64,
    /// Upper bounds.
    pub limits: Limits,
    /// Its root file system, as the pipeline names it; `None` is the host image with the plan's tools.
    pub image: Option<String>,
    /// Environment variables whose values are secrets: variable to secret's name. Values are never part of a plan.
    pub secrets: BTreeMap<String, String>,
    /// Hosts that it may reach with `Network::Outbound`; empty means all that the network allows.
    pub allow: Vec<String>,
    /// When it is tried again; `None` is never.
    pub retry: Option<Retry>,
    /// What decides once all it needs has ended; `None` is that all of it succeeded.
    pub when: Option<Condition>,
    /// Whether the run may pass though this step did not.
    pub may_fail: bool,
    /// Services that run beside it.
    pub services: Vec<Name>,
    /// What finds problems in its output: a known matcher's name.
    pub matcher: Option<String>,
    /// What has to be covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageBar>,
    /// What may be found; `None` is no error in a report, and that what a matcher finds does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<FindingsBar>,
    /// Which runners of a server may take it.
    #[serde(default, skip_serializing_if = "Placement::is_anywhere")]
    pub runner: Placement,
}

impl StepPlan {
    /// A step that runs `command` over all of the source, with every choice as where a pipeline says nothing.
    pub fn new(name: Name, command: Command, input_tree: Digest) -> Self {
        Self {
            kind: StepKind::Other(name.clone()),
            name,
            command,
            workdir: None,
            needs: Vec::new(),
            layers: Vec::new(),
            inputs: Vec::new(),
            input_tree,
            outputs: Vec::new(),
            reports: Vec::new(),
            env: BTreeMap::new(),
            network: Network::Loopback,
            timeout_seconds: 30 * 60,
            limits: Limits::default(),
            image: None,
            secrets: BTreeMap::new(),
            allow: Vec::new(),
            retry: None,
            when: None,
            may_fail: false,
            services: Vec::new(),
            matcher: None,
            coverage: None,
            findings: None,
            runner: Placement::default(),
        }
    }
}

/// A package at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackagePlan {
    /// The package's name.
    pub name: Name,
    /// Steps whose outputs are packed, lowest layer first.
    pub layers: Vec<Name>,
    /// The folder in the workspace whose content becomes the root of the package; `None` is the workspace itself.
    pub root: Option<RelPath>,
    /// Which files below the root are packed, as globs; empty means all outputs.
    pub include: Vec<String>,
    /// Which are not, as globs.
    pub exclude: Vec<String>,
    /// Source files packed beside the outputs, as globs; empty means none.
    pub source: Vec<String>,
    /// The file that declares its parameters, below the workspace: an output, or else a source file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<RelPath>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let package = |name: &str| PackagePlan {
            name: name.parse().unwrap(),
            layers: vec![],
            root: None,
            include: vec![],
            exclude: vec![],
            source: vec![],
            parameters: None,
        };
        Plan {
            project: "p".parse().unwrap(),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: false },
            trigger: Trigger::default(),
            tools: vec![],
            steps: vec![],
            left_out: vec![],
            services: vec![],
            packages: vec![package("web"), package("worker")],
        }
    }

    #[test]
    fn plans_that_earlier_versions_recorded_are_still_read() {
        let plan = plan();
        let mut value = serde_json::to_value(&plan).unwrap();
        assert_eq!(serde_json::from_value::<Plan>(value.clone()).unwrap(), plan);
        let fields = value.as_object_mut().unwrap();
        let packages = fields.remove("packages").unwrap();
        for (package, read) in
            [(serde_json::Value::Null, &[][..]), (packages[0].clone(), &plan.packages[..1])]
        {
            let mut earlier = fields.clone();
            earlier.insert("package".into(), package);
            assert_eq!(serde_json::from_value::<Plan>(earlier.into()).unwrap().packages, read);
        }
        assert!(serde_json::from_value::<Plan>(value).unwrap().packages.is_empty());
    }
}
