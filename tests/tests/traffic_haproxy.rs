//! Traffic moves between applications behind a real HAProxy, under load, and no request is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use staith_releaser::{
    fleet::balancer::{
        Balancer, Shift, Shifted,
        haproxy::{HaProxy, lint},
    },
    traffic::TrafficError,
};
use staith_tests::{
    balancing::{hold_to_the_contract, name, order, serving, shift, to},
    haproxy::{BACKEND, Node},
    load::{
        application::Application,
        mixed::{Failure, Group, Mixed, usual},
    },
    pair::{Pair, wished},
    wait,
};

fn pair() -> Pair<Node> {
    Pair::behind(Node::start)
}

fn runtime() -> tokio::runtime::Runtime {
    staith_tests::pair::runtime(1)
}

fn releases(swaps: usize) -> Vec<String> {
    (0..=swaps).map(|swap| format!("r{swap}")).collect()
}

#[test]
fn a_hundred_swaps_lose_no_request() {
    let swaps = usize::try_from(wished("STAITH_SWAPS", 100)).unwrap();
    let requests = wished("STAITH_REQUESTS", 20_000);
    let (pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let load = Mixed::start(pair.node.front, &usual());
    for swap in 1..=swaps {
        let far = requests * swap as u64 / swaps as u64;
        wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
        let (server, application) = pair.next(swap);
        application.becomes(&format!("r{swap}"));
        let shifted = runtime.block_on(shift(&balancer, &[(server, 100)])).unwrap();
        assert_eq!(shifted, Shifted::default(), "swap {swap}");
    }
    let report = load.stop();
    println!("{} requests, {swaps} swaps, failed: {:?}", report.all(), report.failures);
    assert_eq!(report.failures, BTreeMap::new());
    assert!(report.all() >= requests);
    assert_eq!(pair.wrong_writes(&report), 0);
    // Both serve between the first request of the one and the last of the other.
    assert!(report.in_order(&releases(swaps), 1));
}

/// What anybody would write first. The same load has to notice.
#[test]
fn to_disable_the_old_one_before_the_new_one_is_enabled_is_caught() {
    let pair = pair();
    let load = Mixed::start(pair.node.front, &usual());
    for swap in 1..=3 {
        let far = load.asked() + 200;
        wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
        let (new, application) = pair.next(swap);
        application.becomes(&format!("r{swap}"));
        let (old, _) = pair.next(swap + 1);
        say(&pair.node, &format!("set server {BACKEND}/{old} state maint"));
        let gap = load.asked() + 50;
        wait::until("requests met the gap", || (load.asked() >= gap).then_some(()));
        say(&pair.node, &format!("set server {BACKEND}/{new} state ready"));
    }
    let report = load.stop();
    println!("{} requests, 3 naive swaps, failed: {:?}", report.all(), report.failures);
    assert!(report.failures.get(&Failure::ByProxy).is_some_and(|count| *count > 0), "{:?}", report.failures);
}

fn say(node: &Node, command: &str) -> String {
    let mut stream = UnixStream::connect(node.socket("admin.sock")).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn it_holds_to_the_contract() {
    let pair = pair();
    runtime().block_on(hold_to_the_contract(&pair.node.balancer(), "blue", "green"));
}

#[test]
fn a_dead_new_member_and_a_sick_one_are_never_admitted_and_cost_no_request() {
    let (mut pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let load = Mixed::start(pair.node.front, &usual());
    let hasty = Shift { patience: Duration::from_millis(400), ..to(&[("green", 100)]) };
    for (dead, check) in [(true, "L4CON"), (false, "L7"), (true, "L4CON"), (false, "L7")] {
        if dead {
            pair.green.kill();
        } else {
            pair.green.sickens(true);
            pair.green.revive();
        }
        let error = runtime.block_on(balancer.serve(&order(1), &hasty)).unwrap_err().to_string();
        assert!(error.contains(&format!("green (its check says {check}")), "{error}");
        assert_eq!(runtime.block_on(serving(&balancer)), [name("blue")].into());
        // As it would be found after a deployment that was given up: on its way in is no better than out.
        say(&pair.node, &format!("set server {BACKEND}/green state maint"));
    }
    pair.green.sickens(false);
    runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    let far = load.asked() + 200;
    wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
    let report = load.stop();
    assert_eq!(report.failures, BTreeMap::new());
    assert!(report.by_release["unused"] > 0);
}

#[test]
fn who_is_killed_anywhere_in_a_swap_begins_again_and_nothing_is_lost() {
    let (pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let load = Mixed::start(pair.node.front, &usual());
    let (mut kills, mut reversals) = (0u32, 0u32);
    // A walk through all the moments of a swap, in steps of a millisecond, with the direction changed every third time.
    for step in 0..90u64 {
        let (server, _) = pair.next(
            if step % 3 == 0 {
                reversals += 1;
                1
            } else {
                0
            } + usize::from(step % 2 == 0),
        );
        let members = [(server, 100)];
        let moment = Duration::from_millis(step % 45);
        let whole =
            runtime.block_on(async { tokio::time::timeout(moment, shift(&balancer, &members)).await });
        kills += u32::from(whole.is_err());
        if let Ok(whole) = whole {
            whole.unwrap();
        }
    }
    runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    let far = load.asked() + 200;
    wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
    let again = runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    assert_eq!(again, Shifted { already: true, ..Shifted::default() });
    let report = load.stop();
    println!(
        "{} requests, {kills} kills, {reversals} changes of mind, failed: {:?}",
        report.all(),
        report.failures
    );
    assert!(kills >= 50, "{kills}");
    assert_eq!(report.failures, BTreeMap::new());
    assert_eq!(pair.wrong_writes(&report), 0);
}

#[test]
fn a_reload_keeps_who_serves_and_one_in_the_middle_of_a_swap_loses_nothing() {
    let (pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let load = Mixed::start(
        pair.node.front,
        &[Group::reading(6, true, "/short"), Group::reading(4, false, "/short")],
    );
    for swap in 1..=6 {
        let (server, application) = pair.next(swap);
        application.becomes(&format!("r{swap}"));
        // In the middle of one, and between two, in turns.
        let members = [(server, 100)];
        let shifting = shift(&balancer, &members);
        if swap % 2 == 0 {
            pair.node.reload();
        }
        runtime.block_on(async {
            let mut last = shifting.await;
            // A worker that is being replaced may not answer; that is no failure, and it is asked again.
            while last.as_ref().is_err_and(TrafficError::is_lost) {
                last = shift(&balancer, &members).await;
            }
            last.unwrap();
        });
        if swap % 2 == 1 {
            let before = say(&pair.node, "show info");
            let pid = |info: &str| info.lines().find(|line| line.starts_with("Pid:")).map(str::to_owned);
            pair.node.reload();
            wait::until("another worker answers", || {
                UnixStream::connect(pair.node.socket("admin.sock")).is_ok().then_some(())?;
                let now = pid(&say(&pair.node, "show info"))?;
                (Some(&now) != pid(&before).as_ref()).then_some(())
            });
            pair.node.answers();
            let serving = runtime.block_on(balancer.observe()).unwrap();
            assert_eq!(serving.serving().into_iter().collect::<Vec<_>>(), [&name(server)], "swap {swap}");
        }
    }
    let report = load.stop();
    println!(
        "{} requests, 6 swaps, 6 reloads, failed: {:?}; {}",
        report.all(),
        report.failures,
        pair.node.said()
    );
    assert_eq!(report.failures, BTreeMap::new());
}

#[test]
fn long_requests_survive_a_drain_and_what_outlasts_it_is_told_and_not_cut() {
    let (pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let load = Mixed::start(pair.node.front, &[Group::reading(4, true, "/long/1200")]);
    let busy = || runtime.block_on(balancer.observe()).unwrap().members[&name("blue")].in_flight;
    wait::until("all are being answered", || (busy() == Some(4)).then_some(()));
    let impatient = Shift { drain: Duration::from_millis(100), ..to(&[("green", 100)]) };
    let shifted = runtime.block_on(balancer.serve(&order(1), &impatient)).unwrap();
    assert_eq!(shifted.left, BTreeMap::from([(name("blue"), 4)]));
    let shifted = runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    assert_eq!(shifted.left, BTreeMap::new());
    assert_eq!(busy(), Some(0), "who is told that nothing is left may stop the old one");
    let report = load.stop();
    assert_eq!(report.failures, BTreeMap::new());
    assert_eq!(report.by_release["r0"], 4);
}

#[test]
fn weights_give_the_share_that_they_promise() {
    let (pair, runtime) = (pair(), runtime());
    runtime.block_on(shift(&pair.node.balancer(), &[("blue", 90), ("green", 10)])).unwrap();
    let load = Mixed::start(
        pair.node.front,
        &[Group::reading(4, true, "/short"), Group::reading(4, false, "/short")],
    );
    wait::until("many were answered", || (load.asked() >= 2_000).then_some(()));
    let report = load.stop();
    let share = report.by_release["unused"] * 1000 / report.answered;
    assert!((95..=105).contains(&share), "{share} of a thousand");
}

#[test]
fn nobody_unknown_and_late_orders_are_refused_before_anything_is_said() {
    let (pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let state = || {
        say(&pair.node, &format!("show stat {BACKEND} 4 -1"))
            .lines()
            .map(|line| line.split(',').take(19).collect::<String>())
            .collect::<Vec<_>>()
    };
    // A server that was just started has to pass a check before HAProxy says no more than that it is up.
    let before = wait::until("the first checks are done", || {
        Some(state()).filter(|state| !state.iter().any(|line| line.contains('/')))
    });
    for (members, expected) in [
        (&[][..], "nobody"),
        (&[("pink", 1)], "has no server pink"),
        (&[("blue", 0)], "1 to 256"),
        (&[("green", 257)], "1 to 256"),
    ] {
        let error = runtime.block_on(shift(&balancer, members)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    runtime.block_on(balancer.serve(&order(7), &to(&[("blue", 1)]))).unwrap();
    assert_eq!(runtime.block_on(balancer.observe()).unwrap().epoch, Some(7));
    let late = runtime.block_on(balancer.serve(&order(6), &to(&[("green", 1)])));
    assert!(matches!(late, Err(TrafficError::Fenced { .. })), "{late:?}");
    assert_eq!(state(), before);
    let config = std::fs::read_to_string(pair.node.socket("haproxy.cfg")).unwrap();
    assert_eq!(lint::lint(&config, BACKEND), []);
}

#[test]
fn nodes_that_disagree_are_an_error_and_the_next_order_makes_them_agree() {
    let (blue, green) = (Application::start("r0"), Application::start("r1"));
    let servers = [("blue", blue.address), ("green", green.address)];
    let (one, two) = (Node::start(&servers), Node::start(&servers));
    let both = HaProxy::new(vec![one.spec(), two.spec()], BACKEND).unwrap();
    let runtime = runtime();
    runtime.block_on(both.observe()).unwrap();
    runtime.block_on(shift(&two.balancer(), &[("green", 100)])).unwrap();
    let error = runtime.block_on(both.observe()).unwrap_err().to_string();
    assert!(error.contains("disagree"), "{error}");
    runtime.block_on(shift(&both, &[("green", 100)])).unwrap();
    let state = runtime.block_on(both.observe()).unwrap();
    assert_eq!(state.serving().into_iter().collect::<Vec<_>>(), [&name("green")]);
}
