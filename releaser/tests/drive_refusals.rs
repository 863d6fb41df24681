//! Deployments that can't succeed: what is told, how soon, and what is left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod drive_support;
#[path = "drive_support/site.rs"]
mod site;
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use drive_support::fold;
use site::{Site, app, failure};
use staith_model::{DeploymentState, EventKind, Exit};
use staith_releaser::{
    drive::{DriveError, Ending, Local, status},
    health::Answer,
    host::CommandError,
    keeper::Keeper,
};
use support::{client::get, environment::launcher};
use tokio_util::sync::CancellationToken;

fn is_private(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o077 == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_before_something_is_deployed_and_then_it_is_private() {
    let site = Site::new();
    let dir = &site.environment.dir;
    assert_eq!(site.local.dir(), dir);
    assert!(Keeper::connect(dir).await.unwrap().is_none());
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let tree = app("1.0.0", "good");
    let refused = site
        .local
        .deploy(tree.package("1.0.0"), tree.shared(), Arc::new(|_| {}), &mut |_| {}, &cancelled)
        .await;
    assert!(matches!(refused, Err(DriveError::Cancelled)));
    assert!(!dir.exists());
    site.deploy("1.0.0").await;
    assert!(is_private(dir));
    for file in
        ["journal.jsonl", "deploy.lock", "state.json", "environment.json", "releases.json", "keeper.json"]
    {
        assert!(is_private(&dir.join(file)), "{file}");
    }
    // What an earlier version left open is closed.
    let open =
        |name: &str, mode| fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    open("", 0o755);
    open("journal.jsonl", 0o644);
    site.deploy("1.0.0").await;
    assert!(is_private(dir) && is_private(&dir.join("journal.jsonl")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_told_before_anything_is_touched() {
    for (program, exit, part) in [
        ("./bin/app.py", Exit::Configuration, "it has `app.py`"),
        ("./app.py", Exit::Configuration, "nobody may execute"),
        ("no-such-program", Exit::Environment, "/nowhere"),
    ] {
        let site = Site::with(|environment| {
            environment.process.command = vec![program.into()];
            environment.process.env.insert("PATH".into(), "/nowhere".into());
        });
        let (result, events) = site.try_deploy("1.0.0", "good").await;
        let error = result.unwrap_err();
        assert!(matches!(error, DriveError::Command(_)), "{error}");
        assert!(error.to_string().contains(part) && error.to_string().contains(program), "{error}");
        assert!(error.reason().remedy.is_some());
        assert_eq!(error.exit(), exit);
        assert!(events.is_empty() && !site.environment.dir.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_pool_is_not_stopped_for_a_program_that_is_not_there() {
    let site = Site::new();
    site.deploy("1.0.0").await;
    site.deploy("2.0.0").await;
    let programs = site.environment.programs();
    let mut described = site.local.environment().clone();
    described.process.command = vec!["./missing".into()];
    let local = Local::new(&site.environment.dir, launcher(), described).unwrap();
    let tree = app("3.0.0", "good");
    let cancel = CancellationToken::new();
    let deployed =
        local.deploy(tree.package("3.0.0"), tree.shared(), Arc::new(|_| {}), &mut |_| {}, &cancel).await;
    let error = deployed.unwrap_err();
    assert!(matches!(error, DriveError::Command(CommandError::NotInPackage { .. })), "{error}");
    assert_eq!(site.environment.programs(), programs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_ends_is_told_at_once_with_its_own_last_lines() {
    // The deadline is longer than any test: only giving up ends the questions.
    let site = Site::with(|environment| environment.health.deadline_seconds = 100_000);
    site.deploy("1.0.0").await;
    let crashed = failure(site.try_deploy("2.0.0", "crash").await.0);
    let text = crashed.to_string();
    assert!(text.contains("it ended by itself 5 times: exit code 1"), "{text}");
    assert!(text.contains("| no configuration, no service"), "{text}");
    assert!(!crashed.reason.remedy.unwrap().contains("PORT"));
    let ended = failure(site.try_deploy("3.0.0", "nothing-to-do").await.0);
    let text = ended.to_string();
    assert!(text.contains("it ended by itself 5 times: exit code 0"), "{text}");
    assert!(text.contains("| 3.0.0 starts") && !text.contains("2.0.0 starts"), "{text}");
    assert!(!text.contains("no configuration"), "{text}");
    assert!(ended.reason.remedy.unwrap().contains("foreground"));
    assert_eq!(site.version().await, "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_accepts_and_never_answers_is_told_so() {
    let site = Site::with(|environment| environment.health.deadline_seconds = 2);
    let failed = failure(site.try_deploy("1.0.0", "mute").await.0);
    let health = failed.health.as_ref().unwrap();
    assert!(matches!(health.last(), Some(Answer::NoAnswer { .. })), "{health:?}");
    assert!(failed.to_string().contains("it accepted the connection and did not answer within"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_fails_after_its_switch_is_taken_back() {
    let site = Site::new();
    let (result, events) = site.try_deploy("1.0.0", "shy").await;
    let failed = failure(result);
    assert_eq!((&failed.ending, failed.was_visible, failed.serving), (&Ending::RolledBack, true, None));
    assert_eq!(fold(&events), DeploymentState::RolledBack);
    assert!(failed.to_string().contains("no release serves"), "{failed}");
    assert!(site.environment.programs().is_empty());
    let status = site.status().await;
    assert!(status.current.is_none() && status.pools.iter().all(|pool| !pool.active));
    assert!(!site.environment.dir.join("current").exists());
    let address = status.url.trim_start_matches("http://").trim_end_matches('/').parse();
    assert_eq!(get(address.unwrap(), "/").await.unwrap().text(), "Nothing is released here yet.\n");
    site.deploy("2.0.0").await;
    assert_eq!(site.version().await, "2.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_releases_that_never_served_go_with_their_files() {
    let site = Site::with(|environment| environment.health.deadline_seconds = 60);
    let mut served = vec![site.deploy("1.0.0").await.release];
    let (result, events) = site.try_deploy("1.1.0", "good").await;
    served.push(result.unwrap().release);
    let planned = events.iter().any(|event| matches!(event, EventKind::DeploymentPlanned { .. }));
    assert!(planned);
    let failed = site.try_deploy("1.2.0", "crash").await.1;
    let release_of = |event: &EventKind| match event {
        EventKind::DeploymentPlanned { release, .. } => Some(*release),
        _ => None,
    };
    let failed = failed.iter().find_map(release_of).unwrap();
    let record = |release: staith_model::Digest| {
        site.environment.dir.join("releases.json").join(format!("{}.json", release.hex()))
    };
    assert!(record(failed).exists());
    for version in ["2.0.0", "3.0.0", "4.0.0"] {
        served.push(site.deploy(version).await.release);
    }
    assert!(!site.home(failed).exists() && !record(failed).exists());
    // What has served is remembered, also when its files are gone.
    assert!(!site.home(served[0]).exists());
    assert!(served.iter().all(|release| record(*release).exists()));
    assert!(status(&site.environment.dir).await.is_ok());
}
