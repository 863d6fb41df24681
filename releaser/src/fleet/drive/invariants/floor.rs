//! Nothing goes back below the rollback floor by itself: it stops, and a person says what becomes of it.

use staith_model::{Ask, DeploymentId, Schema, SchemaChange};

use super::*;
use crate::fleet::{
    drive::{Deployer, FleetDriveError, Request, Rollback, Stopped, WaitsFor},
    simulate::{BEGINNING, World},
};

/// A release whose data no version before it can read: the old one is 1.0.0, the new one 2.0.0.
fn floored(mut scenario: Scenario, change: SchemaChange) -> Scenario {
    let rollback_floor = Some("2.0.0".parse().unwrap());
    scenario.schema = Some(Schema { change, rollback_floor });
    scenario
}

/// Whatever fails, and whoever dies: no machine that got the new release runs the old one again, and it ends in a state that says so.
fn is_not_taken_back(scenario: &Scenario) -> Result<(), TestCaseError> {
    let ended = completes(scenario)?;
    same(ended.state, State::RollbackFailed, "it stopped, and nobody decided in time", &ended)?;
    for number in 0..scenario.targets {
        let machine = ended.world.machine(&name(number)).unwrap();
        same(machine.flips.get(&Some(scenario.old())).copied(), None, "went below the floor", &ended)?;
    }
    let record = ended.fold();
    let trouble = record.deployment(&ended.deployment).and_then(|record| record.trouble.clone()).unwrap();
    prop_assert!(trouble.what.contains("below the rollback floor 2.0.0"), "{}", trouble.what);
    Ok(())
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn nothing_goes_below_the_floor_by_itself(scenario in any_sick(), faults in faults(prop_oneof![network(), kill()])) {
        let scenario = floored(scenario, SchemaChange::Expand);
        is_not_taken_back(&Scenario { faults, ..scenario })?;
    }
}

fn nth(nth: u8) -> DeploymentId {
    DeploymentId::new(BEGINNING, [nth; 10])
}

fn request(deployment: u8, plan: staith_model::FleetPlan) -> Request {
    let reason = String::new();
    Request { deployment: nth(deployment), plan, by: "anna".into(), reason, by_itself: false }
}

/// A deployment that failed after it showed, and waits.
async fn stopped_above_the_floor() -> (Scenario, World, Deployer) {
    let scenario = Scenario::of(2, Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None });
    let mut scenario = floored(scenario, SchemaChange::Expand);
    scenario.sick.insert(1);
    let world = scenario.world();
    let deployer = Deployer { stay: false, ..scenario.deployer(&world) };
    let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
    let floor = plan.floor.clone().unwrap();
    assert!(floor.refused.is_none() && floor.undo_refused.is_some(), "{floor:?}");
    world.is_about(&plan);
    let stopped = deployer.deploy(request(1, plan), &mut |_| {}).await.unwrap();
    let Stopped::Waits(waiting) = stopped else { panic!("{stopped:?}") };
    assert!(matches!(&waiting.what, WaitsFor::Decision(why) if why.contains("below the rollback floor")));
    (scenario, world, deployer)
}

async fn overridden(deployer: &Deployer, deployment: u8) {
    let plan = deployer.state().unwrap().deployment(&nth(deployment)).unwrap().plan.digest();
    let event = FleetEvent::Overridden {
        deployment: nth(deployment),
        plan,
        by: "anna".into(),
        reason: "the data were restored".into(),
        freeze_only: false,
        floor: true,
    };
    deployer.fleet.log.append(event).await.unwrap();
}

#[test]
fn a_person_with_a_reason_brings_it_back() {
    runtime().block_on(async {
        let (scenario, world, deployer) = stopped_above_the_floor().await;
        overridden(&deployer, 1).await;
        let stopped = deployer.drive(&nth(1), &mut |_| {}).await.unwrap();
        assert_eq!(stopped, Stopped::Over(State::RolledBack));
        assert!((0..2).all(|number| world.machine(&name(number)).unwrap().running == Some(scenario.old())));
    });
}

