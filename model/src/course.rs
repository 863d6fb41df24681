//! What follows from how steps ended: who may go on, who is stranded, and whether the whole is a pass. Pure rules over a plan,
//! so that the run itself, the proof at its end and every reader of its events agree.

use std::collections::BTreeSet;

use crate::{Name, NotPassed, Past, Plan, StepOutcome, StepPlan};

/// Why a step can never start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranded {
    /// A step that it needs did not succeed.
    Need {
        /// The first such step.
        step: Name,
        /// How it ended.
        outcome: StepOutcome,
    },
    /// All that it needs has ended, and its condition does not hold.
    Condition,
}

/// A step that a plan does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no step `{step}`")]
pub struct UnknownStep {
    /// The step that was asked for.
    pub step: Name,
    /// The steps that there are, in the order of the plan.
    pub known: Vec<Name>,
    /// Why it is not part of this plan, where the pipeline has it.
    pub left_out: Option<String>,
}

impl StepPlan {
    /// Whether steps that need this one go on after it came to `outcome`: it succeeded, or it ran, failed, and may.
    pub const fn lets_go_on(&self, outcome: StepOutcome) -> bool {
        outcome.is_success() || self.fails_as_it_may(outcome)
    }

    /// Whether `outcome` is a failure that the pipeline allows this step.
    pub const fn fails_as_it_may(&self, outcome: StepOutcome) -> bool {
        self.may_fail && outcome.blame().is_some()
    }
}

impl Plan {
    /// All steps that come before a step: those it needs, those that they need, and so on, in the order of the plan.
    pub fn before(&self, step: &StepPlan) -> Vec<Name> {
        let mut found: BTreeSet<&Name> = BTreeSet::new();
        let mut open: Vec<&Name> = step.needs.iter().collect();
        while let Some(name) = open.pop() {
            if found.insert(name) {
                open.extend(self.step(name).into_iter().flat_map(|step| &step.needs));
            }
        }
        self.steps.iter().map(|step| &step.name).filter(|name| found.contains(name)).cloned().collect()
    }

    /// The plan of only the steps `wanted` and what they need. It makes no package: a package is for the whole.
    ///
    /// # Errors
    /// A step is none of this plan.
    pub fn only(&self, wanted: &[Name]) -> Result<Self, UnknownStep> {
        let mut kept: BTreeSet<Name> = BTreeSet::new();
        for name in wanted {
            let step = self.step(name).ok_or_else(|| self.unknown(name))?;
            kept.extend(self.before(step));
            kept.insert(name.clone());
        }
        let mut part = self.clone();
        part.steps.retain(|step| kept.contains(&step.name));
        let named = |service: &Name| part.steps.iter().any(|step| step.services.contains(service));
        part.services = self.services.iter().filter(|service| named(&service.name)).cloned().collect();
        part.packages = Vec::new();
        Ok(part)
    }

    fn unknown(&self, name: &Name) -> UnknownStep {
        UnknownStep {
            step: name.clone(),
            known: self.steps.iter().map(|step| step.name.clone()).collect(),
            left_out: self.left_out.iter().find(|left| left.step == *name).map(|left| left.why.clone()),
        }
    }

    /// Whether a step that has not started may start now.
    pub(crate) fn may_start(&self, step: &StepPlan, outcome: &dyn Fn(&Name) -> Option<StepOutcome>) -> bool {
        match &step.when {
            None => step.needs.iter().all(|need| self.goes_on_after(need, outcome)),
            Some(condition) => {
                step.needs.iter().all(|need| outcome(need).is_some())
                    && condition.holds(&Past { plan: self, step, outcome })
            }
        }
    }

    /// Why a step that has not started never will; `None` as long as it may.
    pub fn stranded(
        &self,
        step: &StepPlan,
        outcome: &dyn Fn(&Name) -> Option<StepOutcome>,
    ) -> Option<Stranded> {
        if let Some(condition) = &step.when {
            let decided = step.needs.iter().all(|need| outcome(need).is_some());
            let holds = || condition.holds(&Past { plan: self, step, outcome });
            return (decided && !holds()).then_some(Stranded::Condition);
        }
        step.needs.iter().find_map(|need| {
            let came_to = outcome(need)?;
            let lost = !self.goes_on_after(need, outcome);
            lost.then(|| Stranded::Need { step: need.clone(), outcome: came_to })
        })
    }

    fn goes_on_after(&self, need: &Name, outcome: &dyn Fn(&Name) -> Option<StepOutcome>) -> bool {
        // Success first: it is the rule, and looking for a step of a large plan takes a while.
        outcome(need).is_some_and(|outcome| {
            outcome.is_success() || self.step(need).is_some_and(|step| step.lets_go_on(outcome))
        })
    }

