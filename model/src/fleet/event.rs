//! What is written into an environment's log: the truth from which its state is folded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{FleetPlan, HookPoint, ProvisionEvent};
use crate::{DeploymentChange, DeploymentId, Digest, Name, Reason};

/// One entry of an environment's log. Names and fields stay readable for ever: an old log must still tell its story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum FleetEvent {
    /// Somebody wants a release there.
    Requested {
        /// The deployment.
        deployment: DeploymentId,
        /// What will be done.
        plan: Box<FleetPlan>,
        /// Who.
        by: String,
        /// Why, in their words.
        reason: String,
        /// Whether nobody asked for this very deployment: a run releases what it made. Such a one stops where somebody holds the
        /// environment.
        #[serde(default, skip_serializing_if = "is_false")]
        by_itself: bool,
    },
    /// The plan was made anew, because what is there had changed. Approvals of the old one are void.
    Replanned {
        /// The deployment.
        deployment: DeploymentId,
        /// What will be done now.
        plan: Box<FleetPlan>,
    },
    /// Its gates were judged, with another result than before.
    Gates {
        /// The deployment.
        deployment: DeploymentId,
        /// The plan that was judged.
        plan: Digest,
        /// Whether all are open.
        open: bool,
        /// What is waited for, or why not.
        what: Vec<String>,
        /// Whether somebody, or something, said no: then nothing is waited for.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        refused: bool,
        /// That nobody decided in time, and the protection lets it through then: who was waited for. Nobody's approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_default_at_the_deadline: Option<String>,
    },
    /// A process drives the deployment from here on. All others have to stop.
    Lease {
        /// The deployment.
        deployment: DeploymentId,
        /// Higher than any before it.
        epoch: u64,
        /// Which process, on which machine.
        who: String,
    },
    /// Something is about to be done.
    Intent {
        /// The deployment.
        deployment: DeploymentId,
        /// The operation, the same each time it is asked for.
        operation: Digest,
        /// Under which epoch.
        epoch: u64,
        /// What.
        work: Work,
    },
    /// What came of it.
    Outcome {
        /// The deployment.
        deployment: DeploymentId,
        /// The operation.
        operation: Digest,
        /// What was done.
        work: Work,
        /// Under which epoch; what a driver writes that lost its lease counts for nothing.
        epoch: u64,
        /// What came of it.
        result: WorkResult,
    },
    /// A deployment went on.
    Changed {
        /// The deployment.
        deployment: DeploymentId,
        /// Under which epoch; 0 before there is a lease.
        epoch: u64,
        /// What happened.
        change: DeploymentChange,
        /// Why, where the change alone does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    /// A person wants something of a deployment.
    Asked {
        /// The deployment.
        deployment: DeploymentId,
        /// Who.
        by: String,
        /// What.
        ask: Ask,
    },
    /// An approver said yes or no.
    Voted {
        /// The deployment.
        deployment: DeploymentId,
        /// The plan that was looked at.
        plan: Digest,
        /// Who, as the system knows them.
        by: String,
        /// Yes to this plan, or no to the deployment.
        approves: bool,
        /// In their words.
        comment: String,
    },
    /// Somebody deploys in spite of what protects the environment.
    Overridden {
        /// The deployment.
        deployment: DeploymentId,
        /// The plan that it is for.
        plan: Digest,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Only a freeze; all else has to hold.
        freeze_only: bool,
        /// Only the rollback floor: the plan may lead below it, and so may its way back. Says nothing of gates.
        #[serde(default, skip_serializing_if = "is_false")]
        floor: bool,
    },
    /// A person took a machine out of deployments, or puts it back.
    Quarantine {
        /// The machine.
        target: Name,
        /// Whether it is out.
        out: bool,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nothing is deployed by itself until a person lifts it: somebody went back to an older release.
    Held {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Deployments by themselves may go on.
    HoldLifted {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The time is over for which the pool that served was kept as it was, and a process stops its services. All others have to stop.
    Cooling {
        /// The deployment that took the requests away from it.
        deployment: DeploymentId,
        /// Higher than any before it.
        epoch: u64,
        /// Which process, on which machine.
        who: String,
    },
    /// What came of stopping the service of one machine.
    Cooled {
        /// The deployment that took the requests away from it.
        deployment: DeploymentId,
        /// Under which epoch; what a process writes that was overtaken counts for nothing.
        epoch: u64,
        /// The machine.
        target: Name,
        /// What came of it.
        result: WorkResult,
    },
    /// Something about how the machines themselves come and go.
    Provision {
        /// What.
        provision: Box<ProvisionEvent>,
    },
}

impl FleetEvent {
    /// The deployment that it is about, where it is about one.
    pub const fn deployment(&self) -> Option<&DeploymentId> {
        match self {
            Self::Requested { deployment, .. }
            | Self::Replanned { deployment, .. }
            | Self::Gates { deployment, .. }
            | Self::Lease { deployment, .. }
            | Self::Intent { deployment, .. }
            | Self::Outcome { deployment, .. }
            | Self::Changed { deployment, .. }
            | Self::Asked { deployment, .. }
            | Self::Voted { deployment, .. }
            | Self::Overridden { deployment, .. }
            | Self::Cooling { deployment, .. }
            | Self::Cooled { deployment, .. } => Some(deployment),
            Self::Quarantine { .. }
            | Self::Held { .. }
            | Self::HoldLifted { .. }
            | Self::Provision { .. } => None,
        }
    }
}

/// What a person wants of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Ask {
    /// Stop and go back. Outranks everything else.
    Abort {
        /// Why.
        reason: String,
    },
    /// Begin nothing new; what is begun is finished.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Try again what failed, and only that.
    Retry,
    /// Go on without a machine; it counts as out of service.
    Skip {
        /// The machine.
        target: Name,
    },
    /// Take what is there as the end.
    Accept,
    /// Go back.
    RollBack,
}

/// Something that is done to a machine or to whoever balances. Each ensures something: doing it again is right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Work {
    /// The release's files are on the machine, verified.
    Stage {
        /// The machine.
        target: Name,
    },
    /// A hook has run.
    Hook {
        /// The machine.
        target: Name,
        /// The hook.
        hook: Name,
        /// When.
        at: HookPoint,
    },
    /// The machine runs this release; `None` is nothing.
    Switch {
        /// The machine.
        target: Name,
        /// The release.
        to: Option<Digest>,
    },
    /// The release on the machine is asked how it is. Reads only.
    Probe {
        /// The machine.
        target: Name,
        /// The release that has to answer.
        release: Digest,
        /// A glance at what has been proven before, rather than a proof.
        glance: bool,
    },
    /// Exactly these get requests, by weight.
    Serve {
        /// They.
        to: BTreeMap<Name, u32>,
    },
    /// The wave is measured. Reads only.
    Analyse {
        /// The wave.
        wave: u32,
    },
    /// Releases that nobody needs are gone from the machine.
    Retain {
        /// The machine.
        target: Name,
        /// Those that stay.
        keep: BTreeSet<Digest>,
    },
    /// The machine is looked at. Reads only, and is never written down.
    Observe {
        /// The machine.
        target: Name,
    },
    /// Whoever balances is looked at. Reads only, and is never written down.
    Look,
}

impl Work {
    /// The machine that it is done to.
    pub const fn target(&self) -> Option<&Name> {
        match self {
            Self::Stage { target }
            | Self::Hook { target, .. }
            | Self::Switch { target, .. }
            | Self::Probe { target, .. }
            | Self::Retain { target, .. }
            | Self::Observe { target } => Some(target),
            Self::Serve { .. } | Self::Analyse { .. } | Self::Look => None,
        }
    }

    /// Whether it changes nothing, however often it is done.
    pub const fn only_reads(&self) -> bool {
        matches!(self, Self::Probe { .. } | Self::Analyse { .. } | Self::Observe { .. } | Self::Look)
    }

    /// Whether it is only a look, which no log needs.
    pub const fn is_look(&self) -> bool {
        matches!(self, Self::Observe { .. } | Self::Look)
    }
}

/// What came of something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum WorkResult {
    /// It is so now.
    Done {
        /// It was so before.
        already: bool,
        /// Requests, or sessions, that members which went were still answering when their time was up; of who gets requests only.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        left: BTreeMap<Name, u64>,
    },
    /// Nobody answered: it may be so or not. Never a failure by itself.
    Unknown {
        /// How contact was lost.
        why: String,
    },
    /// It was done, or asked, and says neither yes nor no. Never a success.
    Inconclusive {
        /// Why it can't be told.
        why: String,
    },
    /// It is not so, and asking again would not help.
    Failed {
        /// What happened, with its evidence.
        reason: Reason,
    },
    /// A person has to find out whether it was done.
    Undecided {
        /// Why it can't be told.
        why: String,
    },
}

impl WorkResult {
    /// It is so now; `already`, if it was so before.
    pub const fn done(already: bool) -> Self {
        Self::Done { already, left: BTreeMap::new() }
    }
}

/// How far a machine is in a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetStep {
    /// Nothing is known.
    Unknown,
    /// It answered.
    Reached,
    /// It has every byte, verified.
    Staged,
    /// It gets no new requests and has answered those it had.
    Drained,
    /// Its `current` may point to the release.
    Switched,
    /// The service was restarted.
    Restarted,
    /// The release was proven to work there.
    Probed,
    /// It gets requests.
    Admitted,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
