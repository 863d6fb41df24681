//! `staith status`.

use clap::Args;
use staith_model::Exit;
use staith_releaser::{
    drive::{self, AttemptResult, KeeperLine, PoolLine, ReleaseLine},
    keeper::PoolPhase,
};

use super::place::{Known, Place};
use crate::{
    clock,
    home::Home,
    output::{self, DeploymentStatus, EnvironmentStatus, OutputMode, PoolStatus, Problem, ReleaseStatus},
};

/// Say what is released on this machine, and how it is
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        let mut environments = Vec::new();
        for known in self.place.some_of(&home) {
            let status = drive::status(&known.directory).await?;
            environments.push(for_people(&known, &status));
        }
        output::status(&environments, mode.is_json(), clock::unix_millis());
        Ok(Exit::Passed)
    }
}

fn for_people(known: &Known, status: &drive::EnvironmentStatus) -> EnvironmentStatus {
    let (keeper_pid, not_running) = match &status.keeper {
        KeeperLine::Running { pid, .. } => (Some(*pid), None),
        KeeperLine::NotRunning { remedy } => (None, Some(remedy.clone())),
    };
    EnvironmentStatus {
        project: known.project.to_string(),
        environment: known.environment.to_string(),
        url: Some(status.url.clone()),
        keeper_pid,
        not_running,
        release: status.current.as_ref().map(release),
        since: status.since,
        pools: status.pools.iter().map(pool).collect(),
        other_releases: status.previous.iter().chain(&status.others).map(release).collect(),
        last_deployment: status.last.as_ref().map(|last| DeploymentStatus {
            id: last.deployment.to_string(),
            state: result(last.result, status.deploying).to_owned(),
            succeeded: last.result == AttemptResult::Succeeded,
            at: last.ended.unwrap_or(last.began),
            reason: last.why.clone(),
        }),
    }
}

fn release(line: &ReleaseLine) -> ReleaseStatus {
    let package = line.package.as_ref().map(|(name, version)| format!("{name}@{version}"));
    ReleaseStatus {
        digest: line.release.short(),
        package: package.unwrap_or_else(|| "unreadable".to_owned()),
    }
}

fn pool(line: &PoolLine) -> PoolStatus {
    PoolStatus {
        name: line.pool.to_string(),
        phase: phase(line.phase).to_owned(),
        serves: line.active,
        release: line.release.as_ref().map(|release| release.release.short()),
        port: line.port,
        pid: line.pid,
        in_flight: line.pid.map(|_| line.in_flight),
        restarts: u64::from(line.restarts),
    }
}

const fn phase(phase: PoolPhase) -> &'static str {
    match phase {
        PoolPhase::Empty => "empty",
        PoolPhase::Starting => "starting",
        PoolPhase::Running => "running",
        PoolPhase::Restarting => "restarting",
        PoolPhase::Stopping => "stopping",
        PoolPhase::Stopped => "stopped",
    }
}

const fn result(result: AttemptResult, deploying: bool) -> &'static str {
    match result {
        AttemptResult::Unfinished if deploying => "under way",
        AttemptResult::Unfinished => "interrupted",
        AttemptResult::Succeeded => "succeeded",
        AttemptResult::RolledBack => "rolled back",
        AttemptResult::RollbackFailed => "rollback failed",
        AttemptResult::NeedsDecision => "needs a decision",
    }
}
