//! Which job a runner gets. Pure: the store brings the candidates.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::Name;

/// The next job of a project among those that want the same labels: the highest priority, then the one that waited longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose it is.
    pub project: String,
    /// What a runner must have.
    pub labels: BTreeSet<Name>,
    /// Higher goes first in its project.
    pub priority: i32,
    /// When it came into the queue, in milliseconds since 1970.
    pub queued: u64,
    /// Its run.
    pub run: String,
    /// Its name there.
    pub job: String,
}

/// The job for a runner with these labels, if there is one.
///
/// The project with the fewest live attempts goes first, so that ten jobs of one never hold up two of another; among those with the same
/// number the one whose job waited longest. Within a project the priority counts first: it says nothing about other projects.
pub fn choose<'a>(
    heads: &'a [Head],
    labels: &BTreeSet<Name>,
    live: &BTreeMap<String, u64>,
) -> Option<&'a Head> {
    let mut of_projects: BTreeMap<&str, &Head> = BTreeMap::new();
    for head in heads.iter().filter(|head| head.labels.is_subset(labels)) {
        let best = of_projects.entry(&head.project).or_insert(head);
        if within(head) < within(best) {
            *best = head;
        }
    }
    let between = |head: &&Head| (live.get(&head.project).copied().unwrap_or(0), head.queued, key(head));
    of_projects.into_values().min_by(|a, b| between(a).cmp(&between(b)))
}

fn within(head: &Head) -> (std::cmp::Reverse<i32>, u64, (String, String)) {
    (std::cmp::Reverse(head.priority), head.queued, key(head))
}

/// Runs sort by the time they were made: ties are settled the same way each time.
fn key(head: &Head) -> (String, String) {
    (head.run.clone(), head.job.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(words: &[&str]) -> BTreeSet<Name> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    fn any_head() -> impl Strategy<Value = Head> {
        let wanted = prop::sample::subsequence(vec!["linux", "gpu", "arm"], 0..=3);
        (0usize..3, wanted, -2i32..3, 0u64..50, 0u32..1000).prop_map(
            |(project, wanted, priority, queued, run)| Head {
                project: ["shop", "blog", "docs"][project].to_owned(),
                labels: labels(&wanted),
                priority,
                queued,
                run: format!("{run:04}"),
                job: "run".to_owned(),
            },
        )
    }

    fn any_load() -> impl Strategy<Value = BTreeMap<String, u64>> {
        prop::collection::btree_map(
            prop::sample::select(vec!["shop", "blog", "docs"]).prop_map(String::from),
            0u64..4,
            0..3,
        )
    }

    proptest! {
        #[test]
        fn the_choice_is_the_fairest_and_any_runner_that_can_work_gets_something(heads in prop::collection::vec(any_head(), 0..12), load in any_load(), has in prop::sample::subsequence(vec!["linux", "gpu", "arm"], 0..=3)) {
            let has = labels(&has);
            let can: Vec<&Head> = heads.iter().filter(|head| head.labels.is_subset(&has)).collect();
            let Some(chosen) = choose(&heads, &has, &load) else {
                prop_assert!(can.is_empty());
                return Ok(());
            };
            prop_assert!(chosen.labels.is_subset(&has));
            let of = |head: &Head| load.get(&head.project).copied().unwrap_or(0);
            for other in can {
                prop_assert!(of(chosen) <= of(other), "a project with fewer live attempts was passed over");
                if other.project == chosen.project {
                    prop_assert!(chosen.priority >= other.priority);
                    prop_assert!(chosen.priority > other.priority || chosen.queued <= other.queued);
                }
            }
        }

        #[test]
        fn the_order_of_candidates_means_nothing(heads in prop::collection::vec(any_head(), 0..12), load in any_load()) {
            let has = labels(&["linux", "gpu"]);
            let mut turned = heads.clone();
            turned.reverse();
            prop_assert_eq!(choose(&heads, &has, &load), choose(&turned, &has, &load));
        }
    }
}
