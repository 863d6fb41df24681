//! The invariants of a release, over random schedules of faults in a simulated fleet.
//!
//! Each property is a function, so that [`controls`] can hold deciders to it that are wrong on purpose: a property that notices none of
//! them shows nothing.

mod abort;
mod analysis;
mod asked;
mod authority;
mod controls;
mod decisions;
mod floor;
mod undecided;
mod warm;

use std::{collections::BTreeSet, fmt::Debug};

use proptest::prelude::*;
use staith_model::{
    Amount, Analysis, Ask, CanaryStep, DeploymentState as State, FleetEvent, Hook, HookPoint, Rollout, Watch,
};

use crate::fleet::simulate::{Ended, Fault, Faults, Scenario, name};

/// Runs it with time that passes only when nobody has anything to do.
fn run(scenario: &Scenario) -> Result<Ended, String> {
    runtime().block_on(scenario.run())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() }
}

fn any_rollout() -> impl Strategy<Value = Rollout> {
    let amount = || prop_oneof![(1u32..3).prop_map(Amount::Count), Just(Amount::Percent(50))];
    // Shares of few machines: most are less than one machine, and differ in weight alone.
    let targets = prop_oneof![(1u32..3).prop_map(Amount::Count), (1u8..=100).prop_map(Amount::Percent)];
    let step = (targets, 0u64..8).prop_map(|(targets, bake_seconds)| CanaryStep { targets, bake_seconds });
    let steps = prop::collection::vec(step, 0..3);
    let analysis = || prop::option::of(Just(measured(1)));
    let watch = || {
        let watch =
            (1u64..8, analysis()).prop_map(|(bake_seconds, analysis)| Watch { bake_seconds, analysis });
        prop::option::weighted(0.3, watch)
    };
    prop_oneof![
        1 => watch().prop_map(|watch| Rollout::AllAtOnce { watch }),
        3 => (amount(), watch()).prop_map(|(max_unavailable, watch)| Rollout::Rolling { max_unavailable, watch }),
        3 => (steps, amount(), analysis(), 0u64..4).prop_map(|(steps, max_unavailable, analysis, bake_seconds)| {
            Rollout::Canary { steps, max_unavailable, analysis, bake_seconds }
        }),
        3 => watch().prop_map(swapped),
    ]
}

/// Measurements of which so many may be bad.
fn measured(failure_limit: u32) -> Analysis {
    Analysis { metrics: Vec::new(), interval_seconds: 2, failure_limit }
}

fn swapped(watch: Option<Watch>) -> Rollout {
    let pools = ["blue".parse().unwrap(), "green".parse().unwrap()];
    Rollout::BlueGreen { pools, keep_warm_seconds: None, watch }
}

fn blue_green() -> Rollout {
    swapped(None)
}

fn hook(name: &str, at: HookPoint, once: bool) -> Hook {
    Hook {
        name: name.parse().unwrap(),
        at,
        command: vec!["./hook".into()],
        repeatable: true,
        once,
        roles: BTreeSet::new(),
        timeout_seconds: 10,
    }
}

fn all_hooks() -> Vec<Hook> {
    vec![
        hook("migrate", HookPoint::BeforeSwitch, true),
        hook("leave", HookPoint::BeforeRestart, false),
        hook("warm", HookPoint::AfterRestart, false),
        hook("smoke", HookPoint::AfterSwitch, true),
    ]
}

/// What the network may do: nothing that a release could be blamed for.
fn network() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::LostRequest),
        Just(Fault::LostReply),
        (1u64..5000).prop_map(Fault::Slow),
        (1u64..20_000).prop_map(Fault::Unreachable),
        Just(Fault::Inconclusive),
    ]
}

fn kill() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::KillBefore), Just(Fault::KillAfter)]
}

fn reboot() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::RebootBefore), Just(Fault::RebootAfter), Just(Fault::RebootDuring)]
}

fn faults(of: impl Strategy<Value = Fault>) -> impl Strategy<Value = Faults> {
    prop::collection::btree_map(0usize..120, of, 0..14)
}

prop_compose! {
    fn any_quiet()(
        rollout in any_rollout(),
        half in 1usize..4,
        odd in 0usize..2,
        balanced in prop::bool::weighted(0.8),
        before in prop::bool::weighted(0.85),
        hooks in any::<bool>(),
        repeatable in any::<bool>(),
    ) -> Scenario {
        let pools = matches!(rollout, Rollout::BlueGreen { .. });
        let targets = if pools { half * 2 } else { half * 2 - odd };
        let mut scenario = Scenario::of(targets, rollout);
        scenario.balanced = balanced || pools;
        scenario.before = before;
        scenario.hooks = if hooks { all_hooks() } else { Vec::new() };
        scenario.hooks.iter_mut().for_each(|hook| hook.repeatable = repeatable);
        scenario
    }
}

