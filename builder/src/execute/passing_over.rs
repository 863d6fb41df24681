//! Which steps are not run, and why, in words. Pure.

use staith_model::{Name, RunState, StepOutcome, StepState, Stranded};

use super::Manner;

/// The next step that will not run, given what has happened, with the reason. `is_idle` says whether no attempt at a step is
/// under way: a step may have begun to look into the cache before its first event.
pub(super) fn next(
    state: &RunState,
    manner: Manner,
    is_idle: impl Fn(&Name) -> bool,
) -> Option<(Name, String)> {
    if let Some((step, why)) = state.stranded().next() {
        return Some((step.clone(), in_words(&why)));
    }
    if manner.keep_going {
        return None;
    }
    let (failed, outcome) = first_failure(state)?;
    let has_not_begun = |name: &Name| {
        matches!(state.steps.get(name), Some(StepState::Waiting | StepState::Ready))
            && state.attempts(name) == 0
            && is_idle(name)
    };
    let step = state.plan.steps.iter().find(|step| {
        let is_for_the_worst = step.when.as_ref().is_some_and(staith_model::Condition::is_for_the_worst);
        !is_for_the_worst && has_not_begun(&step.name)
    })?;
    Some((step.name.clone(), format!("`{failed}` {}; `--keep-going` runs it all the same", ended(outcome))))
}

/// The first step, in the order of the plan, that failed and may not.
fn first_failure(state: &RunState) -> Option<(&Name, StepOutcome)> {
    state.plan.steps.iter().find_map(|step| {
        let outcome = state.outcome_of(&step.name)?;
        (outcome.blame().is_some() && !step.fails_as_it_may(outcome)).then_some((&step.name, outcome))
    })
}

fn in_words(why: &Stranded) -> String {
    match why {
        Stranded::Condition => "its condition does not hold".to_owned(),
        Stranded::Need { step, outcome } => format!("it needs `{step}`, which {}", ended(*outcome)),
    }
}

const fn ended(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Passed | StepOutcome::Cached => "passed",
        StepOutcome::Failed => "failed",
        StepOutcome::TimedOut => "took too long",
        StepOutcome::OutOfMemory => "ran out of memory",
        StepOutcome::Cancelled => "was cancelled",
        StepOutcome::Skipped => "was skipped",
        StepOutcome::Lost => "was lost",
        StepOutcome::EngineBroken => "could not be run",
    }
}
