//! `staith runs logs`.

mod follow;
mod log;

use std::collections::BTreeMap;

use clap::Args;
use staith_model::{Exit, Name, RunId};
use staith_server::streams::Listed;

use self::log::{Log, Shown};

use crate::{
    client::{
        WhichRun,
        people::{People, Server},
    },
    output::{OutputMode, Problem},
};

/// Show what the steps of a run wrote, each line with its time (UTC) and step
///
/// Of each job the last attempt, also while it goes on. Secrets are masked. Control sequences other than colours are made visible
/// or left out. Where a log is not whole, it is said, and the exit code is 30.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The run: its id, or PROJECT#NUMBER
    run: WhichRun,
    /// The step; all of them if not given
    step: Option<Name>,
    /// Go on as the run goes on, to its end
    #[arg(long, short)]
    follow: bool,
    /// What the steps wrote, byte for byte (masked), without times; it may hold control sequences
    #[arg(long)]
    raw: bool,
    /// What an earlier attempt wrote, by its number
    #[arg(long, value_name = "NUMBER", conflicts_with = "follow")]
    attempt: Option<u32>,
}

impl Logs {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let people = server.open()?;
        let run = self.run.find(&people).await?;
        if self.follow {
            return follow::follow(people, run, self.step, self.raw, mode).await;
        }
        let all = list(&people, &run).await?;
        let wanted = chosen(&all, self.step.as_ref(), self.attempt);
        if wanted.is_empty() {
            return Err(none(&run, &all, self.step.as_ref(), self.attempt));
        }
        let logs: Vec<Log> = wanted.into_iter().map(Log::of).collect();
        let mut shown = Shown::on_stdout(self.raw, logs.iter().map(Log::step), mode);
        let mut exit = Exit::Passed;
        if self.raw {
            for mut log in logs {
                while !shown.is_gone()
                    && let Some(bytes) = log.piece(&people).await?
                {
                    shown.bytes(&mut log, &bytes)?;
                }
                exit = shown.end(&mut log, exit)?;
            }
        } else {
            exit = merged(&people, logs, &mut shown).await?;
        }
        shown.finish()?;
        Ok(exit)
    }
}

/// The streams of a run.
async fn list(people: &People, run: &RunId) -> Result<Vec<Listed>, Problem> {
    people.get_again(&format!("/api/v1/runs/{run}/streams")).await
}

/// The logs that are wanted: of each job's last attempt that has any, or of the one with this number.
fn chosen(all: &[Listed], step: Option<&Name>, attempt: Option<u32>) -> Vec<Listed> {
    let mut last: BTreeMap<&Name, u32> = BTreeMap::new();
    for stream in all {
        let number = last.entry(&stream.job).or_default();
        *number = stream.number.max(*number);
    }
    let is_wanted = |stream: &&Listed| {
        let of = log::step_of(stream);
        of.is_some()
            && step.is_none_or(|step| of.as_ref() == Some(step))
            && attempt.or(last.get(&stream.job).copied()) == Some(stream.number)
    };
    all.iter().filter(is_wanted).cloned().collect()
}

fn none(run: &RunId, all: &[Listed], step: Option<&Name>, attempt: Option<u32>) -> Problem {
    let of = |name: &Name| format!("no log of the step {name}");
    let what = step.map_or_else(|| "no log".to_owned(), of);
    let what = match attempt {
        Some(number) => format!("the run {run} has {what} in its attempt {number}"),
        None => format!("the run {run} has {what}"),
    };
    let mut steps: Vec<String> = all.iter().filter_map(log::step_of).map(|step| step.to_string()).collect();
    steps.sort_unstable();
    steps.dedup();
    let problem = Problem::new(Exit::Usage, what);
    if steps.is_empty() {
        problem.with_why("no step of it has written anything yet, or all were known to pass").with_remedy(
            "`staith runs show RUN` says how it stands; --follow waits for what its steps will write",
        )
    } else {
        problem.with_why(format!("there are logs of {}", steps.join(", ")))
    }
}

/// All lines in the order of their times, a piece of each log in memory.
async fn merged(people: &People, mut logs: Vec<Log>, shown: &mut Shown) -> Result<Exit, Problem> {
    loop {
        for log in &mut logs {
            log.fill(people).await?;
        }
        let first = logs.iter_mut().filter(|log| log.next().is_some());
        let Some(log) = first.min_by_key(|log| log.next().map_or(u64::MAX, |line| line.at)) else { break };
        shown.next_of(log);
        if shown.is_gone() {
            return Ok(Exit::Passed);
        }
    }
    let mut exit = Exit::Passed;
    for log in &mut logs {
        exit = shown.end(log, exit)?;
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use staith_model::AttemptId;

    use super::*;

    fn stream(job: &str, number: u32, name: &str) -> Listed {
        Listed {
            attempt: AttemptId::new(1, [u8::try_from(number).unwrap(); 10]),
            job: job.parse().unwrap(),
            number,
            live: false,
            name: name.to_owned(),
            length: 1,
            digest: None,
            cut: false,
            divergent: false,
        }
    }

    #[test]
    fn of_each_job_the_last_attempt_is_shown() {
        let all = [
            stream("run", 1, "log.build"),
            stream("run", 1, "log.test"),
            stream("run", 2, "events"),
            stream("run", 2, "log.build"),
            stream("lint", 1, "log.lint"),
        ];
        let names = |step: Option<&str>, attempt| {
            let step = step.map(|step| step.parse().unwrap());
            let chosen = chosen(&all, step.as_ref(), attempt);
            chosen.iter().map(|it| format!("{}{}", it.name, it.number)).collect::<Vec<_>>()
        };
        assert_eq!(names(None, None), ["log.build2", "log.lint1"]);
        assert_eq!(names(Some("build"), None), ["log.build2"]);
        assert_eq!(names(None, Some(1)), ["log.build1", "log.test1", "log.lint1"]);
        assert_eq!(names(Some("test"), None), Vec::<String>::new(), "the last attempt did not come so far");
    }
}
