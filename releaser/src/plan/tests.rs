//! A model of a host and its traffic in which plans are carried out, from any state that can be observed.

use super::*;
use crate::host::{PoolView, samples};
use proptest::prelude::*;

fn other_releases() -> Vec<Digest> {
    (0u8..5).map(|number| Digest::of(&[number])).collect()
}

fn wanted() -> Release {
    samples::release("2.0.0", b"two")
}

fn any_release() -> impl Strategy<Value = Digest> {
    let mut all = other_releases();
    let wanted = wanted().digest();
    // The wanted one is as likely as all others together: that is where the interesting states are.
    all.extend([wanted; 5]);
    prop::sample::select(all)
}

fn any_pool() -> impl Strategy<Value = PoolView> {
    let life = prop::sample::select(vec![Life::Down, Life::Starting, Life::Up]);
    (prop::option::of(any_release()), life, any::<bool>(), 0u64..3)
        .prop_map(|(release, life, orphaned, in_flight)| PoolView { release, life, orphaned, in_flight })
}

prop_compose! {
    fn any_observed()(
        files in prop::sample::select(vec![Files::Absent, Files::Damaged("x".into()), Files::Complete]),
        blue in prop::option::of(any_pool()),
        green in prop::option::of(any_pool()),
        active in prop::option::of(prop::sample::select(&Pool::ALL[..])),
        health in any::<[bool; 2]>(),
        current in prop::option::of(any_release()),
        releases in prop::collection::btree_set(any_release(), 0..5),
        history in prop::collection::vec(any_release(), 0..6),
        previous in prop::option::of(any_release()),
    ) -> Observed {
        let pools: BTreeMap<Pool, PoolView> = [(Pool::Blue, blue), (Pool::Green, green)]
            .into_iter().filter_map(|(pool, view)| Some((pool, view?))).collect();
        // Nobody gets requests who is not there.
        let active = active.filter(|pool| pools.contains_key(pool));
        let healthy = pools.iter().enumerate()
            .filter(|(_, (_, view))| view.release == Some(wanted().digest()) && view.life == Life::Up)
            .map(|(at, (pool, _))| (*pool, health[at])).collect();
        let in_flight = pools.iter().map(|(pool, view)| (*pool, view.in_flight)).collect();
        Observed {
            files,
            traffic: TrafficState { active, listen: None, in_flight },
            host: HostState { epoch: 0, releases, current, pools },
            healthy,
            history,
            previous,
        }
    }
}

/// Carries out an operation in the model. Refuses what would leave a request without a server.
fn carry_out(state: &mut Observed, operation: &Operation, probed: &mut Option<Pool>) -> Result<(), String> {
    let wanted = wanted().digest();
    if operation.endangers(&state.traffic) {
        return Err(format!("{operation} while it gets requests"));
    }
    match operation {
        Operation::Stage => {
            if state.files != Files::Complete {
                // What stood on the damaged files stands on removed ones now.
                state
                    .host
                    .pools
                    .values_mut()
                    .filter(|view| view.release == Some(wanted))
                    .for_each(|view| view.orphaned = true);
            }
            state.files = Files::Complete;
            state.host.releases.insert(wanted);
        }
        Operation::Clear { pool } => {
            state.host.pools.remove(pool);
            state.traffic.in_flight.remove(pool);
            state.healthy.remove(pool);
        }
        Operation::Start { pool } => {
            if state.files != Files::Complete {
                return Err("started from files that are not there".into());
            }
            if state.host.pools.contains_key(pool) {
                return Err("started in an occupied pool".into());
            }
            let view =
                PoolView { release: Some(wanted), life: Life::Starting, orphaned: false, in_flight: 0 };
            state.host.pools.insert(*pool, view);
        }
        Operation::Probe { pool } => {
            let view = state.host.pools.get_mut(pool).ok_or("probed an empty pool")?;
            if view.release != Some(wanted) || view.orphaned || view.life == Life::Down {
                return Err("probed a pool that does not hold the release".into());
            }
            view.life = Life::Up;
            state.healthy.insert(*pool, true);
            *probed = Some(*pool);
        }
        Operation::Switch { to } => {
            if *probed != Some(*to) {
                return Err("switched to a pool that was not probed".into());
            }
            state.traffic.active = Some(*to);
        }
        Operation::Verify { pool } => {
            if state.traffic.active != Some(*pool) || *probed != Some(*pool) {
                return Err("verified a pool that does not serve".into());
            }
        }
        Operation::Activate => state.host.current = Some(wanted),
        Operation::Drain { pool } => {
            state.traffic.in_flight.remove(pool);
        }
        Operation::Retain { keep } => {
            let lost = state
                .host
                .pools
                .values()
                .filter_map(|view| view.release)
                .find(|release| state.host.releases.contains(release) && !keep.contains(release));
            if lost.is_some() {
                return Err("removed the files that a pool uses".into());
            }
            state.host.releases.retain(|release| keep.contains(release));
        }
    }
    Ok(())
}

