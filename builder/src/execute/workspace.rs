//! What a step is run in: the directories below its workspace, and its sandbox.

use std::{path::PathBuf, sync::Arc, time::Duration};

use staith_model::{Digest, Name, Plan, StepPlan};

use super::{
    Workbench,
    attempt::{argv, blocking, of_layer_error},
    verdict::Verdict,
};
use crate::{engine::StepSpec, source::Resolved};

/// Said where something was collected meanwhile.
const AGAIN: &str = "run again: the step that made it will be run again";

/// What is below a step's workspace, lowest first: the source files that it sees, and what the steps below it left.
pub(super) async fn lowers(
    bench: &Arc<Workbench>,
    plan: &Plan,
    source: &Arc<Resolved>,
    step: &StepPlan,
    layers: &[(Name, Digest)],
) -> Result<Vec<PathBuf>, Verdict> {
    let checkout = checkout(bench, source, step).await?;
    bench.layers.collisions(layers, |a, b| ordered(plan, a, b)).map_err(|both| of_layer_error(&both))?;
    on_top_of(bench, checkout, layers)
}

/// The directory of the source files that a step sees.
pub(super) async fn checkout(
    bench: &Arc<Workbench>,
    source: &Arc<Resolved>,
    step: &StepPlan,
) -> Result<PathBuf, Verdict> {
    let (bench, source, inputs) = (Arc::clone(bench), Arc::clone(source), step.inputs.clone());
    blocking(move || bench.sources.checkout(&source, &inputs))
        .await?
        .map_err(|refused| Verdict::broken(refused.to_string(), refused.remedy()))
}

/// A checkout with layers on top of it, lowest first.
pub(super) fn on_top_of(
    bench: &Workbench,
    checkout: PathBuf,
    layers: &[(Name, Digest)],
) -> Result<Vec<PathBuf>, Verdict> {
    let mut lowers = vec![checkout];
    for (_, layer) in layers {
        let gone =
            || Verdict::broken(format!("the layer {layer} is gone from the store"), Some(AGAIN.into()));
        lowers.push(bench.layers.path(layer).ok_or_else(gone)?);
    }
    Ok(lowers)
}

/// Whether one of two steps saw what the other left, so that overwriting was its intent.
fn ordered(plan: &Plan, a: &Name, b: &Name) -> bool {
    let sees = |one: &Name, other: &Name| plan.step(one).is_some_and(|step| step.layers.contains(other));
    sees(a, b) || sees(b, a)
}

/// The sandbox of a step.
pub(super) fn sandbox(
    bench: &Workbench,
    step: &StepPlan,
    label: String,
    lowers: Vec<PathBuf>,
    (upper, work): (PathBuf, PathBuf),
) -> StepSpec {
    StepSpec {
        label,
        image: bench.image(&step.image).clone(),
        lowers,
        upper,
        work,
        goes_on: false,
        workdir: step.workdir.clone(),
        argv: argv(&step.command),
        env: step.env.clone(),
        secrets: bench.secrets.variables(&step.secrets),
        network: step.network,
        allow: step.allow.clone(),
        timeout: Duration::from_secs(step.timeout_seconds),
        limits: step.limits.clone(),
        neighbours: Vec::new(),
        gate: None,
        terminal: None,
    }
}
