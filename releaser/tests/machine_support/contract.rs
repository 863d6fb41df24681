//! The contract of the seam to a machine: whatever implements it passes this.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use staith_model::{Digest, Hook, HookPoint, Service};
use staith_releaser::{
    fleet::machine::{Load, Machine, MachineError, Question, Serving},
    host::{Done, Patience},
};
use tokio_util::sync::CancellationToken;

use super::{Tree, order, quiet, release_of, stage};

/// Runs every test of the contract, each against a machine of its own that holds nothing yet. What is made with it lives as long as it.
pub async fn contract<M: Machine, K, F: Future<Output = (M, K)>>(make: impl Fn() -> F) {
    a_machine_that_holds_nothing_says_so(&make().await.0).await;
    staging_is_ensured_and_asks_only_for_what_is_lacking(&make().await.0).await;
    what_is_staged_is_not_visible_before_the_switch(&make().await.0).await;
    a_switch_is_ensured_and_remembers_the_one_before(&make().await.0).await;
    what_was_not_staged_is_not_switched_to(&make().await.0).await;
    a_lower_epoch_is_refused_by_everything_that_changes(&make().await.0).await;
    a_package_that_lies_or_leaves_its_folder_is_refused_whole(&make().await.0).await;
    a_cancelled_staging_leaves_nothing(&make().await.0).await;
    a_hook_runs_once_for_each_operation(&make().await.0).await;
    what_is_kept_is_kept_and_the_rest_goes(&make().await.0).await;
    a_supervised_service_runs_what_current_points_to(&make().await.0).await;
}

fn ab() -> (Tree, Tree) {
    let a = Tree::of(&[("same", b"same"), ("changed", b"old"), ("d/gone", b"gone")]);
    let b = Tree::of(&[("same", b"same"), ("changed", b"new"), ("moved", b"gone")]);
    (a, b)
}

async fn a_machine_that_holds_nothing_says_so(machine: &dyn Machine) {
    let facts = machine.reach().await.unwrap();
    assert!(!facts.architecture.is_empty() && facts.free_bytes > 0, "{facts:?}");
    let state = machine.observe().await.unwrap();
    assert_eq!((state.epoch, state.releases.len(), state.current, state.unfinished), (0, 0, None, None));
    assert_eq!(machine.switch(&order(1), None).await.unwrap(), Done::ALREADY);
}

async fn staging_is_ensured_and_asks_only_for_what_is_lacking(machine: &dyn Machine) {
    let (a, b) = ab();
    let staged = stage(machine, &order(1), &a.load("a"), &a).await.unwrap();
    assert_eq!((staged.already, staged.files, staged.bytes), (false, 3, 11));
    assert_eq!(a.asked().len(), 3);
    assert!(stage(machine, &order(1), &a.load("a"), &a).await.unwrap().already);
    assert!(a.asked().is_empty());
    let staged = stage(machine, &order(1), &b.load("b"), &b).await.unwrap();
    assert_eq!((staged.already, staged.files, staged.bytes), (false, 1, 3));
    assert_eq!(b.asked(), BTreeSet::from(["changed".to_owned()]));
    assert_eq!(machine.observe().await.unwrap().releases, BTreeSet::from([release_of("a"), release_of("b")]));
}

async fn what_is_staged_is_not_visible_before_the_switch(machine: &dyn Machine) {
    let (a, b) = ab();
    stage(machine, &order(1), &a.load("a"), &a).await.unwrap();
    assert_eq!(machine.observe().await.unwrap().current, None);
    machine.switch(&order(1), Some(&release_of("a"))).await.unwrap();
    stage(machine, &order(1), &b.load("b"), &b).await.unwrap();
    assert_eq!(machine.observe().await.unwrap().current, Some(release_of("a")));
}