/// A scenario in which everything may go wrong at once.
fn any_trouble() -> impl Strategy<Value = Scenario> {
    let any_fault = prop_oneof![3 => network(), 2 => kill(), 1 => reboot()];
    let some = || prop::collection::btree_set(0usize..6, 0..2);
    let abort = prop::option::weighted(0.3, 0u64..20_000);
    let ask = prop_oneof![Just(Ask::Pause), Just(Ask::Resume)];
    let asks = prop::collection::vec((0u64..20_000, ask), 0..4);
    (any_quiet(), faults(any_fault), some(), some(), abort, asks).prop_map(
        |(mut scenario, faults, sick, stubborn, abort_at, asks)| {
            (scenario.faults, scenario.abort_at, scenario.asks) = (faults, abort_at, asks);
            (scenario.sick, scenario.stubborn) = (sick, stubborn);
            scenario
        },
    )
}

fn same<T: PartialEq + Debug>(left: T, right: T, what: &str, ended: &Ended) -> Result<(), TestCaseError> {
    prop_assert_eq!(left, right, "{}\n{}", what, story(ended));
    Ok(())
}

/// The log and what was changed, for whoever reads a failure.
fn story(ended: &Ended) -> String {
    let lines = ended.entries.iter().map(|entry| {
        let at = entry.at % 100_000_000;
        match &entry.event {
            FleetEvent::Requested { .. } => format!("{at} requested"),
            FleetEvent::Intent { work, epoch, .. } => format!("{at} intent {epoch} {work:?}"),
            FleetEvent::Outcome { work, result, .. } => format!("{at} outcome {work:?} {result:?}"),
            FleetEvent::Changed { change, reason, .. } => {
                format!("{at} CHANGED {change:?} {:?}", reason.as_ref().map(|reason| &reason.what))
            }
            other => format!("{at} {other:?}"),
        }
    });
    let lines: Vec<String> = lines.collect();
    format!("{}\nended {:?}, {} kills", lines.join("\n"), ended.state, ended.kills)
}

/// Machines that shall run the new release.
fn members(scenario: &Scenario) -> Vec<usize> {
    let first = if scenario.has_pools() { scenario.targets / 2 } else { 0 };
    let first = if scenario.has_pools() && !scenario.before { 0 } else { first };
    let last = if scenario.has_pools() && !scenario.before { scenario.targets / 2 } else { scenario.targets };
    (first..last).collect()
}

fn check_arrived(scenario: &Scenario, ended: &Ended) -> Result<(), TestCaseError> {
    for number in members(scenario) {
        let machine = ended.world.machine(&name(number)).unwrap();
        same(
            (machine.current, machine.running),
            (Some(scenario.wanted()), Some(scenario.wanted())),
            "arrived",
            ended,
        )?;
    }
    if let Some(admitted) = ended.world.admitted() {
        let expected: BTreeSet<_> = members(scenario).into_iter().map(name).collect();
        same(admitted.keys().cloned().collect(), expected, "all of them serve", ended)?;
    }
    Ok(())
}

/// Whatever runs what it ran, and whoever served serves. Where two pools were, the one without requests may keep what it got.
fn check_restored(scenario: &Scenario, ended: &Ended) -> Result<(), TestCaseError> {
    for number in (0..scenario.targets).filter(|_| !scenario.has_pools()) {
        let machine = ended.world.machine(&name(number)).unwrap();
        let before = scenario.before.then(|| scenario.old());
        same((machine.current, machine.running), (before, before), "restored", ended)?;
    }
    if let (Some(admitted), true) = (ended.world.admitted(), scenario.before) {
        same(admitted.keys().cloned().collect(), scenario.serving(), "who served serves", ended)?;
    }
    Ok(())
}

fn completes(scenario: &Scenario) -> Result<Ended, TestCaseError> {
    let ended = run(scenario).map_err(|why| TestCaseError::fail(format!("{why}: {scenario:#?}")))?;
    let violations = ended.world.violations();
    prop_assert!(violations.is_empty(), "{violations:#?}\n{}", story(&ended));
    Ok(ended)
}

