//! Which steps of a plan a person means by a name.

use staith_builder::pipeline::{Pipeline, closest};
use staith_model::{Exit, Name, Plan, UnknownStep};

use crate::output::Problem;

/// A name of a step as a person wrote it.
///
/// # Errors
/// No step could be called so; says which one may be meant.
pub(super) fn name(pipeline: &Pipeline, plan: &Plan, text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|no_name: staith_model::NotAName| {
        let known = known(pipeline, plan);
        let known: Vec<&str> = known.iter().map(Name::as_str).collect();
        let problem =
            Problem::new(Exit::Usage, format!("there is no step `{text}`")).with_why(no_name.to_string());
        match closest(&text.to_lowercase(), known) {
            Some(meant) => problem.with_remedy(format!("did you mean `{meant}`?")),
            None => problem,
        }
    })
}

/// The same of several.
///
/// # Errors
/// As for one.
pub(super) fn names(pipeline: &Pipeline, plan: &Plan, texts: &[String]) -> Result<Vec<Name>, Problem> {
    texts.iter().map(|text| name(pipeline, plan, text)).collect()
}

/// The steps of a plan that these names stand for: each itself, and a step with a matrix all of its variants.
///
/// # Errors
/// A name stands for no step of the plan.
pub(super) fn meant(pipeline: &Pipeline, plan: &Plan, names: &[Name]) -> Result<Vec<Name>, UnknownStep> {
    let mut meant = Vec::new();
    for name in names {
        let behind = behind(pipeline, plan, name);
        if behind.is_empty() {
            return Err(unknown(pipeline, plan, name));
        }
        meant.extend(behind);
    }
    Ok(meant)
}

fn behind(pipeline: &Pipeline, plan: &Plan, name: &Name) -> Vec<Name> {
    if plan.step(name).is_some() {
        return vec![name.clone()];
    }
    variants(pipeline, name).filter(|variant| plan.step(variant).is_some()).cloned().collect()
}

fn variants<'p>(pipeline: &'p Pipeline, name: &Name) -> impl Iterator<Item = &'p Name> {
    let step = pipeline.steps().iter().find(|step| step.name == *name);
    step.into_iter().flat_map(|step| &step.variants).map(|variant| &variant.name)
}

/// All names that stand for something: of steps, and of matrices.
fn known(pipeline: &Pipeline, plan: &Plan) -> Vec<Name> {
    let matrices = pipeline.steps().iter().filter(|step| !step.variants.is_empty());
    let of_matrices = matrices.map(|step| &step.name).filter(|name| !behind(pipeline, plan, name).is_empty());
    plan.steps.iter().map(|step| &step.name).chain(of_matrices).cloned().collect()
}

fn unknown(pipeline: &Pipeline, plan: &Plan, name: &Name) -> UnknownStep {
    let known = known(pipeline, plan);
    let why = |name: &Name| plan.left_out.iter().find(|left| left.step == *name).map(|left| left.why.clone());
    let left_out = why(name).or_else(|| variants(pipeline, name).find_map(why));
    UnknownStep { step: name.clone(), known, left_out }
}

#[cfg(test)]
mod tests {
    use staith_builder::plan::{Occasion, plan};
    use staith_model::{Digest, Source, Trigger, TriggerKind};

    use super::*;

    const FILE: &str = r#"
name = "shop"
version = "1"
[steps.build]
run = "true"
[steps.test]
needs = ["build"]
run = "true"
matrix = { python = ["3.12", "3.13"] }
[steps.nightly]
run = "true"
matrix = { size = ["s", "l"] }
when = 'event == "schedule"'
"#;

    fn told(name: &str) -> Result<Vec<String>, UnknownStep> {
        let pipeline = Pipeline::parse("runner.toml", FILE).unwrap();
        let trigger = Trigger { kind: TriggerKind::Local, ..Trigger::default() };
        let occasion = Occasion { trigger, ..Occasion::default() };
        let source = Source { tree: "0".repeat(40), commit: None, dirty: false };
        let plan = plan(&pipeline, source, &occasion, &|_| Digest::of(b"tree")).unwrap();
        let names: Vec<Name> = vec![name.parse().unwrap()];
        meant(&pipeline, &plan, &names).map(|meant| meant.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_matrix_is_meant_with_all_of_its_variants() {
        assert_eq!(told("build").unwrap(), ["build"]);
        let all = told("test").unwrap();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(told(&all[1]).unwrap(), [all[1].clone()]);
        let nightly = told("nightly").unwrap_err();
        assert!(nightly.left_out.is_some_and(|why| why.contains("schedule")));
        let slip = told("tset").unwrap_err();
        assert!(slip.left_out.is_none() && slip.known.iter().any(|name| name.as_str() == "test"), "{slip:?}");
        assert!(!slip.known.iter().any(|name| name.as_str() == "nightly"), "{slip:?}");
    }
}
