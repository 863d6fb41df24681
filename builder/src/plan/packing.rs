//! Whether a plan ends with packages, and which.

use staith_model::{LeftOut, Name, PackagePlan};

use super::{expand::Expanded, order::Order};
use crate::pipeline::{Decision, Facts, PackageSpec, Pipeline};

/// The packages that this occasion asks for. Where the file has one and the plan has not, what is left out says why.
pub(super) fn decide<'p>(
    pipeline: &'p Pipeline,
    facts: &Facts<'_>,
    expanded: &mut Expanded,
) -> Vec<&'p PackageSpec> {
    let mut wanted = Vec::new();
    for package in pipeline.packages() {
        match why_not(package, facts, expanded) {
            None => wanted.push(package),
            Some(why) => leave_out(pipeline, package, why, expanded),
        }
    }
    wanted
}

fn why_not(package: &PackageSpec, facts: &Facts<'_>, expanded: &Expanded) -> Option<String> {
    match package.when.as_ref().map(|when| when.decide(facts, &[], &|_| Vec::new())) {
        Some(Decision::LeftOut(why)) => Some(why),
        Some(Decision::Planned(_)) | None => {
            let missing = expanded.behind(&package.from).err()?;
            Some(format!("it is made from `{missing}`, which is left out"))
        }
    }
}

/// Among what is left out, the only package is called `package`, one of several `package.NAME`.
fn leave_out(pipeline: &Pipeline, package: &PackageSpec, why: String, expanded: &mut Expanded) {
    let called = match pipeline.packages() {
        [_] => "package".to_owned(),
        _ => format!("package.{}", package.name),
    };
    let is_taken = pipeline.steps().iter().any(|step| step.name.as_str() == called);
    if let Some(step) = called.parse().ok().filter(|_| !is_taken) {
        expanded.left_out.push(LeftOut { step, why });
    }
}

pub(super) fn plan(package: &PackageSpec, expanded: &Expanded, order: &Order<'_>) -> PackagePlan {
    let from = expanded.behind(&package.from).unwrap_or_default();
    let is_packed = |name: &&Name| from.contains(name);
    PackagePlan {
        name: package.name.clone(),
        layers: order.steps().map(|step| &step.name).filter(is_packed).cloned().collect(),
        root: package.root.clone(),
        include: package.include.clone(),
        exclude: package.exclude.clone(),
        source: package.source.clone(),
        parameters: package.parameters.clone(),
    }
}
