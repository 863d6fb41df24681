//! What decides whether a step runs, as far as only a run can tell: what earlier steps came to.
//!
//! Conditions over branches, tags, events and changed paths are decided when a plan is made, and leave no trace in a step
//! that is part of it.

use serde::{Deserialize, Serialize};

use crate::{Name, StepOutcome};

/// A condition over the outcomes of steps that came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Decided.
    Literal(bool),
    /// The opposite.
    Not(Box<Condition>),
    /// All hold.
    All(Vec<Condition>),
    /// At least one holds.
    Any(Vec<Condition>),
    /// An earlier step came to this. It is among those that the step needs.
    Step {
        /// The earlier step.
        step: Name,
        /// What it came to.
        is: Ending,
    },
    /// All that the step needs came to this; of `Failed`, that at least one did.
    Needs(Ending),
}

/// What an earlier step may have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It passed, or had passed before.
    Succeeded,
    /// It ran and did not pass.
    Failed,
    /// It did not run because of something before it.
    Skipped,
    /// Any of these.
    Ended,
}

impl Ending {
    /// Whether an outcome is this ending.
    pub const fn is(self, outcome: StepOutcome) -> bool {
        match self {
            Self::Succeeded => outcome.is_success(),
            Self::Skipped => matches!(outcome, StepOutcome::Skipped | StepOutcome::Cancelled),
            Self::Failed => {
                !outcome.is_success() && !matches!(outcome, StepOutcome::Skipped | StepOutcome::Cancelled)
            }
            Self::Ended => true,
        }
    }
}

impl Condition {
    /// Whether it holds, once every step that `needs` names has an outcome.
    pub fn holds(&self, needs: &[Name], outcome: &dyn Fn(&Name) -> Option<StepOutcome>) -> bool {
        let came_to = |step: &Name, ending: Ending| outcome(step).is_some_and(|outcome| ending.is(outcome));
        match self {
            Self::Literal(value) => *value,
            Self::Not(inner) => !inner.holds(needs, outcome),
            Self::All(inner) => inner.iter().all(|inner| inner.holds(needs, outcome)),
            Self::Any(inner) => inner.iter().any(|inner| inner.holds(needs, outcome)),
            Self::Step { step, is } => came_to(step, *is),
            Self::Needs(Ending::Failed) => needs.iter().any(|need| came_to(need, Ending::Failed)),
            Self::Needs(ending) => needs.iter().all(|need| came_to(need, *ending)),
        }
    }
}
