//! The nouns of Staith and their rules. No I/O, no async, no clock. A map, in reading order:
//!
//! 1. [`Digest`], [`Name`], ids, [`Secret`], [`masked!`]: what other nouns are made of.
//! 2. [`Manifest`]: what a tree of files is, by content.
//! 3. [`Plan`]: what will be done, with nothing left to choose but by [`Condition`]s over what earlier steps came to. [`JobCut`]: which
//!    runner does which part of it.
//! 4. [`StepState`], [`StepOutcome`], [`Blame`]: the life of a step. `course` says which ends let others go on.
//! 5. [`TestReport`] and [`Passed`]: what was found, and the proof that it is enough.
//! 6. [`Package`]: what travels. [`Release`]: what is deployed, and by what [`Testimony`] it is told. [`LocalEnvironment`]: where to.
//! 7. [`FleetEnvironment`], [`FleetRelease`]: the same for machines. [`Protection`]: what guards an environment.
//! 8. [`DeploymentState`]: the life of a deployment.
//! 9. [`FleetPlan`], [`FleetEvent`], [`FleetState`]: a deployment to machines, what is written down of it, and the fold over that.
//! 10. [`Event`]: what happened. [`RunState`]: the fold over it.
//! 11. [`service`]: what a server, its runners and its people say to each other.
//! 12. [`Exit`]: what the shell is told. [`causes`]: errors in words.

mod bar;
mod causes;
mod condition;
mod course;
mod deployment;
mod digest;
mod environment;
mod event;
mod exit;
mod fleet;
mod id;
mod jobs;
mod manifest;
mod masked;
mod name;
mod package;
mod placement;
mod plan;
mod release;
mod report;
mod run;
mod secret;
pub mod service;
mod step;
mod testimony;

pub use bar::{CoverageBar, FindingsBar, Shortfall};
pub use causes::causes;
pub use condition::{Condition, Ending, Past};
pub use course::{Stranded, UnknownStep};
pub use deployment::{DeploymentChange, DeploymentState, ImpossibleDeploymentChange};
pub use digest::{Digest, DigestStream, NotADigest};
pub use environment::LocalEnvironment;
pub use event::{EVENT_VERSION, Event, EventKind, Reason, RunOutcome, Stream};
pub use exit::Exit;
pub use fleet::{
    Access, Amount, Analysis, Approvals, Ask, AtDeadline, AzureSignIn, Begun, CanaryStep, Check, CloudInit,
    Comparison, DeploymentRecord, Direction, Failure, FleetEnvironment, FleetEvent, FleetPlan, FleetRelease,
    FleetState, Floor, FreezeWindow, HaproxyNode, Hook, HookPlan, HookPoint, HoursOfWeek, Inventory, Lost,
    Measured, Metric, NotAnAddress, Pace, PaceKind, Protection, Provision, ProvisionEvent, ProvisionPlan,
    ProvisionState, ProvisionTool, ProvisionVote, Provisioning, Queue, ReleaseSetting, Rollout, Samples,
    Schema, SchemaChange, SecretVersion, ServeRecord, Service, SourceOfRelease, Standing, StateFile, Target,
    TargetAction, TargetPlan, TargetRecord, TargetStep, TrafficPlan, TrafficSpec, Waiting, WarmPool,
    WarmTarget, Watch, Wave, WindowsRelease, WindowsWay, Work, WorkResult,
};
pub use id::{ArrivalId, AttemptId, DeploymentId, NotAnId, RunId, RunnerId, TokenId, TunnelId};
pub use jobs::{JobCut, Part, Taken, Uncuttable};
pub use manifest::{Entry, Manifest, NotRelative, RelPath};
pub use name::{Name, NotAName};
pub use package::{Companion, CompanionKind, NotAVersion, Package, Version};
pub use placement::Placement;
pub use plan::{
    Command, LeftOut, Limits, Network, PackagePlan, Plan, Readiness, Retry, RetryCause, ServicePlan, Source,
    StepKind, StepPlan, Tool, Trigger, TriggerKind,
};
pub use release::{HealthCheck, Process, Release};
pub use report::{
    Coverage, Finding, Findings, NotPassed, Passed, Severity, StepReport, StepResults, TestFailure,
    TestReport, TestSummary,
};
pub use run::{ImpossibleEvent, RunState};
pub use secret::Secret;
pub use step::{Blame, ImpossibleStepChange, StepChange, StepOutcome, StepState};
pub use testimony::{Doubt, FileAnswer, LONGEST_FILE, Testimony};
