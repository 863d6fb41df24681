//! `staith status`.

use clap::Args;
use staith_model::{Exit, Name};
use staith_releaser::{
    drive::{self, AttemptResult, KeeperLine, PoolLine, ReleaseLine},
    keeper::PoolPhase,
};

use super::place::{self, Known, Place};
use crate::{
    clock,
    home::Home,
    output::{self, DeploymentStatus, EnvironmentStatus, OutputMode, PoolStatus, Problem, ReleaseStatus},
    records::{self, RunRecord},
};

/// Say what is released on this machine, and how it is
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The project; all of them if not given
    project: Option<Name>,
    /// The environment; all of them if not given
    #[arg(long, short, value_name = "NAME")]
    environment: Option<Name>,
}

impl Arguments {
    pub(crate) async fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let home = Home::find()?;
        if let Some(run) = self.killed_run(&home) {
            output::notice(&was_killed(&run), mode);
        }
        let place = Place { project: self.project, environment: self.environment };
        let (mut environments, mut exit) = (Vec::new(), Exit::Passed);
        for known in place.some_of(&home)? {
            environments.push(match drive::status(&known.directory).await {
                Ok(status) => for_people(&known, &status),
                Err(error) => {
                    // The others are to be seen all the same.
                    exit = [exit, error.exit()].into_iter().max_by_key(|exit| exit.code()).unwrap_or(exit);
                    unreadable(&known, Problem::from(error))
                }
            });
        }
        output::status(&environments, mode.is_json(), clock::unix_millis())
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(exit)
    }
}

/// Runs that are looked at to find the newest of a project; each takes reading its log.
const RUNS_LOOKED_AT: usize = 20;

impl Arguments {
    /// The newest run of the project that is meant, if it was killed: nothing else would say so.
    fn killed_run(&self, home: &Home) -> Option<RunRecord> {
        let project = self.project.clone().or_else(place::project_here);
        let of_project = |run: &RunRecord| project.as_ref().is_none_or(|project| run.project == *project);
        let runs = home.runs();
        let ids = records::ids(&runs).into_iter().take(RUNS_LOOKED_AT);
        let newest = ids.filter_map(|id| records::read(&runs, &id).ok().flatten()).find(of_project)?;
        (newest.outcome.is_none() && !newest.goes_on).then_some(newest)
    }
}

fn was_killed(run: &RunRecord) -> String {
    let RunRecord { id, project, .. } = run;
    format!(
        "the newest run of {project}, {id}, was killed before it ended; `staith logs {id}` shows how far it came, and \
         `staith run --resume` goes on with it"
    )
}

fn unreadable(known: &Known, problem: Problem) -> EnvironmentStatus {
    let sentences = [Some(problem.what), problem.why, problem.remedy];
    EnvironmentStatus {
        project: known.project.to_string(),
        environment: known.environment.to_string(),
        unreadable: Some(sentences.into_iter().flatten().collect::<Vec<_>>().join("; ")),
        ..EnvironmentStatus::default()
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
        unreadable: None,
        url: Some(status.url.clone()),
        keeper_pid,
        not_running,
        release: status.current.as_ref().map(release),
        since: status.since,
        pools: status.pools.iter().map(pool).collect(),
        previous: status.previous.as_ref().map(release),
        other_releases: others(status).map(release).collect(),
        last_deployment: status.last.as_ref().map(|last| DeploymentStatus {
            id: last.deployment.to_string(),
            under_way: last.result == AttemptResult::Unfinished && status.deploying,
            state: result(last.result, status.deploying).to_owned(),
            succeeded: last.result == AttemptResult::Succeeded,
            at: last.ended.unwrap_or(last.began),
            reason: last.why.clone(),
        }),
    }
}

/// What is on disk but neither serves nor is where a rollback leads.
fn others(status: &drive::EnvironmentStatus) -> impl Iterator<Item = &ReleaseLine> {
    let told: Vec<_> = status.current.iter().chain(&status.previous).map(|line| line.release).collect();
    status.others.iter().filter(move |line| !told.contains(&line.release))
}

