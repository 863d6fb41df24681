//! Who changes before anything is watched.

use staith_model::{Amount, Direction, Name, Rollout, Wave};

use super::Situation;

/// The waves over the machines that change, in their order. Going back has no canary: it is one wave.
pub(super) fn waves(situation: &Situation<'_>, members: &[Name], full_weight: u32) -> Vec<Wave> {
    let all = members.len();
    let mut waves = Vec::new();
    let mut done = 0;
    if let (Rollout::Canary { steps, analysis, .. }, Direction::Forward) =
        (&situation.environment.rollout, situation.direction)
    {
        for step in steps {
            let upto = step.targets.of(all);
            if upto <= done {
                continue;
            }
            let weight = weight(step.targets, upto, all, full_weight);
            waves.push(Wave {
                targets: members.get(done..upto).unwrap_or_default().to_vec(),
                bake_seconds: step.bake_seconds,
                weight,
                share: share(weight, upto, all, full_weight),
                analysed: analysis.is_some(),
            });
            done = upto;
        }
    }
    if done < all || waves.is_empty() {
        waves.push(Wave {
            targets: members.get(done..).unwrap_or_default().to_vec(),
            bake_seconds: 0,
            weight: full_weight,
            share: 10_000,
            analysed: false,
        });
    }
    waves
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
