//! The operations of a plan. Each is an ensure: doing it again is right, and [`Operation::holds`] tells when it needs
//! not be done.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use staith_model::Digest;

use crate::{
    host::{HostState, Life},
    keeper::Pool,
    traffic::TrafficState,
};

/// One thing to ensure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
pub enum Operation {
    /// The release's files are in place, every byte verified.
    Stage,
    /// A pool that gets no requests has finished those it has and runs nothing.
    Clear {
        /// The pool.
        pool: Pool,
    },
    /// A pool that gets no requests runs the release.
    Start {
        /// The pool.
        pool: Pool,
    },
    /// The release in a pool is proven to work. Reads only.
    Probe {
        /// The pool.
        pool: Pool,
    },
    /// A pool gets all requests from now on.
    Switch {
        /// The pool.
        to: Pool,
    },
    /// The release is proven to work through the front door. Reads only.
    Verify {
        /// The pool that must answer.
        pool: Pool,
    },
    /// `current` points to the release.
    Activate,
    /// The pool that lost the requests has finished those it has. It keeps running, for an undo without a start.
    Drain {
        /// The pool.
        pool: Pool,
    },
    /// The files of other releases are gone.
    Retain {
        /// Those that stay.
        keep: BTreeSet<Digest>,
    },
}

/// The part of a deployment's life that an operation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the barrier: no client can see anything of it.
    Staging,
    /// Requests are moved.
    Switching,
    /// They have moved, and it is watched.
    Soaking,
    /// What was before is put away.
    Finalizing,
}

impl Operation {
    /// The part of a deployment's life that it belongs to.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Stage | Self::Clear { .. } | Self::Start { .. } | Self::Probe { .. } => Phase::Staging,
            Self::Switch { .. } => Phase::Switching,
            Self::Verify { .. } => Phase::Soaking,
            Self::Activate | Self::Drain { .. } | Self::Retain { .. } => Phase::Finalizing,
        }
    }

    /// Whether it changes nothing, however often it is done.
    pub const fn only_reads(&self) -> bool {
        matches!(self, Self::Probe { .. } | Self::Verify { .. })
    }

    /// Whether what it ensures is so already, as far as a look at pools and traffic tells. `false` where it takes more
    /// than that to know; doing it then finds out.
    pub fn holds(&self, release: Digest, host: &HostState, traffic: &TrafficState) -> bool {
        let view = |pool: &Pool| host.pools.get(pool);
        match self {
            Self::Stage | Self::Probe { .. } | Self::Verify { .. } => false,
            Self::Clear { pool } => view(pool).is_none(),
            Self::Start { pool } => view(pool).is_some_and(|view| {
                view.release == Some(release) && !view.orphaned && view.life != Life::Down
            }),
            Self::Switch { to } => traffic.active == Some(*to),
            Self::Activate => host.current == Some(release),
            Self::Drain { pool } => traffic.in_flight.get(pool).copied().unwrap_or(0) == 0,
            Self::Retain { keep } => host.releases.is_subset(keep),
        }
    }

    /// Whether it would take away what clients are using now. A plan never has such an operation; whoever executes one
    /// looks once more, because the world may have changed since it was planned.
    pub fn endangers(&self, traffic: &TrafficState) -> bool {
        match self {
            Self::Clear { pool } | Self::Start { pool } | Self::Drain { pool } => {
                traffic.active == Some(*pool)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage => f.write_str("put the release's files in place and verify every byte"),
            Self::Clear { pool } => write!(f, "make room in pool {pool}"),
            Self::Start { pool } => write!(f, "start the release in pool {pool}"),
            Self::Probe { pool } => write!(f, "ask pool {pool} until the release is healthy"),
            Self::Switch { to } => write!(f, "send all new requests to pool {to}"),
            Self::Verify { .. } => f.write_str("ask the release through the proxy"),
            Self::Activate => f.write_str("point `current` to the release"),
            Self::Drain { pool } => write!(f, "let pool {pool} finish its requests; it stays warm"),
            Self::Retain { keep } => write!(f, "remove the files of all but {} releases", keep.len()),
        }
    }
}
