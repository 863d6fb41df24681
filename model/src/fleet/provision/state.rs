//! Machines that come and go: the fold over the log.

use super::{Provision, ProvisionEvent, ProvisionPlan, Provisioning};
use crate::{Digest, FleetEvent, Reason, Target};

/// What the log says of how an environment's machines came about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProvisionState {
    /// The plan that waits for its gates.
    pub waiting: Option<Waiting>,
    /// What is there.
    pub standing: Standing,
    /// The description from which what may be there was made last: it takes it down again.
    pub made_from: Option<Provision>,
    /// When all of it is to be torn down, in milliseconds since 1970.
    pub due: Option<u64>,
    /// The machines that the outputs named last.
    pub targets: Vec<Target>,
}

/// A plan that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// What would be done.
    pub plan: ProvisionPlan,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub at: u64,
    /// What people said of it.
    pub votes: Vec<ProvisionVote>,
}

/// What somebody said of a plan that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionVote {
    /// Yes, no, or in spite of what protects the environment.
    pub said: ProvisionEvent,
    /// When.
    pub at: u64,
}

/// Something that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// What.
    pub plan: ProvisionPlan,
    /// Its digest.
    pub digest: Digest,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Which process.
    pub who: String,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing that Staith made.
    #[default]
    Nothing,
    /// Something was begun and has no outcome: a process works on it, or died at it.
    Open(Box<Begun>),
    /// Something was begun and failed: part of it may be there.
    Failed(Box<Begun>, Reason),
    /// All of it.
    Stands {
        /// What it was made from: [`Provision::definition`].
        definition: Digest,
        /// Since when, in milliseconds since 1970.
        since: u64,
        /// Whether the machines were waited for, and what came of it.
        ready: Option<Result<(), Reason>>,
    },
}