async fn a_switch_is_ensured_and_remembers_the_one_before(machine: &dyn Machine) {
    let (a, b) = ab();
    for (name, tree) in [("a", &a), ("b", &b)] {
        stage(machine, &order(1), &tree.load(name), tree).await.unwrap();
        let release = release_of(name);
        assert_eq!(machine.switch(&order(1), Some(&release)).await.unwrap(), Done::NOW);
        assert_eq!(machine.switch(&order(1), Some(&release)).await.unwrap(), Done::ALREADY);
    }
    let state = machine.observe().await.unwrap();
    assert_eq!((state.current, state.previous), (Some(release_of("b")), Some(release_of("a"))));
    assert_eq!((state.epoch, state.unfinished), (1, None));
    assert_eq!(machine.switch(&order(2), None).await.unwrap(), Done::NOW);
    assert_eq!(machine.switch(&order(2), None).await.unwrap(), Done::ALREADY);
    let state = machine.observe().await.unwrap();
    assert_eq!((state.epoch, state.current, state.previous), (2, None, Some(release_of("b"))));
}

async fn what_was_not_staged_is_not_switched_to(machine: &dyn Machine) {
    let refused = machine.switch(&order(1), Some(&release_of("nowhere"))).await;
    assert!(matches!(refused, Err(MachineError::Refused { .. })), "{refused:?}");
    assert_eq!(machine.observe().await.unwrap().current, None);
}

async fn a_lower_epoch_is_refused_by_everything_that_changes(machine: &dyn Machine) {
    let (a, b) = ab();
    let a_release = release_of("a");
    stage(machine, &order(5), &a.load("a"), &a).await.unwrap();
    machine.switch(&order(5), Some(&a_release)).await.unwrap();
    let fenced = |error: MachineError| matches!(error, MachineError::Fenced { seen: 5, asked: 4, .. });
    assert!(fenced(stage(machine, &order(4), &b.load("b"), &b).await.unwrap_err()));
    assert!(fenced(machine.switch(&order(4), None).await.unwrap_err()));
    assert!(fenced(machine.hook(&order(4), &a_release, &hook("h", "true")).await.unwrap_err()));
    assert!(fenced(machine.retain(&order(4), &BTreeSet::new()).await.unwrap_err()));
    let state = machine.observe().await.unwrap();
    assert_eq!((state.epoch, state.current), (5, Some(a_release)));
    assert_eq!(state.releases, BTreeSet::from([a_release]));
}

async fn a_package_that_lies_or_leaves_its_folder_is_refused_whole(machine: &dyn Machine) {
    let (a, _) = ab();
    let mut liar = a.clone();
    liar.lie("changed", b"odd");
    let mut longer = a.clone();
    longer.lie("changed", b"longer");
    let mut leaver = a.clone();
    leaver.entry("out", staith_model::Entry::Symlink { target: "../../../etc".into() });
    for tree in [&liar, &longer, &leaver] {
        let refused = stage(machine, &order(1), &tree.load("x"), tree).await;
        assert!(matches!(refused, Err(MachineError::Refused { .. })), "{refused:?}");
        assert!(machine.observe().await.unwrap().releases.is_empty());
    }
    stage(machine, &order(1), &a.load("x"), &a).await.unwrap();
}

async fn a_cancelled_staging_leaves_nothing(machine: &dyn Machine) {
    let (a, _) = ab();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let cancelled = machine.stage(&order(1), &a.load("a"), a.shared(), quiet(), cancel).await;
    assert!(matches!(cancelled, Err(MachineError::Cancelled)), "{cancelled:?}");
    assert!(machine.observe().await.unwrap().releases.is_empty());
    stage(machine, &order(1), &a.load("a"), &a).await.unwrap();
}

pub fn hook(name: &str, script: &str) -> Hook {
    Hook {
        name: name.parse().unwrap(),
        at: HookPoint::BeforeSwitch,
        command: ["sh", "-c", script].map(str::to_owned).into(),
        repeatable: false,
        once: false,
        roles: BTreeSet::new(),
        timeout_seconds: 60,
    }
}

