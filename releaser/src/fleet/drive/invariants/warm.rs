//! The pool that served is kept for as long as was said, and stopped then: never before, never one that gets requests, whoever dies.

use std::time::Duration;

use staith_model::{DeploymentId, FleetPlan, Name};

use super::*;
use crate::fleet::{
    drive::{Cooled, Deployer, FleetDriveError, Request, Rollback, Stopped},
    simulate::{BEGINNING, World},
};

/// Seconds for which pools are kept.
const KEPT: u64 = 3600;

/// What happens in an environment.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody gives the requests to the other pool.
    Swap,
    /// Nobody comes for so many seconds.
    Wait(u64),
    /// Somebody comes by, and this goes wrong meanwhile.
    Cool(Faults),
}

fn any_step() -> impl Strategy<Value = Step> {
    let any_fault = prop_oneof![3 => network(), 2 => kill(), 1 => reboot()];
    prop_oneof![
        2 => Just(Step::Swap),
        3 => (1u64..2 * KEPT).prop_map(Step::Wait),
        4 => prop::collection::btree_map(0usize..10, any_fault, 0..4).prop_map(Step::Cool),
    ]
}

fn of_pools(targets: usize, lingers: u64) -> Scenario {
    let Rollout::BlueGreen { pools, .. } = blue_green() else { unreachable!() };
    let mut scenario =
        Scenario::of(targets, Rollout::BlueGreen { pools, keep_warm_seconds: Some(KEPT), watch: None });
    scenario.lingers = Duration::from_secs(lingers);
    scenario
}

fn request(nth: u8, plan: FleetPlan) -> Request {
    let deployment = DeploymentId::new(BEGINNING, [nth; 10]);
    Request { deployment, plan, by: "anna".into(), reason: String::new(), by_itself: false }
}

async fn carried_out(deployer: &Deployer, world: &World, nth: u8, plan: FleetPlan) {
    world.is_about(&plan);
    let stopped = deployer.deploy(request(nth, plan), &mut |_| {}).await;
    assert_eq!(stopped.unwrap(), Stopped::Over(State::Succeeded));
}

/// Comes by; is killed if the schedule says so.
async fn cool(deployer: &Deployer, world: &World) -> Option<Result<Cooled, FleetDriveError>> {
    tokio::select! {
        came = deployer.cool() => Some(came),
        () = world.killed() => None,
    }
}

/// Machines that get no requests.
fn idle(scenario: &Scenario, world: &World) -> Vec<Name> {
    let admitted = world.admitted().unwrap();
    (0..scenario.targets).map(name).filter(|name| !admitted.contains_key(name)).collect()
}

