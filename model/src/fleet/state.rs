//! An environment of machines: the fold over its log.

use std::collections::{BTreeMap, BTreeSet};

use super::{DeploymentRecord, FleetEvent, WarmPool};
use crate::{DeploymentId, DeploymentState, Digest, Name, Queue, Version};

/// What an environment's log says, all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetState {
    /// The highest epoch that was ever taken.
    pub epoch: u64,
    /// Why nothing is deployed by itself, if so.
    pub held: Option<String>,
    /// Machines that are out of deployments, and why.
    pub quarantined: BTreeMap<Name, String>,
    /// Every deployment.
    pub deployments: BTreeMap<DeploymentId, DeploymentRecord>,
    /// They in the order in which they were asked for.
    pub order: Vec<DeploymentId>,
    /// Releases that came to serve here, the newest first, each once.
    pub history: Vec<Digest>,
    /// Versions below which nothing may go, as the releases said that came to be seen here, and which said so last.
    pub floors: BTreeMap<Version, Digest>,
    /// The pool that served before the last swap, where it is kept for a time.
    pub warm: Option<WarmPool>,
    /// Entries that could not be: two wrote at once, or one wrote that had lost its lease. They count for nothing.
    pub ignored: u64,
}

impl FleetState {
    /// The state after a whole log of events with their times.
    pub fn of<'a>(entries: impl IntoIterator<Item = (u64, &'a FleetEvent)>) -> Self {
        let mut state = Self::default();
        for (at, event) in entries {
            state.apply(at, event);
        }
        state
    }

    /// Takes the next entry, appended at `at`. Total: what can't be is counted in [`FleetState::ignored`] and changes nothing,
    /// because several processes append and the one that lost its lease may not know it yet.
    pub fn apply(&mut self, at: u64, event: &FleetEvent) {
        if !self.take(at, event) {
            self.ignored = self.ignored.saturating_add(1);
        }
    }

    fn take(&mut self, at: u64, event: &FleetEvent) -> bool {
        match event {
            FleetEvent::Requested { deployment, plan, by, reason, by_itself } => {
                if self.deployments.contains_key(deployment) {
                    return false;
                }
                let plan = plan.as_ref().clone();
                let said = (by.clone(), reason.clone(), *by_itself);
                let record = DeploymentRecord::new(deployment.clone(), plan, said, at);
                self.deployments.insert(deployment.clone(), record);
                self.order.push(deployment.clone());
                true
            }
            FleetEvent::Replanned { deployment, plan } => self.edit(deployment, |record| {
                let may = record.state == DeploymentState::Planned;
                if may {
                    record.replan(plan.as_ref().clone());
                }
                may
            }),
            FleetEvent::Gates { deployment, what, plan, by_default_at_the_deadline, .. } => {
                self.edit(deployment, |record| {
                    let is_of_plan = record.plan.digest() == *plan;
                    if is_of_plan {
                        record.gates.clone_from(what);
                        record.by_default.clone_from(by_default_at_the_deadline);
                    }
                    is_of_plan
                })
            }
            FleetEvent::Lease { deployment, epoch, .. } => {
                let newer = *epoch > self.epoch;
                newer && {
                    self.epoch = *epoch;
                    self.edit(deployment, |record| {
                        record.epoch = *epoch;
                        true
                    })
                }
            }
            FleetEvent::Intent { deployment, operation, epoch, work } => self.edit(deployment, |record| {
                let may = record.epoch == *epoch && !record.state.is_terminal();
                if may {
                    record.intend(*operation, work);
                }
                may
            }),
            FleetEvent::Outcome { deployment, operation, work, epoch, result } => {
                self.edit(deployment, |record| {
                    let may = record.epoch == *epoch && !record.state.is_terminal();
                    if may {
                        record.learn(operation, work, result, at);
                    }
                    may
                })
            }
            FleetEvent::Changed { deployment, epoch, change, reason } => {
                let taken = self.edit(deployment, |record| {
                    record.epoch == *epoch && record.change(*change, reason.as_ref(), at)
                });
                if taken {
                    self.raise_floor(deployment);
                    self.remember(deployment, at);
                }
                taken
            }
            FleetEvent::Overridden { deployment, plan, by, reason, floor: true, .. } => {
                self.edit(deployment, |record| {
                    let may = record.plan.digest() == *plan && !record.state.is_terminal();
                    if may {
                        record.overrule_floor(by, reason);
                    }
                    may
                })
            }
            // What approvers say is for whoever judges the gates.
            FleetEvent::Voted { deployment, .. } | FleetEvent::Overridden { deployment, .. } => {
                self.deployments.contains_key(deployment)
            }
            FleetEvent::Asked { deployment, by, ask } => self.edit(deployment, |record| {
                let may = !record.state.is_terminal();
                if may {
                    record.hear(by, ask);
                }
                may
            }),
            FleetEvent::Quarantine { target, out, reason, .. } => {
                if *out {
                    self.quarantined.insert(target.clone(), reason.clone());
                } else {
                    self.quarantined.remove(target);
                }
                true
            }
            FleetEvent::Held { reason, .. } => {
                self.held = Some(reason.clone());
                true
            }
            FleetEvent::HoldLifted { .. } => {
                self.held = None;
                true
            }
            FleetEvent::Cooling { deployment, epoch, .. } => self.cool(deployment, *epoch),
            FleetEvent::Cooled { deployment, epoch, target, result } => {
                let of_now = *epoch == self.epoch;
                let warm = self.warm.as_mut().filter(|warm| of_now && warm.epoch == *epoch);
                let warm = warm.filter(|warm| warm.deployment == *deployment);
                warm.is_some_and(|warm| warm.learn(target, result, at))
            }
            // How machines come and go is a fold of its own.
            FleetEvent::Provision { .. } => true,
        }
    }

    fn edit(&mut self, deployment: &DeploymentId, with: impl FnOnce(&mut DeploymentRecord) -> bool) -> bool {
        self.deployments.get_mut(deployment).is_some_and(with)
    }

    /// From the moment at which a release may have touched its data, what it says of older ones holds, whatever becomes of it.
    fn raise_floor(&mut self, deployment: &DeploymentId) {
        let Some(record) = self.deployments.get(deployment).filter(|record| record.showed) else { return };
        let floor = record.plan.setting.schema.as_ref().and_then(|schema| schema.rollback_floor.clone());
        self.floors.extend(floor.map(|floor| (floor, record.plan.release)));
    }

    /// A process is about to stop what is not needed any more: not while a deployment has the environment, or is to have it.
    fn cool(&mut self, deployment: &DeploymentId, epoch: u64) -> bool {
        let is_free = self.deployments.values().all(|record| record.state.is_terminal());
        let warm = self.warm.as_mut().filter(|warm| is_free && warm.deployment == *deployment);
        let Some(warm) = warm.filter(|_| epoch > self.epoch) else { return false };
        (warm.epoch, self.epoch) = (epoch, epoch);
        true
    }

    /// The pool whose services are to be stopped at `now`: its time is over, and no deployment is under way or waits, whose plan might be
    /// for what runs there.
    pub fn overdue(&self, now: u64) -> Option<&WarmPool> {
        let is_free = self.deployments.values().all(|record| record.state.is_terminal());
        let is_left = |warm: &&WarmPool| warm.running().any(|name| !self.quarantined.contains_key(name));
        self.warm.as_ref().filter(|warm| is_free && warm.until <= now).filter(is_left)
    }

    /// What came to serve is remembered, for going back and for what stays on the machines.
    fn remember(&mut self, deployment: &DeploymentId, at: u64) {
        let Some(record) = self.deployments.get(deployment) else { return };
        if record.state.is_terminal() {
            self.warm = WarmPool::after(self.warm.take(), record, at);
        }
        if record.state == DeploymentState::Succeeded {
            let release = record.plan.release;
            self.history.retain(|known| *known != release);
            self.history.insert(0, release);
        }
    }

    /// A deployment.
    pub fn deployment(&self, id: &DeploymentId) -> Option<&DeploymentRecord> {
        self.deployments.get(id)
    }

    /// Deployments in the order in which they were asked for.
    pub fn in_order(&self) -> impl DoubleEndedIterator<Item = &DeploymentRecord> {
        self.order.iter().filter_map(|id| self.deployments.get(id))
    }

    /// The deployment that has the environment for itself: whoever comes next finishes or reverses it first.
    pub fn holder(&self) -> Option<&DeploymentRecord> {
        self.in_order().find(|record| record.state.holds_environment())
    }

    /// The deployment that people mean who say what is to become of it: the one that has the environment, and only where there is
    /// none the one whose turn it is of those that are not over. One that waits for its gates, however long, is not in the way of
    /// stopping what switches.
    pub fn addressed(&self, queue: Queue) -> Option<&DeploymentRecord> {
        let mut open = self.in_order().filter(|record| !record.state.is_terminal());
        self.holder().or_else(|| match queue {
            Queue::InOrder => open.next(),
            Queue::NewestWins => open.next_back(),
        })
    }

    /// Deployments whose gates are not open yet, the one whose turn it is first: what approvers say is about that one, unless they
    /// name another one's plan.
    pub fn before_gates(&self, queue: Queue) -> Vec<&DeploymentRecord> {
        let waits = |state| matches!(state, DeploymentState::Planned | DeploymentState::AwaitingGates);
        let mut waiting: Vec<_> = self.in_order().filter(|record| waits(record.state)).collect();
        if queue == Queue::NewestWins {
            waiting.reverse();
        }
        waiting
    }

    /// Machines that are out of deployments.
    pub fn out(&self) -> BTreeSet<&Name> {
        self.quarantined.keys().collect()
    }
}
