//! Windows machines: the contract of the seam over a machine in memory that speaks the protocol, and recorded exchanges. No real Windows
//! machine was there when these were written.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

#[path = "windows/fake.rs"]
mod fake;
mod machine_support;
#[path = "windows/recorded.rs"]
mod recorded;

use std::{collections::BTreeSet, fs::File};

use fake::{Between, Fake};
use machine_support::{
    Tree,
    contract::{contract, hook},
    order, quiet, release_of, stage,
};
use recorded::Recorded;
use serde_json::json;
use staith_model::{HealthCheck, WindowsRelease, WindowsWay};
use staith_packager::web_deploy::PackageReader;
use staith_releaser::{
    fleet::{
        machine::{Machine, MachineError, Question, Serving},
        windows::{PowerShell, WindowsMachine},
    },
    host::{Done, Patience},
};
use tokio_util::sync::CancellationToken;

fn machine(by: impl PowerShell + 'static, gets: WindowsRelease) -> WindowsMachine {
    WindowsMachine::new("win1", "/srv/shop", gets, by)
}

fn site() -> WindowsRelease {
    WindowsRelease { site: Some("Shop".into()), ..WindowsRelease::default() }
}

fn by_msdeploy() -> WindowsRelease {
    WindowsRelease { way: WindowsWay::Msdeploy, ..site() }
}

fn question(port: u16) -> Question {
    let check = HealthCheck {
        path: "/health".into(),
        release_header: None,
        release_file: None,
        deadline_seconds: 30,
        successes: 1,
    };
    Question { release: release_of("a"), port: Some(port), check: Some(check), min_healthy_seconds: 0 }
}

#[tokio::test]
async fn a_site_is_a_machine() {
    contract(|| async { (machine(Fake::new(), site()), ()) }).await;
}

#[tokio::test]
async fn a_machine_that_folds_lines_and_prints_banners_is_as_good() {
    for fold in [Some(79), Some(3), None] {
        contract(|| async { (machine(Fake::new().behind(Between { fold, noise: true }), site()), ()) }).await;
    }
}

