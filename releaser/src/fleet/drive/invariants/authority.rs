//! Whose word counts: a person's abort, the newest lease, the way back that asks nobody, and what was carried out already.

use std::sync::Arc;

use staith_model::{
    Ask, DeploymentChange as Change, DeploymentId, DeploymentRecord, Digest, FleetPlan, FleetState, Work,
};

use super::*;
use crate::{
    fleet::{
        drive::{FleetDriveError, Log, Request, Rollback, Stopped, Verdict},
        simulate::{BEGINNING, TheJudge},
    },
    ledger::Ledger,
};

/// What is said to be heeded at once is heeded within this, in milliseconds.
const AT_ONCE: u64 = 1000;

/// Where in the log somebody wanted it stopped, and how far it was then.
fn abort(ended: &Ended) -> Option<(usize, DeploymentRecord)> {
    let is_abort = |event: &FleetEvent| matches!(event, FleetEvent::Asked { ask: Ask::Abort { .. }, .. });
    let place = ended.entries.iter().position(|entry| is_abort(&entry.event))?;
    let before = FleetState::of(ended.entries[..place].iter().map(|entry| (entry.at, &entry.event)));
    Some((place, before.deployment(&ended.deployment)?.clone()))
}

/// The first thing that a driver does after it was told to stop is to stop, and it does so at once. The state it was in.
fn check_abort(ended: &Ended) -> Result<Option<State>, TestCaseError> {
    let Some((place, before)) = abort(ended) else { return Ok(None) };
    let goes_back = before.back || matches!(before.state, State::Halting | State::RollingBack);
    if goes_back || before.state.is_terminal() {
        return Ok(None);
    }
    let told = ended.entries[place].at;
    let acts = |event: &FleetEvent| {
        matches!(event, FleetEvent::Intent { .. } | FleetEvent::Changed { .. } | FleetEvent::Replanned { .. })
    };
    let next = ended.entries[place..].iter().find(|entry| acts(&entry.event));
    let Some(next) = next else { return Err(TestCaseError::fail(format!("not heeded\n{}", story(ended)))) };
    let stops = |event: &FleetEvent| {
        matches!(event, FleetEvent::Changed { change: Change::Aborted | Change::Cancelled, .. })
    };
    prop_assert!(stops(&next.event), "it went on from {:?}\n{}", before.state, story(ended));
    prop_assert!(next.at <= told + AT_ONCE, "{} ms\n{}", next.at - told, story(ended));
    Ok(Some(before.state))
}

/// A state without its numbers.
fn kind(state: State) -> String {
    format!("{state:?}").split([' ', '{']).next().unwrap_or_default().to_owned()
}

fn analysed_canary() -> Scenario {
    let steps = vec![CanaryStep { targets: Amount::Count(1), bake_seconds: 4 }];
    let analysis = Analysis { metrics: Vec::new(), interval_seconds: 2, failure_limit: 1 };
    let max_unavailable = Amount::Count(1);
    let mut scenario = Scenario::of(3, Rollout::Canary { steps, max_unavailable, analysis: Some(analysis) });
    scenario.hooks = all_hooks();
    scenario
}

