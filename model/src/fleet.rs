//! Environments of machines: where a release may go, in what order, and how it runs there.
//!
//! An environment of this kind has **targets** (machines, each of which runs one release at a time), perhaps in **pools** (blue
//! and green are pools of machines here, where a [`LocalEnvironment`](crate::LocalEnvironment) has pools of processes). What is
//! here is what a project's pipeline says; what protects an environment ([`Protection`]) is kept where no pipeline can weaken it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

mod address;
mod event;
mod plan;
mod protection;
mod provision;
mod record;
mod release;
mod rollout;
mod schema;
mod state;
mod traffic;
mod warm;
mod windows;

pub use address::NotAnAddress;
pub use event::{Ask, FleetEvent, TargetStep, Work, WorkResult};
pub use plan::{Direction, FleetPlan, HookPlan, Pace, PaceKind, TargetAction, TargetPlan, TrafficPlan, Wave};
pub use protection::{Approvals, AtDeadline, Check, FreezeWindow, HoursOfWeek, Protection, Queue};
pub use provision::{
    Begun, CloudInit, Provision, ProvisionEvent, ProvisionPlan, ProvisionState, ProvisionTool, ProvisionVote,
    Provisioning, Standing, Waiting,
};
pub use record::{DeploymentRecord, Failure, Lost, Measured, Samples, ServeRecord, TargetRecord};
pub use release::{FleetRelease, Hook, HookPoint, ReleaseSetting, SecretVersion, Service, SourceOfRelease};
pub use rollout::{Amount, Analysis, CanaryStep, Comparison, Metric, Rollout, Watch};
pub use schema::{Floor, Schema, SchemaChange};
pub use state::FleetState;
pub use traffic::{AzureSignIn, HaproxyNode, StateFile};
pub use warm::{WarmPool, WarmTarget};
pub use windows::{WindowsRelease, WindowsWay};

/// An environment whose releases run on machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetEnvironment {
    /// What people call it.
    pub name: Name,
    /// Its machines, in the order in which they are served. Those of the inventory come after those named in the file.
    pub targets: Vec<Target>,
    /// What names more machines when a deployment is planned.
    pub inventory: Option<Inventory>,
    /// How a release runs on a machine.
    pub setting: ReleaseSetting,
    /// In which order machines change.
    pub rollout: Rollout,
    /// Who sends requests to the machines; `None` where that is not Staith's concern.
    pub traffic: Option<TrafficSpec>,
    /// Seconds that requests in flight are given when traffic has moved away from them.
    pub drain_seconds: u64,
    /// Releases kept on each machine beside the current one; going back to one of them moves no bytes.
    pub keep_releases: u32,
}

impl FleetEnvironment {
    /// The folder of the application on a machine. Where several targets are one machine, each has its own below that of the
    /// environment.
    pub fn folder_on(&self, target: &Target) -> String {
        let here = self.targets.iter().filter(|other| other.access == Access::Local).count();
        match target.access {
            Access::Local if here > 1 => format!("{}/{}", self.setting.folder, target.name),
            _ => self.setting.folder.clone(),
        }
    }
}

/// A machine of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What people call it; unique in its environment.
    pub name: Name,
    /// How it is reached.
    pub access: Access,
    /// The pool that it belongs to, where the strategy has pools.
    pub pool: Option<Name>,
    /// For choosing among machines.
    pub tags: BTreeSet<Name>,
    /// What the machine is: `web`, `worker`. Hooks and variables may be for one role only.
    pub roles: BTreeSet<Name>,
    /// Variables of this machine alone; they win over those of roles and of the environment.
    pub variables: BTreeMap<String, String>,
    /// Host name or address, and port, at which the traffic provider and the health check of others reach the application;
    /// `None` means the machine's own address and the health check's port.
    pub serves_at: Option<String>,
}

/// How a machine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Access {
    /// OpenSSH's own configuration applies to `host`, which may be one of its aliases.
    Ssh {
        /// Host name, address, or alias in the configuration.
        host: String,
        /// `None` leaves it to the configuration.
        user: Option<String>,
        /// `None` leaves it to the configuration.
        port: Option<u16>,
        /// The host's key, pinned: `ssh-ed25519 AAAA...` or `SHA256:...`. `None` means that the known hosts decide.
        host_key: Option<String>,
        /// Whether the user who logs in becomes the superuser, by `sudo -n`, where they are not.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        superuser: bool,
    },
    /// This machine.
    Local,
    /// A registered runner on the machine asks for its deployments.
    Pull,
    /// Windows through its OpenSSH server. Not verified on Windows.
    Windows {
        /// Host name, address, or alias in the configuration.
        host: String,
        /// `None` leaves it to the configuration.
        user: Option<String>,
        /// `None` leaves it to the configuration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// The host's key, pinned, as for [`Access::Ssh`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_key: Option<String>,
        /// What gets the release there, and how.
        #[serde(flatten)]
        gets: WindowsRelease,
    },
}

/// What names machines when a deployment is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inventory {
    /// A program that prints targets as JSON.
    Command(Vec<String>),
    /// A file in the project with targets as JSON or TOML.
    File(String),
}

/// Who sends requests to the machines of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "provider")]
pub enum TrafficSpec {
    /// HAProxy, through its runtime API. Each node is told the same.
    Haproxy {
        /// How each is reached.
        nodes: Vec<HaproxyNode>,
        /// The backend whose servers are the targets, by their names.
        backend: String,
    },
    /// The built-in reverse proxy, `staith proxy serve`. Each node is told the same.
    BuiltIn {
        /// The control socket of each: `unix:/run/staith-proxy/control.sock`.
        nodes: Vec<String>,
        /// The backend whose members are the targets, by their names.
        backend: String,
    },
    /// Records of a zone, changed by RFC 2136 with TSIG.
    Dns {
        /// The server that takes updates, `HOST:PORT`.
        server: String,
        /// The zone.
        zone: String,
        /// The name whose address records are the machines that serve.
        record: String,
        /// Seconds that answers may be kept.
        ttl_seconds: u32,
        /// Name of the TSIG key.
        key: String,
        /// Name of the secret that is the key's value, in base64.
        secret: String,
    },
    /// Azure Traffic Manager's REST interface. Checked against recorded exchanges.
    TrafficManager {
        /// The profile's resource id.
        profile: String,
        /// Where Azure's resources are managed: `https://management.azure.com`.
        management: String,
        /// How Azure is told who asks.
        sign_in: AzureSignIn,
    },
}

impl FleetEnvironment {
    /// What the pipeline says of the environment, as a digest: part of a plan's identity.
    pub fn digest(&self) -> Digest {
        Digest::of_value("staith.fleet-environment.v1", self)
    }
}
