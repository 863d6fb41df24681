//! Whose word counts: the newest lease, the way back that asks nobody, and what was carried out already.

use std::sync::Arc;

use proptest::sample::Index;
use staith_model::{Ask, DeploymentChange as Change, DeploymentId, Digest, FleetPlan, FleetState, Work};

use super::*;
use crate::{
    fleet::{
        drive::{FleetDriveError, Log, Request, Rollback, Stopped, Verdict},
        simulate::{BEGINNING, TheJudge},
    },
    ledger::Ledger,
};

fn other_deployment() -> DeploymentId {
    DeploymentId::new(1_800_000_000_000, [8; 10])
}

fn request(plan: FleetPlan) -> Request {
    Request {
        deployment: other_deployment(),
        plan,
        by: "somebody".into(),
        reason: "again".into(),
        by_itself: false,
    }
}

/// Everything about the machines that deployments change, but for epochs.
fn what_is_there(ended: &Ended, scenario: &Scenario) -> Vec<(Option<Digest>, BTreeSet<Digest>, usize, u32)> {
    let of = |number| {
        let machine = ended.world.machine(&name(number)).unwrap();
        (machine.current, machine.releases, machine.hook_runs.len(), machine.staged)
    };
    (0..scenario.targets).map(of).collect()
}

fn is_intent(event: &FleetEvent, of: impl Fn(&Work) -> bool) -> bool {
    matches!(event, FleetEvent::Intent { work, .. } if of(work))
}

/// Goes back to the old release with gates that never open; the log of all that.
async fn go_back(scenario: &Scenario) -> Result<(Ended, State), String> {
    let mut ended = scenario.run().await?;
    let staged: Vec<u32> = what_is_there(&ended, scenario).into_iter().map(|(.., staged)| staged).collect();
    let mut deployer = ended.deployer.clone();
    deployer.fleet.judge = Arc::new(TheJudge::new(true, Verdict::Pass));
    let rollback = Rollback { to: Some(scenario.old()), force: false };
    let plan = deployer.plan_rollback(&rollback).await.map_err(|error| error.to_string())?;
    let stopped = deployer.deploy(request(plan), &mut |_| {}).await.map_err(|error| error.to_string())?;
    let Stopped::Over(state) = stopped else { return Err(format!("{stopped:?}")) };
    ended.entries = deployer.fleet.log.since(0).map_err(|error| error.to_string())?;
    let after: Vec<u32> = what_is_there(&ended, scenario).into_iter().map(|(.., staged)| staged).collect();
    if staged != after {
        return Err(format!("files were brought: {staged:?} {after:?}"));
    }
    Ok((ended, state))
}

/// Deploys again what was deployed: first the same deployment, then a new one.
async fn again(scenario: &Scenario) -> Result<(), String> {
    let ended = scenario.run().await?;
    let (there, effects) = (what_is_there(&ended, scenario), ended.world.effects());
    let deployer = &ended.deployer;
    let wrong = |error: FleetDriveError| error.to_string();
    let stopped = deployer.drive(&ended.deployment, &mut |_| {}).await.map_err(wrong)?;
    let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.map_err(wrong)?;
    let anew = deployer.deploy(request(plan), &mut |_| {}).await.map_err(wrong)?;
    for stopped in [stopped, anew] {
        if stopped != Stopped::Over(State::Succeeded) {
            return Err(format!("{stopped:?}"));
        }
    }
    let done: Vec<String> = ended.world.effects().into_iter().skip(effects.len()).collect();
    if done.is_empty() && what_is_there(&ended, scenario) == there {
        return Ok(());
    }
    Err(format!("it did {done:?}"))
}

