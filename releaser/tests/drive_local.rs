//! Deployments to this machine, with a real keeper, real files and a real application.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod drive_support;
#[path = "drive_support/site.rs"]
mod site;
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use drive_support::{fold, operations};
use site::{Site, app, failure};
use staith_model::{DeploymentState, Digest, EventKind};
use staith_releaser::{
    drive::{DriveError, Ending, KeeperLine, Local, LockError, status, stop},
    health::{Answer, Verdict},
    keeper::Pool,
};
use support::{
    environment::{kill, launcher, until_gone},
    load::{Habit, Load},
    until,
};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn releases_replace_each_other_under_load_and_no_request_is_lost() {
    let site = Site::new();
    let first = site.deploy("1.0.0").await;
    assert_eq!((first.pool, first.previous), (Pool::Blue, None));
    let KeeperLine::Running { listen, .. } = site.status().await.keeper else { panic!("no keeper") };
    let number = |answer: &support::client::Answer| {
        answer.text().split('.').next().and_then(|major| major.parse::<usize>().ok()).map(|major| major - 1)
    };
    let clients = [(Habit::Keep, 4), (Habit::OneShot, 2), (Habit::KeepWriting, 2)];
    let load = Load::start(listen, "/", &clients, number);
    for version in ["2.0.0", "3.0.0"] {
        load.let_through(50).await;
        load.progress.begin();
        site.deploy(version).await;
        load.progress.returned();
        load.let_through(50).await;
    }
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?} of {}", tally.failures.first(), tally.answered);

    // The way back, under load as well; which release answers is not in order then.
    let load = Load::start(listen, "/", &clients, |answer| (answer.status == 200).then_some(0));
    load.let_through(50).await;
    let back = site.rollback(None).await.unwrap();
    println!("warm rollback under load: {:?}", back.took);
    assert_eq!(site.version().await, "2.0.0");
    load.let_through(50).await;
    let forward = site.rollback(None).await.unwrap();
    assert_eq!(site.version().await, "3.0.0");
    load.let_through(50).await;
    let tally = load.stop().await;
    assert!(tally.failures.is_empty(), "{:?} of {}", tally.failures.first(), tally.answered);
    assert_eq!((back.previous, forward.previous), (Some(forward.release), Some(back.release)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_release_again_changes_nothing() {
    let site = Site::new();
    let first = site.deploy("1.0.0").await;
    let answer = site.answer().await;
    let (again, events) = site.try_deploy("1.0.0", "good").await;
    let again = again.unwrap();
    assert!(again.already && !first.already);
    assert_eq!((again.release, again.pool), (first.release, first.pool));
    assert_eq!(fold(&events), DeploymentState::Succeeded);
    assert!(
        operations(&events).iter().all(|(words, already)| *already || words.starts_with("ask ")),
        "{events:?}"
    );
    assert_eq!(site.answer().await, answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_a_warm_pool_starts_nothing() {
    let site = Site::new();
    site.deploy("1.0.0").await;
    let old = site.answer().await;
    site.deploy("2.0.0").await;
    let new = site.answer().await;
    site.rollback(None).await.unwrap();
    assert_eq!(site.answer().await, old);
    // The pool in use, the record and the pointer are three witnesses.
    let status = site.status().await;
    let active = status.pools.iter().find(|pool| pool.active).unwrap().release.clone();
    assert_eq!(active, status.current);
    let current = active.unwrap();
    assert_eq!(current.package.unwrap().1.as_str(), "1.0.0");
    assert_eq!(status.previous.unwrap().package.unwrap().1.as_str(), "2.0.0");
    let pointer = site.environment.dir.join("current").canonicalize().unwrap();
    assert_eq!(pointer, site.home(current.release));
    site.rollback(None).await.unwrap();
    assert_eq!(site.answer().await, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_within_retention_comes_back_cold_and_one_beyond_is_named_as_gone() {
    let site = Site::new();
    let mut releases = Vec::new();
    for version in ["1.0.0", "2.0.0", "3.0.0", "4.0.0"] {
        releases.push(site.deploy(version).await.release);
    }
    // Two in the pools, one more kept.
    assert!(!site.home(releases[0]).exists());
    assert!(site.home(releases[1]).exists());
    let others: Vec<Digest> = site.status().await.others.iter().map(|line| line.release).collect();
    assert_eq!(others, [releases[1]]);
    assert_eq!(site.status().await.previous.map(|line| line.release), Some(releases[2]));
    let error = site.rollback(Some(releases[0])).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, DriveError::BeyondRetention { .. }), "{text}");
    assert!(
        text.contains("demo@2.0.0") && text.contains("demo@3.0.0") && !text.contains("demo@4.0.0"),
        "{text}"
    );
    site.rollback(Some(releases[1])).await.unwrap();
    assert_eq!(site.version().await, "2.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_must_be_something_to_go_back_to() {
    let site = Site::new();
    let dir = &site.environment.dir;
    assert!(matches!(status(dir).await, Err(DriveError::NeverDeployed { .. })));
    assert!(matches!(Local::open(dir, launcher()).await, Err(DriveError::NeverDeployed { .. })));
    site.deploy("1.0.0").await;
    let reopened = Local::open(dir, launcher()).await.unwrap();
    let error = reopened.rollback(None, &mut |_| {}, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, DriveError::NothingToGoBackTo { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_not_healthy_gets_no_request_and_the_error_says_what_to_do() {
    let site = Site::with(|environment| environment.health.deadline_seconds = 3);
    site.deploy("1.0.0").await;
    let before = site.answer().await;
    let silent = site.try_deploy("2.0.0", "silent").await;
    let failed = failure(silent.0);
    assert_eq!(fold(&silent.1), DeploymentState::RolledBack);
    assert_eq!((&failed.ending, failed.was_visible), (&Ending::RolledBack, false));
    let text = failed.to_string();
    for part in [
        "http://127.0.0.1:",
        "/health was asked ",
        "connection refused",
        "2.0.0 starts",
        "green",
        "no request was moved",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(failed.reason.remedy.unwrap().contains("PORT"));
    assert_eq!(site.answer().await, before);

    let broken = failure(site.try_deploy("2.0.1", "broken").await.0);
    assert_eq!(broken.health.unwrap().last(), Some(&Answer::BadStatus(500)));
    let crashed = failure(site.try_deploy("2.0.2", "crash").await.0);
    assert!(crashed.to_string().contains("no configuration, no service"), "{crashed}");
    assert_eq!(site.answer().await, before);
    // What was started for nothing is gone.
    let status = site.status().await;
    let busy: Vec<_> =
        status.pools.iter().filter(|pool| pool.release.is_some()).map(|pool| pool.active).collect();
    assert_eq!(busy, [true]);
    assert!(status.last.unwrap().why.unwrap().contains("not healthy"));
    site.deploy("3.0.0").await;
    assert_eq!(site.version().await, "3.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_another_releases_header_is_no_proof() {
    let site = Site::with(|environment| {
        environment.health.release_header = Some("x-release".into());
        environment.health.deadline_seconds = 3;
    });
    // The header is checked by deploying one that tells the truth, with time enough.
    site.deploy("1.0.0").await;
    let failed = failure(site.try_deploy("2.0.0", "liar").await.0);
    let health = failed.health.as_ref().unwrap();
    assert_eq!(health.verdict, Verdict::Unhealthy);
    assert!(matches!(health.last(), Some(Answer::OtherRelease { found: Some(_), .. })), "{health:?}");
    assert!(failed.reason.remedy.as_ref().unwrap().contains("STAITH_RELEASE"));
    assert_eq!(site.version().await, "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_release_is_built_anew_and_started_from_the_new_files() {
    let site = Site::new();
    let first = site.deploy("1.0.0").await;
    let before = site.answer().await;
    let file = site.home(first.release).join("static/logo.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "changed by somebody").unwrap();
    let again = site.deploy("1.0.0").await;
    assert!(!again.already);
    assert_eq!(fs::read_to_string(&file).unwrap(), "the same in all versions");
    let after = site.answer().await;
    assert_eq!(after.0, "1.0.0");
    assert_ne!(after.1, before.1);
    assert!(site.deploy("1.0.0").await.already);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_stops_the_deployment_before_anything_is_done() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let site = Site::with(|environment| environment.listen = address);
    let (result, events) = site.try_deploy("1.0.0", "good").await;
    let error = result.unwrap_err();
    assert!(matches!(error, DriveError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(events.is_empty());
    assert!(!site.environment.dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_was_killed_is_told_of_and_brought_back_by_the_next_deployment() {
    let site = Site::new();
    site.deploy("1.0.0").await;
    let KeeperLine::Running { pid, .. } = site.status().await.keeper else { panic!("no keeper") };
    kill(pid, "KILL");
    until_gone(pid).await;
    let status = site.status().await;
    let KeeperLine::NotRunning { remedy } = status.keeper else { panic!("{:?}", status.keeper) };
    let current = status.current.unwrap();
    let back = format!("staith rollback guestbook --environment staging --to {}", current.release.short());
    assert!(remedy.contains(&back) && remedy.contains("staith run --release staging"), "{remedy}");
    assert_eq!(current.package.unwrap().1.as_str(), "1.0.0");
    site.deploy("2.0.0").await;
    assert_eq!(site.version().await, "2.0.0");
    assert_eq!(site.status().await.previous.unwrap().package.unwrap().1.as_str(), "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_killed_in_the_middle_is_started_again_and_the_deployment_goes_on() {
    let site = Site::new();
    site.deploy("1.0.0").await;
    let KeeperLine::Running { pid, .. } = site.status().await.keeper else { panic!("no keeper") };
    let (tree, mut killed) = (app("2.0.0", "good"), false);
    let mut events = Vec::new();
    let deployed = site
        .local
        .deploy(
            tree.package("2.0.0"),
            tree.shared(),
            Arc::new(|_| {}),
            &mut |event| {
                let is_start = matches!(&event, EventKind::DeploymentOperation { operation, .. } if operation.starts_with("start"));
                events.push(event);
                if is_start && !std::mem::replace(&mut killed, true) {
                    kill(pid, "KILL");
                }
            },
            &CancellationToken::new(),
        )
        .await;
    deployed.unwrap_or_else(|error| panic!("{error}"));
    assert!(killed);
    assert_eq!(fold(&events), DeploymentState::Succeeded);
    assert_eq!(site.version().await, "2.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_stops_what_was_started_and_leaves_what_serves() {
    let site = Site::new();
    site.deploy("1.0.0").await;
    let before = site.answer().await;
    let (tree, cancel, mut events) = (app("2.0.0", "silent"), CancellationToken::new(), Vec::new());
    let inner = cancel.clone();
    let result = site
        .local
        .deploy(
            tree.package("2.0.0"),
            tree.shared(),
            Arc::new(|_| {}),
            &mut |event| {
                if matches!(&event, EventKind::DeploymentOperation { operation, .. } if operation.starts_with("start")) {
                    inner.cancel();
                }
                events.push(event);
            },
            &cancel,
        )
        .await;
    let failed = failure(result);
    assert!(failed.cancelled);
    assert_eq!(failed.ending, Ending::RolledBack);
    assert_eq!(fold(&events), DeploymentState::RolledBack);
    assert_eq!(site.answer().await, before);
    assert_eq!(site.environment.programs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_killed_at_any_operation_is_finished_by_the_next() {
    let site = Site::new();
    site.deploy("0.0.0").await;
    // After each event in turn, the future is dropped, as if the process had been killed there.
    for kill_after in 0..40 {
        let version = format!("{}.0.0", kill_after + 1);
        let tree = app(&version, "good");
        let (seen, mut count) = (tokio::sync::Notify::new(), 0);
        let cancel = CancellationToken::new();
        let mut events = |_| {
            count += 1;
            if count == kill_after {
                seen.notify_one();
            }
        };
        let killed = tokio::select! {
            biased;
            () = seen.notified() => true,
            done = site.local.deploy(tree.package(&version), tree.shared(), Arc::new(|_| {}), &mut events, &cancel) => {
                done.unwrap();
                false
            }
        };
        if killed {
            assert!(site.status().await.was_interrupted());
            site.deploy(&version).await;
        }
        assert_eq!(site.version().await, version);
        if !killed && kill_after > 0 {
            return;
        }
    }
    panic!("a deployment has fewer events than this");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_deployment_is_told_who_deploys() {
    let site = Site::new();
    site.deploy("1.0.0").await;
    let lock = fs::File::open(site.environment.dir.join("deploy.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(site.status().await.deploying);
    let mut driver = site.local.driver();
    driver.lock_patience = Duration::ZERO;
    let tree = app("2.0.0", "good");
    let wanted = staith_releaser::drive::Wanted {
        release: staith_releaser::release::freeze(tree.package("2.0.0"), site.local.environment()),
        files: Some(tree.shared()),
        kind: staith_releaser::drive::AttemptKind::Deploy,
        progress: Arc::new(|_| {}),
    };
    let error = driver.drive(wanted, &mut |_| {}, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, DriveError::Lock(LockError::Held { pid: Some(_), .. })), "{error:?}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stopped_comes_back_with_a_rollback_to_it() {
    let site = Site::new();
    let first = site.deploy("1.0.0").await;
    assert!(stop(&site.environment.dir).await.unwrap());
    assert!(!stop(&site.environment.dir).await.unwrap());
    until("all programs are gone", || async { site.environment.programs().is_empty() }).await;
    site.rollback(Some(first.release)).await.unwrap();
    assert_eq!(site.version().await, "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_run_from_the_release_itself_and_not_through_the_pointer() {
    let site = Site::new();
    let first = site.deploy("1.0.0").await;
    let (_, pid) = site.answer().await;
    let here = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(here, site.home(first.release));
    assert!(Path::new(&here).is_absolute());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_package_is_deployed_as_it_was_packed() {
    use staith_packager::web_deploy::{Content, PackageReader, write};
    use staith_releaser::host::{HostError, PackageFiles as _, SealedPackage};

    let site = Site::new();
    let (tree, workplace) = (app("1.0.0", "good"), tempfile::tempdir().unwrap());
    let mut content = Content { manifest: tree.manifest().clone(), ..Content::default() };
    for path in tree.manifest().entries.keys() {
        let at = workplace.path().join(path.as_str().replace('/', "-"));
        tree.copy_file(path, &mut fs::File::create(&at).unwrap()).unwrap();
        content.files.insert(path.clone(), at);
    }
    let zip = workplace.path().join("demo.zip");
    let mut file = fs::File::options().read(true).write(true).create_new(true).open(&zip).unwrap();
    let written = write(&content, &mut file, &staith_packager::stopping::unwatched).unwrap();
    let mut package = tree.package("1.0.0");
    (package.digest, package.size) = (written.digest, written.size);

    let deploy = async |package| {
        let files = SealedPackage::new(PackageReader::open(&zip).unwrap()).unwrap();
        let cancel = CancellationToken::new();
        site.local.deploy(package, Arc::new(files), Arc::new(|_| {}), &mut |_| {}, &cancel).await
    };
    let deployed = deploy(package.clone()).await.unwrap();
    assert_eq!(site.version().await, "1.0.0");
    let logo = site.home(deployed.release).join("static/logo.txt");
    assert_eq!(fs::read_to_string(logo).unwrap(), "the same in all versions");

    // A release that promises another content than this package has.
    package.content = Digest::of(b"another content");
    let failed = failure(deploy(package).await);
    let promised = HostError::NotAsPromised { what: String::new() };
    assert!(failed.reason.what.contains(&promised.to_string()), "{failed}");
    assert_eq!(site.version().await, "1.0.0");
}
