//! What is known of the runs on this machine, from their event logs.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use staith_model::{Event, EventKind, Name, Plan, RunId, RunOutcome, StepOutcome};

/// A run that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRecord {
    pub(crate) id: RunId,
    pub(crate) directory: PathBuf,
    pub(crate) project: Name,
    /// When it began, in milliseconds since 1970.
    pub(crate) began: u64,
    /// Its steps in the order of the plan, and how they ended.
    pub(crate) steps: Vec<(Name, Option<StepOutcome>)>,
    /// The services beside each step that has any.
    pub(crate) services: BTreeMap<Name, Vec<Name>>,
    /// How it ended; a run that was killed has no end.
    pub(crate) outcome: Option<RunOutcome>,
    /// Whether it goes on.
    pub(crate) goes_on: bool,
}

/// The ids of all runs, the newest first.
pub(crate) fn ids(runs: &Path) -> Vec<RunId> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let mut ids: Vec<RunId> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

/// Reads what is known of a run; `None` of one that never came so far as to say what it is.
///
/// # Errors
/// The system refused.
pub(crate) fn read(runs: &Path, id: &RunId) -> io::Result<Option<RunRecord>> {
    let directory = runs.join(id.as_str());
    let events = directory.join("events.jsonl");
    // Asked first: what it says before it ends is then in what is read.
    let goes_on = goes_on(&directory);
    let mut lines = BufReader::new(File::open(events)?);
    let mut line = Vec::new();
    let mut record = None;
    while lines.read_until(b'\n', &mut line)? > 0 {
        take(&line, &directory, &mut record);
        line.clear();
    }
    Ok(record.map(|record: RunRecord| RunRecord { goes_on, ..record }))
}

/// The plan that a run carried out; `None` if that can't be told any more.
pub(crate) fn plan_of(runs: &Path, id: &RunId) -> Option<Plan> {
    let events = BufReader::new(File::open(runs.join(id.as_str()).join("events.jsonl")).ok()?);
    // It is among the first things that a run says.
    events.lines().map_while(Result::ok).take(100).find_map(|line| {
        match serde_json::from_str::<Event>(&line).ok()?.what {
            EventKind::RunStarted { plan, .. } => Some(*plan),
            _ => None,
        }
    })
}

/// Whether somebody is writing the log of the run in this directory.
pub(crate) fn goes_on(directory: &Path) -> bool {
    let opened = File::open(directory.join("events.jsonl"));
    // Given back at once, when the file is closed.
    opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Of a line that can't be read nothing is taken: whoever was killed leaves half a line.
fn take(line: &[u8], directory: &Path, record: &mut Option<RunRecord>) {
    const OUTPUT: &[u8] = br#""event":"step-output""#;
    // Nearly all lines are output, and a quick look at the first bytes tells; a line that only looks so is no loss.
    if line
        .get(..64.min(line.len()))
        .is_some_and(|head| head.windows(OUTPUT.len()).any(|part| part == OUTPUT))
    {
        return;
    }
    let Ok(event) = serde_json::from_slice::<Event>(line) else { return };
    match (event.what, record) {
        (EventKind::RunStarted { run, plan, .. }, record @ None) => {
            *record = Some(RunRecord {
                id: run,
                directory: directory.to_path_buf(),
                project: plan.project,
                began: event.at,
                services: plan
                    .steps
                    .iter()
                    .filter(|step| !step.services.is_empty())
                    .map(|step| (step.name.clone(), step.services.clone()))
                    .collect(),
                steps: plan.steps.into_iter().map(|step| (step.name, None)).collect(),
                outcome: None,
                goes_on: false,
            });
        }
        (EventKind::StepFinished { step, outcome, .. }, Some(record)) => {
            let known = record.steps.iter_mut().find(|(name, _)| *name == step);
            known.into_iter().for_each(|(_, known)| *known = Some(outcome));
        }
        (EventKind::RunFinished { outcome, .. }, Some(record)) => record.outcome = Some(outcome),
        _ => {}
    }
}
