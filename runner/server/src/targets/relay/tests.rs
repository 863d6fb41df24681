use super::*;

const BEGAN: Duration = Duration::from_secs(1000);

fn target() -> TargetOf {
    "shop/production/web-1".parse().unwrap()
}

fn runner(nth: u8) -> RunnerId {
    RunnerId::new(1, [nth; 10])
}

fn tunnel(nth: u8) -> TunnelId {
    TunnelId::new(1, [nth; 10])
}

fn offered(relay: &Relay, nth: u8, now: Duration) {
    relay.offer(&tunnel(nth), &target(), "/srv/app", now).unwrap();
}

fn open(relay: &Relay, turn: u64, nth: u8, now: Duration) {
    offered(relay, nth, now);
    relay.offers((&target(), turn), &[tunnel(nth)], now).unwrap();
    assert_eq!(relay.is_open(&tunnel(nth), now), Ok(true));
}

fn why(refused: Result<bool, Refusal>) -> String {
    match refused {
        Err(Refusal::Not(Not::Ended(End::Broken(why)))) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_two_runners_with_one_key_the_one_that_began_last_counts() {
    let relay = Relay::default();
    let first = relay.begin(&target(), &runner(1), 7, BEGAN);
    open(&relay, first, 1, BEGAN);
    let second = relay.begin(&target(), &runner(1), 7, BEGAN);
    assert!(second > first);
    assert_eq!(relay.offers((&target(), first), &[], BEGAN), Err(Refusal::TurnOver));
    let asked = Event::Asked { by: Side::Machine, offset: 0 };
    let stale = relay.step(&tunnel(1), At::Machine(&target(), first), asked, BEGAN);
    assert_eq!(stale, Err(Refusal::TurnOver));
    assert!(why(relay.is_open(&tunnel(1), BEGAN)).contains("started anew"));
    assert_eq!(relay.offers((&target(), second), &[], BEGAN), Ok(Vec::new()));
    // What was not taken by the first one is for the second.
    offered(&relay, 2, BEGAN);
    let third = relay.begin(&target(), &runner(1), 7, BEGAN);
    assert_eq!(relay.offers((&target(), third), &[], BEGAN).unwrap().len(), 1);
}

#[test]
fn a_server_that_was_started_anew_knows_no_turn() {
    let turn = Relay::default().begin(&target(), &runner(1), 7, BEGAN);
    assert_eq!(Relay::default().offers((&target(), turn), &[], BEGAN), Err(Refusal::NoTurn));
}

#[test]
fn another_machine_has_nothing_of_a_tunnel() {
    let relay = Relay::default();
    let turn = relay.begin(&target(), &runner(1), 7, BEGAN);
    open(&relay, turn, 1, BEGAN);
    let other: TargetOf = "shop/production/web-2".parse().unwrap();
    let theirs = relay.begin(&other, &runner(2), 7, BEGAN);
    assert_eq!(relay.offers((&other, theirs), &[tunnel(1)], BEGAN), Ok(Vec::new()));
    let asked = Event::Asked { by: Side::Machine, offset: 0 };
    assert_eq!(relay.step(&tunnel(1), At::Machine(&other, theirs), asked, BEGAN), Err(Refusal::Unknown));
    let end = Event::End(End::Finished);
    assert_eq!(relay.step(&tunnel(1), At::Machine(&other, theirs), end, BEGAN), Err(Refusal::Unknown));
    // Nor is an id that is known good for speaking to another machine.
    assert_eq!(relay.offer(&tunnel(1), &other, "/srv/app", BEGAN), Err(Refusal::Unknown));
    assert_eq!(relay.is_open(&tunnel(1), BEGAN), Ok(true));
}

#[test]
fn whoever_falls_silent_is_gone_and_who_waits_is_there() {
    let relay = Relay::default();
    let later = BEGAN + GONE + Duration::from_secs(1);
    let turn = relay.begin(&target(), &runner(1), 7, BEGAN);
    open(&relay, turn, 1, BEGAN);
    let clock = crate::clock::Clock::new(|| 0, move || BEGAN);
    let deployer = relay.is_there(Waits::Deployer(tunnel(1)), &clock);
    let machine = relay.is_there(Waits::Machine(target(), turn), &clock);
    assert_eq!(relay.is_open(&tunnel(1), later), Ok(true));
    drop(machine);
    assert_eq!(relay.standing(&target(), BEGAN), Standing::Here);
    assert!(why(relay.is_open(&tunnel(1), later)).contains("machine's runner"));
    assert!(matches!(relay.standing(&target(), later), Standing::Away(Some(_))));
    drop(deployer);
    open(&relay, turn, 2, BEGAN);
    let _machine = relay.is_there(Waits::Machine(target(), turn), &clock);
    assert!(why(relay.is_open(&tunnel(2), later)).contains("deployer"));
    // How it ended is not remembered for ever.
    let much_later = later + REMEMBERED + GONE;
    assert_eq!(relay.is_open(&tunnel(2), much_later), Err(Refusal::Unknown));
}

#[test]
fn a_key_that_is_revoked_ends_what_it_has() {
    let relay = Relay::default();
    let turn = relay.begin(&target(), &runner(1), 7, BEGAN);
    open(&relay, turn, 1, BEGAN);
    relay.revoked(&runner(2), BEGAN);
    assert_eq!(relay.is_open(&tunnel(1), BEGAN), Ok(true));
    relay.revoked(&runner(1), BEGAN);
    assert!(why(relay.is_open(&tunnel(1), BEGAN)).contains("revoked"));
    assert_eq!(relay.offers((&target(), turn), &[], BEGAN), Err(Refusal::NoTurn));
}

#[test]
fn a_deployer_that_was_started_anew_finds_no_tunnel_of_the_one_before() {
    let relay = Relay::default();
    let turn = relay.begin(&target(), &runner(1), 7, BEGAN);
    open(&relay, turn, 1, BEGAN);
    relay.another_deployer(BEGAN);
    assert!(why(relay.is_open(&tunnel(1), BEGAN)).contains("deploys was started anew"));
    assert_eq!(relay.offers((&target(), turn), &[tunnel(1)], BEGAN), Ok(Vec::new()));
}

#[test]
fn a_machine_has_some_tunnels_and_no_more() {
    let relay = Relay::default();
    (0..MOST).for_each(|nth| offered(&relay, u8::try_from(nth).unwrap(), BEGAN));
    assert_eq!(relay.offer(&tunnel(99), &target(), "/srv/app", BEGAN), Err(Refusal::TooMany));
    // Asked for again, each is there.
    offered(&relay, 0, BEGAN);
}