#[test]
fn a_person_takes_it_as_it_is_or_goes_on() {
    runtime().block_on(async {
        for (ask, state) in [(Ask::Accept, State::Succeeded), (Ask::Retry, State::Succeeded)] {
            let (_, world, deployer) = stopped_above_the_floor().await;
            // To say again that it is to stop changes nothing: it stands already.
            deployer.ask(&nth(1), "anna", Ask::Abort { reason: "stop".into() }).await.unwrap();
            let again = deployer.drive(&nth(1), &mut |_| {}).await.unwrap();
            assert!(matches!(again, Stopped::Waits(_)), "{again:?}");
            world.tamper(&name(1), |machine| machine.sick.clear());
            deployer.ask(&nth(1), "anna", ask.clone()).await.unwrap();
            let stopped = deployer.drive(&nth(1), &mut |_| {}).await.unwrap();
            assert_eq!(stopped, Stopped::Over(state), "{ask:?}");
        }
    });
}

#[test]
fn a_rollback_below_the_floor_needs_a_reason() {
    runtime().block_on(async {
        let mut scenario = Scenario::of(4, blue_green());
        scenario = floored(scenario, SchemaChange::Expand);
        let ended = scenario.run().await.unwrap();
        let deployer = &ended.deployer;
        let back = Rollback { to: Some(scenario.old()), force: false };
        for plan in [
            deployer.plan_rollback(&back).await.unwrap(),
            deployer.plan_swap().await.unwrap(),
            deployer.plan(scenario.old(), &scenario.setting()).await.unwrap(),
        ] {
            let lines = crate::fleet::plan::lines(&plan).join("\n");
            assert!(lines.contains("rollback floor 2.0.0, set by release"), "{lines}");
            assert!(lines.contains("REFUSED: release"), "{lines}");
            let length = deployer.fleet.log.since(0).unwrap().len();
            let refused = deployer.deploy(request(2, plan), &mut |_| {}).await.unwrap_err();
            assert!(matches!(refused, FleetDriveError::BelowFloor { .. }), "{refused}");
            assert_eq!(deployer.fleet.log.since(0).unwrap().len(), length, "nothing is left behind");
        }
        let plan = deployer.plan_rollback(&back).await.unwrap();
        ended.world.is_about(&plan);
        let why = Some("the data were restored");
        let stopped = deployer.deploy_in_spite_of_the_floor(request(2, plan), why, &mut |_| {}).await.unwrap();
        assert_eq!(stopped, Stopped::Over(State::Succeeded));
        let log = deployer.fleet.log.since(0).unwrap();
        let told = |event: &FleetEvent| {
            matches!(event, FleetEvent::Overridden { floor: true, reason, .. } if Some(reason.as_str()) == why)
        };
        assert!(log.iter().any(|entry| told(&entry.event)));
    });
}

/// A request that got into the log without the check, or whose plan was made anew, is refused by whoever drives it.
#[test]
fn contracting_is_a_deployment_of_its_own() {
    runtime().block_on(async {
        let scenario = floored(Scenario::of(2, Rollout::AllAtOnce { watch: None }), SchemaChange::Contract);
        let world = scenario.world();
        let deployer = scenario.deployer(&world);
        let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        let why = plan.floor.as_ref().and_then(|floor| floor.refused.clone()).unwrap();
        assert!(
            why.contains("it contracts the schema") && why.contains("bring 2.0.0 or a later version first")
        );
        let (deployment, plan) = (nth(1), Box::new(plan));
        let (by, reason) = ("anna".to_owned(), String::new());
        let event = FleetEvent::Requested { deployment, plan, by, reason, by_itself: false };
        deployer.fleet.log.append(event).await.unwrap();
        let stopped = deployer.drive(&nth(1), &mut |_| {}).await.unwrap();
        assert_eq!(stopped, Stopped::Over(State::Cancelled));
        assert_eq!(world.effects(), Vec::<String>::new());
    });
}
