//! `staith runner list`.

use clap::Args;
use staith_model::Exit;

use crate::{
    home::Home,
    output::{self, OutputMode, Problem, RunnerJob},
    worker::{Job, Registration, Rooms},
};

/// Show what this host is a runner of, whether it runs, and which jobs it has
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

impl Arguments {
    pub(crate) fn obey(self, mode: OutputMode) -> Result<Exit, Problem> {
        let rooms = Rooms::of(&Home::find()?);
        let registration = Registration::of(&rooms)?;
        let jobs: Vec<RunnerJob> =
            rooms.attempts().iter().filter_map(|attempt| shown(&Job::of(&rooms, attempt))).collect();
        output::runner_listed(&registration, rooms.is_running(), rooms.is_draining(), &jobs, mode)
            .map_err(|lost| Problem::unwritable(&lost))?;
        Ok(Exit::Passed)
    }
}

/// A job that is put away meanwhile is not shown.
fn shown(job: &Job) -> Option<RunnerJob> {
    let claimed = job.claim().ok()?.claimed;
    let state = match (job.ended().is_some(), job.is_kept(), job.wanted().is_some()) {
        (true, ..) => "has ended; waits for the server",
        (false, true, true) => "is being ended",
        (false, true, false) => "runs",
        (false, false, _) => "waits for its keeper",
    };
    Some(RunnerJob {
        attempt: claimed.attempt,
        project: claimed.job.project,
        number: claimed.job.number,
        name: claimed.job.name,
        state,
    })
}
