//! Releases on a server: what people ask, and what the process that deploys is told and says. Times are milliseconds since 1970.
//!
//! 1. [`ReleaseAsked`], [`ReleaseSeen`]: a run's package, frozen. 2. [`EnvironmentRules`]: what protects an environment.
//! 3. [`DeployAsked`] and its like: what people want; [`OrderSeen`]: what became of it. [`EnvironmentView`]: how it stands there.
//!    Both are in `environment`.
//! 4. [`Orders`], [`OrderAnswer`], [`LedgerPart`]: between the server and its deployer.

mod environment;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::environment::{DeploymentView, EnvironmentRules, EnvironmentView, PastGates};
use super::Trust;
use crate::{
    Ask, DeploymentId, Digest, FleetEvent, FleetPlan, FleetRelease, Name, Protection, RunId, SourceOfRelease,
    Version,
};

/// `POST /api/v1/projects/{project}/releases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAsked {
    /// The run that made the package; it has passed.
    pub run: RunId,
    /// Which of its packages, if it made several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Name>,
}

/// How far a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseStanding {
    /// The deployer is to make it.
    Making,
    /// It can be deployed.
    Made,
    /// It can't be made; asked for again, it is tried again.
    Refused,
}

impl ReleaseStanding {
    /// As the store writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Made => "made",
            Self::Refused => "refused",
        }
    }
}

/// A release as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSeen {
    /// Its number in the project.
    pub number: u64,
    /// The run that made its package.
    pub run: RunId,
    /// The package.
    pub package: Name,
    /// Its version.
    pub version: Version,
    /// Whose code it is.
    pub trust: Trust,
    /// Where it came from.
    pub source: SourceOfRelease,
    /// How far it is.
    pub state: ReleaseStanding,
    /// Its identity, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The environments that it can go to.
    #[serde(default)]
    pub environments: BTreeSet<Name>,
    /// Why it can't be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub created: u64,
}

impl ReleaseSeen {
    /// Whether people may mean it by this: its number, the beginning of its digest, or its package's version.
    pub fn is_called(&self, text: &str) -> bool {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let version = self.version.as_str();
        text == self.number.to_string()
            || text == version
            || text.strip_prefix(self.package.as_str()).and_then(|rest| rest.strip_prefix('@'))
                == Some(version)
            || (hex.len() >= 8 && self.digest.is_some_and(|digest| digest.hex().starts_with(hex)))
    }
}

/// `POST …/environments/{environment}/deployments`, and `…/plans`, which only looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployAsked {
    /// The release: its number, the beginning of its digest, its package's version, or `latest`.
    pub release: String,
    /// Only if this is still the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Whether machines that run the release already are looked at byte by byte.
    #[serde(default, skip_serializing_if = "is_not")]
    pub repair: bool,
    /// Why it may lead below the rollback floor nevertheless. An administrator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_floor: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_not(value: &bool) -> bool {
    !*value
}

/// `POST …/environments/{environment}/swaps`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapAsked {
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Why it may lead below the rollback floor nevertheless. An administrator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_floor: Option<String>,
}

/// `POST …/environments/{environment}/rollbacks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackAsked {
    /// The release; the one before if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Also where machines lack it or can't be asked.
    #[serde(default)]
    pub force: bool,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Why it may lead below the rollback floor nevertheless. An administrator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_floor: Option<String>,
}

/// `POST …/environments/{environment}/votes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteAsked {
    /// The plan that was looked at: that of the deployment that waits.
    pub plan: Digest,
    /// Yes to it, or no to the deployment.
    pub approves: bool,
    /// In the voter's words.
    #[serde(default)]
    pub comment: String,
}

/// `POST …/environments/{environment}/overrides`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideAsked {
    /// The plan that was looked at: that of the deployment that waits; with `floor`, of the one that stopped.
    pub plan: Digest,
    /// Why, in words.
    pub reason: String,
    /// Whether it is a freeze alone that nobody waits for; all else still has to hold.
    #[serde(default)]
    pub freeze_only: bool,
    /// Whether it is the rollback floor alone: a deployment that stopped above it goes back nevertheless. No gate is gone past.
    #[serde(default, skip_serializing_if = "is_not")]
    pub floor: bool,
}