fn release(line: &ReleaseLine) -> ReleaseStatus {
    let package = line.package.as_ref().map(|(name, version)| format!("{name}@{version}"));
    ReleaseStatus {
        digest: line.release.to_string(),
        short: line.release.short(),
        package: package.unwrap_or_else(|| "unreadable".to_owned()),
    }
}

fn pool(line: &PoolLine) -> PoolStatus {
    PoolStatus {
        name: line.pool.to_string(),
        phase: phase(line.phase).to_owned(),
        serves: line.active,
        release: line.release.as_ref().map(|release| release.release.to_string()),
        release_short: line.release.as_ref().map(|release| release.release.short()),
        port: line.port,
        pid: line.pid,
        in_flight: line.pid.map(|_| line.in_flight),
        restarts: u64::from(line.restarts),
        last_exit: line.last_exit.clone(),
        log: (line.phase != PoolPhase::Empty).then(|| line.log.display().to_string()),
        is_ill: matches!(line.phase, PoolPhase::Restarting | PoolPhase::Stopped),
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

#[cfg(test)]
mod tests {
    use staith_model::{DeploymentId, Digest};
    use staith_releaser::{
        drive::{Attempt, AttemptKind},
        keeper::Pool,
    };

    use super::*;

    fn line(release: &[u8]) -> ReleaseLine {
        ReleaseLine { release: Digest::of(release), package: None }
    }

    fn known() -> Known {
        let (project, environment) = ("shop".parse().unwrap(), "local".parse().unwrap());
        Known { project, environment, directory: "/srv".into() }
    }

    fn deploying() -> drive::EnvironmentStatus {
        drive::EnvironmentStatus {
            environment: known().environment,
            dir: known().directory,
            url: "http://127.0.0.1:8080/".into(),
            keeper: KeeperLine::NotRunning { remedy: "start it".into() },
            current: Some(line(b"new")),
            since: None,
            previous: Some(line(b"old")),
            pools: vec![PoolLine {
                pool: Pool::Blue,
                active: false,
                release: Some(line(b"old")),
                phase: PoolPhase::Restarting,
                port: None,
                pid: None,
                in_flight: 0,
                restarts: 3,
                last_exit: Some("exit code 3".into()),
                log: "/srv/blue.log".into(),
            }],
            others: vec![line(b"older"), line(b"old"), line(b"oldest")],
            deploying: true,
            last: Some(Attempt {
                deployment: DeploymentId::new(1, [1; 10]),
                kind: AttemptKind::Deploy,
                release: Digest::of(b"newer"),
                began: 1,
                ended: None,
                result: AttemptResult::Unfinished,
                why: None,
            }),
        }
    }

    #[test]
    fn every_release_is_told_of_once() {
        let told = for_people(&known(), &deploying());
        let shorts = |releases: &[ReleaseStatus]| -> Vec<String> {
            releases.iter().map(|release| release.short.clone()).collect()
        };
        assert_eq!(told.previous.unwrap().digest, Digest::of(b"old").to_string());
        let others = [b"older".as_slice(), b"oldest"].map(|release| Digest::of(release).short());
        assert_eq!(shorts(&told.other_releases), others);
    }

    #[test]
    fn a_deployment_is_under_way_only_while_somebody_is_at_it() {
        let last = |deploying_now| {
            let status = drive::EnvironmentStatus { deploying: deploying_now, ..deploying() };
            let last = for_people(&known(), &status).last_deployment.unwrap();
            (last.under_way, last.succeeded, last.state)
        };
        assert_eq!(last(true), (true, false, "under way".to_owned()));
        assert_eq!(last(false), (false, false, "interrupted".to_owned()));
    }

    #[test]
    fn how_a_pool_that_is_ill_ended_is_told() {
        let pool = for_people(&known(), &deploying()).pools.remove(0);
        assert!(pool.is_ill);
        assert_eq!(pool.last_exit.as_deref(), Some("exit code 3"));
        assert_eq!(pool.log.as_deref(), Some("/srv/blue.log"));
    }
}
