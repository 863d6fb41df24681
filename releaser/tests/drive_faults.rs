//! The driver against a scripted world: every call fails, hangs, or loses its answer in turn.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod drive_support;

use std::sync::Arc;

use drive_support::{
    Tree, environment,
    fakes::{FakeHost, FakeTraffic, Fault, World},
    fold, operations,
};
use staith_model::{DeploymentState, Digest, EventKind, Release};
use staith_releaser::{
    drive::{AttemptKind, Books, Deployed, DriveError, Driver, Ending, Wanted},
    host::{Life, PoolView},
    keeper::Pool,
    release::freeze,
};
use tokio_util::sync::CancellationToken;

/// More calls than any deployment makes.
const MOST_CALLS: usize = 40;

struct Scene {
    world: Arc<World>,
    driver: Driver,
    _dir: tempfile::TempDir,
}

fn release(number: u8) -> Release {
    freeze(Tree::of(&[("app", &[number])]).package(&format!("{number}.0.0")), &environment(&["./app"]))
}

fn wanted(number: u8, kind: AttemptKind) -> Wanted {
    let files = (kind == AttemptKind::Deploy).then(|| Tree::of(&[("app", &[number])]).shared());
    Wanted { release: release(number), files, kind, progress: Arc::new(|_| {}) }
}

impl Scene {
    /// A world in which these releases have been deployed, one after the other.
    async fn after(deployed: &[u8]) -> Self {
        let dir = in_memory();
        let world = Arc::new(World::default());
        let (host, traffic) = (Arc::new(FakeHost(world.clone())), Arc::new(FakeTraffic(world.clone())));
        let driver = Driver::new(host, traffic, Books::new(dir.path()), environment(&["./app"]));
        let scene = Self { world, driver, _dir: dir };
        for number in deployed {
            scene.deploy(*number).await.0.unwrap();
        }
        scene.world.state.lock().unwrap().effects.clear();
        scene
    }

    async fn deploy(&self, number: u8) -> (Result<Deployed, DriveError>, Vec<EventKind>) {
        self.drive(wanted(number, AttemptKind::Deploy), &CancellationToken::new()).await
    }

    async fn drive(
        &self,
        wanted: Wanted,
        cancel: &CancellationToken,
    ) -> (Result<Deployed, DriveError>, Vec<EventKind>) {
        let mut events = Vec::new();
        let result = self.driver.drive(wanted, &mut |event| events.push(event), cancel).await;
        (result, events)
    }

    fn serving(&self) -> Option<Digest> {
        self.world.serving()
    }
}

/// Hundreds of deployments each make their books durable; where that costs nothing, nothing is lost for these tests.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What is deployed before, and what then is tried.
fn scenes() -> Vec<(&'static [u8], Wanted)> {
    vec![
        (&[], wanted(1, AttemptKind::Deploy)),
        (&[1], wanted(2, AttemptKind::Deploy)),
        (&[1, 2], wanted(3, AttemptKind::Deploy)),
        (&[1, 2, 3], wanted(4, AttemptKind::Deploy)),
        (&[1, 2], wanted(1, AttemptKind::Rollback)),
        (&[1, 2, 3], wanted(1, AttemptKind::Rollback)),
        (&[1, 2], wanted(2, AttemptKind::Deploy)),
    ]
}

