//! Source and pipeline become a plan with nothing left to choose, and what can be said of it before it runs.
//!
//! Pure: no file, no clock. [`plan`] is total on every [`Pipeline`], because a pipeline is only ever made by its parser.

use std::collections::BTreeMap;

use staith_model::{Digest, Name, PackagePlan, Plan, RelPath, ServicePlan, Source, StepPlan, Trigger};

use crate::pipeline::{PackageSpec, Pipeline, Step};

mod cargo;
mod missing;
mod order;
mod programs;
mod shell;

pub use missing::{MissingProgram, missing_programs};
pub use programs::programs;

use order::Order;

/// Why and with which choices a run is made. Together with pipeline and source it decides the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occasion {
    /// What set it off.
    pub trigger: Trigger,
    /// Paths that differ from what was built before, for conditions that ask; `None` where that is not known, and then
    /// everything counts as changed.
    pub changed: Option<Vec<RelPath>>,
    /// Values for the pipeline's parameters, by name; those that are not here keep their defaults.
    pub settings: BTreeMap<String, String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A setting that the pipeline does not know, or can't take.
    #[error("`{name}` can't be set to `{value}`: {why}")]
    Setting {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
        /// Why not, and what could be.
        why: String,
    },
}

/// The plan of `pipeline` for `source`.
///
/// `input_tree` says what the digest of the source files is that some globs select; no globs select all. It is asked once
/// for each step, in the order of the plan.
///
/// # Errors
/// A setting of the occasion does not fit the pipeline.
pub fn plan(
    pipeline: &Pipeline,
    source: Source,
    occasion: &Occasion,
    input_tree: &dyn Fn(&[String]) -> Digest,
) -> Result<Plan, PlanError> {
    let order = Order::of(pipeline.steps());
    if let Some((name, value)) = occasion.settings.first_key_value() {
        let why = "the pipeline has no parameters".to_owned();
        return Err(PlanError::Setting { name: name.clone(), value: value.clone(), why });
    }
    Ok(Plan {
        project: pipeline.name().clone(),
        version: pipeline.version().as_str().to_owned(),
        source,
        trigger: occasion.trigger.clone(),
        tools: pipeline.tools().to_vec(),
        steps: order.steps().map(|step| step_plan(step, &order, input_tree)).collect(),
        left_out: Vec::new(),
        services: used_services(pipeline),
        package: pipeline.package().map(|package| package_plan(package, &order)),
    })
}

/// The services that steps of the plan name, in the order of the file.
fn used_services(pipeline: &Pipeline) -> Vec<ServicePlan> {
    let is_used =
        |service: &&ServicePlan| pipeline.steps().iter().any(|step| step.services.contains(&service.name));
    pipeline.services().iter().filter(is_used).cloned().collect()
}

fn step_plan(step: &Step, order: &Order<'_>, input_tree: &dyn Fn(&[String]) -> Digest) -> StepPlan {
    StepPlan {
        kind: step.kind.clone(),
        workdir: step.workdir.clone(),
        needs: step.needs.clone(),
        layers: order.below(&step.needs),
        inputs: step.inputs.clone(),
        outputs: step.outputs.clone(),
        reports: step.reports.clone(),
        env: step.env.clone(),
        network: step.network,
        timeout_seconds: step.timeout_seconds,
        limits: step.limits.clone(),
        image: step.image.clone(),
        secrets: step.secrets.clone(),
        allow: step.allow.clone(),
        retry: step.retry.clone(),
        may_fail: step.may_fail,
        services: step.services.clone(),
        matcher: step.matcher.clone(),
        ..StepPlan::new(step.name.clone(), step.command.clone(), input_tree(&step.inputs))
    }
}

fn package_plan(package: &PackageSpec, order: &Order<'_>) -> PackagePlan {
    let is_packed = |step: &&Step| package.from.contains(&step.name);
    PackagePlan {
        name: package.name.clone(),
        layers: order.steps().filter(is_packed).map(|step| step.name.clone()).collect::<Vec<Name>>(),
        root: package.root.clone(),
        include: package.include.clone(),
        exclude: package.exclude.clone(),
        source: package.source.clone(),
    }
}
