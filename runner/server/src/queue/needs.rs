//! What the end of jobs means for those that need them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use staith_model::service::{JobChange, JobState};

/// The most jobs of a run. A matrix that makes more is a mistake, and each end of a job looks at all of its run.
pub const MOST_JOBS: usize = 1000;

/// A job, as far as others hang on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name in the run.
    pub name: String,
    /// Where it is.
    pub state: JobState,
    /// Jobs of the run that must have passed.
    pub needs: BTreeSet<String>,
}

/// What changes by itself for jobs that wait, in an order in which it can be done: those whose needs have all passed are released, if it
/// is their run's turn; those that need one which ended otherwise are skipped, and so on to those that need them.
pub fn follow(jobs: &[Node], admitted: bool) -> Vec<(String, JobChange, Option<String>)> {
    let mut states: BTreeMap<&str, JobState> =
        jobs.iter().map(|job| (job.name.as_str(), job.state)).collect();
    let mut changes = Vec::new();
    loop {
        let before = changes.len();
        for job in jobs.iter().filter(|job| job.state == JobState::Waiting) {
            if states.get(job.name.as_str()) != Some(&JobState::Waiting) {
                continue;
            }
            let of = |need: &String| states.get(need.as_str()).copied();
            let in_the_way = job.needs.iter().find_map(|need| {
                of(need)
                    .filter(|state| state.is_over() && *state != JobState::Passed)
                    .map(|state| (need, state))
            });
            let all_passed = job.needs.iter().all(|need| of(need) == Some(JobState::Passed));
            let (change, why) = match in_the_way {
                Some((need, state)) => {
                    (JobChange::NeedsNotMet, Some(format!("it needs `{need}`, which is {state}")))
                }
                None if admitted && all_passed => (JobChange::Released, None),
                None => continue,
            };
            if let Ok(next) = JobState::Waiting.after(&change) {
                states.insert(&job.name, next);
                changes.push((job.name.clone(), change, why));
            }
        }
        if changes.len() == before {
            return changes;
        }
    }
}

/// What is wrong with jobs that are to be one run.
///
/// # Errors
/// There is none, two have a name, or needs are not there or go in a circle.
pub fn check(jobs: &[Node]) -> Result<(), String> {
    if jobs.is_empty() {
        return Err("a run has at least one job".to_owned());
    }
    if jobs.len() > MOST_JOBS {
        return Err(format!("a run has at most {MOST_JOBS} jobs, and this one would have {}", jobs.len()));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = jobs.iter().find(|job| !names.insert(job.name.as_str())) {
        return Err(format!("two jobs of the run are called `{}`", twice.name));
    }
    for job in jobs {
        if let Some(need) = job.needs.iter().find(|need| !names.contains(need.as_str())) {
            return Err(format!("the job `{}` needs `{need}`, which the run does not have", job.name));
        }
    }
    // What can be put in order has no circle: take away what needs nothing that is left, until nothing changes.
    let mut left: Vec<&Node> = jobs.iter().collect();
    loop {
        let names: BTreeSet<&str> = left.iter().map(|job| job.name.as_str()).collect();
        let before = left.len();
        left.retain(|job| job.needs.iter().any(|need| names.contains(need.as_str())));
        match left.first() {
            None => return Ok(()),
            Some(stuck) if left.len() == before => {
                return Err(format!("the job `{}` needs itself, by way of others", stuck.name));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(name: &str, state: JobState, needs: &[&str]) -> Node {
        Node { name: name.to_owned(), state, needs: needs.iter().map(|need| (*need).to_owned()).collect() }
    }

    /// Jobs that need only earlier ones.
    fn any_run() -> impl Strategy<Value = Vec<Node>> {
        let one =
            (prop::sample::select(JobState::ALL), prop::collection::vec(any::<prop::sample::Index>(), 0..3));
        prop::collection::vec(one, 1..10).prop_map(|jobs| {
            jobs.into_iter()
                .enumerate()
                .map(|(place, (state, needs))| Node {
                    name: format!("job-{place}"),
                    state,
                    needs: needs
                        .iter()
                        .filter(|_| place > 0)
                        .map(|need| format!("job-{}", need.index(place)))
                        .collect(),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_could_go_on(mut jobs in any_run(), admitted: bool) {
            for (name, change, _) in follow(&jobs, admitted) {
                let job = jobs.iter_mut().find(|job| job.name == name).unwrap();
                job.state = job.state.after(&change).unwrap();
            }
            prop_assert!(follow(&jobs, admitted).is_empty());
            for job in jobs.iter().filter(|job| job.state == JobState::Waiting && admitted) {
                let open = |need: &String| jobs.iter().any(|other| other.name == *need && !other.state.is_over());
                prop_assert!(job.needs.iter().any(open), "{job:?} would wait for ever");
            }
        }

        #[test]
        fn runs_without_circles_are_taken(jobs in any_run()) {
            prop_assert_eq!(check(&jobs), Ok(()));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let waiting = JobState::Waiting;
        let refused = |jobs: &[Node]| check(jobs).unwrap_err();
        assert!(refused(&[]).contains("at least one"));
        assert!(refused(&[node("a", waiting, &[]), node("a", waiting, &[])]).contains("`a`"));
        assert!(refused(&[node("a", waiting, &["b"])]).contains("`b`"));
        assert!(
            refused(&[node("a", waiting, &["c"]), node("b", waiting, &["a"]), node("c", waiting, &["b"])])
                .contains("itself")
        );
    }
}
