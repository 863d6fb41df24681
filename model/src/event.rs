//! What happened, in order: the truth from which terminal, JSON, status and reports are read.

use serde::{Deserialize, Serialize};

use crate::{
    Blame, Companion, DeploymentChange, DeploymentId, Digest, Name, Package, Plan, RunId, StepOutcome,
    StepResults,
};

/// The version of the events that this crate writes. Readers refuse higher ones rather than guess.
pub const EVENT_VERSION: u16 = 1;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`EVENT_VERSION`] of the writer.
    pub v: u16,
    /// Position in its log, from 0, without gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: EventKind,
}

/// The kinds of things that happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A run began. Holds the whole plan, so that a log explains itself.
    RunStarted {
        /// The run.
        run: RunId,
        /// Identity of the plan.
        plan_digest: Digest,
        /// The plan.
        plan: Box<Plan>,
    },
    /// A step is being run.
    StepStarted {
        /// The step.
        step: Name,
        /// Counted from 1.
        attempt: u32,
    },
    /// A step was given a secret: who got which, and when. Never what it is.
    SecretUsed {
        /// The step.
        step: Name,
        /// The service beside the step that was given it; `None` is the step itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<Name>,
        /// The secret's name.
        secret: String,
    },
    /// A service beside a step can be used. The step's program starts when all of its services can.
    ServiceReady {
        /// The step.
        step: Name,
        /// The service.
        service: Name,
        /// How long that took, in milliseconds.
        millis: u64,
    },
    /// A service beside a step ended while it was needed.
    ServiceEnded {
        /// The step.
        step: Name,
        /// The service.
        service: Name,
        /// How, in words.
        how: String,
    },
    /// A line that a service wrote, shown because the attempt did not come to a good end: one of its last.
    ServiceOutput {
        /// The step.
        step: Name,
        /// The service.
        service: Name,
        /// The line, as of a step.
        line: String,
    },
    /// An attempt at a step did not pass, and another will be made after a pause.
    StepRetried {
        /// The step.
        step: Name,
        /// The attempt that did not pass, counted from 1.
        attempt: u32,
        /// How it ended.
        outcome: StepOutcome,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
        /// Milliseconds until the next one.
        pause_millis: u64,
    },
    /// A step wrote a line.
    StepOutput {
        /// The step.
        step: Name,
        /// Which stream.
        stream: Stream,
        /// The line without its end; bytes that are not UTF-8 are replaced, secrets are masked.
        line: String,
    },
    /// A step ended, or needed not run.
    StepFinished {
        /// The step.
        step: Name,
        /// How.
        outcome: StepOutcome,
        /// How long it took, in milliseconds.
        millis: u64,
        /// Why, where the outcome alone does not say: an exit code, a missing file, a failed test.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
        /// What its reports said.
        #[serde(flatten)]
        results: StepResults,
        /// What it left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        layer: Option<Digest>,
    },
    /// A package was made, or was known already.
    PackageMade {
        /// The package.
        package: Package,
        /// Where the file is.
        path: String,
        /// Whether nothing had to be done.
        cached: bool,
        /// How long it took, in milliseconds.
        millis: u64,
        /// What lies beside it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        companions: Vec<Companion>,
    },
    /// The run's steps and package are done.
    RunFinished {
        /// How.
        outcome: RunOutcome,
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// A deployment was planned.
    DeploymentPlanned {
        /// The deployment.
        deployment: DeploymentId,
        /// Where to.
        environment: Name,
        /// The release.
        release: Digest,
        /// The release that serves now.
        previous: Option<Digest>,
        /// Identity of the plan.
        plan: Digest,
        /// What will be done, in order, in words.
        operations: Vec<String>,
    },
    /// An operation of a deployment was done, or found done.
    DeploymentOperation {
        /// The deployment.
        deployment: DeploymentId,
        /// Which, in words.
        operation: String,
        /// Whether it was found done.
        already: bool,
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// A deployment went on.
    DeploymentChanged {
        /// The deployment.
        deployment: DeploymentId,
        /// What happened.
        change: DeploymentChange,
        /// Why, where the change alone does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
}

/// Which stream a step wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why something went as it did, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Whose fault it is.
    pub blame: Blame,
    /// What happened.
    pub what: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Every step succeeded, and the package, if one was asked for, was made.
    Passed,
    /// A step failed, or the package could not be made.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}
