//! `staith runs watch`.

mod ending;
mod events;

use std::time::Duration;

use clap::Args;
use staith_model::{
    AttemptId, Digest, Exit, Name, RunId,
    service::{AttemptState, AttemptView, RunView},
};
use tokio_util::sync::CancellationToken;

use self::{ending::exit_of, events::Screen};

use crate::{
    client::{
        Piece, Stream, WhichRun,
        people::{People, Server},
    },
    interrupt,
    output::{self, OutputMode, Problem},
};

/// How often it is asked how the run stands.
const LOOK: Duration = Duration::from_millis(300);

/// Follow a run to its end
///
/// Shows what `staith run` shows, by the same events, and ends with the exit code that it would end with. The run goes on whether
/// anybody watches or not.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The run: its id, or PROJECT#NUMBER
    run: WhichRun,
}

impl Watch {
    pub(super) async fn obey(self, server: &Server, mode: OutputMode) -> Result<Exit, Problem> {
        let stop = interrupt::listen_for_an_end()?;
        let people = server.open()?;
        let run = self.run.find(&people).await?;
        let mut watching = Watching { people, run, mode, seen: Vec::new(), told: None };
        tokio::select! {
            () = stop.cancelled() => Err(interrupt::stopped("the run goes on")),
            ended = watching.follow(&stop) => ended,
        }
    }
}

struct Watching {
    people: People,
    run: RunId,
    mode: OutputMode,
    /// Attempts that were shown.
    seen: Vec<AttemptId>,
    /// What was said last of what the run waits for.
    told: Option<String>,
}

impl Watching {
    async fn follow(&mut self, stop: &CancellationToken) -> Result<Exit, Problem> {
        loop {
            let view = self.view().await?;
            if let Some((job, attempt)) = self.next(&view) {
                self.seen.push(attempt.id.clone());
                if view.jobs.len() > 1 || attempt.number > 1 {
                    output::server_attempt_begins(&job, &attempt, self.mode)
                        .map_err(|lost| Problem::unwritable(&lost))?;
                }
                if !self.show(&attempt, view.run.plan_digest).await? {
                    // Nobody reads any more.
                    return Ok(Exit::Passed);
                }
                continue;
            }
            if view.run.state.is_over() {
                output::server_run_told(&view, self.mode).map_err(|lost| Problem::unwritable(&lost))?;
                return Ok(exit_of(&view));
            }
            self.say_what_it_waits_for(&view);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn view(&self) -> Result<RunView, Problem> {
        self.people.get_again(&format!("/api/v1/runs/{}", self.run)).await
    }

    /// The attempt that is to be shown now: one that goes on, or the last of a job. Those that ended before anybody looked are told by
    /// `show`.
    fn next(&self, view: &RunView) -> Option<(Name, AttemptView)> {
        let last = view.jobs.iter().filter_map(|job| Some((&job.name, job.attempts.last()?)));
        let new = last.filter(|(_, attempt)| !self.seen.contains(&attempt.id));
        new.min_by_key(|(_, attempt)| attempt.began).map(|(job, attempt)| (job.clone(), attempt.clone()))
    }

    /// Shows an attempt to its end; `plan` is that of the run. Whether anybody reads.
    async fn show(&self, attempt: &AttemptView, plan: Digest) -> Result<bool, Problem> {
        let screen = Screen::open(self.mode, plan);
        let mut events = Stream::of(&attempt.id, "events");
        while let Piece::Bytes(bytes) = events.next(&self.people).await? {
            if !screen.take(&bytes).await {
                return Ok(false);
            }
        }
        let ended = self.end_of(&attempt.id).await?;
        let millis = ended.ended.unwrap_or(ended.began).saturating_sub(ended.began);
        let log = format!("staith runs logs {}", self.run);
        screen.finish(ending::of_attempt(&ended), millis, log).await.map(|()| true)
    }

    /// The attempt once it has ended. Its events may have come before that.
    async fn end_of(&self, attempt: &AttemptId) -> Result<AttemptView, Problem> {
        loop {
            let view = self.view().await?;
            let all = view.jobs.into_iter().flat_map(|job| job.attempts);
            let found = all.into_iter().find(|it| it.id == *attempt);
            match found {
                Some(found) if found.state != AttemptState::Leased => return Ok(found),
                Some(_) => tokio::time::sleep(LOOK).await,
                None => return Err(Problem::bug("the server has forgotten an attempt")),
            }
        }
    }

    fn say_what_it_waits_for(&mut self, view: &RunView) {
        let of_jobs = view.jobs.iter().find_map(|job| {
            let why = job.why.as_ref()?;
            Some(format!("job {}: {}: {why}", job.name, job.state))
        });
        let now = view.run.why.clone().or(of_jobs);
        if now != self.told {
            if let Some(now) = &now {
                output::notice(now, self.mode);
            }
            self.told = now;
        }
    }
}
