//! Who changes before anything is watched.

use staith_model::{Amount, Direction, Name, Rollout, Wave};

use super::Situation;

/// The waves over the machines of the release, in their order. Going back has no canary, and nothing is watched: it is one wave. So is
/// what changes nothing: there is nothing to try, and nothing that could be taken back.
pub(super) fn waves(
    situation: &Situation<'_>,
    members: &[Name],
    changes: bool,
    full_weight: u32,
) -> Vec<Wave> {
    match (situation.direction, changes) {
        (Direction::Forward, true) => forward(&situation.environment.rollout, members, full_weight),
        _ => vec![last(members, 0, full_weight, (0, false))],
    }
}

fn forward(rollout: &Rollout, members: &[Name], full_weight: u32) -> Vec<Wave> {
    let measured = rollout.analysis().is_some();
    let (mut waves, mut done): (Vec<Wave>, _) = (Vec::new(), 0);
    if let Rollout::Canary { steps, .. } = rollout {
        for step in steps {
            // Few machines make a step that is none for them: what changes is how many requests they get, and how long they are watched.
            let upto = step.targets.of(members.len()).max(done);
            let weight = weight(step.targets, upto, members.len(), full_weight);
            // The same machines never get less than they have already.
            let had = waves.last().filter(|_| upto == done).map_or(0, |before| before.weight);
            let weight = weight.max(had);
            waves.push(Wave {
                targets: members.get(done..upto).unwrap_or_default().to_vec(),
                bake_seconds: step.bake_seconds,
                weight,
                share: share(weight, upto, members.len(), full_weight),
                analysed: measured,
            });
            done = upto;
        }
    }
    let bake_seconds = rollout.bake_seconds();
    if done < members.len() || waves.is_empty() || bake_seconds > 0 {
        waves.push(last(members, done, full_weight, (bake_seconds, measured && bake_seconds > 0)));
    }
    waves
}

/// All that have not changed yet. Then the release has all requests.
fn last(members: &[Name], done: usize, full_weight: u32, (bake_seconds, analysed): (u64, bool)) -> Wave {
    let targets = members.get(done..).unwrap_or_default().to_vec();
    Wave { targets, bake_seconds, weight: full_weight, share: 10_000, analysed }
}

/// The weight by which so many machines of all come closest to the share that was asked for.
fn weight(asked: Amount, new: usize, all: usize, full: u32) -> u32 {
    let (Amount::Percent(percent), true) = (asked, new < all) else { return full };
    let percent = u64::from(percent.min(99));
    let (new, old) = (wide(new), wide(all.saturating_sub(new)));
    let below = new.saturating_mul(100 - percent).max(1);
    let nearest =
        percent.saturating_mul(old).saturating_mul(u64::from(full)).saturating_add(below / 2) / below;
    u32::try_from(nearest).unwrap_or(full).clamp(1, full)
}

