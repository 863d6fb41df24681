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

/// Canaries that are measured, with measurements that say now this and now that.
pub(super) fn any_measured() -> impl Strategy<Value = Scenario> {
    let steps = prop::collection::vec((1u32..3, 0u64..12), 1..4);
    (2usize..5, steps, prop::collection::vec(verdict(), 0..8), verdict(), 0u32..3, faults(network()))
        .prop_map(|(targets, steps, first, verdict, failure_limit, faults)| {
            let step = |(targets, bake_seconds)| CanaryStep { targets: Amount::Count(targets), bake_seconds };
            let analysis = Analysis { metrics: Vec::new(), interval_seconds: 2, failure_limit };
            let rollout = Rollout::Canary {
                steps: steps.into_iter().map(step).collect(),
                max_unavailable: Amount::Count(1),
                analysis: Some(analysis),
            };
            Scenario { first_verdicts: first, verdict, faults, ..Scenario::of(targets, rollout) }
        })
}

/// No measured wave is left behind but on a measurement that says yes, taken of that wave; what says neither yes nor no leads to
/// neither; and what says no too often is taken back.
pub(super) fn goes_on_with_data_only(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    let Rollout::Canary { analysis: Some(analysis), .. } = &scenario.rollout else {
        return Err(TestCaseError::reject("nothing is measured"));
    };
    let record = ended.fold().deployment(&ended.deployment).cloned().unwrap();
    let (mut last, mut failed, mut wave) = (None, 0, 0);
    for entry in &ended.entries {
        match &entry.event {
            FleetEvent::Outcome { work: Work::Analyse { wave: of }, result, .. } => {
                same(*of, wave, "another wave was measured", &ended)?;
                failed += u32::from(matches!(result, WorkResult::Failed { .. }));
                last = Some(result.clone());
            }
            FleetEvent::Changed { change: Change::NextWave | Change::AllWavesHeld, .. } => {
                let is_measured = record.plan.wave(wave).is_some_and(|wave| wave.analysed);
                let good = matches!(last, Some(WorkResult::Done { .. }));
                prop_assert!(!is_measured || good, "it went on without data: {last:?}\n{}", story(&ended));
                prop_assert!(
                    failed <= analysis.failure_limit,
                    "it went on after {failed} no\n{}",
                    story(&ended)
                );
                (last, failed, wave) = (None, 0, wave + 1);
            }
            FleetEvent::Changed { change: Change::Aborted, reason, .. } => {
                let why = reason.as_ref().map(|reason| reason.what.as_str()).unwrap_or_default();
                let measured = why.contains("measurements say no");
                prop_assert!(
                    !measured || failed > analysis.failure_limit,
                    "no data failed it\n{}",
                    story(&ended)
                );
            }
            _ => {}
        }
    }
    let says_no = failed > analysis.failure_limit;
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
