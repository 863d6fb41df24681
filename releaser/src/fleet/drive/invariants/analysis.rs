//! I7, of measurements: no data is no success, and no failure either.

use staith_model::{DeploymentChange as Change, Work, WorkResult};

use super::*;
use crate::fleet::drive::Verdict;

/// What one look at the measurements says.
fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Pass),
        2 => Just(Verdict::Inconclusive("no number".into())),
        1 => Just(Verdict::Fail("too many errors".into())),
    ]
}

/// Canaries, pools and machines in turn that are measured, with measurements that say now this and now that.
pub(super) fn any_measured() -> impl Strategy<Value = Scenario> {
    let targets = prop_oneof![(1u32..3).prop_map(Amount::Count), (1u8..60).prop_map(Amount::Percent)];
    let steps = prop::collection::vec((targets, 0u64..12), 1..4);
    let kind = (0u8..4, steps, 0u64..12);
    (2usize..5, kind, prop::collection::vec(verdict(), 0..8), verdict(), 0u32..3, faults(either())).prop_map(
        |(targets, kind, first, verdict, failure_limit, faults)| {
            let rollout = rollout(kind, failure_limit);
            let targets = if matches!(rollout, Rollout::BlueGreen { .. }) { targets * 2 } else { targets };
            Scenario { first_verdicts: first, verdict, faults, ..Scenario::of(targets, rollout) }
        },
    )
}

/// Whoever drives may be killed at any time: another counts on.
fn either() -> impl Strategy<Value = Fault> {
    prop_oneof![3 => network(), 1 => kill()]
}

fn rollout((kind, steps, bake_seconds): (u8, Vec<(Amount, u64)>, u64), failure_limit: u32) -> Rollout {
    let (max_unavailable, analysis) = (Amount::Count(1), Some(measured(failure_limit)));
    let watch = Some(Watch { bake_seconds: bake_seconds.max(1), analysis: analysis.clone() });
    match kind {
        0 => Rollout::Rolling { max_unavailable, watch },
        1 => swapped(watch),
        _ => {
            let step = |(targets, bake_seconds)| CanaryStep { targets, bake_seconds };
            let steps = steps.into_iter().map(step).collect();
            Rollout::Canary { steps, max_unavailable, analysis, bake_seconds }
        }
    }
}

/// What was measured of a wave so far, as the log tells it.
#[derive(Debug, Default)]
struct Seen {
    good: u32,
    bad: u32,
    none: u32,
}

/// No measured wave is left behind but on enough measurements, taken of that wave; what says neither yes nor no leads to neither; and
/// what says no too often is taken back, at once.
pub(super) fn goes_on_with_data_only(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    let Some(limit) = scenario.rollout.analysis().map(|analysis| analysis.failure_limit) else {
        return Err(TestCaseError::reject("nothing is measured"));
    };
    let record = ended.fold().deployment(&ended.deployment).cloned().unwrap();
    let (mut seen, mut wave) = (Seen::default(), 0);
    for entry in &ended.entries {
        match &entry.event {
            FleetEvent::Outcome { work: Work::Analyse { wave: of }, result, .. } => {
                same(*of, wave, "another wave was measured", &ended)?;
                prop_assert!(seen.bad <= limit, "it was asked again after {seen:?}\n{}", story(&ended));
                match result {
                    WorkResult::Done { .. } => seen.good += 1,
                    WorkResult::Failed { .. } => seen.bad += 1,
                    _ => seen.none += 1,
                }
            }
            FleetEvent::Changed { change: Change::NextWave | Change::AllWavesHeld, .. } => {
                let is_measured = record.plan.wave(wave).is_some_and(|wave| wave.analysed);
                let enough =
                    seen.good + seen.bad > limit && (seen.none == 0 || seen.none + seen.bad <= limit);
                prop_assert!(!is_measured || enough, "it went on without data: {seen:?}\n{}", story(&ended));
                prop_assert!(seen.bad <= limit, "it went on after {seen:?}\n{}", story(&ended));
                (seen, wave) = (Seen::default(), wave + 1);
            }
            FleetEvent::Changed { change: Change::Aborted, reason, .. } => {
                let why = reason.as_ref().map(|reason| reason.what.as_str()).unwrap_or_default();
                let measured = why.contains("measurements say no:");
                prop_assert!(!measured || seen.bad > limit, "no data failed it\n{}", story(&ended));
            }
            _ => {}
        }
    }
    let says_no = seen.bad > limit;
    prop_assert!(!says_no || ended.state == State::RolledBack, "{}", story(&ended));
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn i7_no_data_is_no_success(scenario in any_measured()) {
        goes_on_with_data_only(&scenario)?;
    }
}
