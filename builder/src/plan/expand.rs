//! From the steps of a file to those of a plan: what an occasion leaves out, and what a matrix stands for.

use std::collections::BTreeMap;

use staith_model::{Condition, Ending, LeftOut, Name};

use super::{PlanError, order::Order};
use crate::pipeline::{Decision, Facts, Pipeline, Step, Variant, fill, filled_image, matrix_variable};

/// The steps of a plan, in the order of the file.
pub(super) struct Expanded {
    pub(super) steps: Vec<Concrete>,
    pub(super) left_out: Vec<LeftOut>,
    kept: Kept,
}

/// What of the file's steps is part of the plan.
#[derive(Default)]
struct Kept {
    /// The steps of the plan behind each step of the file.
    behind: BTreeMap<Name, Vec<Name>>,
    /// For each step of the file that is left out, the steps of the plan that come before it.
    before: BTreeMap<Name, Vec<Name>>,
}

impl Kept {
    fn behind(&self, name: &str) -> Vec<Name> {
        self.behind.get(name).cloned().unwrap_or_default()
    }

    fn is_left_out(&self, step: &Name) -> bool {
        self.behind.get(step).is_none_or(Vec::is_empty)
    }

    fn take(&mut self, step: &Step, behind: Vec<Name>) {
        if behind.is_empty() {
            self.before.insert(step.name.clone(), self.needs_of(step));
        }
        self.behind.insert(step.name.clone(), behind);
    }

    /// What a step needs in the plan: in the place of what is left out, what that would have needed. So a step that runs all
    /// the same comes after it, and sees a failure of it.
    fn needs_of(&self, step: &Step) -> Vec<Name> {
        let mut needs: Vec<Name> = Vec::new();
        for need in &step.needs {
            let of = if self.is_left_out(need) { &self.before } else { &self.behind };
            for name in of.get(need).into_iter().flatten() {
                if !needs.contains(name) {
                    needs.push(name.clone());
                }
            }
        }
        needs
    }
}

/// A step of the plan: of `step`, name and needs are those of the plan, and no placeholder is left.
pub(super) struct Concrete {
    pub(super) step: Step,
    pub(super) when: Option<Condition>,
}

impl Expanded {
    /// `facts` hold all but the matrix, which each step has of its own.
    ///
    /// # Errors
    /// A setting makes an image's name into something that is none.
    pub(super) fn of(pipeline: &Pipeline, facts: &Facts<'_>) -> Result<Self, PlanError> {
        let mut fates: BTreeMap<&Name, Vec<Fate<'_>>> = BTreeMap::new();
        let mut kept = Kept::default();
        // What a step comes to depends on what it needs.
        for step in Order::of(pipeline.steps()).steps() {
            let decided = fates_of(step, facts, &kept);
            let stays = decided.iter().filter(|fate| fate.decision.is_ok()).map(|fate| fate.name.clone());
            kept.take(step, stays.collect());
            fates.insert(&step.name, decided);
        }
        let mut expanded = Self { steps: Vec::new(), left_out: Vec::new(), kept };
        for step in pipeline.steps() {
            for fate in fates.remove(&step.name).unwrap_or_default() {
                match fate.decision {
                    Err(why) => expanded.left_out.push(LeftOut { step: fate.name.clone(), why }),
                    Ok(when) => {
                        let step = concrete(step, fate.name, fate.variant, facts, &expanded.kept)?;
                        expanded.steps.push(Concrete { step, when });
                    }
                }
            }
        }
        Ok(expanded)
    }

    /// The steps of the plan behind steps of the file, and the first of those that has none.
    pub(super) fn behind<'n>(&self, steps: &'n [Name]) -> Result<Vec<Name>, &'n Name> {
        let mut behind = Vec::new();
        for step in steps {
            if self.kept.is_left_out(step) {
                return Err(step);
            }
            behind.extend(self.kept.behind(step.as_str()));
        }
        Ok(behind)
    }
}

/// What became of one step of the plan, or of one that is none.
struct Fate<'s> {
    name: &'s Name,
    variant: Option<&'s Variant>,
    /// Or why it is left out.
    decision: Result<Option<Condition>, String>,
}

fn fates_of<'s>(step: &'s Step, facts: &Facts<'_>, kept: &Kept) -> Vec<Fate<'s>> {
    let fate = |name: &'s Name, variant: Option<&'s Variant>| {
        let decision = decision(step, variant, facts, kept);
        Fate { name, variant, decision }
    };
    if step.variants.is_empty() {
        return vec![fate(&step.name, None)];
    }
    step.variants.iter().map(|variant| fate(&variant.name, Some(variant))).collect()
}

fn decision(
    step: &Step,
    variant: Option<&Variant>,
    facts: &Facts<'_>,
    kept: &Kept,
) -> Result<Option<Condition>, String> {
    let missing = step.needs.iter().find(|need| kept.is_left_out(need));
    let missing = missing.map(|need| format!("it needs `{need}`, which is left out"));
    let when = step.when.as_ref();
    // What a step needs has to succeed, unless its condition says what else it may come to; left out is skipped.
    let (when, missing) = match (when, missing) {
        (Some(when), missing) if when.asks_outcomes() || missing.is_none() => (when, missing),
        (_, Some(missing)) => return Err(missing),
        (_, None) => return Ok(None),
    };
    let matrix = variant.map_or(&NO_VALUES, |variant| &variant.values);
    match when.decide(&Facts { matrix, ..*facts }, &step.needs, &|name| kept.behind(name)) {
        Decision::LeftOut(why) => Err(missing.unwrap_or(why)),
        // Nothing that could fail comes before it.
        Decision::Planned(Some(Condition::Needs(Ending::Failed))) if kept.needs_of(step).is_empty() => {
            missing.map_or(Ok(Some(Condition::Needs(Ending::Failed))), Err)
        }
        Decision::Planned(rest) => Ok(rest),
    }
}

static NO_VALUES: BTreeMap<String, String> = BTreeMap::new();

fn concrete(
    step: &Step,
    name: &Name,
    variant: Option<&Variant>,
    facts: &Facts<'_>,
    kept: &Kept,
) -> Result<Step, PlanError> {
    let matrix = variant.map_or(&NO_VALUES, |variant| &variant.values);
    let fill = |text: &String| fill(text, matrix, facts.parameters);
    let mut env: BTreeMap<String, String> =
        step.env.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
    env.extend(matrix.iter().map(|(name, value)| (matrix_variable(name), value.clone())));
    Ok(Step {
        name: name.clone(),
        needs: kept.needs_of(step),
        outputs: step.outputs.iter().map(fill).collect(),
        reports: step.reports.iter().map(fill).collect(),
        env,
        image: image(step.image.as_ref(), &fill, &format!("step `{name}`"))?,
        runner: variant.and_then(|variant| variant.runner.clone()).unwrap_or_else(|| step.runner.clone()),
        when: None,
        variants: Vec::new(),
        ..step.clone()
    })
}

/// An image with values in it.
pub(super) fn image(
    image: Option<&String>,
    fill: &dyn Fn(&String) -> String,
    of: &str,
) -> Result<Option<String>, PlanError> {
    let Some(image) = image.map(fill) else { return Ok(None) };
    filled_image(&image).ok_or(PlanError::Image { of: of.to_owned(), image })
}