#[tokio::test]
async fn by_msdeploy_a_release_travels_as_one_package_and_going_back_moves_no_bytes() {
    let fake = Fake::new();
    let machine = machine(fake.clone(), by_msdeploy());
    let (a, b) =
        (Tree::of(&[("web.config", b"<a/>"), ("bin/App.dll", b"old")]), Tree::of(&[("web.config", b"<b/>")]));
    let staged = stage(&machine, &order(1), &a.load("a"), &a).await.unwrap();
    assert_eq!((staged.already, staged.files), (false, 2));
    let folder = fake.release(&release_of("a").hex());
    let package = folder.join("package.zip");
    let reader = PackageReader::of_file(File::open(&package).unwrap(), &package).unwrap();
    let mut content = Vec::new();
    reader.extract_file(&"bin/App.dll".try_into().unwrap(), &mut content).unwrap();
    assert_eq!(content, b"old");
    let set = std::fs::read_to_string(folder.join("SetParameters.xml")).unwrap();
    assert!(set.contains(r#"name="IIS Web Application Name" value="Shop""#), "{set}");
    assert!(stage(&machine, &order(1), &a.load("a"), &a).await.unwrap().already);
    stage(&machine, &order(1), &b.load("b"), &b).await.unwrap();
    for name in ["a", "b"] {
        machine.switch(&order(1), Some(&release_of(name))).await.unwrap();
    }
    fake.data();
    assert_eq!(machine.switch(&order(2), Some(&release_of("a"))).await.unwrap(), Done::NOW);
    assert_eq!((fake.data(), fake.begun()["way"].as_str()), (0, Some("msdeploy")));
    assert_eq!(machine.observe().await.unwrap().previous, Some(release_of("b")));
}

#[tokio::test]
async fn a_package_that_lies_is_refused_by_msdeploy_too_and_the_conversation_goes_on() {
    let fake = Fake::new();
    let machine = machine(fake.clone(), by_msdeploy());
    let mut liar = Tree::of(&[("a", b"1")]);
    liar.lie("a", b"2");
    let refused = stage(&machine, &order(1), &liar.load("a"), &liar).await;
    assert!(matches!(&refused, Err(MachineError::Refused { why, .. }) if why.contains("`a`")), "{refused:?}");
    assert!(machine.observe().await.unwrap().releases.is_empty());
    assert_eq!(fake.asked(), ["begin", "stage", "observe"]);
}

#[tokio::test]
async fn contact_that_is_lost_while_files_travel_is_told_and_the_next_staging_goes_through() {
    let fake = Fake::new();
    let machine = machine(fake.clone(), site());
    let tree = Tree::of(&[("a", &[7; 200_000]), ("b", b"2"), ("c", b"2")]);
    fake.break_after(Some(2));
    let lost = stage(&machine, &order(1), &tree.load("a"), &tree).await;
    assert!(matches!(lost, Err(MachineError::Lost { .. })), "{lost:?}");
    fake.break_after(None);
    let staged = stage(&machine, &order(1), &tree.load("a"), &tree).await.unwrap();
    // One content stands for both files that have it.
    assert_eq!((staged.files, staged.bytes), (2, 200_001));
    assert_eq!(std::fs::read(fake.release(&release_of("a").hex()).join("c")).unwrap(), b"2");
}

#[tokio::test]
async fn a_staging_that_is_dropped_half_way_leaves_a_machine_that_answers() {
    let fake = Fake::new();
    let machine = machine(fake.clone(), site());
    let tree = Tree::of(&[("a", &[7; 2_000_000])]);
    let (order, load) = (order(1), tree.load("a"));
    let begun = stage(&machine, &order, &load, &tree);
    // Polled until something waits: the streams are open, and nothing is there yet.
    assert!(futures_util::FutureExt::now_or_never(begun).is_none());
    assert!(machine.observe().await.unwrap().releases.is_empty());
    let progress = quiet();
    let staged =
        machine.stage(&order, &load, tree.shared(), progress, CancellationToken::new()).await.unwrap();
    assert_eq!(staged.bytes, 2_000_000);
}

#[tokio::test]
async fn what_windows_would_not_hold_is_refused_before_the_machine_is_asked() {
    let fake = Fake::new();
    let machine = machine(fake.clone(), site());
    let tree = Tree::of(&[("logs/aux.txt", b"1")]);
    let refused = stage(&machine, &order(1), &tree.load("a"), &tree).await;
    assert!(
        matches!(&refused, Err(MachineError::Refused { why, .. }) if why.contains("device")),
        "{refused:?}"
    );
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_first_deployment_as_it_was_written_down() {
    let recorded = Recorded::of("first-deployment");
    let gets = WindowsRelease { app_pool: Some("ShopPool".into()), ..site() };
    let machine = machine(recorded.clone(), gets);
    let facts = machine.reach().await.unwrap();
    assert_eq!(
        (facts.architecture.as_str(), facts.superuser, facts.free_bytes),
        ("x86_64", true, 53_687_091_200)
    );
    let state = machine.observe().await.unwrap();
    assert_eq!((state.current, state.serving), (None, Some(Serving::Up(None))));
    let tree = Tree::of(&[("bin/App.dll", b"dll"), ("web.config", b"<x/>")]);
    let staged = stage(&machine, &order(1), &tree.load("a"), &tree).await.unwrap();
    assert_eq!((staged.files, staged.bytes), (2, 7));
    assert_eq!(machine.switch(&order(1), Some(&release_of("a"))).await.unwrap(), Done::NOW);
    let health = machine.probe(&question(80), Patience::Deadline).await.unwrap();
    assert!(health.is_healthy() && health.asked() == 2, "{health:?}");
    assert!(recorded.is_over());
}

#[tokio::test]
async fn an_unproven_answer_is_no_success() {
    let machine = machine(Fake::new(), site());
    let tree = Tree::of(&[("a", b"1")]);
    stage(&machine, &order(1), &tree.load("a"), &tree).await.unwrap();
    machine.switch(&order(1), Some(&release_of("a"))).await.unwrap();
    assert!(machine.probe(&question(80), Patience::Glance).await.unwrap().is_healthy());
    let elsewhere =
        machine.probe(&Question { release: release_of("b"), ..question(80) }, Patience::Deadline).await;
    assert!(!elsewhere.unwrap().is_healthy());
}

#[tokio::test]
async fn a_hook_that_may_have_run_is_for_a_person_to_decide() {
    let machine = machine(Recorded::of("hook-undecided"), site());
    let undecided = machine.hook(&order(1), &release_of("a"), &hook("count", "true")).await;
    assert!(
        matches!(&undecided, Err(MachineError::Undecided { hook, .. }) if hook == "count"),
        "{undecided:?}"
    );
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_leaves_the_conversation_in_order() {
    let recorded = Recorded::of("folder-in-use");
    let gets = WindowsRelease { service: Some("Shop worker".into()), ..WindowsRelease::default() };
    let machine = machine(recorded.clone(), gets);
    let tree = Tree::of(&[("App.dll", b"1")]);
    let refused = stage(&machine, &order(1), &tree.load("a"), &tree).await;
    let Err(MachineError::Refused { why, remedy, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("App.dll") && remedy.contains("holds it open"), "{why}\n{remedy}");
    assert_eq!(machine.observe().await.unwrap().serving, Some(Serving::Down));
    assert!(recorded.is_over());
}

#[tokio::test]
async fn what_is_missing_on_the_machine_is_named_with_a_remedy() {
    for (kind, text, named, remedy) in [
        ("no-iis", "the module WebAdministration is not there", "IIS", "Install-WindowsFeature"),
        ("no-site", "Shop", "`Shop`", "`site`"),
        ("no-service", "Worker", "`Worker`", "`windows-service`"),
        ("no-msdeploy", "C:\\Program Files\\IIS", "msdeploy.exe", "way = \"directory\""),
        ("access-denied", "Process should have elevated status", "elevated", "Administrators"),
        ("path-too-long", "C:\\srv\\shop", "too long", "`folder`"),
        ("disk-full", "There is not enough space on the disk.", "space", "`keep`"),
    ] {
        let machine = machine(
            Recorded::steps(vec![
                json!({ "asked": { "ask": "begin" } }),
                json!({ "said": { "say": "hello", "protocol": 1, "version": "5.1" } }),
                json!({ "asked": { "ask": "reach" } }),
                json!({ "said": { "say": "not", "why": "impossible", "kind": kind, "text": text } }),
            ]),
            site(),
        );
        let refused = machine.reach().await;
        let Err(MachineError::Refused { why, remedy: told, .. }) = refused else { panic!("{refused:?}") };
        assert!(why.contains(named) && told.contains(remedy), "{why}\n{told}");
    }
}

#[tokio::test]
async fn strange_and_hostile_answers_are_no_answers() {
    let said = |steps: Vec<serde_json::Value>| {
        let begin = json!({ "asked": { "ask": "begin" } });
        machine(Recorded::steps([vec![begin], steps].concat()), site())
    };
    let hello = || json!({ "said": { "say": "hello", "protocol": 1, "version": "5.1" } });
    for steps in [
        vec![json!({ "said": { "say": "hello", "protocol": 2, "version": "7" } })],
        vec![json!({ "raw": "MARK(no JSON)MARK" })],
        vec![json!({ "raw": "'powershell.exe' is not recognized" }), json!({ "gone": true })],
        vec![
            hello(),
            json!({ "asked": { "ask": "observe" } }),
            json!({ "said": { "say": "staged", "already": true } }),
        ],
        vec![
            hello(),
            json!({ "asked": { "ask": "observe" } }),
            json!({ "said": {
            "say": "observed", "epoch": 0, "releases": ["../../etc"], "current": null, "previous": null, "serving": "up",
            "unfinished": null } }),
        ],
    ] {
        let refused = said(steps.clone()).observe().await;
        assert!(matches!(refused, Err(MachineError::Refused { .. })), "{steps:?}: {refused:?}");
    }
    let gone = said(vec![hello(), json!({ "asked": { "ask": "switch" } }), json!({ "gone": true })]);
    let lost = gone.switch(&order(1), None).await;
    assert!(matches!(lost, Err(MachineError::Lost { .. })), "{lost:?}");
    // Places that are no files.
    let greedy = said(vec![
        hello(),
        json!({ "asked": { "ask": "stage" } }),
        json!({ "said": { "say": "send" } }),
        json!({ "data": "M." }),
        json!({ "said": { "say": "lacks", "places": [7] } }),
    ]);
    let tree = Tree::of(&[("a", b"1")]);
    let refused = stage(&greedy, &order(1), &tree.load("a"), &tree).await;
    assert!(matches!(refused, Err(MachineError::Refused { .. })), "{refused:?}");
    assert_eq!(tree.asked(), BTreeSet::new());
}