/// `POST …/environments/{environment}/asks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WishAsked {
    /// What is wanted of the deployment that has the environment, or else of the newest that waits.
    pub ask: Ask,
}

/// `POST …/environments/{environment}/lifts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftAsked {
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// `POST …/environments/{environment}/quarantines`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineAsked {
    /// The machine.
    pub target: Name,
    /// Whether it is taken out of deployments, or put back.
    pub out: bool,
    /// Why; who takes one out has to say it.
    #[serde(default)]
    pub reason: String,
}

/// What somebody asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSeen {
    /// By which it is looked up.
    pub order: u64,
    /// The project.
    pub project: Name,
    /// Who asked.
    pub by: String,
    /// When.
    pub asked: u64,
    /// What the deployer said; nothing yet if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<OrderAnswer>,
}

/// What became of what the deployer was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum OrderAnswer {
    /// It is written down, and goes on by itself.
    Done,
    /// A release is made.
    Made {
        /// Its identity.
        release: Digest,
        /// Where it can go.
        environments: BTreeSet<Name>,
        /// The release itself, for people to look at. One that was made before deployers said so has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frozen: Option<Box<FleetRelease>>,
    },
    /// What would happen, or will.
    Planned {
        /// The deployment, if one was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deployment: Option<DeploymentId>,
        /// The plan.
        plan: Box<FleetPlan>,
        /// Its digest: what people approve.
        digest: Digest,
    },
    /// It can't be done. Nothing was changed.
    Refused {
        /// What.
        what: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// What to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remedy: Option<String>,
    },
}

/// What the deployer is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Freeze a package with the environments of the pipeline that made it.
    Make {
        /// What is frozen.
        material: Box<ReleaseMaterial>,
    },
    /// Look what a deployment would do.
    Plan {
        /// Where to.
        environment: Name,
        /// The release.
        release: Digest,
        /// The pipeline file of the release: which machines, in which order.
        pipeline: String,
        /// Files of its commit that name more machines, by their paths.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        inventories: BTreeMap<String, String>,
        /// Whether machines that run the release already are looked at byte by byte.
        #[serde(default, skip_serializing_if = "is_not")]
        repair: bool,
    },
    /// Deploy.
    Deploy {
        /// Where to.
        environment: Name,
        /// Its identity.
        deployment: DeploymentId,
        /// The release.
        release: Digest,
        /// Whose code it is.
        trust: Trust,
        /// The pipeline file of the release.
        pipeline: String,
        /// Files of its commit that name more machines, by their paths.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        inventories: BTreeMap<String, String>,
        /// Only if this is the plan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<Digest>,
        /// Why.
        reason: String,
        /// Whether nobody asked for this very deployment.
        by_itself: bool,
        /// Whether machines that run the release already are looked at byte by byte.
        #[serde(default, skip_serializing_if = "is_not")]
        repair: bool,
        /// Why it may lead below the rollback floor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        override_floor: Option<String>,
    },
    /// Give the requests to the other pool.
    Swap {
        /// Where.
        environment: Name,
        /// Its identity.
        deployment: DeploymentId,
        /// Why.
        reason: String,
        /// Why it may lead below the rollback floor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        override_floor: Option<String>,
    },
    /// Go back.
    Rollback {
        /// Where.
        environment: Name,
        /// Its identity.
        deployment: DeploymentId,
        /// To which release; the one before if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Digest>,
        /// Also where machines lack it.
        force: bool,
        /// Why.
        reason: String,
        /// Why it may lead below the rollback floor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        override_floor: Option<String>,
    },
    /// Somebody said yes or no.
    Vote {
        /// Where.
        environment: Name,
        /// To which deployment.
        deployment: DeploymentId,
        /// To which plan.
        plan: Digest,
        /// Yes or no.
        approves: bool,
        /// In their words.
        comment: String,
    },
    /// Somebody takes it upon themselves to deploy in spite of what protects the environment.
    Override {
        /// Where.
        environment: Name,
        /// Which deployment.
        deployment: DeploymentId,
        /// Which plan.
        plan: Digest,
        /// Why.
        reason: String,
        /// Whether it is a freeze alone.
        freeze_only: bool,
        /// Whether it is the rollback floor alone.
        #[serde(default, skip_serializing_if = "is_not")]
        floor: bool,
    },
    /// Somebody wants something of a deployment.
    Wish {
        /// Where.
        environment: Name,
        /// Of which.
        deployment: DeploymentId,
        /// What.
        ask: Ask,
    },
    /// Runs may release there again.
    Lift {
        /// Where.
        environment: Name,
        /// Why.
        reason: String,
    },
    /// Deployments leave a machine alone, or come to it again.
    Quarantine {
        /// Where.
        environment: Name,
        /// The machine.
        target: Name,
        /// Whether it is taken out, or put back.
        out: bool,
        /// Why.
        reason: String,
    },
}