/// Requests of ten thousand that machines with this weight get.
fn share(weight: u32, new: usize, all: usize, full: u32) -> u32 {
    let fresh = wide(new).saturating_mul(u64::from(weight));
    let total = fresh.saturating_add(wide(all.saturating_sub(new)).saturating_mul(u64::from(full))).max(1);
    u32::try_from((fresh.saturating_mul(10_000) + total / 2) / total).unwrap_or(10_000)
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use staith_model::{Analysis, CanaryStep, Watch};

    use super::*;

    #[test]
    fn a_weight_gives_the_share_that_was_asked_for_as_far_as_weights_can() {
        use Amount::{Count, Percent};
        // What was asked for, of how many machines, with which full weight: the weight, and requests of ten thousand.
        for (asked, all, full, expected) in [
            (Percent(5), 4, 256, (40, 495)),
            (Percent(25), 4, 256, (256, 2500)),
            (Percent(50), 4, 256, (256, 5000)),
            (Percent(10), 10, 256, (256, 1000)),
            // One machine of ten has at most a tenth.
            (Percent(19), 10, 256, (256, 1000)),
            (Percent(1), 10, 256, (23, 99)),
            (Percent(1), 2, 256, (3, 116)),
            (Percent(33), 3, 256, (252, 3298)),
            (Percent(99), 100, 256, (256, 9900)),
            (Percent(100), 4, 256, (256, 10_000)),
            (Percent(5), 1, 256, (256, 10_000)),
            (Percent(5), 2, 100, (5, 476)),
            // Who knows no weights at all can only count machines.
            (Percent(5), 4, 1, (1, 2500)),
            (Count(1), 4, 256, (256, 2500)),
            (Count(9), 4, 256, (256, 10_000)),
        ] {
            let new = asked.of(all);
            let weight = weight(asked, new, all, full);
            assert_eq!(
                (weight, share(weight, new, all, full)),
                expected,
                "{asked:?} of {all}, {full} at most"
            );
        }
    }

    fn step(targets: Amount, bake_seconds: u64) -> CanaryStep {
        CanaryStep { targets, bake_seconds }
    }

    fn canary(steps: &[CanaryStep], bake_seconds: u64) -> Rollout {
        let analysis = Analysis { metrics: Vec::new(), interval_seconds: 1, failure_limit: 0 };
        let steps = steps.to_vec();
        Rollout::Canary { steps, max_unavailable: Amount::Count(1), analysis: Some(analysis), bake_seconds }
    }

    fn names(all: usize) -> Vec<Name> {
        (0..all).map(|number| format!("m{number}").parse().unwrap()).collect()
    }

    /// How many machines change, for how long they are watched, the weight, the share, and whether it is measured.
    fn told(rollout: &Rollout, all: usize) -> Vec<(usize, u64, u32, u32, bool)> {
        let told =
            |wave: &Wave| (wave.targets.len(), wave.bake_seconds, wave.weight, wave.share, wave.analysed);
        forward(rollout, &names(all), 256).iter().map(told).collect()
    }

    #[test]
    fn a_step_that_is_no_further_machine_has_its_own_weight_and_time() {
        use Amount::{Count, Percent};
        let steps = [step(Percent(5), 60), step(Percent(25), 120)];
        let last = |machines| (machines, 0, 256, 10_000, false);
        assert_eq!(told(&canary(&steps, 0), 4), [(1, 60, 40, 495, true), (0, 120, 256, 2500, true), last(3)]);
        assert_eq!(
            told(&canary(&steps, 0), 40),
            [(2, 60, 256, 500, true), (8, 120, 256, 2500, true), last(30)]
        );
        // The only machine is all of them from the first step on.
        assert_eq!(told(&canary(&steps, 0), 1), [(1, 60, 256, 10_000, true), (0, 120, 256, 10_000, true)]);
        // A number and a share are compared when the machines are known; nobody gets less than before.
        let mixed = [step(Count(2), 10), step(Percent(30), 20)];
        assert_eq!(
            told(&canary(&mixed, 0), 4),
            [(2, 10, 256, 5000, true), (0, 20, 256, 5000, true), last(2)]
        );
    }

    #[test]
    fn all_machines_are_watched_where_that_is_said() {
        let analysis = Analysis { metrics: Vec::new(), interval_seconds: 1, failure_limit: 0 };
        let watch = |analysis| Some(Watch { bake_seconds: 300, analysis });
        let rolling = |watch| Rollout::Rolling { max_unavailable: Amount::Count(1), watch };
        assert_eq!(told(&rolling(None), 3), [(3, 0, 256, 10_000, false)]);
        assert_eq!(told(&rolling(watch(None)), 3), [(3, 300, 256, 10_000, false)]);
        assert_eq!(told(&rolling(watch(Some(analysis.clone()))), 3), [(3, 300, 256, 10_000, true)]);
        assert_eq!(
            told(&Rollout::AllAtOnce { watch: watch(Some(analysis)) }, 3),
            [(3, 300, 256, 10_000, true)]
        );
        let steps = [step(Amount::Count(1), 5)];
        assert_eq!(told(&canary(&steps, 300), 2), [(1, 5, 256, 5000, true), (1, 300, 256, 10_000, true)]);
        assert_eq!(told(&canary(&steps, 300), 1), [(1, 5, 256, 10_000, true), (0, 300, 256, 10_000, true)]);
    }

    fn amount() -> impl Strategy<Value = Amount> {
        prop_oneof![(1u32..12).prop_map(Amount::Count), (1u8..=100).prop_map(Amount::Percent)]
    }

    proptest! {
        /// Every machine is in one wave, every step is one, and what the new release gets only grows, to all.
        #[test]
        fn waves_hold_every_machine_once_and_only_grow(
            steps in prop::collection::vec((amount(), 0u64..9), 0..5), all in 1usize..12, full in 1u32..=256,
        ) {
            let steps: Vec<CanaryStep> = steps.into_iter().map(|(targets, bake)| step(targets, bake)).collect();
            let waves = forward(&canary(&steps, 0), &names(all), full);
            let machines: Vec<Name> = waves.iter().flat_map(|wave| wave.targets.clone()).collect();
            prop_assert_eq!(machines, names(all));
            let bakes: Vec<u64> = waves.iter().take(steps.len()).map(|wave| wave.bake_seconds).collect();
            prop_assert_eq!(bakes, steps.iter().map(|step| step.bake_seconds).collect::<Vec<_>>());
            prop_assert_eq!(waves.last().map(|wave| (wave.weight, wave.share)), Some((full, 10_000)));
            for (before, wave) in waves.iter().zip(&waves[1..]) {
                prop_assert!(wave.share >= before.share, "{:?} after {:?}", wave, before);
            }
        }
    }
}
