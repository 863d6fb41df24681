//! What is written into an environment's log of how its machines come and go.

use serde::{Deserialize, Serialize};

use super::Provision;
use crate::{Digest, Reason, Target};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provisioning {
    /// Make it as it is described.
    Apply,
    /// Take all of it down.
    Destroy,
}

/// What would be done; its digest is what people approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionPlan {
    /// Which way.
    pub direction: Provisioning,
    /// What it is made from: [`Provision::definition`].
    pub definition: Digest,
    /// The same by value, so that it can be taken down when the project is gone.
    pub provision: Provision,
    /// The text that people are shown.
    pub text: Digest,
    /// The saved plan that is applied as it is, where the tool has one.
    pub file: Option<Digest>,
    /// Whether the tool says that nothing has to be done.
    pub nothing: bool,
}

impl ProvisionPlan {
    /// The identity of the plan.
    pub fn digest(&self) -> Digest {
        Digest::of_value("staith.provision-plan.v1", self)
    }
}

/// One entry about machines that come and go. Names and fields stay readable for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ProvisionEvent {
    /// A plan was made, and waits for its gates.
    Planned {
        /// What would be done.
        plan: Box<ProvisionPlan>,
        /// Who wants it.
        by: String,
        /// Why, in their words.
        reason: String,
    },
    /// The plan that waited is not carried out.
    Withdrawn {
        /// Which.
        plan: Digest,
        /// Why not.
        why: String,
    },
    /// An approver said yes or no.
    Voted {
        /// The plan that was looked at.
        plan: Digest,
        /// Who, as the system knows them.
        by: String,
        /// Yes to this plan, or no.
        approves: bool,
        /// In their words.
        comment: String,
    },
    /// Somebody goes on in spite of what protects the environment.
    Overridden {
        /// The plan that it is for.
        plan: Digest,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// Only a freeze; all else has to hold.
        freeze_only: bool,
    },
    /// A plan is about to be carried out. From here on there may be machines.
    Began {
        /// What is done.
        plan: Box<ProvisionPlan>,
        /// When all of it is to be torn down, in milliseconds since 1970.
        due: Option<u64>,
        /// Which process does it, on which machine.
        who: String,
    },
    /// It is as the plan says.
    Applied {
        /// The plan.
        plan: Digest,
        /// The machines that the outputs name.
        targets: Vec<Target>,
    },
    /// New machines were waited for.
    Waited {
        /// The plan that made them.
        plan: Digest,
        /// Why they are not ready; `None` if they are.
        failed: Option<Reason>,
    },
    /// It could not be carried out, or not wholly.
    Failed {
        /// The plan.
        plan: Digest,
        /// Why not.
        reason: Reason,
    },
    /// All of it is taken down.
    Gone {
        /// The plan.
        plan: Digest,
    },
}
