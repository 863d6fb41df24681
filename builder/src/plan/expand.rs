//! From the steps of a file to those of a plan: what an occasion leaves out, and what a matrix stands for.

use std::collections::BTreeMap;

use staith_model::{Condition, LeftOut, Name};

use super::{PlanError, order::Order};
use crate::pipeline::{Decision, Facts, Pipeline, Step, Variant, fill, filled_image, matrix_variable};

/// The steps of a plan, in the order of the file.
pub(super) struct Expanded {
    pub(super) steps: Vec<Concrete>,
    pub(super) left_out: Vec<LeftOut>,
    /// The steps of the plan behind each step of the file.
    kept: BTreeMap<Name, Vec<Name>>,
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
        let mut kept: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        // What a step comes to depends on what it needs.
        for step in Order::of(pipeline.steps()).steps() {
            let decided = fates_of(step, facts, &kept);
            let stays = decided.iter().filter(|fate| fate.decision.is_ok()).map(|fate| fate.name.clone());
            kept.insert(step.name.clone(), stays.collect());
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
            match self.kept.get(step) {
                Some(kept) if !kept.is_empty() => behind.extend(kept.iter().cloned()),
                _ => return Err(step),
            }
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

fn fates_of<'s>(step: &'s Step, facts: &Facts<'_>, kept: &BTreeMap<Name, Vec<Name>>) -> Vec<Fate<'s>> {
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
    kept: &BTreeMap<Name, Vec<Name>>,
) -> Result<Option<Condition>, String> {
    let behind = |name: &str| kept.get(name).cloned().unwrap_or_default();
    if let Some(need) = step.needs.iter().find(|need| behind(need.as_str()).is_empty()) {
        return Err(format!("it needs `{need}`, which is left out"));
    }
    let Some(when) = &step.when else { return Ok(None) };
    let matrix = variant.map_or(&NO_VALUES, |variant| &variant.values);
    match when.decide(&Facts { matrix, ..*facts }, &behind) {
        Decision::LeftOut(why) => Err(why),
        Decision::Planned(rest) => Ok(rest),
    }
}

static NO_VALUES: BTreeMap<String, String> = BTreeMap::new();

fn concrete(
    step: &Step,
    name: &Name,
    variant: Option<&Variant>,
    facts: &Facts<'_>,
    kept: &BTreeMap<Name, Vec<Name>>,
) -> Result<Step, PlanError> {
    let matrix = variant.map_or(&NO_VALUES, |variant| &variant.values);
    let fill = |text: &String| fill(text, matrix, facts.parameters);
    let mut env: BTreeMap<String, String> =
        step.env.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
    env.extend(matrix.iter().map(|(name, value)| (matrix_variable(name), value.clone())));
    Ok(Step {
        name: name.clone(),
        needs: step.needs.iter().flat_map(|need| kept.get(need).cloned().unwrap_or_default()).collect(),
        outputs: step.outputs.iter().map(fill).collect(),
        reports: step.reports.iter().map(fill).collect(),
        env,
        image: image(step.image.as_ref(), &fill, &format!("step `{name}`"))?,
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
