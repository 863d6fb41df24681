//! How the machines of an environment come about, and how they go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

mod event;
mod state;

pub use event::{ProvisionEvent, ProvisionPlan, Provisioning};
pub use state::{Begun, ProvisionState, ProvisionVote, Standing, Waiting};

/// How the machines of an environment come about, and how they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// The folder of the project that has all that is needed for it. It is copied, so that what was made can be torn down when the
    /// project is gone.
    pub folder: String,
    /// What makes them.
    pub tool: ProvisionTool,
    /// Seconds after which all of it is torn down; `None` keeps it.
    pub time_to_live_seconds: Option<u64>,
    /// Plain values: Terraform's variables, Bicep's parameters, and the environment of programs.
    pub variables: BTreeMap<String, String>,
    /// The same whose values are secrets: which secret each is.
    pub secrets: BTreeMap<String, String>,
    /// What new machines do when they start for the first time; `None` where that is not Staith's concern.
    pub cloud_init: Option<CloudInit>,
    /// Seconds that each program has.
    pub timeout_seconds: u64,
}

/// What makes machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ProvisionTool {
    /// Programs of one's own. Each ensures something: giving it again is right.
    Command {
        /// Says what would be done; nothing, if nothing has to be.
        plan: Option<Vec<String>>,
        /// Makes it.
        apply: Vec<String>,
        /// Prints the machines, as an inventory does.
        outputs: Option<Vec<String>>,
        /// Takes it down.
        destroy: Vec<String>,
    },
    /// Terraform, or OpenTofu, which has the same commands.
    Terraform {
        /// `terraform`, `tofu`, or a path.
        program: String,
    },
    /// Bicep and ARM templates through Azure's command line. Not verified against Azure.
    Bicep {
        /// `az`, or a path.
        program: String,
        /// The template, below the folder.
        template: String,
        /// The resource group.
        group: String,
        /// The deployment stack that owns what is made; `None` means that the group is for this environment alone, and that tearing
        /// down deletes it.
        stack: Option<String>,
    },
}

impl ProvisionTool {
    /// What people call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Terraform { .. } => "terraform",
            Self::Bicep { .. } => "bicep",
        }
    }
}

/// What new machines do when they start for the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInit {
    /// A file below the folder in which `#{NAME}#` stands for values; `None` where the tool makes user data itself.
    pub template: Option<String>,
    /// Machines for which it is rendered before the tool runs.
    pub machines: Vec<Name>,
    /// Seconds in which all machines have to answer and be done; `None` waits for nothing.
    pub wait_seconds: Option<u64>,
}

impl Provision {
    /// What is said of it, with the files that it needs and the versions of its secrets, as one digest: what has another one has
    /// changed.
    pub fn definition(&self, files: &Digest, secrets: &BTreeMap<String, String>) -> Digest {
        Digest::of_value("staith.provision.v1", &(self, files, secrets))
    }
}
