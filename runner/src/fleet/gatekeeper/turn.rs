//! Whose turn it is, of deployments to one environment that wait for one another.

use staith_model::{DeploymentId, DeploymentRecord, DeploymentState, Direction, FleetState, Queue};
use staith_releaser::fleet::{
    drive::FleetDriveError,
    gate::{
        Ruling,
        queue::{Next, next},
    },
};

use super::Gatekeeper;
use crate::clock;

/// So long a deployment whose gates are open may take to have the environment, in milliseconds. One that takes longer has nobody who
/// drives it, and its gates are judged again when somebody does.
const TO_BEGIN: u64 = 60_000;

/// What the others mean for a deployment that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody comes first.
    Now,
    /// Somebody does, as this says.
    Later(String),
    /// A newer one took its place.
    Never {
        /// Which.
        by: String,
    },
}

impl Gatekeeper {
    /// Whether it is this deployment's turn. Cancel-safe.
    pub(super) async fn turn_of(&self, record: &DeploymentRecord) -> Turn {
        // Going back waits for nobody, and takes nobody's place.
        if record.plan.direction == Direction::Back {
            return Turn::Now;
        }
        let state = match self.state() {
            Ok(state) => state,
            Err(error) => return Turn::Later(error.to_string()),
        };
        if let Some(by) = self.overtaken_by(record, &state) {
            return Turn::Never { by: by.to_string() };
        }
        let busy =
            state.in_order().find(|other| other.deployment != record.deployment && is_under_way(other));
        let waiting = self.waiting(&state).await;
        let Next { begins, superseded } = next(self.protection.queue, &waiting, busy.is_some());
        if let (true, Some((_, newest))) = (superseded.contains(&record.deployment), waiting.last()) {
            return Turn::Never { by: newest.to_string() };
        }
        match (busy, begins) {
            (Some(busy), _) => Turn::Later(format!("deployment {}, which is under way", busy.deployment)),
            (None, Some(first)) if first != record.deployment => {
                Turn::Later(format!("its turn: deployment {first} comes first"))
            }
            (None, _) => Turn::Now,
        }
    }

    /// The deployment that people mean who say yes or no and name no plan. Cancel-safe.
    ///
    /// # Errors
    /// The ledger can't be read.
    pub(crate) async fn whose_turn(&self) -> Result<Option<DeploymentId>, FleetDriveError> {
        let waiting = self.waiting(&self.state()?).await;
        Ok(next(self.protection.queue, &waiting, false).begins)
    }

    fn state(&self) -> Result<FleetState, FleetDriveError> {
        let entries = self.log.since(0)?;
        Ok(FleetState::of(entries.iter().map(|entry| (entry.at, &entry.event))))
    }

    /// A newer one that has begun since has taken its place, if that is the rule: what is older is not put above it.
    fn overtaken_by<'a>(&self, record: &DeploymentRecord, state: &'a FleetState) -> Option<&'a DeploymentId> {
        let newer = state.in_order().rev().take_while(|other| other.deployment != record.deployment);
        let began = |other: &&DeploymentRecord| {
            let is_on_its_way = other.state.holds_environment() && !other.back;
            let leads_on = is_on_its_way || other.state == DeploymentState::Succeeded;
            leads_on && other.plan.direction == Direction::Forward
        };
        let mut newer = newer.filter(began).filter(|_| self.protection.queue == Queue::NewestWins);
        newer.next().map(|other| &other.deployment)
    }

    /// Those that wait, with their places. In order, one that will never begin is in nobody's way, though nobody has written that down:
    /// it may be that no process drives it.
    async fn waiting(&self, state: &FleetState) -> Vec<(u64, DeploymentId)> {
        let mut waiting = Vec::new();
        for (place, record) in (0..).zip(state.in_order()) {
            let waits = matches!(record.state, DeploymentState::Planned | DeploymentState::AwaitingGates);
            if !waits || record.plan.direction == Direction::Back {
                continue;
            }
            if self.protection.queue == Queue::InOrder && self.will_never_begin(record, state).await {
                continue;
            }
            waiting.push((place, record.deployment.clone()));
        }
        waiting
    }

    async fn will_never_begin(&self, record: &DeploymentRecord, state: &FleetState) -> bool {
        let is_held = record.by_itself && state.held.is_some();
        is_held
            || record.abort.is_some()
            || self.floor_again(record).is_some()
            || matches!(
                self.verdict(record).await.ruling,
                Ruling::Expired | Ruling::Refused | Ruling::Rejected { .. }
            )
    }
}

/// Whether it has the environment, or is about to.
fn is_under_way(record: &DeploymentRecord) -> bool {
    let is_beginning = record.state == DeploymentState::Acquiring
        && clock::unix_millis() < record.since.saturating_add(TO_BEGIN);
    is_beginning || record.state.holds_environment()
}
