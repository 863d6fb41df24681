//! Traffic moves between applications behind the built-in proxy, under load, and no request is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use staith_releaser::{
    fleet::balancer::{
        Balancer, Shift, Shifted,
        built_in::{BuiltIn, ask},
    },
    proxy::station::protocol::{Answer, Ask},
    traffic::TrafficError,
};
use staith_tests::{
    balancing::{hold_to_the_contract, name, order, serving, shift, to},
    load::{
        application::Application,
        mixed::{Failure, Group, Mixed, usual},
    },
    pair::{Pair, wished},
    station::{BACKEND, StationNode},
    wait,
};

fn pair() -> Pair<StationNode> {
    Pair::behind(StationNode::start)
}

fn runtime() -> tokio::runtime::Runtime {
    staith_tests::pair::runtime(1)
}

fn tell(node: &StationNode, what: Ask) -> Answer {
    runtime().block_on(ask(&node.dial(), &name(BACKEND), what)).unwrap()
}

fn goes_on(load: &Mixed, by: u64) {
    let far = load.asked() + by;
    wait::until("the load has gone on", || (load.asked() >= far).then_some(()));
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
        let (member, application) = pair.next(swap);
        application.becomes(&format!("r{swap}"));
        let shifted = runtime.block_on(shift(&balancer, &[(member, 100)])).unwrap();
        assert_eq!(shifted, Shifted::default(), "swap {swap}");
    }
    let report = load.stop();
    println!("{} requests, {swaps} swaps, failed: {:?}", report.all(), report.failures);
    assert_eq!(report.failures, BTreeMap::new());
    assert!(report.all() >= requests);
    assert_eq!(pair.wrong_writes(&report), 0);
    // Both change at one instant: who has seen the new release never sees the one before.
    let releases: Vec<String> = (0..=swaps).map(|swap| format!("r{swap}")).collect();
    assert!(report.in_order(&releases, 0));
}

/// What anybody would do first: end the old one, then start the new one. The same load has to notice.
#[test]
fn to_end_the_old_one_before_the_new_one_serves_is_caught() {
    let (blue, green) = (Application::start("r0"), Application::start("r1"));
    let node = StationNode::start_with(
        &[("blue", blue.address), ("green", green.address)],
        "limits = { hold = \"0ms\" }",
    );
    let (mut pair, runtime) = (Pair { blue, green, node }, runtime());
    let load = Mixed::start(pair.node.front, &usual());
    goes_on(&load, 200);
    pair.blue.kill();
    goes_on(&load, 50);
    runtime.block_on(shift(&pair.node.balancer(), &[("green", 100)])).unwrap();
    goes_on(&load, 50);
    let report = load.stop();
    println!("{} requests, a naive swap, failed: {:?}", report.all(), report.failures);
    assert!(report.failures.get(&Failure::ByProxy).is_some_and(|count| *count > 0), "{:?}", report.failures);
}

