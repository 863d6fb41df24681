//! A server that is killed between a commit and its answer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod queue_stage;

use std::{os::unix::process::ExitStatusExt as _, path::Path, process::Command, sync::Arc};

use queue_stage::{Stage, digest};
use staith_model::{AttemptId, RunnerId, service::AttemptOutcome};
use staith_server::store::{Actor, Attempts as _, Claim, Finished, Sqlite};

const DATABASE: &str = "STAITH_TEST_KILLED_DATABASE";
const RUNNER: &str = "STAITH_TEST_KILLED_RUNNER";

/// What the test below starts in a process of its own; by itself it has nothing to do.
#[tokio::test]
async fn killed_after_the_commit() {
    let (Ok(database), Ok(runner)) = (std::env::var(DATABASE), std::env::var(RUNNER)) else { return };
    let store = Sqlite::open(Path::new(&database)).unwrap();
    let runner: RunnerId = runner.parse().unwrap();
    let claim = Claim {
        by: Actor { who: format!("runner:{runner}"), from: None },
        runner,
        nonce: "lost".to_owned(),
        attempt: AttemptId::new(7, [7; 10]),
        token: Arc::new(digest),
    };
    store.claim(claim, 7).await.unwrap();
    // The answer is never sent.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_same_question_finds_the_attempt_of_a_server_that_was_killed() {
    let mut stage = Stage::new();
    stage.project("shop");
    let runner = stage.runner("r", "default", &[]);
    stage.add_one("shop").await;
    stage.add_one("shop").await;
    stage.stop();
    let killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_after_the_commit", "--test-threads=1"])
        .env(DATABASE, stage.path())
        .env(RUNNER, runner.as_str())
        .output()
        .unwrap();
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    stage.start();
    let given = stage.given(&runner, "lost").await;
    assert!(
        given.again && given.live.attempt == AttemptId::new(7, [7; 10]),
        "it is the one that was committed"
    );
    let other = stage.given(&runner, "next").await;
    assert_ne!(other.live.attempt, given.live.attempt);
    let finish = stage.finish(&given, AttemptOutcome::Passed);
    assert!(matches!(stage.store().finish(finish, stage.now()).await.unwrap(), Finished::Taken(_)));
}
