//! What will be done, from what is wanted and what is there. Pure.
//!
//! A plan is a list of ensure-operations in the one order in which no request finds no server: the new release is up and
//! proven before it gets requests, and the old one keeps running after it got its last. Nobody but [`plan`] can make
//! one, so another order can't be expressed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use staith_model::{Digest, LocalEnvironment, Release};

use crate::{
    host::{Files, HostState, Life},
    keeper::Pool,
    traffic::TrafficState,
};

mod operation;
#[cfg(test)]
mod tests;

pub use operation::{Operation, Phase};

/// What was seen before planning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// How the wanted release's files are.
    pub files: Files,
    /// What the host holds and runs.
    pub host: HostState,
    /// Who gets requests.
    pub traffic: TrafficState,
    /// Pools that hold the wanted release and were glanced at: whether it is healthy.
    pub healthy: BTreeMap<Pool, bool>,
    /// Releases that have served here, the newest first.
    pub history: Vec<Digest>,
    /// The release to go back to, as recorded.
    pub previous: Option<Digest>,
}

impl Observed {
    /// The release that gets requests.
    pub fn serving(&self) -> Option<Digest> {
        self.traffic.active.and_then(|pool| self.release_in(pool))
    }

    fn release_in(&self, pool: Pool) -> Option<Digest> {
        self.host.pools.get(&pool).and_then(|view| view.release)
    }

    fn life(&self, pool: Pool) -> Life {
        self.host.pools.get(&pool).map_or(Life::Down, |view| view.life)
    }

    fn in_flight(&self, pool: Pool) -> u64 {
        self.traffic.in_flight.get(&pool).copied().unwrap_or(0)
    }

    /// Whether a pool runs the wanted release from files that are as they should be.
    fn seats(&self, pool: Pool, wanted: Digest) -> bool {
        self.files == Files::Complete
            && self
                .host
                .pools
                .get(&pool)
                .is_some_and(|view| view.release == Some(wanted) && !view.orphaned && view.life != Life::Down)
    }

    /// Whether what sits in a pool may stay: it works, or has not had the time to.
    fn may_stay(&self, pool: Pool, wanted: Digest) -> bool {
        let works = self.healthy.get(&pool).copied().unwrap_or(false);
        self.seats(pool, wanted) && (works || self.life(pool) == Life::Starting)
    }
}

/// What will be done, in order, with nothing left to choose. Only [`plan`] makes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentPlan {
    release: Digest,
    previous: Option<Digest>,
    operations: Vec<Operation>,
}

impl DeploymentPlan {
    /// The release that will serve.
    pub const fn release(&self) -> Digest {
        self.release
    }

    /// The release to go back to afterwards.
    pub const fn previous(&self) -> Option<Digest> {
        self.previous
    }

    /// What will be done, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether it changes nothing: the release serves already.
    pub fn only_reads(&self) -> bool {
        self.operations.iter().all(Operation::only_reads)
    }

    /// The pool that will serve.
    pub fn pool(&self) -> Option<Pool> {
        self.operations.iter().find_map(|operation| match operation {
            Operation::Verify { pool } => Some(*pool),
            _ => None,
        })
    }

    /// Whether the release is started anew in a pool, rather than found there.
    pub fn starts(&self) -> Option<Pool> {
        self.operations.iter().find_map(|operation| match operation {
            Operation::Start { pool } => Some(*pool),
            _ => None,
        })
    }

    /// The identity of the plan.
    pub fn digest(&self) -> Digest {
        Digest::of_value("staith.deployment-plan.v1", self)
    }
}

/// Plans how `release` comes to serve in `environment`, given what is there.
pub fn plan(release: &Release, environment: &LocalEnvironment, observed: &Observed) -> DeploymentPlan {
    let wanted = release.digest();
    let active = observed.traffic.active;
    let mut operations = Vec::new();
    if observed.files != Files::Complete {
        operations.push(Operation::Stage);
    }
    let pool = match active {
        Some(pool) if observed.may_stay(pool, wanted) => pool,
        _ => seat_for(wanted, observed),
    };
    if active == Some(pool) {
        operations.push(Operation::Probe { pool });
    } else {
        move_to(pool, wanted, observed, &mut operations);
    }
    operations.push(Operation::Verify { pool });
    if observed.host.current != Some(wanted) {
        operations.push(Operation::Activate);
    }
    // The pool that lost the requests, now or in a deployment that was killed before it came to this.
    let left = pool.other();
    let lost_now = active == Some(left) && observed.life(left) != Life::Down;
    if lost_now || observed.in_flight(left) > 0 {
        operations.push(Operation::Drain { pool: left });
    }
    let previous = observed.serving().filter(|serving| *serving != wanted).or(observed.previous);
    let previous = previous.filter(|previous| *previous != wanted);
    let keep = keep(wanted, previous, left, environment, observed);
    if observed.host.releases.iter().any(|release| !keep.contains(release)) {
        operations.push(Operation::Retain { keep });
    }
    DeploymentPlan { release: wanted, previous, operations }
}

/// The pool that gets no requests; where none does, one that holds the release already.
fn seat_for(wanted: Digest, observed: &Observed) -> Pool {
    match observed.traffic.active {
        Some(active) => active.other(),
        None => Pool::ALL.into_iter().find(|pool| observed.seats(*pool, wanted)).unwrap_or(Pool::Blue),
    }
}

/// New up, proven, then switched to.
fn move_to(pool: Pool, wanted: Digest, observed: &Observed, operations: &mut Vec<Operation>) {
    let may_stay = observed.may_stay(pool, wanted);
    let occupied = observed.host.pools.contains_key(&pool);
    if !may_stay && occupied {
        operations.push(Operation::Clear { pool });
    }
    if !may_stay {
        operations.push(Operation::Start { pool });
    }
    operations.push(Operation::Probe { pool });
    operations.push(Operation::Switch { to: pool });
}

/// What stays on disk: the new release, the one to go back to, the one that stays warm, and the newest of the others.
fn keep(
    wanted: Digest,
    previous: Option<Digest>,
    warm: Pool,
    environment: &LocalEnvironment,
    observed: &Observed,
) -> BTreeSet<Digest> {
    let mut keep: BTreeSet<Digest> =
        [Some(wanted), previous, observed.release_in(warm)].into_iter().flatten().collect();
    let more = usize::try_from(environment.keep_releases).unwrap_or(usize::MAX);
    let others: Vec<Digest> = observed
        .history
        .iter()
        .filter(|release| !keep.contains(*release) && observed.host.releases.contains(*release))
        .take(more)
        .copied()
        .collect();
    keep.extend(others);
    keep
}