/// I1, in every state in which time passes: each deployment is run once, and then stopped a moment after each line of its log.
/// Broken by not heeding it while files are brought: it went on from `Staging`.
#[test]
fn i1_abort_is_heeded_in_every_state() {
    let mut seen = BTreeSet::new();
    let mut abort_at = |scenario: &Scenario, at: u64| {
        let ended = completes(&Scenario { abort_at: Some(at), ..scenario.clone() }).unwrap();
        seen.extend(check_abort(&ended).unwrap().map(kind));
    };
    abort_at(&Scenario { shut: true, ..analysed_canary() }, 20_000);
    let unclear = Verdict::Inconclusive("too little".into());
    // One of the machines that change last does not come back.
    let gone = Faults::from([(45, Fault::Unreachable(1_000_000))]);
    for scenario in [
        analysed_canary(),
        Scenario { verdict: unclear, ..analysed_canary() },
        Scenario { faults: gone, ..analysed_canary() },
    ] {
        let lines = completes(&scenario).unwrap().entries;
        let times: BTreeSet<u64> = lines.iter().map(|line| line.at - BEGINNING + 1).collect();
        times.into_iter().for_each(|at| abort_at(&scenario, at));
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

fn other_deployment() -> DeploymentId {
    DeploymentId::new(1_800_000_000_000, [8; 10])
}

fn request(plan: FleetPlan) -> Request {
    Request { deployment: other_deployment(), plan, by: "somebody".into(), reason: "again".into() }
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
    deployer.fleet.judge = Arc::new(TheJudge { shut: true, verdict: Verdict::Pass });
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

proptest! {
    #![proptest_config(config(200))]

    /// I1, with everything going wrong at once. Broken like the one above.
    #[test]
    fn i1_abort_beats_all_else(
        mut scenario in any_trouble(),
        at in prop_oneof![0u64..400, 0u64..3000, 0u64..30_000],
    ) {
        scenario.abort_at = Some(at);
        let ended = completes(&scenario)?;
        check_abort(&ended)?;
    }

    /// I5: a driver that slept while another took over changes nothing when it wakes up: neither machines, nor what the log
    /// means. Broken by not looking at the lease: it goes on beside the other until all is over.
    #[test]
    fn i5_who_lost_the_lease_changes_nothing(
        mut scenario in any_quiet(),
        freeze in 1u64..3000,
        asleep in 1u64..4000,
    ) {
        scenario.stale = Some((freeze, freeze + asleep));
        let ended = completes(&scenario)?;
        same(ended.state, State::Succeeded, "overtaken", &ended)?;
        check_arrived(&scenario, &ended)?;
        for number in members(&scenario) {
            let machine = ended.world.machine(&name(number)).unwrap();
            same(machine.flips.get(&Some(scenario.wanted())).copied(), Some(1), "once", &ended)?;
            let hooks: BTreeSet<_> = machine.hook_runs.iter().collect();
            same(hooks.len(), machine.hook_runs.len(), "each hook once", &ended)?;
        }
        let said = &ended.stale;
        // Only one that wakes up when all is over may find nothing to be told.
        let over = ended.entries.last().map_or(0, |entry| entry.at - BEGINNING);
        let knows = match said {
            Some(Err(FleetDriveError::Overtaken { .. })) => true,
            None => freeze >= over,
            Some(Ok(Stopped::Over(State::Succeeded))) => freeze + asleep >= over,
            _ => false,
        };
        prop_assert!(knows, "{said:?}\n{}", story(&ended));
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
    }

    /// I6: going back brings no files and waits for no gate. Broken by letting gates decide on the way back, too: it never
    /// goes back.
    #[test]
    fn i6_going_back_asks_nobody_and_moves_no_bytes(mut scenario in any_quiet()) {
        scenario.before = true;
        let (ended, state) = runtime().block_on(go_back(&scenario)).map_err(TestCaseError::fail)?;
        same(state, State::Succeeded, "back", &ended)?;
        let violations = ended.world.violations();
        prop_assert!(violations.is_empty(), "{violations:#?}\n{}", story(&ended));
        check_restored(&scenario, &ended)?;
    }

    /// I6, when it goes back by itself.
    #[test]
    fn i6_nothing_is_staged_on_the_way_back(scenario in any_trouble()) {
        let ended = completes(&scenario)?;
        let began = |event: &FleetEvent| {
            matches!(event, FleetEvent::Changed { change: Change::RollbackBegan, .. })
        };
        let back = ended.entries.iter().skip_while(|entry| !began(&entry.event));
        let staged = back.filter(|entry| is_intent(&entry.event, |work| matches!(work, Work::Stage { .. })));
        same(staged.count(), 0, "staged on the way back", &ended)?;
    }

    /// I8: what is done already is only looked at. Broken by removing old files whether or not anything changed.
    #[test]
    fn i8_again_only_reads(scenario in any_quiet()) {
        runtime().block_on(again(&scenario)).map_err(TestCaseError::fail)?;
    }
}

/// With the ledger in a file: drivers that are killed leave what the next one goes on from, and the chain is whole.
/// Broken by a log that does not write leases: no driver ever has one, and it does not end.
#[test]
fn a_ledger_in_a_file_outlives_its_drivers() {
    let directory = tempfile::tempdir().unwrap();
    let mut scenario = Scenario::of(3, Rollout::Rolling { max_unavailable: Amount::Count(1) });
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

/// Broken once by hand: without a look at the log meanwhile, it ends with an error ten seconds later.
#[test]
fn who_waits_for_the_one_before_hears_an_abort() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("driver.lock");
    let scenario = Scenario::of(2, Rollout::AllAtOnce);
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
