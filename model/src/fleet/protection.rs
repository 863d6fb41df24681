//! What protects an environment. Kept by the server or in the home of who deploys, never in a pipeline: what a pull request edits
//! must not weaken it.

use std::{collections::BTreeSet, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Name, service::Trust};

/// What has to hold before a deployment to an environment may begin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Protection {
    /// Who has to say yes.
    pub approvals: Option<Approvals>,
    /// What else has to hold.
    pub checks: Vec<Check>,
    /// Branches that may be released here, as globs; any if empty.
    pub branches: Vec<String>,
    /// Whose code may be released here, at least, by what its package says of itself; any if none. Nobody goes past that. A server
    /// knows it of its packages, asks before, and says nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// Environments in which this very release must have succeeded before.
    pub after: BTreeSet<Name>,
    /// Spans of time in which nothing is deployed.
    pub freezes: Vec<FreezeWindow>,
    /// The hours in which deployments may begin; any if empty.
    pub hours: Vec<HoursOfWeek>,
    /// What becomes of deployments that wait for one another.
    pub queue: Queue,
}

/// Who has to say yes, to a plan's digest: an approval dies when the plan changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Approvals {
    /// People who may approve; a person counts once.
    pub people: BTreeSet<String>,
    /// How many of them have to.
    pub needed: u32,
    /// Whether who asked for the deployment may approve it.
    #[serde(default)]
    pub requester_may: bool,
    /// Seconds after which it is decided without them.
    pub deadline_seconds: u64,
    /// How it is decided then.
    #[serde(default)]
    pub at_deadline: AtDeadline,
    /// What people should look at before they say yes.
    #[serde(default)]
    pub instructions: String,
}

/// What silence means: too few said yes in time, and nobody said no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtDeadline {
    /// A no: the deployment expires.
    #[default]
    Expire,
    /// A yes: it is deployed where all else holds, which has a day from then on.
    Deploy,
}

impl AtDeadline {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expire => "expire",
            Self::Deploy => "deploy",
        }
    }
}

impl FromStr for AtDeadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Expire, Self::Deploy]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| format!("`{text}` is neither `expire` nor `deploy`"))
    }
}

/// What else has to hold. What can't be told does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "check")]
pub enum Check {
    /// An address answers with this status.
    Http {
        /// Where.
        url: String,
        /// With what.
        status: u16,
    },
    /// A Prometheus query gives one number that holds.
    Metric {
        /// What is asked, and the limit.
        metric: super::Metric,
    },
    /// The environment's machines are healthy now.
    Health,
}

/// A span of time in which nothing is deployed. An override is possible, with a reason, and is told in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FreezeWindow {
    /// From, as an RFC 3339 time or a date with zone.
    pub from: String,
    /// Until, exclusive.
    pub until: String,
    /// Why.
    pub why: String,
}

/// Hours in which deployments may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HoursOfWeek {
    /// `mon` to `sun`.
    pub days: BTreeSet<String>,
    /// `09:00`.
    pub from: String,
    /// `17:00`, exclusive.
    pub until: String,
    /// The IANA time zone.
    pub zone: String,
}

/// What becomes of deployments that wait for one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// The newest supersedes those that wait.
    #[default]
    NewestWins,
    /// All, in the order in which they came.
    InOrder,
}
