//! An environment on this machine with a real keeper and a real application, as the command line deploys to it.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it, as a module of its own")]

use std::{path::PathBuf, sync::Arc};

use staith_model::{DeploymentState, Digest, EventKind, LocalEnvironment};
use staith_releaser::drive::{Deployed, DriveError, EnvironmentStatus, Failure, KeeperLine, Local, status};
use tokio_util::sync::CancellationToken;

use crate::{
    drive_support::{self, Tree, fold},
    support::{
        client::get,
        environment::{Environment, launcher},
    },
};

pub struct Site {
    pub local: Local,
    // Ends keeper and programs when dropped.
    pub environment: Environment,
}

pub fn app(version: &str, mode: &str) -> Tree {
    Tree::of(&[
        ("app.py", include_bytes!("app.py")),
        ("version.txt", version.as_bytes()),
        ("mode.txt", mode.as_bytes()),
        ("static/logo.txt", b"the same in all versions"),
    ])
}

impl Site {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut LocalEnvironment)) -> Self {
        let environment = Environment::new();
        let python = environment.spec(0, &[]).command[0].clone();
        let mut described = drive_support::environment(&[&python, "-B", "app.py"]);
        change(&mut described);
        let local = Local::new(&environment.dir, launcher(), described).unwrap();
        Self { local, environment }
    }

    pub async fn try_deploy(
        &self,
        version: &str,
        mode: &str,
    ) -> (Result<Deployed, DriveError>, Vec<EventKind>) {
        let (tree, mut events) = (app(version, mode), Vec::new());
        let result = self
            .local
            .deploy(
                tree.package(version),
                tree.shared(),
                Arc::new(|_| {}),
                &mut |event| events.push(event),
                &CancellationToken::new(),
            )
            .await;
        (result, events)
    }

    pub async fn deploy(&self, version: &str) -> Deployed {
        let (result, events) = self.try_deploy(version, "good").await;
        let deployed = result.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(fold(&events), DeploymentState::Succeeded);
        deployed
    }

    pub async fn rollback(&self, to: Option<Digest>) -> Result<Deployed, DriveError> {
        self.local.rollback(to, &mut |_| {}, &CancellationToken::new()).await
    }

    pub async fn status(&self) -> EnvironmentStatus {
        status(&self.environment.dir).await.unwrap()
    }

    /// What a client is told: the version, and the process that says so.
    pub async fn answer(&self) -> (String, u32) {
        let KeeperLine::Running { listen, .. } = self.status().await.keeper else { panic!("no keeper") };
        let answer = get(listen, "/").await.unwrap();
        let mut words = answer.text().split(' ');
        let (version, pid) = (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap());
        assert_eq!(words.next().unwrap(), format!("demo@{version}"));
        (version, pid)
    }

    pub async fn version(&self) -> String {
        self.answer().await.0
    }

    pub fn home(&self, release: Digest) -> PathBuf {
        self.environment.dir.join("releases").join(release.hex())
    }
}

pub fn failure(result: Result<Deployed, DriveError>) -> Failure {
    match result {
        Err(DriveError::Failed(failure)) => *failure,
        other => panic!("{other:?}"),
    }
}
