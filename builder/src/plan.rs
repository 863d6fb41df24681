//! Source and pipeline become a plan with nothing left to choose, and what can be said of it before it runs.
//!
//! Pure: no file, no clock. A [`Pipeline`] is only ever made by its parser, so all that can be wrong with it was told before.

use std::collections::BTreeMap;

use staith_model::{Digest, Plan, RelPath, ServicePlan, Source, StepPlan, Trigger};

use crate::pipeline::{Facts, Pipeline, Step, fill, resolve_version};

mod cargo;
mod expand;
mod facts;
mod missing;
mod order;
mod packing;
mod programs;
mod shell;

pub use missing::{MissingProgram, missing_programs};
pub use programs::programs;

use expand::Expanded;
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
    /// With the run's settings, an image has a name that no image can have.
    #[error("`{}` can't be the image of {of}: a setting of this run is part of it, set another value", .image.escape_debug())]
    Image {
        /// What was to run in it.
        of: String,
        /// The name.
        image: String,
    },
    /// The package can't have the version that the pipeline gives it.
    #[error(
        "`version = \"{scheme}\"` does not work for this run: {why}; build something that has it, make the package for such \
         runs only (`when` in `[package]`), or write a version without it"
    )]
    Version {
        /// The version as the pipeline says it.
        scheme: String,
        /// What is missing.
        why: String,
    },
}

/// The plan of `pipeline` for `source`.
///
/// Steps whose conditions do not hold on this occasion are left out, with all that need them; a step with a matrix becomes one
/// for each of its variants. `input_tree` says what the digest of the source files is that some globs select; no globs select
/// all. It is asked once for each step, in the order of the plan.
///
/// # Errors
/// A setting of the occasion does not fit the pipeline, or what the version asks for is not known.
pub fn plan(
    pipeline: &Pipeline,
    source: Source,
    occasion: &Occasion,
    input_tree: &dyn Fn(&[String]) -> Digest,
) -> Result<Plan, PlanError> {
    let parameters = pipeline
        .settled(&occasion.settings)
        .map_err(|(name, value, why)| PlanError::Setting { name, value, why })?;
    let facts = Facts {
        trigger: &occasion.trigger,
        changed: occasion.changed.as_deref(),
        parameters: &parameters,
        matrix: &BTreeMap::new(),
    };
    let mut expanded = Expanded::of(pipeline, &facts)?;
    let packages = packing::decide(pipeline, &facts, &mut expanded);
    let order = Order::of(expanded.steps.iter().map(|concrete| &concrete.step));
    let needed = !packages.is_empty();
    let version = resolve_version(pipeline.version(), &source, &occasion.trigger, needed)
        .map_err(|why| PlanError::Version { scheme: pipeline.version().to_owned(), why })?;
    let when = |step: &Step| {
        let concrete = expanded.steps.iter().find(|concrete| concrete.step.name == step.name);
        concrete.and_then(|concrete| concrete.when.clone())
    };
    let steps: Vec<StepPlan> = order
        .steps()
        .map(|step| StepPlan { when: when(step), ..step_plan(step, &order, input_tree) })
        .collect();
    let mut plan = Plan {
        project: pipeline.name().clone(),
        version,
        source,
        trigger: occasion.trigger.clone(),
        tools: pipeline.tools().to_vec(),
        services: services(pipeline, &steps, &parameters)?,
        packages: packages.iter().map(|package| packing::plan(package, &expanded, &order)).collect(),
        steps,
        left_out: expanded.left_out,
    };
    facts::give(&mut plan);
    Ok(plan)
}

/// The services that steps of the plan name, in the order of the file.
fn services(
    pipeline: &Pipeline,
    steps: &[StepPlan],
    parameters: &BTreeMap<String, String>,
) -> Result<Vec<ServicePlan>, PlanError> {
    let is_used = |service: &&ServicePlan| steps.iter().any(|step| step.services.contains(&service.name));
    let no_matrix = BTreeMap::new();
    let fill = |text: &String| fill(text, &no_matrix, parameters);
    let filled = |service: &ServicePlan| {
        Ok(ServicePlan {
            image: expand::image(service.image.as_ref(), &fill, &format!("service `{}`", service.name))?,
            env: service.env.iter().map(|(name, value)| (name.clone(), fill(value))).collect(),
            ..service.clone()
        })
    };
    pipeline.services().iter().filter(is_used).map(filled).collect()
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
        coverage: step.coverage,
        findings: step.findings,
        runner: step.runner.clone(),
        ..StepPlan::new(step.name.clone(), step.command.clone(), input_tree(&step.inputs))
    }
}