/// I5: a driver that slept while another took over changes nothing when it wakes up: neither machines, nor what the log means.
pub(super) fn is_overtaken(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    same(ended.state, State::Succeeded, "overtaken", &ended)?;
    check_arrived(scenario, &ended)?;
    for number in members(scenario) {
        let machine = ended.world.machine(&name(number)).unwrap();
        same(machine.flips.get(&Some(scenario.wanted())).copied(), Some(1), "once", &ended)?;
        let hooks: BTreeSet<_> = machine.hook_runs.iter().collect();
        same(hooks.len(), machine.hook_runs.len(), "each hook once", &ended)?;
    }
    // Only one that wakes up when all is over may find nothing to be told.
    let over = ended.entries.last().map_or(0, |entry| entry.at - BEGINNING);
    let (freeze, thaw) = scenario.stale.unwrap();
    let knows = match &ended.stale {
        Some(Err(FleetDriveError::Overtaken { .. })) => true,
        None => freeze >= over,
        Some(Ok(Stopped::Over(State::Succeeded))) => thaw >= over,
        _ => false,
    };
    prop_assert!(knows, "it was not told: {:?}\n{}", ended.stale, story(&ended));
    let mut newest = 0;
    for entry in &ended.entries {
        match &entry.event {
            FleetEvent::Lease { epoch, .. } => newest = *epoch,
            FleetEvent::Intent { epoch, .. } | FleetEvent::Changed { epoch, .. } => {
                prop_assert!(*epoch >= newest, "{}", story(&ended));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn any_stale() -> impl Strategy<Value = Scenario> {
    (any_quiet(), 1u64..3000, 1u64..4000).prop_map(|(scenario, freeze, asleep)| Scenario {
        stale: Some((freeze, freeze + asleep)),
        ..scenario
    })
}

/// I6: going back brings no files and waits for no gate.
pub(super) fn goes_back(scenario: &Scenario) -> Result<(), TestCaseError> {
    let (ended, state) = runtime().block_on(go_back(scenario)).map_err(TestCaseError::fail)?;
    same(state, State::Succeeded, "back", &ended)?;
    let violations = ended.world.violations();
    prop_assert!(violations.is_empty(), "{violations:#?}\n{}", story(&ended));
    check_restored(scenario, &ended)
}

pub(super) fn any_with_a_past() -> impl Strategy<Value = Scenario> {
    any_quiet().prop_map(|scenario| Scenario { before: true, ..scenario })
}

/// I6, when it goes back by itself.
pub(super) fn stages_nothing_on_the_way_back(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    let began =
        |event: &FleetEvent| matches!(event, FleetEvent::Changed { change: Change::RollbackBegan, .. });
    let back = ended.entries.iter().skip_while(|entry| !began(&entry.event));
    let staged = back.filter(|entry| is_intent(&entry.event, |work| matches!(work, Work::Stage { .. })));
    same(staged.count(), 0, "staged on the way back", &ended)
}

/// I8: what is done already is only looked at.
pub(super) fn only_reads_again(scenario: &Scenario) -> Result<(), TestCaseError> {
    runtime().block_on(again(scenario)).map_err(TestCaseError::fail)
}

/// An entry as a driver would have written it under another epoch; `None` where an entry has none.
fn under(epoch: u64, event: &FleetEvent) -> Option<FleetEvent> {
    let mut event = event.clone();
    match &mut event {
        FleetEvent::Intent { epoch: its, .. }
        | FleetEvent::Outcome { epoch: its, .. }
        | FleetEvent::Changed { epoch: its, .. } => *its = epoch,
        _ => return None,
    }
    Some(event)
}

/// I5: what is written under another epoch than that of the lease, an older one or one that nobody was given, is counted and
/// changes nothing, wherever in the log it stands.
fn counts_for_nothing(
    scenario: &Scenario,
    what: &Index,
    place: &Index,
    newer: bool,
) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    let before = &ended.entries[..=place.index(ended.entries.len())];
    let mut state = FleetState::of(before.iter().map(|entry| (entry.at, &entry.event)));
    let epoch = state.deployment(&ended.deployment).map_or(0, |record| record.epoch);
    let other = if newer { epoch + 1 } else { epoch.wrapping_sub(1) };
    let written: Vec<FleetEvent> =
        ended.entries.iter().filter_map(|entry| under(other, &entry.event)).collect();
    let mut expected = state.clone();
    expected.ignored += 1;
    let at = before.last().map_or(0, |entry| entry.at);
    let event = &written[what.index(written.len())];
    state.apply(at, event);
    prop_assert_eq!(state, expected, "{:?}", event);
    Ok(())
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn i5_what_another_epoch_writes_counts_for_nothing(
        scenario in any_trouble(),
        what in any::<Index>(),
        place in any::<Index>(),
        newer in any::<bool>(),
    ) {
        counts_for_nothing(&scenario, &what, &place, newer)?;
    }

    #[test]
    fn i5_who_lost_the_lease_changes_nothing(scenario in any_stale()) {
        is_overtaken(&scenario)?;
    }

    #[test]
    fn i6_going_back_asks_nobody_and_moves_no_bytes(scenario in any_with_a_past()) {
        goes_back(&scenario)?;
    }

    #[test]
    fn i6_nothing_is_staged_on_the_way_back(scenario in any_trouble()) {
        stages_nothing_on_the_way_back(&scenario)?;
    }

    #[test]
    fn i8_again_only_reads(scenario in any_quiet()) {
        only_reads_again(&scenario)?;
    }
}

/// With the ledger in a file: drivers that are killed leave what the next one goes on from, and the chain is whole.
/// Broken by a log that does not write leases: no driver ever has one, and it does not end.
#[test]
fn a_ledger_in_a_file_outlives_its_drivers() {
    let directory = tempfile::tempdir().unwrap();
    let mut scenario = Scenario::of(3, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None });
    scenario.hooks = all_hooks();
    scenario.ledger = Some(directory.path().to_owned());
    scenario.faults = (4..44)
        .step_by(5)
        .map(|call| (call, if call % 2 == 0 { Fault::KillBefore } else { Fault::KillAfter }))
        .collect();
    let ended = completes(&scenario).unwrap();
    assert_eq!(ended.state, State::Succeeded, "{}", story(&ended));
    assert!(ended.kills > 4, "{}", story(&ended));
    check_arrived(&scenario, &ended).unwrap();
    let ran: Vec<_> =
        (0..3).flat_map(|number| ended.world.machine(&name(number)).unwrap().hook_runs).collect();
    assert_eq!(ran.iter().filter(|hook| hook.as_str() == "migrate").count(), 1);
    let ledger = Ledger::<FleetEvent>::of_environment(directory.path(), &name(0), &name(0));
    assert!(ledger.verify(&[], None).unwrap().is_whole());
    // Another process reads the same.
    let log = Log::of_environment(directory.path(), &name(0), &name(0));
    assert_eq!(log.since(0).unwrap(), ended.entries);
}

/// Broken by a driver that does not look at the log while it waits for the lock: it ends with an error ten seconds later.
#[test]
fn who_waits_for_the_one_before_hears_an_abort() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("driver.lock");
    let scenario = Scenario::of(2, Rollout::AllAtOnce { watch: None });
    let stopped = runtime().block_on(async {
        let _driver = crate::drive::lock::take(&path, std::time::Duration::ZERO).await.unwrap();
        let world = scenario.world();
        let mut deployer = scenario.deployer(&world);
        deployer.fleet.lock = Some(path.clone());
        let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        let [first, second] = [1, 2].map(|nth| DeploymentId::new(BEGINNING, [nth; 10]));
        let requested = |deployment: &DeploymentId| FleetEvent::Requested {
            deployment: deployment.clone(),
            plan: Box::new(plan.clone()),
            by: "somebody".into(),
            reason: String::new(),
            by_itself: false,
        };
        let changed =
            |change, epoch| FleetEvent::Changed { deployment: first.clone(), epoch, change, reason: None };
        let who = "a driver that lives".to_owned();
        let ask = Ask::Abort { reason: "never mind".into() };
        for event in [
            requested(&first),
            changed(Change::Submitted, 0),
            changed(Change::GatesPassed, 0),
            FleetEvent::Lease { deployment: first.clone(), epoch: 1, who },
            changed(Change::Acquired, 1),
            requested(&second),
            FleetEvent::Asked { deployment: second.clone(), by: "somebody".into(), ask },
        ] {
            deployer.fleet.log.append(event).await.unwrap();
        }
        assert!(deployer.state().unwrap().holder().is_some_and(|holder| holder.deployment == first));
        deployer.drive(&second, &mut |_| {}).await
    });
    assert_eq!(stopped.unwrap(), Stopped::Over(State::Cancelled));
}