impl ProvisionState {
    /// The state after a whole log of events with their times.
    pub fn of<'a>(entries: impl IntoIterator<Item = (u64, &'a FleetEvent)>) -> Self {
        let mut state = Self::default();
        for (at, event) in entries {
            if let FleetEvent::Provision { provision } = event {
                state.apply(at, provision);
            }
        }
        state
    }

    /// Whether something may be there that has to be taken down some day.
    pub const fn may_be_there(&self) -> bool {
        !matches!(self.standing, Standing::Nothing)
    }

    /// Whether what is there is not to be kept.
    pub fn is_ephemeral(&self) -> bool {
        self.due.is_some()
    }

    fn apply(&mut self, at: u64, event: &ProvisionEvent) {
        match event {
            ProvisionEvent::Planned { plan, by, reason } => {
                let (plan, by, reason) = (plan.as_ref().clone(), by.clone(), reason.clone());
                self.waiting = Some(Waiting { plan, by, reason, at, votes: Vec::new() });
            }
            ProvisionEvent::Withdrawn { plan, .. } => {
                self.waiting = self.waiting.take().filter(|waiting| waiting.plan.digest() != *plan);
            }
            ProvisionEvent::Voted { .. } | ProvisionEvent::Overridden { .. } => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.votes.push(ProvisionVote { said: event.clone(), at });
                }
            }
            ProvisionEvent::Began { plan, due, who } => self.begin(at, plan, *due, who),
            ProvisionEvent::Applied { plan, targets } => self.stand(at, plan, targets),
            ProvisionEvent::Waited { failed, .. } => {
                if let Standing::Stands { ready, .. } = &mut self.standing {
                    *ready = Some(failed.clone().map_or(Ok(()), Err));
                }
            }
            ProvisionEvent::Failed { plan, reason } => {
                if let Some(begun) = self.begun(plan) {
                    self.standing = Standing::Failed(begun, reason.clone());
                }
            }
            ProvisionEvent::Gone { .. } => *self = Self { waiting: self.waiting.take(), ..Self::default() },
        }
    }

    fn begin(&mut self, at: u64, plan: &ProvisionPlan, due: Option<u64>, who: &str) {
        let digest = plan.digest();
        self.waiting = self.waiting.take().filter(|waiting| waiting.plan.digest() != digest);
        if plan.direction == Provisioning::Apply {
            self.made_from = Some(plan.provision.clone());
            self.due = due;
        }
        self.standing =
            Standing::Open(Box::new(Begun { plan: plan.clone(), digest, at, who: who.to_owned() }));
    }

    /// What is under way, if it is this plan.
    fn begun(&self, plan: &Digest) -> Option<Box<Begun>> {
        match &self.standing {
            Standing::Open(begun) if begun.digest == *plan => Some(begun.clone()),
            _ => None,
        }
    }

    fn stand(&mut self, at: u64, plan: &Digest, targets: &[Target]) {
        let Some(begun) = self.begun(plan) else { return };
        self.standing = Standing::Stands { definition: begun.plan.definition, since: at, ready: None };
        self.targets = targets.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Blame, ProvisionTool};

    fn plan(direction: Provisioning) -> ProvisionPlan {
        let tool = ProvisionTool::Terraform { program: "terraform".into() };
        let provision = Provision {
            folder: "infra".into(),
            tool,
            time_to_live_seconds: Some(60),
            variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            cloud_init: None,
            timeout_seconds: 60,
        };
        let definition = provision.definition(&Digest::of(b"files"), &BTreeMap::new());
        ProvisionPlan {
            direction,
            definition,
            provision,
            text: Digest::of(b"text"),
            file: None,
            nothing: false,
        }
    }

    fn after(events: &[ProvisionEvent]) -> ProvisionState {
        let all: Vec<FleetEvent> =
            events.iter().map(|event| FleetEvent::Provision { provision: Box::new(event.clone()) }).collect();
        ProvisionState::of((1..).zip(&all))
    }

    fn began(direction: Provisioning, due: Option<u64>) -> ProvisionEvent {
        ProvisionEvent::Began { plan: Box::new(plan(direction)), due, who: "here".into() }
    }

    #[test]
    fn what_was_begun_may_be_there_until_it_is_gone() {
        let (make, take) = (plan(Provisioning::Apply).digest(), plan(Provisioning::Destroy).digest());
        let mut events = vec![began(Provisioning::Apply, Some(100))];
        assert!(matches!(after(&events).standing, Standing::Open(_)));
        assert_eq!(after(&events).due, Some(100));
        events.push(ProvisionEvent::Applied { plan: make, targets: Vec::new() });
        assert!(matches!(after(&events).standing, Standing::Stands { .. }));
        events.push(began(Provisioning::Destroy, None));
        let why = Reason { blame: Blame::Environment, what: "no".into(), remedy: None };
        events.push(ProvisionEvent::Failed { plan: take, reason: why });
        let failed = after(&events);
        assert!(failed.may_be_there() && failed.is_ephemeral() && failed.made_from.is_some(), "{failed:?}");
        events.push(began(Provisioning::Destroy, None));
        events.push(ProvisionEvent::Gone { plan: take });
        assert_eq!(after(&events), ProvisionState::default());
    }

    #[test]
    fn an_outcome_of_something_else_is_none() {
        let other = plan(Provisioning::Destroy).digest();
        let events =
            [began(Provisioning::Apply, None), ProvisionEvent::Applied { plan: other, targets: Vec::new() }];
        assert!(matches!(after(&events).standing, Standing::Open(_)));
    }

    #[test]
    fn a_plan_that_is_begun_or_withdrawn_waits_no_more() {
        let waits = ProvisionEvent::Planned {
            plan: Box::new(plan(Provisioning::Apply)),
            by: "anna".into(),
            reason: String::new(),
        };
        let digest = plan(Provisioning::Apply).digest();
        let yes =
            ProvisionEvent::Voted { plan: digest, by: "ben".into(), approves: true, comment: "".into() };
        assert_eq!(after(&[waits.clone(), yes]).waiting.unwrap().votes.len(), 1);
        assert!(after(&[waits.clone(), began(Provisioning::Apply, None)]).waiting.is_none());
        let withdrawn = ProvisionEvent::Withdrawn { plan: digest, why: "it changed".into() };
        assert!(after(&[waits, withdrawn]).waiting.is_none());
    }
}
