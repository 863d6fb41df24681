//! Lists, answered page by page: so many, and what to send as `after` for the next ones; none if there are no more.

use serde::{Deserialize, Serialize};

use super::{Arrival, Project, ReleaseSeen, RunnerSeen};
use crate::{ArrivalId, Name, RunnerId};

/// `GET /api/v1/projects`: by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectPage {
    /// At most as many as were asked for.
    pub projects: Vec<Project>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Name>,
}

/// `GET /api/v1/projects/{project}/arrivals`: the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivalPage {
    /// At most as many as were asked for.
    pub arrivals: Vec<Arrival>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<ArrivalId>,
}

/// `GET /api/v1/runners`: the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerPage {
    /// At most as many as were asked for.
    pub runners: Vec<RunnerSeen>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RunnerId>,
}

/// `GET /api/v1/projects/{project}/releases`: the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePage {
    /// At most as many as were asked for.
    pub releases: Vec<ReleaseSeen>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}