    /// Whether all steps ended as a pass needs it: each succeeded, or failed and may, or was passed over because its
    /// condition does not hold, or because a step that it needs was. Steps whose outputs are packed have to have succeeded.
    ///
    /// # Errors
    /// The first reason why it is no pass, in the order of the plan.
    pub fn judge(&self, outcome: &dyn Fn(&Name) -> Option<StepOutcome>) -> Result<(), NotPassed> {
        for step in &self.steps {
            let came_to = outcome(&step.name).ok_or_else(|| NotPassed::Missing(step.name.clone()))?;
            // What it was passed over for is judged by itself, so a failure is never hidden behind one.
            let rightly_skipped = came_to == StepOutcome::Skipped && self.stranded(step, outcome).is_some();
            if !step.lets_go_on(came_to) && !rightly_skipped {
                return Err(NotPassed::Unsuccessful { step: step.name.clone(), outcome: came_to });
            }
        }
        for step in self.packages.iter().flat_map(|package| &package.layers) {
            match outcome(step) {
                Some(outcome) if outcome.is_success() => {}
                Some(outcome) => return Err(NotPassed::NothingToPack { step: step.clone(), outcome }),
                None => return Err(NotPassed::Missing(step.clone())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Command, Condition, Digest, Ending, PackagePlan, Source, Trigger};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn step(this: &str, needs: &[&str]) -> StepPlan {
        StepPlan {
            needs: needs.iter().map(|need| name(need)).collect(),
            ..StepPlan::new(name(this), Command::Shell("true".into()), Digest::of(b""))
        }
    }

    fn plan(steps: Vec<StepPlan>, packed: &[&str]) -> Plan {
        Plan {
            project: name("p"),
            version: "1".into(),
            source: Source { tree: "0".repeat(40), commit: None, dirty: false },
            trigger: Trigger::default(),
            tools: vec![],
            steps,
            left_out: vec![crate::LeftOut { step: name("deploy"), why: "the branch is not main".into() }],
            services: vec![],
            packages: vec![PackagePlan {
                name: name("p"),
                layers: packed.iter().map(|step| name(step)).collect(),
                root: None,
                include: vec![],
                exclude: vec![],
                source: vec![],
                parameters: None,
            }],
        }
    }

    fn judge(plan: &Plan, came_to: &[StepOutcome]) -> Result<(), NotPassed> {
        let outcomes: BTreeMap<&Name, StepOutcome> =
            plan.steps.iter().map(|step| &step.name).zip(came_to.iter().copied()).collect();
        plan.judge(&|step| outcomes.get(step).copied())
    }

    #[test]
    fn a_part_of_a_plan_is_what_was_named_and_all_it_needs() {
        let steps = vec![step("a", &[]), step("b", &["a"]), step("c", &["b"]), step("d", &["a"])];
        let plan = plan(steps, &["c"]);
        let names =
            |plan: &Plan| -> Vec<String> { plan.steps.iter().map(|step| step.name.to_string()).collect() };
        let part = plan.only(&[name("c")]).unwrap();
        assert_eq!(names(&part), ["a", "b", "c"]);
        assert_eq!(part.packages, []);
        assert_eq!(names(&plan.only(&[name("d"), name("b")]).unwrap()), ["a", "b", "d"]);
        assert_ne!(part.digest(), plan.digest());
        let unknown = plan.only(&[name("deploy")]).unwrap_err();
        assert_eq!(unknown.left_out.as_deref(), Some("the branch is not main"));
        assert_eq!(unknown.known.len(), 4);
    }

    #[test]
    fn a_package_takes_nothing_from_a_step_that_left_nothing() {
        use StepOutcome::{Failed, Passed, Skipped};
        let allowed = StepPlan { may_fail: true, ..step("b", &["a"]) };
        let steps = vec![step("a", &[]), allowed];
        assert_eq!(judge(&plan(steps.clone(), &["a"]), &[Passed, Failed]), Ok(()));
        let refused = NotPassed::NothingToPack { step: name("b"), outcome: Failed };
        assert_eq!(judge(&plan(steps, &["a", "b"]), &[Passed, Failed]), Err(refused));
        let when = Some(Condition::Needs(Ending::Failed));
        let steps = vec![step("a", &[]), StepPlan { when, ..step("b", &["a"]) }];
        assert!(judge(&plan(steps.clone(), &["a"]), &[Passed, Skipped]).is_ok());
        assert!(judge(&plan(steps, &["b"]), &[Passed, Skipped]).is_err());
    }

    #[test]
    fn a_step_that_was_passed_over_without_a_reason_is_no_pass() {
        use StepOutcome::{Cancelled, Failed, Passed, Skipped};
        let plan = plan(vec![step("a", &[]), step("b", &["a"])], &[]);
        assert!(judge(&plan, &[Passed, Passed]).is_ok());
        assert!(judge(&plan, &[Passed, Skipped]).is_err());
        assert!(judge(&plan, &[Passed, Cancelled]).is_err());
        assert!(judge(&plan, &[Failed, Skipped]).is_err());
        assert!(judge(&plan, &[Passed]).is_err());
    }
}
