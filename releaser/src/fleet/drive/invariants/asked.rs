//! What people say beside a deployment: that they go back while it waits for a decision, and that runs stay away.

use std::{sync::Arc, time::Duration};

use staith_model::{DeploymentId, Digest, FleetPlan};

use super::*;
use crate::fleet::{
    drive::{Deployer, FleetDriveError, Request, Rollback, Stopped, Verdict, WaitsFor},
    simulate::{BEGINNING, TheJudge, World},
};

fn nth(nth: u8) -> DeploymentId {
    DeploymentId::new(BEGINNING, [nth; 10])
}

fn request(deployment: u8, plan: FleetPlan, by_itself: bool) -> Request {
    Request { deployment: nth(deployment), plan, by: "anna".into(), reason: String::new(), by_itself }
}

/// A driver that waits for nobody.
fn deployer(scenario: &Scenario, world: &World) -> Deployer {
    Deployer { stay: false, ..scenario.deployer(world) }
}

/// Deploys with one machine gone from this call on, for longer than it is waited for; then goes back. Whether it got to where somebody
/// has to decide.
async fn goes_back_from_a_decision(call: usize) -> bool {
    let mut scenario = Scenario::of(3, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None });
    scenario.faults = Faults::from([(call, Fault::Unreachable(400_000))]);
    let world = scenario.world();
    let mut deployer = deployer(&scenario, &world);
    deployer.fleet.limits.decision = 100_000_000;
    let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
    world.is_about(&plan);
    let stopped = deployer.deploy(request(1, plan.clone(), false), &mut |_| {}).await.unwrap();
    let Stopped::Waits(waiting) = &stopped else { return false };
    assert!(matches!(waiting.what, WaitsFor::Decision(_)), "{waiting:?}");
    // Another way forward has to wait until that is decided, and leaves nothing behind that waits.
    let lines = deployer.fleet.log.since(0).unwrap().len();
    let refused = deployer.deploy(request(2, plan, false), &mut |_| {}).await.unwrap_err();
    assert!(matches!(refused, FleetDriveError::Unfinished { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.ends_with("`staith release retry`, `skip`, `accept` or `abort` decides"), "{said}");
    assert_eq!(deployer.fleet.log.since(0).unwrap().len(), lines);
    tokio::time::sleep(Duration::from_secs(400)).await;
    let rollback = Rollback { to: Some(scenario.old()), force: false };
    let plan = deployer.plan_rollback(&rollback).await.unwrap();
    deployer.refuse_while_undecided(plan.direction).unwrap();
    let stopped = deployer.deploy(request(3, plan, false), &mut |_| {}).await.unwrap();
    assert_eq!(stopped, Stopped::Over(State::Succeeded));
    let state = deployer.state().unwrap();
    assert_eq!(state.deployment(&nth(1)).unwrap().state, State::RolledBack);
    assert!(state.in_order().all(|record| record.state.is_terminal()));
    for number in 0..3 {
        let machine = world.machine(&name(number)).unwrap();
        assert_eq!((machine.current, machine.running), (Some(scenario.old()), Some(scenario.old())));
    }
    true
}

/// A release that was only asked for is no way back, forced or not: going back opens no gates. Without that, it was deployed so.
#[test]
fn there_is_no_way_back_to_what_never_served() {
    runtime().block_on(async {
        let scenario = Scenario::of(3, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None });
        let world = scenario.world();
        let mut deployer = deployer(&scenario, &world);
        deployer.fleet.judge = Arc::new(TheJudge::new(true, Verdict::Pass));
        let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        world.is_about(&plan);
        let stopped = deployer.deploy(request(1, plan, false), &mut |_| {}).await.unwrap();
        assert!(matches!(stopped, Stopped::Waits(_)), "{stopped:?}");
        for force in [false, true] {
            let rollback = Rollback { to: Some(scenario.wanted()), force };
            let refused = deployer.plan_rollback(&rollback).await.unwrap_err();
            assert!(matches!(refused, FleetDriveError::NeverServed { .. }), "{refused}");
        }
    });
}

/// Whoever exchanges pools asks nobody either, whatever came to run in the other one.
#[test]
fn no_exchange_of_pools_leads_to_what_never_served() {
    runtime().block_on(async {
        let ended = Scenario::of(4, blue_green()).run().await.unwrap();
        let (world, deployer) = (&ended.world, &ended.deployer);
        deployer.plan_swap().await.unwrap();
        let (admitted, never) = (world.admitted().unwrap(), Digest::of(b"never served"));
        for idle in (0..4).map(name).filter(|name| !admitted.contains_key(name)) {
            world.tamper(&idle, |machine| {
                machine.releases.insert(never);
                (machine.current, machine.running) = (Some(never), Some(never));
            });
        }
        let refused = deployer.plan_swap().await.unwrap_err();
        assert!(matches!(refused, FleetDriveError::NeverServed { .. }), "{refused}");
    });
}

/// Without the abort, the way back ends with an error, and two deployments are left open.
#[test]
fn whoever_goes_back_has_decided_what_becomes_of_the_one_that_waits() {
    let decided = (12..60).filter(|call| runtime().block_on(goes_back_from_a_decision(*call))).count();
    assert!(decided > 3, "only {decided} got to where somebody has to decide");
}

/// With a hold that only the command looks at, the run that waited for its gates is deployed.
#[test]
fn a_hold_stops_a_run_that_waits_for_its_gates() {
    let scenario = Scenario { shut: true, ..Scenario::of(2, Rollout::AllAtOnce { watch: None }) };
    runtime().block_on(async {
        let world = scenario.world();
        let mut deployer = deployer(&scenario, &world);
        let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        let waits = deployer.deploy(request(1, plan.clone(), true), &mut |_| {}).await.unwrap();
        assert!(matches!(waits, Stopped::Waits(_)), "{waits:?}");
        deployer.hold("bob", "orders vanish").await.unwrap();
        deployer.fleet.judge = Arc::new(TheJudge::new(false, Verdict::Pass));
        let stopped = deployer.drive(&nth(1), &mut |_| {}).await.unwrap();
        assert_eq!(stopped, Stopped::Over(State::Rejected));
        let state = deployer.state().unwrap();
        let why = state.deployment(&nth(1)).unwrap().trouble.clone().unwrap();
        assert!(why.what.contains("orders vanish"), "{why:?}");
        assert!(state.held.is_some());
        assert!(world.effects().is_empty(), "{:?}", world.effects());
    });
}

/// Lifted when it was asked for, the hold is gone while the gates are shut.
#[test]
fn whoever_deploys_by_hand_lifts_the_hold_once_it_may_begin() {
    let scenario = Scenario { shut: true, ..Scenario::of(2, Rollout::AllAtOnce { watch: None }) };
    runtime().block_on(async {
        let world = scenario.world();
        let mut deployer = deployer(&scenario, &world);
        deployer.hold("bob", "orders vanish").await.unwrap();
        let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        world.is_about(&plan);
        let waits = deployer.deploy(request(1, plan, false), &mut |_| {}).await.unwrap();
        assert!(matches!(waits, Stopped::Waits(_)), "{waits:?}");
        assert!(deployer.state().unwrap().held.is_some());
        deployer.fleet.judge = Arc::new(TheJudge::new(false, Verdict::Pass));
        let stopped = deployer.drive(&nth(1), &mut |_| {}).await.unwrap();
        assert_eq!(stopped, Stopped::Over(State::Succeeded));
        assert_eq!(deployer.state().unwrap().held, None);
    });
}