async fn walk(scenario: &Scenario, steps: &[Step]) -> Result<(), TestCaseError> {
    let ended = scenario.run().await.map_err(TestCaseError::fail)?;
    prop_assert_eq!(ended.state, State::Succeeded);
    let (world, deployer) = (&ended.world, &ended.deployer);
    let mut swapped_at = world.now();
    for (place, step) in steps.iter().enumerate() {
        match step {
            Step::Wait(seconds) => tokio::time::sleep(Duration::from_secs(*seconds)).await,
            Step::Swap => {
                let plan = deployer.plan_swap().await.map_err(|no| TestCaseError::fail(no.to_string()))?;
                carried_out(deployer, world, u8::try_from(place).unwrap() + 10, plan).await;
                swapped_at = world.now();
            }
            Step::Cool(faults) => {
                world.schedule(faults.clone());
                let came = cool(deployer, world).await;
                world.heal();
                let overtaken = matches!(came, Some(Err(FleetDriveError::Overtaken { .. })));
                prop_assert!(!overtaken, "nobody else is there");
            }
        }
        prop_assert!(world.violations().is_empty(), "{:?}", world.violations());
        for name in world.admitted().unwrap().keys() {
            prop_assert!(world.machine(name).unwrap().answers(), "{} gets requests and is stopped", name);
        }
        let is_over = world.now() >= swapped_at + 1000 * KEPT.max(scenario.lingers.as_secs());
        for name in idle(scenario, world) {
            let machine = world.machine(&name).unwrap();
            prop_assert!(is_over || machine.running.is_some(), "{} was to be kept", name);
            prop_assert!(!machine.releases.is_empty(), "{} keeps what it had", name);
        }
    }
    // At last nobody hinders who comes by: all that was not given up is stopped, and nothing is left to do.
    tokio::time::sleep(Duration::from_secs(2 * KEPT + scenario.lingers.as_secs())).await;
    let given_up = |state: &staith_model::FleetState, name: &Name| {
        state.warm.as_ref().is_some_and(|warm| warm.targets[name].tries >= 3)
    };
    deployer.cool().await.unwrap();
    let state = deployer.state().unwrap();
    for name in idle(scenario, world) {
        let machine = world.machine(&name).unwrap();
        let is_stopped = machine.current.is_none() && machine.running.is_none();
        prop_assert!(is_stopped || given_up(&state, &name), "{} was to be stopped", name);
    }
    prop_assert_eq!(deployer.cool().await.unwrap(), Cooled::Nothing);
    // And a way back is there, with a proof before it gets requests.
    let plan = deployer.plan_swap().await.map_err(|no| TestCaseError::fail(no.to_string()))?;
    carried_out(deployer, world, 9, plan).await;
    prop_assert!(world.violations().is_empty(), "{:?}", world.violations());
    for name in world.admitted().unwrap().keys() {
        prop_assert!(world.machine(name).unwrap().answers());
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_pool_is_kept_as_long_as_was_said_and_stopped_then(
        half in 1usize..3,
        lingers in prop_oneof![Just(0), 1u64..2 * KEPT],
        steps in prop::collection::vec(any_step(), 0..10),
    ) {
        runtime().block_on(walk(&of_pools(half * 2, lingers), &steps))?;
    }
}

/// Within its time nothing is started and nothing is sent: only requests move.
#[test]
fn going_back_in_time_only_moves_requests() {
    runtime().block_on(async {
        let scenario = of_pools(4, 0);
        let ended = scenario.run().await.unwrap();
        let before = ended.world.effects().len();
        let plan =
            ended.deployer.plan_rollback(&Rollback { to: Some(scenario.old()), force: false }).await.unwrap();
        assert_eq!(plan.release, scenario.old());
        carried_out(&ended.deployer, &ended.world, 1, plan).await;
        let effects = ended.world.effects()[before..].join("\n");
        assert!(effects.contains("serve m0 m1") && !effects.contains("switch"), "{effects}");
    });
}

/// What somebody did by hand counts: a pool that gets requests is not stopped, whatever the log says.
#[test]
fn a_pool_that_serves_after_all_is_left_alone() {
    runtime().block_on(async {
        let scenario = of_pools(4, 0);
        let ended = scenario.run().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2 * KEPT)).await;
        ended.world.admit([(name(0), 1), (name(2), 256)].into());
        let came = ended.deployer.cool().await.unwrap();
        assert_eq!(came, Cooled::Needed("m0 of pool blue gets requests".into()));
        ended.world.admit([].into());
        let came = ended.deployer.cool().await.unwrap();
        assert_eq!(came, Cooled::Needed("nobody but pool blue could answer requests".into()));
        assert!((0..4).all(|number| ended.world.machine(&name(number)).unwrap().running.is_some()));
    });
}

/// A plan that waits was made for what runs there, and approvals are for that plan.
#[test]
fn nothing_is_stopped_while_a_deployment_waits() {
    runtime().block_on(async {
        let scenario = of_pools(2, 0);
        let ended = scenario.run().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2 * KEPT)).await;
        let release = crate::fleet::simulate::digest("a third release");
        let plan = Box::new(ended.deployer.plan(release, &scenario.setting()).await.unwrap());
        let Request { deployment, .. } = request(1, (*plan).clone());
        let (by, reason) = ("anna".to_owned(), String::new());
        let event = FleetEvent::Requested { deployment, plan, by, reason, by_itself: false };
        ended.deployer.fleet.log.append(event).await.unwrap();
        assert_eq!(ended.deployer.cool().await.unwrap(), Cooled::Nothing);
        assert!(ended.world.machine(&name(0)).unwrap().running.is_some());
    });
}

/// A machine that is gone is asked three times, and not by everybody for ever.
#[test]
fn a_machine_that_does_not_answer_is_given_up() {
    runtime().block_on(async {
        let scenario = of_pools(2, 0);
        let ended = scenario.run().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2 * KEPT)).await;
        for _ in 0..3 {
            let until = ended.world.now() + 1_000_000;
            ended.world.tamper(&name(0), |machine| machine.dark_until = until);
            let came = ended.deployer.cool().await.unwrap();
            assert!(matches!(&came, Cooled::Asked { left, .. } if left.len() == 1), "{came:?}");
        }
        assert_eq!(ended.deployer.cool().await.unwrap(), Cooled::Nothing);
        let warm = ended.deployer.state().unwrap().warm.unwrap();
        assert!(warm.targets[&name(0)].why.as_deref().is_some_and(|why| why.contains("no answer")));
    });
}
