//! What a job takes of other jobs of its run, before anything is run.

use std::{collections::BTreeMap, sync::Arc};

use staith_builder::{cache::StepRecord, execute::Passing, layers::LayerStore};
use staith_model::{Digest, Exit, Name, Plan, Taken};

use super::sharing::Sharing;
use crate::output::Problem;

/// The steps of other jobs as steps that have passed: they are not run again, and what they left is in the store. A step that can't be had
/// any more is left out, to be run here, where it may be.
///
/// # Errors
/// One can't be had, and may not be run here.
pub(super) async fn from_other_jobs(
    plan: &Plan,
    taken: &[Taken],
    sharing: &Sharing,
    layers: &Arc<LayerStore>,
) -> Result<BTreeMap<Name, Passing>, Problem> {
    let mut records: BTreeMap<Name, StepRecord> = BTreeMap::new();
    for Taken { step, again } in taken {
        match sharing.of_run(step, layers).await {
            Ok(record) => drop(records.insert(step.clone(), record)),
            Err(why) if *again => {
                tracing::info!(why, %step, "what another job left can't be had; the step is run again");
            }
            Err(why) => return Err(not_there(step, why)),
        }
    }
    Ok(plan
        .steps
        .iter()
        .filter_map(|step| {
            let record = records.get(&step.name)?.clone();
            let left = |name: &Name| Some((name.clone(), records.get(name)?.layer?));
            let layers: Vec<(Name, Digest)> = step.layers.iter().filter_map(left).collect();
            Some((step.name.clone(), Passing { layers, record }))
        })
        .collect())
}

fn not_there(step: &Name, why: String) -> Problem {
    let what =
        format!("what step `{step}` left, which another job of the run made, can't be had from the server");
    Problem::new(Exit::Environment, what).with_why(why).with_remedy(
        "it may have been removed to make room, or was not brought there: start a new run; `staith project run` does",
    )
}
