//! What a quarantine does to plans.

use staith_model::{Amount, Direction, FleetEvent, FleetPlan, Name, PaceKind, Rollout, TargetAction};

use super::{super::drive::FleetDriveError, FleetPlanError, lines};
use crate::fleet::simulate::{Scenario, digest, name};

/// The plan for four machines of which these were taken out.
async fn without(rollout: Rollout, out: &[usize]) -> Result<FleetPlan, FleetDriveError> {
    let scenario = Scenario::of(4, rollout);
    let deployer = scenario.deployer(&scenario.world());
    for number in out {
        let (target, by, reason) = (name(*number), "anna".into(), "its disk is dying".into());
        let event = FleetEvent::Quarantine { target, out: true, by, reason };
        deployer.fleet.log.append(event).await.unwrap();
    }
    deployer.plan(scenario.wanted(), &scenario.setting()).await
}

fn rolling() -> Rollout {
    Rollout::Rolling { max_unavailable: Amount::Count(1), watch: None }
}

fn pools() -> Rollout {
    let pool = |text: &str| text.parse::<Name>().unwrap();
    Rollout::BlueGreen { pools: [pool("blue"), pool("green")], keep_warm_seconds: None, watch: None }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_taken_out_is_named_and_gets_nothing() {
    let plan = without(rolling(), &[2]).await.unwrap();
    assert_eq!(plan.target(&name(2)).unwrap().action, TargetAction::Quarantined);
    assert!(plan.waves.iter().all(|wave| !wave.targets.contains(&name(2))));
    assert!(plan.members().all(|one| one.target.name != name(2)));
    assert!(lines(&plan).iter().any(|line| line.contains("m2: quarantined")), "{:?}", lines(&plan));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_planned_where_all_were_taken_out() {
    let is_refused = |planned| matches!(planned, Err(FleetDriveError::Plan(FleetPlanError::AllOut { .. })));
    assert!(is_refused(without(rolling(), &[0, 1, 2, 3]).await));
    // The pool that is to serve is all that counts: m0 and m1 serve, and green has to.
    assert!(is_refused(without(pools(), &[2, 3]).await));
    assert!(without(rolling(), &[0, 1, 2]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_was_taken_out_altogether_does_not_keep_the_requests() {
    let plan = without(pools(), &[0, 1]).await.unwrap();
    let PaceKind::Pools { to, from } = &plan.pace.kind else { panic!("{:?}", plan.pace) };
    assert_eq!((to.as_str(), from.as_ref().map(Name::as_str)), ("green", Some("blue")));
    assert_eq!(plan.direction, Direction::Forward);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_back_to_is_what_the_pool_with_the_requests_runs() {
    let scenario = Scenario::of(4, pools());
    let world = scenario.world();
    for number in [2, 3] {
        world.tamper(&name(number), |machine| machine.current = Some(digest("left there")));
    }
    let deployer = scenario.deployer(&world);
    let (target, by, reason) = (name(0), "anna".into(), "its disk is dying".into());
    deployer.fleet.log.append(FleetEvent::Quarantine { target, out: true, by, reason }).await.unwrap();
    let plan = deployer.plan(scenario.wanted(), &scenario.setting()).await.unwrap();
    assert_eq!(plan.previous, Some(scenario.old()), "green was left with more machines of another one");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_not_reached_is_told_once_and_with_why() {
    let scenario = Scenario::of(4, rolling());
    let world = scenario.world();
    let told = async |dark: &[usize]| {
        dark.iter().for_each(|number| world.tamper(&name(*number), |machine| machine.dark_until = u64::MAX));
        let plan = scenario.deployer(&world).plan(scenario.wanted(), &scenario.setting()).await.unwrap();
        let warnings = plan.warnings.into_iter().filter(|warning| warning.contains("m1"));
        warnings.collect::<Vec<_>>()
    };
    let one = told(&[1]).await;
    assert!(
        matches!(one.as_slice(), [one] if one.starts_with("m1 can't be reached: ") && one.contains("; unless that")),
        "{one:?}"
    );
    let two = told(&[2]).await;
    assert!(matches!(two.as_slice(), [two] if two.starts_with("m1, m2 can't be reached (m1: ")), "{two:?}");
}
