//! Hooks of which only a person can find out whether they ran to their end: those that are not repeatable, where the machine started anew in
//! the middle.

use staith_model::{Ask, DeploymentChange as Change, Name, WorkResult};

use super::*;

/// Hooks that must not run twice, and machines that start anew in the middle of one.
pub(super) fn any_interrupted() -> impl Strategy<Value = Scenario> {
    let fault = prop_oneof![3 => Just(Fault::RebootDuring), 2 => network(), 2 => kill()];
    (any_quiet(), faults(fault)).prop_map(|(mut scenario, faults)| {
        scenario.hooks = once_only();
        Scenario { faults, ..scenario }
    })
}

fn once_only() -> Vec<Hook> {
    all_hooks().into_iter().map(|hook| Hook { repeatable: false, ..hook }).collect()
}

fn is_undecided(event: &FleetEvent) -> bool {
    matches!(event, FleetEvent::Outcome { result: WorkResult::Undecided { .. }, .. })
}

/// How often each hook ran on a machine, at most.
fn most_runs(ended: &Ended, scenario: &Scenario) -> usize {
    let runs = |number| {
        let machine = ended.world.machine(&name(number)).unwrap();
        let of = |hook: &Name| machine.hook_runs.iter().filter(|ran| *ran == hook).count();
        machine.hook_runs.iter().map(of).max().unwrap_or_default()
    };
    (0..scenario.targets).map(runs).max().unwrap_or_default()
}

/// What can't be told is asked of a person, whatever else is going on; and no hook runs twice because of it.
pub(super) fn is_asked_of_a_person(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    prop_assert!(ended.state.is_terminal(), "{}", story(&ended));
    same(most_runs(&ended, scenario), most_runs(&ended, scenario).min(1), "a hook ran twice", &ended)?;
    let (mut is_open, mut is_asked) = (false, false);
    for entry in &ended.entries {
        match &entry.event {
            // Where a person is asked already, they see this, too.
            event if is_undecided(event) => is_open = !is_asked,
            FleetEvent::Changed { change, .. } => {
                prop_assert!(
                    !is_open || *change == Change::Undecidable,
                    "{change:?} was decided by nobody\n{}",
                    story(&ended)
                );
                (is_open, is_asked) = (false, *change == Change::Undecidable);
            }
            _ => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn whoever_can_not_tell_asks(scenario in any_interrupted()) {
        is_asked_of_a_person(&scenario)?;
    }
}

/// One deployment for each call in which a machine may start anew; those in which that was in the middle of a hook, and where they ended.
fn interrupted(asks: &[(u64, Ask)]) -> Vec<(Ended, Scenario)> {
    let at = |call| {
        let mut scenario =
            Scenario::of(2, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None });
        scenario.hooks = once_only();
        scenario.faults = Faults::from([(call, Fault::RebootDuring)]);
        scenario.asks = asks.to_vec();
        let ended = run(&scenario).unwrap();
        ended.entries.iter().any(|entry| is_undecided(&entry.event)).then_some((ended, scenario))
    };
    (0..80).filter_map(at).collect()
}

fn changes(ended: &Ended) -> Vec<Change> {
    let change = |event: &FleetEvent| match event {
        FleetEvent::Changed { change, .. } => Some(*change),
        _ => None,
    };
    ended.entries.iter().filter_map(|entry| change(&entry.event)).collect()
}

#[test]
fn nobody_decides_in_time_and_it_goes_back() {
    let all = interrupted(&[]);
    // Each of the four hooks, on the machines on which it runs.
    assert_eq!(all.len(), 6);
    for (ended, scenario) in &all {
        assert_eq!(ended.state, State::RolledBack, "{}", story(ended));
        assert!(changes(ended).contains(&Change::Undecidable), "{}", story(ended));
        assert_eq!(most_runs(ended, scenario), 1, "{}", story(ended));
        check_restored(scenario, ended).unwrap();
    }
}

#[test]
fn a_person_who_looked_at_the_machine_says_that_it_is_tried_again() {
    // Long after the machine was back, and before somebody has to have decided.
    let all = interrupted(&[(60_000, Ask::Retry)]);
    assert_eq!(all.len(), 6);
    for (ended, scenario) in &all {
        assert_eq!(ended.state, State::Succeeded, "{}", story(ended));
        assert_eq!(most_runs(ended, scenario), 2, "{}", story(ended));
        check_arrived(scenario, ended).unwrap();
    }
}