fn carry_out_all(state: &mut Observed, plan: &DeploymentPlan, count: usize) -> Result<(), String> {
    let mut probed = None;
    let had_server = state.traffic.active.is_some();
    for operation in plan.operations().iter().take(count) {
        carry_out(state, operation, &mut probed).map_err(|error| format!("{error} in {plan:#?}"))?;
        let looks = !operation.only_reads() && *operation != Operation::Stage;
        if looks && !operation.holds(plan.release(), &state.host, &state.traffic) {
            return Err(format!("{operation} was done and does not hold"));
        }
        if had_server && state.traffic.active.is_none_or(|pool| !state.host.pools.contains_key(&pool)) {
            return Err("a request finds no server".into());
        }
    }
    Ok(())
}

/// What the record says after a plan was carried out.
fn record(state: &mut Observed, plan: &DeploymentPlan) {
    state.previous = plan.previous();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_plan_reaches_its_goal_and_then_there_is_nothing_left_to_do(observed in any_observed()) {
        let (release, environment) = (wanted(), samples::environment());
        let mut state = observed;
        let first = plan(&release, &environment, &state);
        prop_assert_eq!(carry_out_all(&mut state, &first, usize::MAX), Ok(()));
        record(&mut state, &first);
        prop_assert_eq!(state.serving(), Some(release.digest()));
        prop_assert_eq!(state.host.current, Some(release.digest()));
        let again = plan(&release, &environment, &state);
        prop_assert!(again.only_reads(), "{again:#?} after {first:#?}");
    }

    #[test]
    fn a_plan_that_was_cut_short_anywhere_is_finished_by_the_next(observed in any_observed(), cut in 0usize..9) {
        let (release, environment) = (wanted(), samples::environment());
        let mut state = observed;
        let first = plan(&release, &environment, &state);
        prop_assert_eq!(carry_out_all(&mut state, &first, cut), Ok(()));
        let next = plan(&release, &environment, &state);
        prop_assert_eq!(carry_out_all(&mut state, &next, usize::MAX), Ok(()));
        prop_assert_eq!(state.serving(), Some(release.digest()));
    }

    #[test]
    fn files_that_are_there_are_not_moved_again(observed in any_observed()) {
        let there = observed.files == Files::Complete;
        let plan = plan(&wanted(), &samples::environment(), &observed);
        prop_assert_eq!(plan.operations().contains(&Operation::Stage), !there);
    }

    #[test]
    fn what_was_active_is_warm_afterwards(observed in any_observed()) {
        let mut state = observed.clone();
        let plan = plan(&wanted(), &samples::environment(), &observed);
        prop_assert_eq!(carry_out_all(&mut state, &plan, usize::MAX), Ok(()));
        if let Some(old) = observed.traffic.active && state.traffic.active != Some(old) {
            prop_assert_eq!(observed.release_in(old), state.release_in(old));
            prop_assert_eq!(observed.life(old), state.life(old));
        }
    }

    #[test]
    fn equal_observations_give_equal_plans(observed in any_observed()) {
        let environment = samples::environment();
        prop_assert_eq!(plan(&wanted(), &environment, &observed).digest(), plan(&wanted(), &environment, &observed.clone()).digest());
    }
}