async fn a_hook_runs_once_for_each_operation(machine: &dyn Machine) {
    let (a, _) = ab();
    let release: Digest = release_of("a");
    stage(machine, &order(1), &a.load("a"), &a).await.unwrap();
    let first = order(1);
    let script = hook("count", "cat same; echo; echo oops >&2; exit 3");
    let ran = machine.hook(&first, &release, &script).await.unwrap();
    assert_eq!((ran.code, ran.timed_out, ran.already), (Some(3), false, false));
    assert_eq!(String::from_utf8_lossy(&ran.said), "same\noops\n");
    let again = machine.hook(&first, &release, &script).await.unwrap();
    assert_eq!((again.code, again.already, again.said), (Some(3), true, ran.said));
    assert!(!machine.hook(&order(1), &release, &script).await.unwrap().already);
    assert_eq!(machine.observe().await.unwrap().unfinished, None);
}

/// A package whose program is kept running by the machine's own program.
pub fn supervised(name: &str, script: &str) -> (Tree, Load) {
    let mut tree = Tree::of(&[("name", name.as_bytes())]);
    tree.add("run", 0o755, script.as_bytes());
    let mut load = tree.load(name);
    load.service = Service::Supervised {
        command: vec!["./run".into()],
        env: BTreeMap::new(),
        user: None,
        stop_seconds: 5,
    };
    (tree, load)
}

async fn a_supervised_service_runs_what_current_points_to(machine: &dyn Machine) {
    let runs = |release: Option<&str>| match release {
        Some(release) => Some(Serving::Up(Some(release_of(release)))),
        None => Some(Serving::Down),
    };
    let names = ["a", "b"];
    for name in names {
        let (tree, load) = supervised(name, "#!/bin/sh\nexec sleep 1000\n");
        stage(machine, &order(1), &load, &tree).await.unwrap();
    }
    for name in ["a", "b", "a"] {
        let release = release_of(name);
        assert_eq!(machine.switch(&order(1), Some(&release)).await.unwrap(), Done::NOW);
        assert_eq!(machine.switch(&order(1), Some(&release)).await.unwrap(), Done::ALREADY);
        assert_eq!(machine.observe().await.unwrap().serving, runs(Some(name)));
        let question = Question { release, port: None, check: None, min_healthy_seconds: 0 };
        let health = machine.probe(&question, Patience::Deadline).await.unwrap();
        assert!(health.is_healthy() && health.log.is_none(), "{health:?}");
    }
    // Something else takes its place: files that another program serves.
    let files = Tree::of(&[("same", b"same")]);
    stage(machine, &order(1), &files.load("files"), &files).await.unwrap();
    machine.switch(&order(1), Some(&release_of("files"))).await.unwrap();
    assert_eq!(machine.switch(&order(1), Some(&release_of("b"))).await.unwrap(), Done::NOW);
    assert_eq!(machine.observe().await.unwrap().serving, runs(Some("b")));
    assert_eq!(machine.switch(&order(1), None).await.unwrap(), Done::NOW);
    assert_eq!(machine.observe().await.unwrap().serving, runs(None));
}

async fn what_is_kept_is_kept_and_the_rest_goes(machine: &dyn Machine) {
    let names = ["a", "b", "c", "d"];
    for (nth, name) in names.iter().enumerate() {
        let tree = Tree::of(&[("same", b"same"), ("own", &[nth as u8])]);
        let mut load = tree.load(name);
        load.service = Service::Files;
        stage(machine, &order(1), &load, &tree).await.unwrap();
    }
    for name in ["b", "c"] {
        machine.switch(&order(1), Some(&release_of(name))).await.unwrap();
    }
    let removed = machine.retain(&order(1), &BTreeSet::new()).await.unwrap();
    assert_eq!(removed, BTreeSet::from([release_of("a"), release_of("d")]));
    let state = machine.observe().await.unwrap();
    assert_eq!(state.releases, BTreeSet::from([release_of("b"), release_of("c")]));
    assert!(machine.retain(&order(1), &BTreeSet::new()).await.unwrap().is_empty());
    // Going back needs no bytes.
    assert_eq!(machine.switch(&order(1), Some(&release_of("b"))).await.unwrap(), Done::NOW);
}