/// Without faults every strategy arrives, each machine is switched once, and nothing forbidden happens on the way.
fn arrives(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    same(ended.state, State::Succeeded, "quiet", &ended)?;
    check_arrived(scenario, &ended)?;
    for number in members(scenario) {
        let machine = ended.world.machine(&name(number)).unwrap();
        same(machine.flips.get(&Some(scenario.wanted())).copied(), Some(1), "once", &ended)?;
    }
    Ok(())
}

/// It ends, in a state in which nothing more can happen.
fn ends(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    prop_assert!(ended.state.is_terminal(), "{}", story(&ended));
    Ok(())
}

/// It arrives, whatever the network did.
fn arrives_at_last(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    same(ended.state, State::Succeeded, "the network alone", &ended)?;
    check_arrived(scenario, &ended)
}

/// A release that does not work on the last machine is taken back everywhere, by itself.
fn is_taken_back(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    same(ended.state, State::RolledBack, "sick", &ended)?;
    check_restored(scenario, &ended)
}

fn any_sick() -> impl Strategy<Value = Scenario> {
    any_quiet().prop_map(|mut scenario| {
        scenario.before = true;
        scenario.sick = members(&scenario).into_iter().rev().take(1).collect();
        scenario
    })
}

fn any_network() -> impl Strategy<Value = Scenario> {
    (any_quiet(), faults(network())).prop_map(|(scenario, faults)| Scenario { faults, ..scenario })
}

proptest! {
    #![proptest_config(config(400))]

    /// I2, I3, never no endpoint, and nobody is restarted who gets requests: the oracle looks on.
    #[test]
    fn quiet_deployments_arrive(scenario in any_quiet()) {
        arrives(&scenario)?;
    }

    /// I4: with all faults at once it ends, in a state in which nothing more can happen; and the oracle saw nothing
    /// forbidden on any of the ways (I2, I3, never no endpoint, nobody restarted who gets requests).
    #[test]
    fn i4_every_way_ends(scenario in any_trouble()) {
        ends(&scenario)?;
    }

    /// Where clients believe for a while what they were told, nobody who may still be asked is restarted; going back waits, too.
    #[test]
    fn who_may_still_be_asked_is_not_restarted(mut scenario in any_trouble(), seconds in 1u64..120) {
        scenario.lingers = std::time::Duration::from_secs(seconds);
        let ended = completes(&scenario)?;
        prop_assert!(ended.state.is_terminal(), "{}", story(&ended));
    }

    /// I7: what only the network did is never taken for a failure of the release: it arrives.
    #[test]
    fn i7_no_reply_is_no_failure(scenario in any_network()) {
        arrives_at_last(&scenario)?;
    }

    #[test]
    fn what_does_not_work_is_taken_back(scenario in any_sick()) {
        is_taken_back(&scenario)?;
    }
}

/// What an earlier deployment told clients is waited for by the next one: the pool that served is not touched before.
#[test]
fn the_next_deployment_waits_for_what_the_one_before_told_clients() {
    let mut scenario = Scenario::of(4, blue_green());
    (scenario.balanced, scenario.before) = (true, true);
    scenario.lingers = std::time::Duration::from_secs(300);
    runtime().block_on(async {
        let ended = scenario.run().await.unwrap();
        assert_eq!(ended.state, State::Succeeded, "{}", story(&ended));
        assert!(ended.world.violations().is_empty());
        let shifted = ended.world.now();
        let told = crate::fleet::drive::status(&ended.deployer.fleet.log).unwrap().believed_until;
        assert!(told.is_some_and(|until| until > crate::fleet::simulate::BEGINNING + shifted), "{told:?}");
        // Forward to the other pool: blue has to serve those who still ask it.
        let release = crate::fleet::simulate::digest("a third release");
        let plan = ended.deployer.plan(release, &scenario.setting()).await.unwrap();
        assert!(plan.warnings.iter().any(|one| one.contains("clients may believe")), "{:?}", plan.warnings);
        ended.world.is_about(&plan);
        let deployment = staith_model::DeploymentId::new(crate::fleet::simulate::BEGINNING, [8; 10]);
        let by = "somebody".to_owned();
        let request =
            crate::fleet::drive::Request { deployment, plan, by, reason: String::new(), by_itself: false };
        let stopped = ended.deployer.deploy(request, &mut |_| {}).await.unwrap();
        assert_eq!(stopped, crate::fleet::drive::Stopped::Over(State::Succeeded));
        assert_eq!(ended.world.violations(), Vec::<String>::new());
        assert!(ended.world.now() >= shifted + 290_000, "{} {shifted}", ended.world.now());
    });
}
