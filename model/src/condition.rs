//! What decides whether a step runs, as far as only a run can tell: what earlier steps came to.
//!
//! Conditions over branches, tags, events and changed paths are decided when a plan is made, and leave no trace in a step
//! that is part of it.

use serde::{Deserialize, Serialize};

use crate::{Name, Plan, StepOutcome, StepPlan};

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
    /// All that the step needs came to this; of `Failed`, that at least one did, or one of those that they need, and so on:
    /// what reports a failure must not miss one because a step between was skipped. A failure that the pipeline allows
    /// counts as success here; [`Condition::Step`] asks for the failure itself.
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

/// What a condition can ask of a run: the step that it decides about, and what came before.
pub struct Past<'a> {
    /// The plan of the run.
    pub plan: &'a Plan,
    /// The step to be decided about.
    pub step: &'a StepPlan,
    /// What a step came to; `None` as long as it has not ended.
    pub outcome: &'a dyn Fn(&Name) -> Option<StepOutcome>,
}

impl Past<'_> {
    fn came_to(&self, step: &Name, ending: Ending) -> bool {
        (self.outcome)(step).is_some_and(|outcome| ending.is(outcome))
    }

    /// As [`came_to`](Self::came_to), with a failure that is allowed taken for a success.
    fn counts_as(&self, step: &Name, ending: Ending) -> bool {
        let lets_go_on = |outcome| self.plan.step(step).is_some_and(|step| step.lets_go_on(outcome));
        match (self.outcome)(step) {
            Some(outcome) if lets_go_on(outcome) => matches!(ending, Ending::Succeeded | Ending::Ended),
            Some(outcome) => ending.is(outcome),
            None => false,
        }
    }
}

impl Condition {
    /// Whether it holds, once every step that the step needs has an outcome.
    pub fn holds(&self, past: &Past<'_>) -> bool {
        match self {
            Self::Literal(value) => *value,
            Self::Not(inner) => !inner.holds(past),
            Self::All(inner) => inner.iter().all(|inner| inner.holds(past)),
            Self::Any(inner) => inner.iter().any(|inner| inner.holds(past)),
            Self::Step { step, is } => past.came_to(step, *is),
            Self::Needs(Ending::Failed) => {
                past.plan.before(past.step).iter().any(|need| past.counts_as(need, Ending::Failed))
            }
            Self::Needs(ending) => past.step.needs.iter().all(|need| past.counts_as(need, *ending)),
        }
    }

    /// Whether the step is meant to run also, or only, when something before it did not succeed: a clean-up, a report of
    /// what failed. Such a step has its turn even after a failure has ended, or a person has cancelled, the rest of the run.
    pub fn is_for_the_worst(&self) -> bool {
        matches!(self, Self::Literal(true)) || self.asks_for_the_worst(true)
    }

    fn asks_for_the_worst(&self, asked: bool) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Not(inner) => inner.asks_for_the_worst(!asked),
            Self::All(inner) | Self::Any(inner) => inner.iter().any(|inner| inner.asks_for_the_worst(asked)),
            Self::Step { is, .. } | Self::Needs(is) => match is {
                Ending::Ended => asked,
                Ending::Succeeded => !asked,
                Ending::Failed | Ending::Skipped => asked,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Command, Digest, Source, Trigger};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// build ← test ← report, and an allowed lint that report needs, too.
    fn plan() -> Plan {
        let step = |this: &str, needs: &[&str]| StepPlan {
            needs: needs.iter().map(|need| name(need)).collect(),
            may_fail: this == "lint",
            ..StepPlan::new(name(this), Command::Shell("true".into()), Digest::of(b""))
        };
        Plan {
            project: name("p"),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: false },
            trigger: Trigger::default(),
            tools: vec![],
            steps: vec![
                step("build", &[]),
                step("lint", &[]),
                step("test", &["build"]),
                step("report", &["test", "lint"]),
            ],
            left_out: vec![],
            services: vec![],
            packages: vec![],
        }
    }

    fn holds(condition: &Condition, came_to: &[(&str, StepOutcome)]) -> bool {
        let plan = plan();
        let outcomes: BTreeMap<Name, StepOutcome> =
            came_to.iter().map(|(step, outcome)| (name(step), *outcome)).collect();
        let outcome = |step: &Name| outcomes.get(step).copied();
        condition.holds(&Past { plan: &plan, step: plan.step(&name("report")).unwrap(), outcome: &outcome })
    }

    #[test]
    fn a_failure_is_seen_across_what_was_skipped_because_of_it() {
        use StepOutcome::{Cached, Failed, Passed, Skipped};
        let failed = Condition::Needs(Ending::Failed);
        assert!(holds(&failed, &[("build", Failed), ("test", Skipped), ("lint", Passed)]));
        assert!(!holds(&failed, &[("build", Cached), ("test", Passed), ("lint", Passed)]));
        let succeeded = Condition::Needs(Ending::Succeeded);
        assert!(!holds(&succeeded, &[("build", Failed), ("test", Skipped), ("lint", Passed)]));
        assert!(holds(&Condition::Needs(Ending::Ended), &[("test", Skipped), ("lint", Passed)]));
    }

    #[test]
    fn an_allowed_failure_counts_as_success_unless_it_is_asked_for_by_name() {
        use StepOutcome::{Failed, Passed};
        let past = [("build", Passed), ("test", Passed), ("lint", Failed)];
        assert!(holds(&Condition::Needs(Ending::Succeeded), &past));
        assert!(!holds(&Condition::Needs(Ending::Failed), &past));
        assert!(holds(&Condition::Step { step: name("lint"), is: Ending::Failed }, &past));
    }

    #[test]
    fn what_is_for_the_worst_is_told_from_what_is_for_the_best() {
        let step = |is| Condition::Step { step: name("test"), is };
        let not = |inner| Condition::Not(Box::new(inner));
        for (condition, expected) in [
            (Condition::Literal(true), true),
            (Condition::Literal(false), false),
            (Condition::Needs(Ending::Ended), true),
            (Condition::Needs(Ending::Failed), true),
            (Condition::Needs(Ending::Succeeded), false),
            (step(Ending::Succeeded), false),
            (not(step(Ending::Succeeded)), true),
            (not(step(Ending::Failed)), false),
            (Condition::All(vec![Condition::Literal(true), step(Ending::Succeeded)]), false),
            (Condition::All(vec![step(Ending::Succeeded), step(Ending::Failed)]), true),
            (Condition::Any(vec![step(Ending::Succeeded), Condition::Needs(Ending::Succeeded)]), false),
        ] {
            assert_eq!(condition.is_for_the_worst(), expected, "{condition:?}");
        }
    }
}
