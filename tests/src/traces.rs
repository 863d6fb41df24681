//! What an attempt did, without when, where and for which run: two attempts at the same have the same trace.

use std::collections::BTreeSet;

use staith_model::{Digest, Event, EventKind, Name};

/// By which traces are held against each other: the plan, and which of its steps were run, since a step that is known is not.
pub type Same = (Digest, BTreeSet<Name>);

/// The trace of an attempt, with what has to be the same for others to have the same one; none of one that did not begin.
///
/// Steps that run at the same time write in any order, so the trace goes step by step.
pub fn trace(events: &[Event]) -> Option<(Same, Vec<String>)> {
    let plan = events.iter().find_map(|event| match &event.what {
        EventKind::RunStarted { plan_digest, .. } => Some(*plan_digest),
        _ => None,
    })?;
    let ran = events.iter().filter_map(|event| match &event.what {
        EventKind::StepStarted { step, .. } => Some(step.clone()),
        _ => None,
    });
    let mut told: Vec<(Option<&Name>, String)> =
        events.iter().filter_map(|event| line(&event.what)).collect();
    told.sort_by_key(|(step, _)| *step);
    Some(((plan, ran.collect()), told.into_iter().map(|(_, line)| line).collect()))
}

/// What of an event must be the same each time, with the step that it is about. How long something took is not, nor what a service said
/// while it began.
fn line(event: &EventKind) -> Option<(Option<&Name>, String)> {
    Some(match event {
        EventKind::StepStarted { step, attempt } => (Some(step), format!("{step} begins, {attempt}")),
        EventKind::StepOutput { step, stream, line } => {
            (Some(step), format!("{step} says by {stream:?}: {line}"))
        }
        EventKind::StepFinished { step, outcome, layer, .. } => {
            (Some(step), format!("{step} is {outcome:?}, and left {layer:?}"))
        }
        EventKind::PackageMade { package, .. } => (None, format!("{} is {}", package.name, package.content)),
        EventKind::RunFinished { outcome, .. } => (None, format!("all is {outcome:?}")),
        _ => return None,
    })
}
