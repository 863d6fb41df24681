use std::collections::{BTreeMap, BTreeSet};

use staith_model::{Access, Target};
use staith_releaser::fleet::{
    balancer::BalancerState,
    machine::MachineState,
    record::drift::{Drift, How},
    survey::Sighting,
};

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn machine(text: &str, pool: Option<&str>, current: Result<Digest, String>) -> TargetLook {
    let files = current.is_ok().then_some(Ok(Files::Complete));
    let state = current.map(|current| MachineState { current: Some(current), ..MachineState::default() });
    TargetLook {
        target: Target {
            name: name(text),
            access: Access::Local,
            pool: pool.map(name),
            tags: BTreeSet::new(),
            roles: BTreeSet::new(),
            variables: BTreeMap::new(),
            serves_at: None,
        },
        should: Some(Digest::of(b"new")),
        seen: Sighting { state, files, health: None },
        drift: Vec::new(),
        quarantined: None,
        share: None,
    }
}

fn environment(targets: Vec<TargetLook>, traffic: Option<Result<BalancerState, String>>) -> EnvironmentLook {
    let (environment, state) = (name("production"), FleetState::default());
    EnvironmentLook { environment, state, targets, traffic, has_machines: true }
}

#[test]
fn pools_shares_and_what_is_wrong_are_told_machine_by_machine() {
    let (new, old) = (Digest::of(b"new"), Digest::of(b"old"));
    let mut blue = machine("web1", Some("blue"), Ok(new));
    blue.share = Some(10_000);
    let mut green = machine("web2", Some("green"), Ok(old));
    green.share = Some(0);
    let how = How::OtherRelease { is: Some(old) };
    green.drift.push(Drift { target: name("web2"), should: Some(new), how });
    let mut silent = machine("web3", Some("green"), Err("web3 can't be reached:\u{1b}[2J no route".into()));
    silent.quarantined = Some("its disk\nis dying".into());
    let seen = environment(vec![blue, green, silent], Some(Ok(BalancerState::default())));

    let lines = look_lines(&seen);
    let text = lines.join("\n");
    for told in ["pool", "100 %", "0 %", &format!("it has release {} in place", old.short()), "no route"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(text.contains("in quarantine: its disk") && !text.contains("\u{1b}[2J"), "{text:?}");
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");

    let value = look_value(&seen);
    assert_eq!((&value["as_it_should_be"], &value["all_seen"]), (&false.into(), &true.into()), "{value}");
    assert_eq!(value["targets"][1]["drift"][0]["drift"], "other-release", "{value}");
    assert_eq!((&value["targets"][0]["share"], &value["traffic"]["seen"]), (&10_000.into(), &true.into()));
}

#[test]
fn what_can_not_be_told_is_not_told_as_well() {
    let seen =
        environment(vec![machine("web1", None, Ok(Digest::of(b"new")))], Some(Err("no socket".into())));
    let text = look_lines(&seen).join("\n");
    assert!(text.contains("who gets requests can't be told: no socket") && !text.contains("pool"), "{text}");
    let value = look_value(&seen);
    assert_eq!((&value["traffic"]["seen"], &value["targets"][0]["share"]), (&false.into(), &Value::Null));
    assert_eq!((&value["as_it_should_be"], &value["all_seen"]), (&true.into(), &false.into()));
}
