//! `staith logs`.

mod choice;
mod merge;

use std::{
    io::{self, Write as _},
    path::Path,
    thread,
    time::Duration,
};

use clap::Args;
use staith_builder::step_log::{self, LogReader, LoggedStream};
use staith_model::{Exit, Name, StepOutcome};

use self::merge::Merge;
use super::offered;
use crate::{
    home::Home,
    output::{self, LogView, OutputMode, Problem, RunHeading},
    records::{self, RunRecord},
};

/// Runs that a list shows.
const LISTED: usize = 20;
/// How often a run that goes on is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Show what steps wrote, each line with its time (UTC) and step
///
/// What a service beside a step wrote comes with the step's own lines, marked with the step, a slash and the service.
/// All of it is there, also what a run did not show because there was too much, and of a run that goes on or was killed.
/// Secrets are masked. Control sequences other than colours are made visible or left out.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The run, by its id or the beginning of it; the newest if not given
    #[arg(add = offered::runs())]
    run: Option<String>,
    /// The step, by its name or the beginning of it; all of them if not given
    #[arg(add = offered::steps())]
    step: Option<String>,
    /// Only steps that did not succeed
    #[arg(long)]
    failed: bool,
    /// Go on as the run goes on, to its end
    #[arg(long, short)]
    follow: bool,
    /// What the step wrote, byte for byte (masked), without times and without its services; it may hold control sequences
    #[arg(long, conflicts_with = "follow")]
    raw: bool,
    /// List runs, the newest first
    #[arg(long, conflicts_with_all = ["run", "step", "failed", "follow", "raw"])]
    list: bool,
}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let runs = Home::find()?.runs();
        if self.list {
            return list(&runs, mode);
        }
        let (record, step) = choice::choose(&runs, self.run.as_deref(), self.step.as_deref())?;
        let steps = wanted(&record, step.as_ref(), self.failed);
        let shown = if self.raw {
            raw(&record, &steps)
        } else {
            show(&record, &steps, self.follow && !self.failed, step.is_some(), mode)
        };
        shown.map_err(|refused| unreadable(&record, &refused))?;
        Ok(Exit::Passed)
    }
}

fn list(runs: &Path, mode: OutputMode) -> Result<Exit, Problem> {
    let all = records::ids(runs);
    let read = all.iter().take(LISTED).filter_map(|id| records::read(runs, id).ok().flatten());
    let recorded: Vec<RunRecord> = read.collect();
    let headings: Vec<RunHeading<'_>> = recorded.iter().map(heading).collect();
    output::runs(&headings, mode).map_err(|lost| Problem::unwritable(&lost))?;
    Ok(Exit::Passed)
}

fn heading(record: &RunRecord) -> RunHeading<'_> {
    RunHeading {
        run: record.id.as_str(),
        project: &record.project,
        began: record.began,
        outcome: record.outcome,
        goes_on: record.goes_on,
    }
}

fn wanted<'a>(
    record: &'a RunRecord,
    step: Option<&Name>,
    failed: bool,
) -> Vec<&'a (Name, Option<StepOutcome>)> {
    let is_named = |name: &Name| step.is_none_or(|step| step == name);
    let did_fail = |outcome: Option<StepOutcome>| {
        outcome.is_some_and(|outcome| !outcome.is_success() && outcome != StepOutcome::Skipped)
    };
    record.steps.iter().filter(|(name, outcome)| is_named(name) && (!failed || did_fail(*outcome))).collect()
}

type Steps<'a> = [&'a (Name, Option<StepOutcome>)];

fn show(
    record: &RunRecord,
    steps: &Steps<'_>,
    follow: bool,
    is_named: bool,
    mode: OutputMode,
) -> io::Result<()> {
    let beside = |step: &Name| record.services.get(step).into_iter().flatten().map(|one| Some(one.clone()));
    let writers: Vec<(Name, Option<Name>)> = steps
        .iter()
        .flat_map(|(step, _)| [None].into_iter().chain(beside(step)).map(|service| (step.clone(), service)))
        .collect();
    let mut view = LogView::on_stdout(mode, writers.iter().map(|(step, service)| (step, service.as_ref())));
    view.heading(&heading(record));
    if steps.is_empty() {
        view.say("no step failed");
    }
    let mut merge = Merge::new(record, steps.iter().map(|(name, _)| name));
    loop {
        // Asked before reading: what is written before the run ends is then read.
        let goes_on = follow && records::goes_on(&record.directory);
        while !view.is_gone()
            && let Some(wrote) = merge.next()?
        {
            view.line(&wrote);
        }
        view.show();
        if !goes_on || view.is_gone() {
            break;
        }
        thread::sleep(LOOK_AGAIN);
    }
    merge.unfinished().for_each(|wrote| view.line(&wrote));
    for (name, outcome) in steps {
        if is_named && !step_log::path(&record.directory, name).exists() {
            view.say(&without_log(name, *outcome));
        }
    }
    view.finish()
}

fn without_log(step: &Name, outcome: Option<StepOutcome>) -> String {
    match outcome {
        Some(StepOutcome::Cached) => {
            format!("step {step} was not run: it had passed before with the same inputs")
        }
        Some(StepOutcome::Skipped) => format!("step {step} was not run: a step that it needs did not pass"),
        Some(StepOutcome::Cancelled) => format!("step {step} was cancelled before it was run"),
        Some(_) => format!("step {step} wrote nothing"),
        None => format!("step {step} has not been run"),
    }
}

fn raw(record: &RunRecord, steps: &Steps<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (name, _) in steps {
        let path = step_log::path(&record.directory, name);
        if !path.exists() {
            continue;
        }
        let mut gone = false;
        let copied = LogReader::open(&path)?.bytes(|stream, bytes| match stream {
            LoggedStream::Staith => Ok(()),
            LoggedStream::Out | LoggedStream::Err => out.write_all(bytes).inspect_err(|error| {
                gone = error.kind() == io::ErrorKind::BrokenPipe;
            }),
        });
        if gone {
            return Ok(());
        }
        copied?;
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn unreadable(record: &RunRecord, refused: &io::Error) -> Problem {
    Problem::new(Exit::Environment, format!("the logs in {} can't be shown", record.directory.display()))
        .with_why(refused.to_string())
}
