//! I1: a person's abort is accepted in every state, at once, and outranks everything else.

use staith_model::{Ask, DeploymentChange as Change, DeploymentRecord, FleetState, Work};

use super::*;
use crate::fleet::{drive::Verdict, simulate::BEGINNING};

/// What is said to be heeded at once is heeded within this, in milliseconds.
const AT_ONCE: u64 = 1000;

/// Where in the log somebody wanted it stopped, and how far it was then.
fn abort(ended: &Ended) -> Option<(usize, DeploymentRecord)> {
    let is_abort = |event: &FleetEvent| matches!(event, FleetEvent::Asked { ask: Ask::Abort { .. }, .. });
    let place = ended.entries.iter().position(|entry| is_abort(&entry.event))?;
    let before = FleetState::of(ended.entries[..place].iter().map(|entry| (entry.at, &entry.event)));
    Some((place, before.deployment(&ended.deployment)?.clone()))
}

/// The first thing that a driver does after it was told to stop is to stop, it does so at once, and nothing leads forward from
/// there. The state that it was in; `None` where it was going back already, or was over.
fn check_abort(scenario: &Scenario, ended: &Ended) -> Result<Option<State>, TestCaseError> {
    let Some((place, before)) = abort(ended) else { return Ok(None) };
    let goes_back = before.back || matches!(before.state, State::Halting | State::RollingBack);
    if goes_back || before.state.is_terminal() {
        return Ok(None);
    }
    let told = ended.entries[place].at;
    let acts = |event: &FleetEvent| {
        matches!(event, FleetEvent::Intent { .. } | FleetEvent::Changed { .. } | FleetEvent::Replanned { .. })
    };
    let mut rest = ended.entries[place..].iter().filter(|entry| acts(&entry.event));
    let Some(next) = rest.next() else {
        return Err(TestCaseError::fail(format!("it was not heeded\n{}", story(ended))));
    };
    let stops = |event: &FleetEvent| {
        matches!(event, FleetEvent::Changed { change: Change::Aborted | Change::Cancelled, .. })
    };
    prop_assert!(stops(&next.event), "it went on from {:?}\n{}", before.state, story(ended));
    prop_assert!(next.at <= told + AT_ONCE, "it took {} ms\n{}", next.at - told, story(ended));
    for entry in rest {
        prop_assert!(!leads_forward(scenario, &entry.event), "{:?}\n{}", entry.event, story(ended));
    }
    // Nothing was done yet: it is as if it had never been. Else what was visible is taken back, or nobody could.
    let expected: &[State] = match before.state {
        State::Planned | State::AwaitingGates | State::Acquiring => &[State::Cancelled],
        _ => &[State::RolledBack, State::RollbackFailed],
    };
    prop_assert!(expected.contains(&ended.state), "it ended {:?}\n{}", ended.state, story(ended));
    Ok(Some(before.state))
}

/// Whether something is begun that only makes sense on the way to the new release.
fn leads_forward(scenario: &Scenario, event: &FleetEvent) -> bool {
    match event {
        FleetEvent::Intent { work, .. } => match work {
            Work::Stage { .. } | Work::Hook { .. } => true,
            Work::Switch { to, .. } => *to == Some(scenario.wanted()),
            Work::Serve { to } if scenario.has_pools() && scenario.before => {
                to.keys().any(|name| !scenario.serving().contains(name))
            }
            _ => false,
        },
        FleetEvent::Changed { change, .. } => !matches!(
            change,
            Change::RollbackBegan | Change::Restored | Change::RestoreFailed | Change::Undecidable
        ),
        _ => true,
    }
}

/// Stopped at any time, whatever goes wrong beside.
pub(super) fn is_heeded(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    check_abort(scenario, &ended).map(drop)
}

/// Stopped while nothing goes wrong: all is as it was.
fn is_heeded_in_peace(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    if check_abort(scenario, &ended)?.is_some() {
        prop_assert!(ended.state != State::RollbackFailed, "{}", story(&ended));
        check_restored(scenario, &ended)?;
    }
    Ok(())
}

/// A scenario in which everything goes wrong at once and somebody wants it stopped.
pub(super) fn any_stopped() -> impl Strategy<Value = Scenario> {
    (any_trouble(), prop_oneof![0u64..400, 0u64..3000, 0u64..30_000])
        .prop_map(|(scenario, at)| Scenario { abort_at: Some(at), ..scenario })
}

/// A state without its numbers.
fn kind(state: State) -> String {
    format!("{state:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
}

fn analysed_canary() -> Scenario {
    let steps = vec![CanaryStep { targets: Amount::Count(1), bake_seconds: 4 }];
    let analysis = Analysis { metrics: Vec::new(), interval_seconds: 2, failure_limit: 1 };
    let max_unavailable = Amount::Count(1);
    let mut scenario = Scenario::of(
        3,
        Rollout::Canary { steps, max_unavailable, analysis: Some(analysis), bake_seconds: 0 },
    );
    scenario.hooks = all_hooks();
    scenario
}

/// Each strategy, with all that there is to do; hooks that hang, and machines that are gone or do not work.
fn all_kinds() -> Vec<Scenario> {
    let with_hooks = |targets, rollout| Scenario { hooks: all_hooks(), ..Scenario::of(targets, rollout) };
    let slow = (8..60).map(|call| (call, Fault::Slow(3000))).collect();
    vec![
        analysed_canary(),
        Scenario { verdict: Verdict::Inconclusive("too little".into()), ..analysed_canary() },
        // One of the machines that change last does not come back.
        Scenario { faults: Faults::from([(45, Fault::Unreachable(1_000_000))]), ..analysed_canary() },
        Scenario { faults: slow, ..analysed_canary() },
        with_hooks(3, Rollout::AllAtOnce { watch: None }),
        with_hooks(3, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None }),
        with_hooks(6, blue_green()),
        Scenario { sick: [5].into(), ..with_hooks(6, blue_green()) },
    ]
}

/// I1, in every state in which time passes and at every step of every strategy: each deployment is run once, and then stopped at
/// each line of its log, and a moment after it.
#[test]
fn i1_abort_is_heeded_at_every_step() {
    let mut seen = BTreeSet::new();
    let mut abort_at = |scenario: &Scenario, at: u64| {
        let scenario = Scenario { abort_at: Some(at), ..scenario.clone() };
        let ended = completes(&scenario).unwrap();
        seen.extend(check_abort(&scenario, &ended).unwrap().map(kind));
    };
    abort_at(&Scenario { shut: true, ..analysed_canary() }, 20_000);
    for scenario in all_kinds() {
        let lines = completes(&scenario).unwrap().entries;
        let times: BTreeSet<u64> = lines.iter().map(|line| line.at - BEGINNING).collect();
        times.into_iter().flat_map(|at| [at, at + 1]).for_each(|at| abort_at(&scenario, at));
    }
    for state in [
        "AwaitingGates",
        "Staging",
        "Migrating",
        "Switching",
        "Soaking",
        "Paused",
        "NeedsDecision",
        "Finalizing",
    ] {
        assert!(seen.contains(state), "{state} was not met: {seen:?}");
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn i1_abort_beats_all_else(scenario in any_stopped()) {
        is_heeded(&scenario)?;
    }

    /// Nothing goes wrong but that somebody changed their mind: all is as it was.
    #[test]
    fn i1_what_is_stopped_leaves_nothing(scenario in any_quiet(), at in prop_oneof![0u64..400, 0u64..3000]) {
        is_heeded_in_peace(&Scenario { abort_at: Some(at), ..scenario })?;
    }
}