fn quiet(active: Option<Pool>, pools: &[(Pool, Digest)]) -> Observed {
    let view = |release| PoolView { release: Some(release), life: Life::Up, orphaned: false, in_flight: 0 };
    Observed {
        files: Files::Complete,
        host: HostState {
            epoch: 3,
            releases: pools.iter().map(|(_, release)| *release).chain([wanted().digest()]).collect(),
            current: active
                .and_then(|active| pools.iter().find(|(pool, _)| *pool == active))
                .map(|(_, release)| *release),
            pools: pools.iter().map(|(pool, release)| (*pool, view(*release))).collect(),
        },
        traffic: TrafficState { active, ..TrafficState::default() },
        healthy: pools
            .iter()
            .filter(|(_, release)| *release == wanted().digest())
            .map(|(pool, _)| (*pool, true))
            .collect(),
        history: Vec::new(),
        previous: None,
    }
}

#[test]
fn a_first_deployment_has_nothing_to_drain() {
    let mut nothing = quiet(None, &[]);
    nothing.files = Files::Absent;
    let (pool, keep) = (Pool::Blue, BTreeSet::from([wanted().digest()]));
    nothing.host.releases.clear();
    let plan = plan(&wanted(), &samples::environment(), &nothing);
    use Operation::{Activate, Probe, Stage, Start, Switch, Verify};
    assert_eq!(
        plan.operations(),
        [Stage, Start { pool }, Probe { pool }, Switch { to: pool }, Verify { pool }, Activate]
    );
    assert_eq!((plan.previous(), keep.len()), (None, 1));
}

#[test]
fn the_way_back_to_a_warm_pool_is_a_probe_and_a_switch() {
    let newer = other_releases()[0];
    let state = quiet(Some(Pool::Green), &[(Pool::Blue, wanted().digest()), (Pool::Green, newer)]);
    let plan = plan(&wanted(), &samples::environment(), &state);
    use Operation::{Activate, Drain, Probe, Switch, Verify};
    let (pool, old) = (Pool::Blue, Pool::Green);
    assert_eq!(
        plan.operations(),
        [Probe { pool }, Switch { to: pool }, Verify { pool }, Activate, Drain { pool: old }]
    );
    assert_eq!(plan.previous(), Some(newer));
}

#[test]
fn a_release_that_hangs_is_started_anew_in_the_other_pool() {
    let mut state = quiet(Some(Pool::Blue), &[(Pool::Blue, wanted().digest())]);
    state.healthy.insert(Pool::Blue, false);
    let plan = plan(&wanted(), &samples::environment(), &state);
    assert_eq!(plan.starts(), Some(Pool::Green));
    assert!(plan.operations().contains(&Operation::Switch { to: Pool::Green }));
}

#[test]
fn retention_keeps_the_newest_and_all_that_is_needed() {
    let others = other_releases();
    let mut state = quiet(Some(Pool::Blue), &[(Pool::Blue, others[0]), (Pool::Green, others[1])]);
    state.host.releases.extend(others.iter().copied());
    state.history = others.clone();
    let environment = LocalEnvironment { keep_releases: 2, ..samples::environment() };
    let plan = plan(&wanted(), &environment, &state);
    // The wanted one; the one that stays warm; and two more: green's old release counts among them, for it leaves.
    let keep = BTreeSet::from([wanted().digest(), others[0], others[1], others[2]]);
    assert!(plan.operations().contains(&Operation::Retain { keep }), "{plan:#?}");
}