fn failure(result: Result<Deployed, DriveError>) -> staith_releaser::drive::Failure {
    match result {
        Err(DriveError::Failed(failure)) => *failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_deployment_succeeds_and_the_next_one_of_the_same_release_only_reads() {
    let scene = Scene::after(&[1]).await;
    let (result, events) = scene.deploy(2).await;
    let deployed = result.unwrap();
    assert_eq!(
        (deployed.pool, deployed.already, deployed.previous),
        (Pool::Green, false, Some(release(1).digest()))
    );
    assert_eq!(fold(&events), DeploymentState::Succeeded);
    assert_eq!(scene.world.effects(), ["stage", "start green", "switch green", "activate", "drain blue"]);
    let (result, events) = scene.deploy(2).await;
    let again = result.unwrap();
    assert!(again.already);
    assert_eq!(again.previous, Some(release(1).digest()));
    assert_eq!(scene.world.effects().len(), 5);
    assert_eq!(fold(&events), DeploymentState::Succeeded);
    assert!(
        operations(&events).iter().all(|(words, already)| *already || words.starts_with("ask ")),
        "{:?}",
        operations(&events)
    );
}

#[tokio::test]
async fn rolling_back_twice_leads_forward_again_and_moves_no_bytes() {
    let scene = Scene::after(&[1, 2]).await;
    for (number, pool) in [(1, "blue"), (2, "green"), (1, "blue")] {
        scene.world.state.lock().unwrap().effects.clear();
        let to = scene.driver.books.record().await.unwrap().previous.unwrap();
        assert_eq!(to, release(number).digest());
        scene.drive(wanted(number, AttemptKind::Rollback), &CancellationToken::new()).await.0.unwrap();
        assert_eq!(scene.serving(), Some(to));
        let other = if pool == "blue" { "green" } else { "blue" };
        let effects = [format!("switch {pool}"), "activate".into(), format!("drain {other}")];
        assert_eq!(scene.world.effects(), effects);
    }
}

#[tokio::test]
async fn whatever_says_no_the_previous_release_serves_and_trying_again_succeeds() {
    for (before, wanted) in scenes() {
        for fault in [Fault::Refused, Fault::TrueNo] {
            for call in 0..MOST_CALLS {
                let scene = Scene::after(before).await;
                let served = scene.serving();
                scene.world.fail_at(call, fault);
                let (result, events) = scene.drive(wanted.clone(), &CancellationToken::new()).await;
                if !scene.world.was_played() {
                    result.unwrap();
                    assert!(call >= 2, "the script was hardly played");
                    break;
                }
                let failure = failure(result);
                let at = format!("{before:?} {fault:?} at {call}: {failure}");
                assert_eq!(scene.serving(), served, "{at}");
                assert_eq!(failure.serving, served, "{at}");
                assert_eq!(failure.ending, Ending::RolledBack, "{at}");
                assert_eq!(fold(&events), DeploymentState::RolledBack, "{at}");
                if served.is_none() {
                    assert!(scene.world.state.lock().unwrap().host.pools.is_empty(), "{at}");
                }
                assert!(!failure.cancelled && !failure.reason.what.is_empty(), "{at}");
                let (result, events) = scene.drive(wanted.clone(), &CancellationToken::new()).await;
                result.unwrap();
                assert_eq!(fold(&events), DeploymentState::Succeeded);
                assert_eq!(scene.serving(), Some(wanted.release.digest()), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_looked_up_and_the_deployment_goes_on() {
    for (before, wanted) in scenes() {
        for fault in [Fault::LostBefore, Fault::LostAfter, Fault::SupervisorDies] {
            for call in 0..MOST_CALLS {
                let scene = Scene::after(before).await;
                scene.world.fail_at(call, fault);
                let (result, events) = scene.drive(wanted.clone(), &CancellationToken::new()).await;
                let at = format!("{before:?} {fault:?} at {call}");
                result.unwrap_or_else(|error| panic!("{at}: {error}"));
                assert_eq!(fold(&events), DeploymentState::Succeeded, "{at}");
                assert_eq!(scene.serving(), Some(wanted.release.digest()), "{at}");
                if !scene.world.was_played() {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn abort_wins_wherever_it_comes() {
    for (before, wanted) in scenes() {
        for call in 0..MOST_CALLS {
            let scene = Scene::after(before).await;
            let served = scene.serving();
            let warm = scene.world.state.lock().unwrap().host.pools.clone();
            let current = scene.world.state.lock().unwrap().host.current;
            scene.world.fail_at(call, Fault::Hangs);
            let cancel = CancellationToken::new();
            let watcher = async {
                scene.world.hung.notified().await;
                cancel.cancel();
            };
            let (result, events) = tokio::select! {
                driven = scene.drive(wanted.clone(), &cancel) => driven,
                () = async { watcher.await; std::future::pending::<()>().await } => unreachable!(),
            };
            if !scene.world.was_played() {
                result.unwrap();
                break;
            }
            let failure = failure(result);
            let at = format!("{before:?} at {call}: {failure}");
            assert!(failure.cancelled, "{at}");
            if served.is_some() {
                assert_eq!(scene.serving(), served, "{at}");
                assert_eq!(fold(&events), DeploymentState::RolledBack, "{at}");
                let state = scene.world.state.lock().unwrap();
                assert_eq!(state.host.current, current, "{at}");
                // What was started for nothing is gone; what was warm and not in the way is warm.
                let strangers = state
                    .host
                    .pools
                    .values()
                    .filter(|view| !warm.values().any(|known| known.release == view.release));
                assert_eq!(strangers.count(), 0, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn a_deployment_that_was_killed_anywhere_is_finished_by_the_next() {
    for (before, wanted) in scenes() {
        for call in 0..MOST_CALLS {
            let scene = Scene::after(before).await;
            scene.world.fail_at(call, Fault::Hangs);
            let cancel = CancellationToken::new();
            let finished = tokio::select! {
                biased;
                () = scene.world.hung.notified() => false,
                driven = scene.drive(wanted.clone(), &cancel) => driven.0.is_ok(),
            };
            if finished {
                break;
            }
            let epoch = scene.driver.books.record().await.unwrap().epoch;
            let (result, events) = scene.drive(wanted.clone(), &cancel).await;
            let deployed = result.unwrap_or_else(|error| panic!("{before:?} at {call}: {error}"));
            assert!(deployed.epoch > epoch);
            assert_eq!(fold(&events), DeploymentState::Succeeded);
            assert_eq!(scene.serving(), Some(wanted.release.digest()));
            let record = scene.driver.books.record().await.unwrap();
            assert_eq!(record.current, Some(wanted.release.digest()));
            // What served before is still where a rollback leads, although the first deployment wrote no end.
            let served = before.last().map(|number| release(*number).digest());
            if served != Some(wanted.release.digest()) {
                assert_eq!(record.previous, served, "{before:?} at {call}");
            }
        }
    }
}

#[tokio::test]
async fn a_deployment_that_was_killed_anywhere_can_be_replaced_by_another() {
    for call in 0..MOST_CALLS {
        let scene = Scene::after(&[1, 2]).await;
        scene.world.fail_at(call, Fault::Hangs);
        let cancel = CancellationToken::new();
        let finished = tokio::select! {
            biased;
            () = scene.world.hung.notified() => false,
            driven = scene.drive(wanted(3, AttemptKind::Deploy), &cancel) => driven.0.is_ok(),
        };
        if finished {
            break;
        }
        // Whichever of the two served when it was killed is where a rollback leads, whatever the record had come to.
        let served = scene.serving();
        let deployed = scene.deploy(4).await.0.unwrap();
        assert_eq!(scene.serving(), Some(release(4).digest()));
        assert_eq!(scene.driver.books.record().await.unwrap().previous, served);
        assert_eq!(deployed.previous, served);
    }
}

#[tokio::test]
async fn a_release_whose_files_were_damaged_is_staged_anew_and_started_from_the_new_files() {
    let scene = Scene::after(&[1]).await;
    scene.world.state.lock().unwrap().damaged.insert(release(1).digest());
    scene.deploy(1).await.0.unwrap();
    assert_eq!(scene.world.effects()[..3], ["stage", "start green", "switch green"]);
    let damaged_and_no_package = Scene::after(&[1, 2, 3]).await;
    let state = &damaged_and_no_package.world.state;
    state.lock().unwrap().damaged.insert(release(1).digest());
    let wanted = wanted(1, AttemptKind::Rollback);
    let failure = failure(damaged_and_no_package.drive(wanted, &CancellationToken::new()).await.0);
    assert!(failure.reason.remedy.unwrap().contains("deploy that release's package again"));
    assert_eq!(damaged_and_no_package.serving(), Some(release(3).digest()));
}

#[tokio::test]
async fn what_is_cancelled_before_it_begins_does_nothing() {
    let scene = Scene::after(&[1]).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let (result, events) = scene.drive(wanted(2, AttemptKind::Deploy), &cancel).await;
    assert!(matches!(result, Err(DriveError::Cancelled)));
    assert!(events.is_empty() && scene.world.effects().is_empty());
}

#[tokio::test]
async fn what_became_so_after_the_plan_was_made_is_found_done() {
    let scene = Scene::after(&[1]).await;
    let (world, mut events) = (scene.world.clone(), Vec::new());
    let view = PoolView { release: Some(release(2).digest()), life: Life::Up, orphaned: false, in_flight: 0 };
    let mut sink = |event: EventKind| {
        if operations(std::slice::from_ref(&event)).iter().any(|(words, _)| words.starts_with("put")) {
            world.state.lock().unwrap().host.pools.insert(Pool::Green, view.clone());
        }
        events.push(event);
    };
    let cancel = CancellationToken::new();
    scene.driver.drive(wanted(2, AttemptKind::Deploy), &mut sink, &cancel).await.unwrap();
    assert_eq!(scene.world.effects(), ["stage", "switch green", "activate", "drain blue"]);
    let found = operations(&events).into_iter().find(|(words, _)| words.starts_with("start")).unwrap();
    assert!(found.1, "{found:?}");
}
