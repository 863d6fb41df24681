//! How often, how fast, how well: four figures of delivery, each with its definition.

use serde::{Deserialize, Serialize};
use staith_model::Name;

use super::fact::{DeploymentFact, Kind, Outcome, undone_by};

/// The figures of a span of time. A **change** is a deployment of a release (not a rollback) that touched a machine and has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Changes that began in the span.
    pub changes: usize,
    /// Those of them that **failed**: that went back by themselves, could not go back, need a decision, or succeeded and were then
    /// undone by a rollback, whenever that came.
    pub failed: usize,
    /// Changes that did not fail, for each day of the span.
    pub deployments_per_day: f64,
    /// The median of the milliseconds from commit to the end of a change that did not fail; `None` without any whose commit's time is
    /// known.
    pub lead_time_millis: Option<u64>,
    /// Failed changes of a hundred; `None` without changes.
    pub change_failure_percent: Option<f64>,
    /// The median of the milliseconds from the beginning of a failed change to the end of what restored service: its own going back,
    /// the rollback that undid it, or else the next change that did not fail. `None` where nothing was restored.
    pub time_to_restore_millis: Option<u64>,
}

/// The figures of an environment for a span of time, as people and programs are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Which environment.
    pub environment: Name,
    /// When the span begins, in milliseconds since 1970.
    pub from: u64,
    /// When it ends.
    pub until: u64,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Measured {
    /// Of all the facts of an environment, the figures of the `days` until now.
    pub fn of(environment: Name, facts: &[DeploymentFact], days: u64, now: u64) -> Self {
        const DAY: u64 = 24 * 3600 * 1000;
        let from = now.saturating_sub(days.saturating_mul(DAY));
        // What is under way has not ended, so the end of the span is behind all that counts.
        Self { environment, from, until: now, figures: figures(facts, from, now.saturating_add(1)) }
    }
}

/// The figures of one environment's facts for the span `[from, until)` in milliseconds since 1970.
pub fn figures(facts: &[DeploymentFact], from: u64, until: u64) -> Figures {
    const DAY: f64 = 24.0 * 3600.0 * 1000.0;
    let undone_at = undone(facts);
    let is_in = |fact: &DeploymentFact| fact.began_at.is_some_and(|began| (from..until).contains(&began));
    let changes: Vec<usize> =
        (0..facts.len()).filter(|place| facts[*place].is_change() && is_in(&facts[*place])).collect();
    let is_failed = |place: usize| facts[place].outcome != Outcome::Succeeded || undone_at[place].is_some();
    let (failed, held): (Vec<usize>, Vec<usize>) = changes.iter().partition(|place| is_failed(**place));
    let lead_times = held.iter().filter_map(|place| {
        let fact = &facts[*place];
        Some(fact.ended_at?.saturating_sub(fact.committed_at?))
    });
    let restoring = failed.iter().filter_map(|place| {
        let began = facts[*place].began_at?;
        Some(restored_at(facts, *place, undone_at[*place], &is_failed)?.saturating_sub(began))
    });
    let days = until.saturating_sub(from) as f64 / DAY;
    Figures {
        changes: changes.len(),
        failed: failed.len(),
        deployments_per_day: if days > 0.0 { held.len() as f64 / days } else { 0.0 },
        lead_time_millis: median(lead_times.collect()),
        change_failure_percent: (!changes.is_empty())
            .then(|| 100.0 * failed.len() as f64 / changes.len() as f64),
        time_to_restore_millis: median(restoring.collect()),
    }
}

/// For each fact, when the first rollback that undid it had ended.
fn undone(facts: &[DeploymentFact]) -> Vec<Option<u64>> {
    let mut undone = vec![None; facts.len()];
    for place in 0..facts.len() {
        if let Some(change) = undone_by(facts, place)
            && undone[change].is_none()
        {
            undone[change] = facts[place].ended_at;
        }
    }
    undone
}

fn restored_at(
    facts: &[DeploymentFact],
    place: usize,
    undone_at: Option<u64>,
    is_failed: &dyn Fn(usize) -> bool,
) -> Option<u64> {
    let fact = &facts[place];
    if fact.outcome == Outcome::RolledBack {
        return fact.ended_at;
    }
    undone_at.or_else(|| {
        let later = (place + 1..facts.len()).find(|later| {
            let other = &facts[*later];
            let restores = match other.kind {
                Kind::Rollback => other.outcome == Outcome::Succeeded,
                Kind::Deploy => other.is_change() && !is_failed(*later),
            };
            restores && other.environment == fact.environment
        });
        facts[later?].ended_at
    })
}

/// The middle one; of two, their mean.
fn median(mut numbers: Vec<u64>) -> Option<u64> {
    numbers.sort_unstable();
    let last = numbers.len().checked_sub(1)?;
    Some(numbers[last / 2].midpoint(numbers[last.div_ceil(2)]))
}

#[cfg(test)]
mod tests {
    use super::{
        super::fact::samples::{DAY, deployed, rolled_back, undoing},
        *,
    };

    #[test]
    fn ten_releases_with_two_rollbacks_are_twenty_percent() {
        let by_themselves: Vec<_> = (1..=10)
            .map(|number| if number % 5 == 0 { rolled_back(number) } else { deployed(number) })
            .collect();
        let of = figures(&by_themselves, DAY, 11 * DAY);
        assert_eq!((of.changes, of.failed, of.change_failure_percent), (10, 2, Some(20.0)));
        let by_hand: Vec<_> = (1..=10)
            .flat_map(|number| [Some(deployed(number)), (number % 5 == 0).then(|| undoing(number))])
            .flatten()
            .collect();
        let of = figures(&by_hand, DAY, 11 * DAY);
        assert_eq!((of.changes, of.failed, of.change_failure_percent), (10, 2, Some(20.0)));
        assert!((of.deployments_per_day - 0.8).abs() < 1e-9);
        assert_eq!(of.lead_time_millis, Some(DAY / 2 + DAY / 24));
        // Undone two hours after it began, in a second.
        assert_eq!(of.time_to_restore_millis, Some(DAY / 12 + 1000));
    }

    #[test]
    fn what_never_touched_a_machine_is_no_change() {
        let mut rejected = deployed(1);
        (rejected.began_at, rejected.outcome) = (None, Outcome::NeverBegan);
        let of = figures(&[rejected], 0, 11 * DAY);
        assert_eq!((of.changes, of.change_failure_percent, of.time_to_restore_millis), (0, None, None));
    }

    #[test]
    fn what_could_not_go_back_is_restored_by_the_next_that_holds() {
        let mut stuck = deployed(1);
        stuck.outcome = Outcome::RollbackFailed;
        let of = figures(&[stuck.clone(), rolled_back(2), deployed(3)], 0, 11 * DAY);
        assert_eq!(of.failed, 2);
        // An hour for the second; two days and an hour for the first.
        assert_eq!(of.time_to_restore_millis, Some(DAY + DAY / 24));
        assert_eq!(figures(&[stuck], 0, 11 * DAY).time_to_restore_millis, None);
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![5]), Some(5));
        assert_eq!(median(vec![9, 1]), Some(5));
        assert_eq!(median(vec![9, 1, 2]), Some(2));
    }
}
