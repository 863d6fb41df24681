//! Source and pipeline become a plan with nothing left to choose, and what can be said of it before it runs.
//!
//! Pure: no file, no clock. [`plan`] is total on every [`Pipeline`], because a pipeline is only ever made by its parser.

use staith_model::{Digest, Name, PackagePlan, Plan, Source, StepPlan, Trigger};

use crate::pipeline::{PackageSpec, Pipeline, Step};

mod cargo;
mod missing;
mod order;
mod programs;
mod shell;

pub use missing::{MissingProgram, missing_programs};
pub use programs::programs;

use order::Order;

/// The plan of `pipeline` for `source`.
///
/// `input_tree` says what the digest of the source files is that some globs select; no globs select all. It is asked once
/// for each step, in the order of the plan.
pub fn plan(pipeline: &Pipeline, source: Source, input_tree: &dyn Fn(&[String]) -> Digest) -> Plan {
    let order = Order::of(pipeline.steps());
    Plan {
        project: pipeline.name().clone(),
        version: pipeline.version().as_str().to_owned(),
        source,
        trigger: Trigger::default(),
        tools: pipeline.tools().to_vec(),
        steps: order.steps().map(|step| step_plan(step, &order, input_tree)).collect(),
        left_out: Vec::new(),
        services: Vec::new(),
        package: pipeline.package().map(|package| package_plan(package, &order)),
    }
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
