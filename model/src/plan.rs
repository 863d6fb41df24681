//! What will be done, with nothing left to choose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Name, RelPath};

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
    /// Toolchains of the host that every step sees, read-only, beside the host image.
    pub tools: Vec<Tool>,
    /// The steps, each after all it needs.
    pub steps: Vec<StepPlan>,
    /// The package to make once every step has passed.
    pub package: Option<PackagePlan>,
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
    /// JUnit files that it writes, as globs.
    pub reports: Vec<String>,
    /// Environment, beside what the engine sets.
    pub env: BTreeMap<String, String>,
    /// What it may reach.
    pub network: Network,
    /// Seconds after which it is ended.
    pub timeout_seconds: u64,
    /// Upper bounds.
    pub limits: Limits,
}

/// The package at the end of a run.
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
}