#[test]
fn it_holds_to_the_contract() {
    let pair = pair();
    runtime().block_on(hold_to_the_contract(&pair.node.balancer(), "blue", "green"));
    assert_eq!(fs::metadata(pair.node.control()).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Members that only deployments know of, as with targets from an inventory.
#[test]
fn it_holds_to_the_contract_with_members_that_only_orders_name() {
    let (blue, green) = (Application::start("r0"), Application::start("r1"));
    let node = StationNode::start(&[]);
    let addresses = [("blue", &blue), ("green", &green)]
        .map(|(member, application)| (name(member), application.address.to_string()));
    let balancer = BuiltIn::new(vec![node.dial()], name(BACKEND), addresses.into()).unwrap();
    let runtime = runtime();
    runtime.block_on(shift(&balancer, &[("blue", 1)])).unwrap();
    runtime.block_on(hold_to_the_contract(&balancer, "blue", "green"));
}

#[test]
fn a_dead_new_member_and_a_sick_one_are_never_admitted_and_cost_no_request() {
    let (mut pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let load = Mixed::start(pair.node.front, &usual());
    let hasty = Shift { patience: Duration::from_secs(1), ..to(&[("green", 100)]) };
    for (dead, check) in [(true, "refused"), (false, "500"), (true, "refused"), (false, "500")] {
        if dead {
            pair.green.kill();
        } else {
            pair.green.sickens(true);
            pair.green.revive();
        }
        let mut error = String::new();
        // The first look may be one of before it changed its health.
        wait::until("its check says why", || {
            error = runtime.block_on(balancer.serve(&order(1), &hasty)).unwrap_err().to_string();
            error.contains(check).then_some(())
        });
        assert!(error.contains("green (its check says"), "{error}");
        assert_eq!(runtime.block_on(serving(&balancer)), [name("blue")].into());
    }
    pair.green.sickens(false);
    runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    goes_on(&load, 200);
    let report = load.stop();
    assert_eq!(report.failures, BTreeMap::new());
    assert!(report.by_release["unused"] > 0);
}

/// What one found up before says nothing of what it is now.
#[test]
fn who_was_up_some_time_ago_is_found_up_anew() {
    let (mut pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    wait::until("green was found up", || {
        (runtime.block_on(balancer.observe()).unwrap().members[&name("green")].up == Some(true)).then_some(())
    });
    pair.green.kill();
    let hasty = Shift { patience: Duration::from_millis(100), ..to(&[("green", 100)]) };
    let refused = runtime.block_on(balancer.serve(&order(1), &hasty));
    assert!(matches!(refused, Err(TrafficError::Refused { .. })), "{refused:?}");
    assert_eq!(runtime.block_on(serving(&balancer)), [name("blue")].into());
}

#[test]
fn who_is_killed_anywhere_in_a_swap_begins_again_and_nothing_is_lost() {
    let (pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let load = Mixed::start(pair.node.front, &usual());
    let mut kills = 0u32;
    // A walk through all the moments of a swap, in steps of a millisecond.
    for step in 0..60u64 {
        let (member, _) = pair.next(usize::from(step % 2 == 0));
        let members = [(member, 100)];
        let moment = Duration::from_millis(step % 30);
        let whole =
            runtime.block_on(async { tokio::time::timeout(moment, shift(&balancer, &members)).await });
        kills += u32::from(whole.is_err());
        if let Ok(whole) = whole {
            whole.unwrap();
        }
    }
    runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    goes_on(&load, 200);
    let again = runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    assert_eq!(again, Shifted { already: true, ..Shifted::default() });
    let report = load.stop();
    println!("{} requests, {kills} kills, failed: {:?}", report.all(), report.failures);
    assert!(kills >= 20, "{kills}");
    assert_eq!(report.failures, BTreeMap::new());
    assert_eq!(pair.wrong_writes(&report), 0);
}

#[test]
fn a_proxy_that_was_killed_serves_what_it_served_and_refuses_whom_it_refused() {
    let (mut pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    for (epoch, member) in [(3, "green"), (4, "blue"), (5, "green")] {
        runtime.block_on(balancer.serve(&order(epoch), &to(&[(member, 7)]))).unwrap();
        pair.node.kill();
        let lost = runtime.block_on(balancer.observe());
        assert!(lost.is_err_and(|error| error.is_lost()));
        pair.node.starts();
        let state = runtime.block_on(balancer.observe()).unwrap();
        let known = &state.members[&name(member)];
        assert_eq!((state.epoch, known.admitted, known.weight), (Some(epoch), true, 7));
        assert_eq!(state.members.values().filter(|member| member.admitted).count(), 1);
        // A request that comes before the first check is done waits for it.
        assert_eq!(asked(pair.node.front), if member == "green" { "unused" } else { "r0" });
    }
    let late = runtime.block_on(balancer.serve(&order(4), &to(&[("blue", 1)])));
    assert!(matches!(late, Err(TrafficError::Fenced { .. })), "{late:?}");
    // Damage is told, not guessed around.
    pair.node.kill();
    fs::write(pair.node.state(), "{").unwrap();
    let place = pair.node.control().with_file_name("proxy.toml");
    let world = staith_tests::world::World::new();
    world.staith(&["proxy", "serve", "--config", &place.display().to_string()]).exits(30).says("app.json");
}

/// Asks once; the release that answered.
fn asked(front: SocketAddr) -> String {
    let mut stream = TcpStream::connect(front).unwrap();
    stream.write_all(b"GET /short HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let header = format!("{}: ", staith_tests::load::RELEASE.to_lowercase());
    let line = answer.lines().find_map(|line| line.strip_prefix(&header)).unwrap();
    line.to_owned()
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
fn a_tunnel_outlives_the_swap_and_is_counted_until_it_ends() {
    let (pair, runtime) = (pair(), runtime());
    let balancer = pair.node.balancer();
    let mut tunnel = TcpStream::connect(pair.node.front).unwrap();
    let upgrade = b"GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    tunnel.write_all(upgrade).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tunnel.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    let mut echoes = |text: &[u8]| {
        let mut back = vec![0; text.len()];
        tunnel.write_all(text).unwrap();
        tunnel.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    };
    echoes(b"before");
    let impatient = Shift { drain: Duration::from_millis(50), ..to(&[("green", 100)]) };
    let shifted = runtime.block_on(balancer.serve(&order(1), &impatient)).unwrap();
    assert_eq!(shifted.left, BTreeMap::from([(name("blue"), 1)]));
    echoes(b"after");
    assert_eq!(asked(pair.node.front), "unused");
    drop(tunnel);
    let shifted = runtime.block_on(shift(&balancer, &[("green", 100)])).unwrap();
    assert_eq!(shifted.left, BTreeMap::new());
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
    let before = fs::read(pair.node.state()).ok();
    for (members, expected) in [
        (&[][..], "nobody"),
        (&[("pink", 1)], "no member pink"),
        (&[("blue", 0)], "1 to 256"),
        (&[("green", 257)], "1 to 256"),
    ] {
        let error = runtime.block_on(shift(&balancer, members)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(fs::read(pair.node.state()).ok(), before);
    runtime.block_on(balancer.serve(&order(7), &to(&[("blue", 1)]))).unwrap();
    assert_eq!(runtime.block_on(balancer.observe()).unwrap().epoch, Some(7));
    let late = runtime.block_on(balancer.serve(&order(6), &to(&[("green", 1)])));
    assert!(matches!(late, Err(TrafficError::Fenced { .. })), "{late:?}");
    assert_eq!(runtime.block_on(serving(&balancer)), [name("blue")].into());
}

#[test]
fn nodes_that_disagree_are_an_error_and_the_next_order_makes_them_agree() {
    let (blue, green) = (Application::start("r0"), Application::start("r1"));
    let members = [("blue", blue.address), ("green", green.address)];
    let (one, two) = (StationNode::start(&members), StationNode::start(&members));
    let both = BuiltIn::new(vec![one.dial(), two.dial()], name(BACKEND), [].into()).unwrap();
    let runtime = runtime();
    runtime.block_on(both.observe()).unwrap();
    runtime.block_on(shift(&two.balancer(), &[("green", 100)])).unwrap();
    let error = runtime.block_on(both.observe()).unwrap_err().to_string();
    assert!(error.contains("disagree"), "{error}");
    runtime.block_on(shift(&both, &[("green", 100)])).unwrap();
    let state = runtime.block_on(both.observe()).unwrap();
    assert_eq!(state.serving().into_iter().collect::<Vec<_>>(), [&name("green")]);
    assert_eq!((asked(one.front), asked(two.front)), ("r1".into(), "r1".into()));
}

/// There is one instance, and it is exchanged in place: nobody has to say anything to the proxy.
#[test]
fn requests_are_held_while_the_only_member_is_exchanged() {
    let (mut pair, runtime) = (pair(), runtime());
    runtime.block_on(shift(&pair.node.balancer(), &[("blue", 1)])).unwrap();
    // Short ones only, none of which is in the application when it is ended.
    for exchange in 1..=3 {
        // Paused, nothing reaches it any more; what it had is waited for.
        assert_eq!(tell(&pair.node, Ask::Pause { at_most_ms: 60_000 }), Answer::Done);
        let load = Mixed::start(
            pair.node.front,
            &[Group::reading(4, true, "/short"), Group::reading(4, false, "/short")],
        );
        pair.blue.kill();
        pair.blue.becomes(&format!("x{exchange}"));
        pair.blue.revive();
        assert_eq!(load.asked(), 0, "all of them are held");
        assert_eq!(tell(&pair.node, Ask::Resume), Answer::Done);
        goes_on(&load, 100);
        let report = load.stop();
        assert_eq!(report.failures, BTreeMap::new());
        assert_eq!(report.by_release.keys().collect::<Vec<_>>(), [&format!("x{exchange}")]);
    }
    // Without a pause: who finds nobody waits until somebody is there.
    pair.blue.kill();
    let load = Mixed::start(pair.node.front, &[Group::reading(4, false, "/short")]);
    wait::until("the proxy has noticed", || {
        let Answer::Status(status) = tell(&pair.node, Ask::Status) else { return None };
        (status.members[&name("blue")].up == Some(false)).then_some(())
    });
    pair.blue.revive();
    goes_on(&load, 100);
    assert_eq!(load.stop().failures, BTreeMap::new());
}

#[test]
fn an_end_that_is_asked_for_finishes_what_was_begun() {
    let mut pair = pair();
    let load = Mixed::start(pair.node.front, &[Group::reading(3, true, "/long/700")]);
    let busy = |pair: &Pair<StationNode>| match tell(&pair.node, Ask::Status) {
        Answer::Status(status) => status.members[&name("blue")].in_flight,
        other => panic!("{other:?}"),
    };
    wait::until("all are being answered", || (busy(&pair) == 3).then_some(()));
    let pid = Pid::from_raw(i32::try_from(pair.node.pid().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    wait::until("what was begun was answered", || (load.asked() >= 3).then_some(()));
    assert!(pair.node.ended());
    let report = load.stop();
    // What is asked afterwards meets a closed port; nothing that was begun was cut.
    assert!(report.by_release["r0"] >= 3);
    assert!(report.failures.keys().all(|failure| *failure == Failure::Refused), "{:?}", report.failures);
    assert!(!pair.node.control().exists());
}
