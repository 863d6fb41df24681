//! What a release does to data that outlive it, and how far back the code may go after that.

use serde::{Deserialize, Serialize};

use crate::{Digest, Version};

/// What a release says of the schema of its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// What it does to the schema.
    pub change: SchemaChange,
    /// The oldest version that works with the data as this release leaves them; `None` is any that worked before.
    pub rollback_floor: Option<Version>,
}

/// What a release does to the schema of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaChange {
    /// Nothing.
    None,
    /// It adds to it: what served before goes on working.
    Expand,
    /// It takes away what nothing above the floor needs any more. A deployment of its own, after the one that stopped needing it.
    Contract,
}

/// How far back an environment may go, as a plan found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The oldest version that works with the data as they are, or as the plan's release leaves them.
    pub version: Version,
    /// The release that said so.
    pub by: Digest,
    /// What the plan's release does to the schema.
    pub change: SchemaChange,
    /// Why the plan is not carried out unless a person says so with a reason: it leads below the floor, or it contracts what is needed.
    pub refused: Option<String>,
    /// Why nothing goes back by itself once something showed: what served before is below the floor.
    pub undo_refused: Option<String>,
}