impl Order {
    /// Where, if it is about an environment.
    pub const fn environment(&self) -> Option<&Name> {
        match self {
            Self::Make { .. } => None,
            Self::Plan { environment, .. }
            | Self::Deploy { environment, .. }
            | Self::Swap { environment, .. }
            | Self::Rollback { environment, .. }
            | Self::Override { environment, .. }
            | Self::Vote { environment, .. }
            | Self::Wish { environment, .. }
            | Self::Lift { environment, .. }
            | Self::Quarantine { environment, .. } => Some(environment),
        }
    }
}

/// What a release is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseMaterial {
    /// Its number in the project.
    pub number: u64,
    /// The package.
    pub package: Name,
    /// Its version.
    pub version: Version,
    /// The digest of the package's file: nothing else may be frozen under that name.
    pub digest: Digest,
    /// Where it came from.
    pub source: SourceOfRelease,
    /// The pipeline file of the commit.
    pub pipeline: String,
    /// Files of the commit that name machines (`inventory = { file = … }`), by their paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inventories: BTreeMap<String, String>,
}

/// Something that the deployer is to do, until it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrder {
    /// Which; later ones are higher.
    pub order: u64,
    /// The project.
    pub project: Name,
    /// On whose behalf.
    pub by: String,
    /// When it was asked.
    pub asked: u64,
    /// What.
    pub what: Order,
}

/// `GET /api/v1/deployer/orders?after=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// What is not answered yet, in order.
    pub orders: Vec<OpenOrder>,
    /// What protects which environment now. Of one that is not here, [`Guarded::unsaid`] holds.
    pub guarded: Vec<Guarded>,
}

/// What protects an environment, as whoever deploys judges by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// The project.
    pub project: Name,
    /// The environment.
    pub environment: Name,
    /// Whose code may be deployed there, at least.
    pub trust: Trust,
    /// The gates.
    pub protection: Protection,
    /// Who may go past gates there now: what others said who no longer may counts for nothing. `None` where nothing is protected.
    #[serde(default)]
    pub overriders: Option<BTreeSet<String>>,
}

impl Guarded {
    /// Of an environment of which nobody said anything.
    pub fn unsaid(project: Name, environment: Name) -> Self {
        let protection = Protection::default();
        Self { project, environment, trust: Trust::Protected, protection, overriders: None }
    }
}

/// An entry of an environment's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its place, from 1.
    pub position: u64,
    /// When it was appended.
    pub at: u64,
    /// What happened.
    pub event: FleetEvent,
}

/// `POST /api/v1/deployer/ledger`: what follows what the server has. Without entries, it only asks how much that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerPart {
    /// The project.
    pub project: Name,
    /// The environment.
    pub environment: Name,
    /// In order, without a gap.
    pub entries: Vec<LedgerEntry>,
}

/// How much of a ledger the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHad {
    /// The last place.
    pub position: u64,
}
