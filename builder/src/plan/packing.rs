//! Whether a plan ends with a package, and which.

use staith_model::{LeftOut, Name, PackagePlan};

use super::{expand::Expanded, order::Order};
use crate::pipeline::{Decision, Facts, PackageSpec, Pipeline};

/// What the package is called among what is left out.
const PACKAGE: &str = "package";

/// The package that this occasion asks for. Where the file has one and the plan has not, what is left out says why.
pub(super) fn decide<'p>(
    pipeline: &'p Pipeline,
    facts: &Facts<'_>,
    expanded: &mut Expanded,
) -> Option<&'p PackageSpec> {
    let package = pipeline.package()?;
    let why = match package.when.as_ref().map(|when| when.decide(facts, &[], &|_| Vec::new())) {
        Some(Decision::LeftOut(why)) => why,
        Some(Decision::Planned(_)) | None => match expanded.behind(&package.from) {
            Ok(_) => return Some(package),
            Err(step) => format!("it is made from `{step}`, which is left out"),
        },
    };
    let is_taken = |name: &Name| pipeline.steps().iter().any(|step| step.name == *name);
    if let Some(name) = PACKAGE.parse().ok().filter(|name| !is_taken(name)) {
        expanded.left_out.push(LeftOut { step: name, why });
    }
    None
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
    }
}
