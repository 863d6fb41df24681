//! A keeper with real programs under load, while things change and break.

mod support;

use staith_releaser::keeper::{Pool, PoolPhase};
use support::{
    client::{Answer, get},
    environment::{A_WHILE, Environment, kill, number, until_gone, until_phase},
    load::{Habit, Load},
    until,
};

fn by_number(answer: &Answer) -> Option<usize> {
    number(answer.header("x-staith-release")).filter(|_| answer.status == 200)
}

/// Ten whole deployments, as a driver makes them: fill, wait, switch, drain, stop.
#[tokio::test(flavor = "multi_thread")]
async fn ten_deployments_under_load_lose_nothing() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    let mut active = Pool::Blue;
    environment.fill(&keeper, 1, active, environment.spec(0, &[])).await;
    keeper.switch(1, active).await.unwrap();
    let listen = keeper.status().await.unwrap().listen;
    let load = Load::start(
        listen,
        "/",
        &[(Habit::Keep, 16), (Habit::OneShot, 2), (Habit::KeepWriting, 2)],
        by_number,
    );
    for release in 1..=10 {
        let (epoch, next) = (release as u64 + 1, active.other());
        environment.fill(&keeper, epoch, next, environment.spec(release, &[])).await;
        load.let_through(50).await;
        load.progress.begin();
        keeper.switch(epoch, next).await.unwrap();
        load.progress.returned();
        assert_eq!(keeper.drain(epoch, active, A_WHILE).await.unwrap(), 0);
        keeper.stop_pool(epoch, active).await.unwrap();
        active = next;
    }
    load.let_through(50).await;
    let tally = load.stop().await;
    assert_eq!(tally.failures, Vec::<String>::new());
    let status = keeper.status().await.unwrap();
    assert!(status.served >= tally.answered as u64);
    assert_eq!((status.epoch, status.active), (11, Some(active)));
    assert_eq!(environment.programs().len(), 1);
}

/// Fifty switches back and forth between two warm pools.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_switches_between_warm_pools_lose_nothing() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    for (pool, number) in [(Pool::Blue, 0), (Pool::Green, 1)] {
        environment.fill(&keeper, 1, pool, environment.spec(number, &[])).await;
    }
    keeper.switch(1, Pool::Blue).await.unwrap();
    let listen = keeper.status().await.unwrap().listen;
    // Going back is no failure here, so each pool is asked for by what was true around the request.
    let load = Load::start(listen, "/", &[(Habit::Keep, 16), (Habit::OneShot, 2)], |answer| {
        by_number(answer).map(|_| 0)
    });
    for switch in 1..=50_u64 {
        let (to, from) = if switch % 2 == 1 { (Pool::Green, Pool::Blue) } else { (Pool::Blue, Pool::Green) };
        load.let_through(20).await;
        keeper.switch(switch, to).await.unwrap();
        let answer = get(listen, "/").await.unwrap();
        assert_eq!(by_number(&answer), Some(usize::from(to == Pool::Green)), "after switch {switch}");
        assert_eq!(keeper.drain(switch, from, A_WHILE).await.unwrap(), 0);
        assert_eq!(keeper.status().await.unwrap().pools[&from].in_flight, 0);
    }
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_program_is_back_before_its_clients_give_up() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    environment.fill(&keeper, 1, Pool::Blue, environment.spec(0, &[])).await;
    keeper.switch(1, Pool::Blue).await.unwrap();
    let before = keeper.status().await.unwrap();
    let load = Load::start(before.listen, "/", &[(Habit::Keep, 8), (Habit::OneShot, 2)], by_number);
    let clients = 10;
    for round in 1..=3 {
        load.let_through(100).await;
        let pid = keeper.status().await.unwrap().pools[&Pool::Blue].pid;
        kill(pid.unwrap(), "KILL");
        until("the program is started again", || async {
            let pool = &keeper.status().await.unwrap().pools[&Pool::Blue];
            pool.restarts == round && pool.phase == PoolPhase::Running
        })
        .await;
    }
    load.let_through(100).await;
    let tally = load.stop().await;
    // What the program was answering when it was killed can't be known and is not asked again; all others were held.
    assert!(tally.failures.len() <= 3 * clients, "{:?}", tally.failures);
    assert!(tally.failures.iter().all(|failure| failure.starts_with("502")), "{:?}", tally.failures);
    let after = keeper.status().await.unwrap();
    assert_eq!(after.pools[&Pool::Blue].last_exit.as_deref(), Some("signal 9 (SIGKILL)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_keeper_is_replaced_by_one_that_serves_the_same_and_leaves_nothing_behind() {
    let environment = Environment::new();
    let keeper = environment.keeper().await;
    environment.fill(&keeper, 5, Pool::Blue, environment.spec(0, &[])).await;
    environment.fill(&keeper, 5, Pool::Green, environment.spec(1, &[])).await;
    keeper.switch(5, Pool::Green).await.unwrap();
    let before = keeper.status().await.unwrap();
    let programs = environment.programs();
    assert_eq!(programs.len(), 2);
    kill(before.pid, "KILL");
    until_gone(before.pid).await;

    let keeper = environment.keeper().await;
    // Asked at once: it is held until the program is there.
    let answer = get(before.listen, "/").await.unwrap();
    assert_eq!(by_number(&answer), Some(1));
    let after = keeper.status().await.unwrap();
    assert_ne!(after.pid, before.pid);
    assert_eq!((after.epoch, after.active, after.listen), (5, Some(Pool::Green), before.listen));
    until_phase(&keeper, Pool::Blue, PoolPhase::Running).await;
    let now = environment.programs();
    assert_eq!(now.len(), 2);
    assert!(now.iter().all(|pid| !programs.contains(pid)), "{programs:?} {now:?}");
    let superseded = keeper.switch(4, Pool::Blue).await.unwrap_err().to_string();
    assert!(superseded.contains("epoch 4 was refused"), "{superseded}");
}
