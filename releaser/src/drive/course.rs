//! A deployment's life as it is told: every change goes through the model's transition table before anybody hears it.

use std::time::Instant;

use staith_model::{DeploymentChange, DeploymentId, DeploymentState, EventKind, Name, Reason};

use super::Events;
use crate::plan::{DeploymentPlan, Operation, Phase};

/// The course of one deployment.
pub(super) struct Course<'a> {
    events: Events<'a>,
    deployment: DeploymentId,
    state: DeploymentState,
}

impl<'a> Course<'a> {
    /// Tells what is planned, and that it may begin. There are no gates before an environment on one's own machine, and
    /// the lock is held by now.
    pub(super) fn begin(
        events: Events<'a>,
        deployment: DeploymentId,
        environment: &Name,
        plan: &DeploymentPlan,
        serving: Option<staith_model::Digest>,
    ) -> Self {
        events(EventKind::DeploymentPlanned {
            deployment: deployment.clone(),
            environment: environment.clone(),
            release: plan.release(),
            previous: serving,
            plan: plan.digest(),
            operations: plan.operations().iter().map(ToString::to_string).collect(),
        });
        let mut course = Self { events, deployment, state: DeploymentState::Planned };
        course.change(DeploymentChange::Submitted, None);
        course.change(DeploymentChange::GatesPassed, None);
        course.change(DeploymentChange::Acquired, None);
        course
    }

    pub(super) const fn state(&self) -> DeploymentState {
        self.state
    }

    /// A change that the table does not know is not told: it would make the log impossible to read.
    pub(super) fn change(&mut self, change: DeploymentChange, reason: Option<Reason>) {
        match self.state.after(change) {
            Ok(next) => {
                self.state = next;
                (self.events)(EventKind::DeploymentChanged {
                    deployment: self.deployment.clone(),
                    change,
                    reason,
                });
            }
            Err(error) => tracing::error!(deployment = %self.deployment, %error, "not told"),
        }
    }

    /// Goes on to the part of the life that an operation belongs to. Never goes back: after a plan was made anew,
    /// earlier operations may come again in a later part.
    pub(super) fn reach(&mut self, phase: Phase) {
        use DeploymentChange::{AllWavesHeld, StagedEverywhere, SwitchBegan, WaveSwitched};
        while let Some(change) = match self.state {
            DeploymentState::Staging if phase > Phase::Staging => Some(StagedEverywhere),
            DeploymentState::Staged => Some(SwitchBegan),
            DeploymentState::Switching { .. } if phase > Phase::Switching => Some(WaveSwitched),
            DeploymentState::Soaking { .. } if phase > Phase::Soaking => Some(AllWavesHeld),
            _ => None,
        } {
            self.change(change, None);
        }
    }

    /// The new release serves.
    pub(super) fn succeed(&mut self) {
        self.reach(Phase::Finalizing);
        self.change(DeploymentChange::Finalized, None);
    }

    /// An operation of the plan was done, or found done.
    pub(super) fn did(&mut self, operation: &Operation, already: bool, since: Instant) {
        self.did_in_words(operation.to_string(), already, since);
    }

    pub(super) fn did_in_words(&mut self, operation: String, already: bool, since: Instant) {
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let deployment = self.deployment.clone();
        (self.events)(EventKind::DeploymentOperation { deployment, operation, already, millis });
    }
}
