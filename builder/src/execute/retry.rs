//! Whether a step that did not pass is tried again, and after how long. Pure.

use std::time::Duration;

use staith_model::{Blame, Reason, Retry, RetryCause, StepOutcome};

/// Before the second attempt; each later pause is twice as long. What is short of something, a registry or this machine,
/// needs room more than another attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer: after this, whatever is wrong does not mend itself while somebody waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long to wait before trying again a step whose attempt number `attempt` (from 1) ended so; `None` is never again.
pub(super) fn pause(
    retry: Option<&Retry>,
    attempt: u32,
    outcome: StepOutcome,
    reason: Option<&Reason>,
) -> Option<Duration> {
    let retry = retry.filter(|retry| attempt < retry.attempts)?;
    // Staith's own mistakes would be made again.
    if reason.is_some_and(|reason| reason.blame == Blame::Us) {
        return None;
    }
    let cause = cause(outcome)?;
    let is_wanted =
        if retry.on.is_empty() { cause == RetryCause::Environment } else { retry.on.contains(&cause) };
    let doublings = attempt.saturating_sub(1).min(16);
    is_wanted.then(|| (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE))
}

/// What may be tried again for which cause; what passed, was cancelled or never ran has none.
const fn cause(outcome: StepOutcome) -> Option<RetryCause> {
    match outcome {
        StepOutcome::Lost | StepOutcome::EngineBroken => Some(RetryCause::Environment),
        StepOutcome::Failed => Some(RetryCause::Failure),
        StepOutcome::TimedOut => Some(RetryCause::Timeout),
        StepOutcome::OutOfMemory => Some(RetryCause::OutOfMemory),
        StepOutcome::Passed | StepOutcome::Cached | StepOutcome::Cancelled | StepOutcome::Skipped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_causes_that_are_named_are_tried_again_and_not_for_ever() {
        let retry = |on: &[RetryCause]| Retry { attempts: 3, on: on.to_vec() };
        let seconds = |on: &[RetryCause], attempt, outcome| {
            pause(Some(&retry(on)), attempt, outcome, None).map(|pause| pause.as_secs())
        };
        let failure = [RetryCause::Failure, RetryCause::Timeout];
        assert_eq!(seconds(&failure, 1, StepOutcome::Failed), Some(1));
        assert_eq!(seconds(&failure, 2, StepOutcome::TimedOut), Some(2));
        assert_eq!(seconds(&failure, 3, StepOutcome::Failed), None);
        assert_eq!(seconds(&failure, 1, StepOutcome::OutOfMemory), None);
        assert_eq!(seconds(&failure, 1, StepOutcome::Lost), None);
        assert_eq!(seconds(&[], 1, StepOutcome::Lost), Some(1));
        assert_eq!(seconds(&[], 1, StepOutcome::Failed), None);
        assert_eq!(pause(None, 1, StepOutcome::Lost, None), None);
        for outcome in
            [StepOutcome::Passed, StepOutcome::Cached, StepOutcome::Cancelled, StepOutcome::Skipped]
        {
            let all =
                [RetryCause::Environment, RetryCause::Failure, RetryCause::Timeout, RetryCause::OutOfMemory];
            assert_eq!(seconds(&all, 1, outcome), None, "{outcome:?}");
        }
    }

    #[test]
    fn a_pause_grows_and_stays_bearable() {
        let retry = Retry { attempts: u32::MAX, on: vec![] };
        let pauses: Vec<Duration> =
            (1..100).filter_map(|attempt| pause(Some(&retry), attempt, StepOutcome::Lost, None)).collect();
        assert!(pauses.is_sorted() && pauses.len() == 99);
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }

    #[test]
    fn a_mistake_of_ours_is_not_made_again() {
        let retry = Retry { attempts: 3, on: vec![] };
        let reason = Reason { blame: Blame::Us, what: "a bug".into(), remedy: None };
        assert_eq!(pause(Some(&retry), 1, StepOutcome::EngineBroken, Some(&reason)), None);
    }
}
