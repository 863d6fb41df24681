//! Where steps run when a server runs them.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::Name;

/// Which runners may take a step. Decides nothing about what the step does: it is no part of its key, and on a person's own machine it
/// means nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placement {
    /// Those of this pool; the project's own if none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// Those that have all of these labels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<Name>,
}

impl Placement {
    /// Whether nothing is said.
    pub fn is_anywhere(&self) -> bool {
        *self == Self::default()
    }

    /// Whether each runner that may take this may take `other` as well.
    pub fn covers(&self, other: &Self) -> bool {
        self.pool == other.pool && other.labels.is_subset(&self.labels)
    }
}

impl fmt::Display for Placement {
    /// For people: `a runner of the pool linux with gpu`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pool {
            Some(pool) => write!(f, "a runner of the pool {pool}")?,
            None => write!(f, "any runner of the project's pool")?,
        }
        let labels: Vec<&str> = self.labels.iter().map(Name::as_str).collect();
        if labels.is_empty() { Ok(()) } else { write!(f, " with {}", labels.join(", ")) }
    }
}
