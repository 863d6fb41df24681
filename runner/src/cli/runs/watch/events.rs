//! The events of an attempt on the screen, which is written by a thread of its own: whoever does not read holds nothing else up.

use std::thread;

use staith_model::{Digest, Event, EventKind, Exit, RunState};
use tokio::sync::{mpsc, oneshot};

use crate::output::{self, OutputMode, Problem, Summary, Watch};

/// Pieces of events that wait to be shown.
const WAITING: usize = 4;
/// A line of events that is longer is none: the plan in the first one has some megabytes at most.
const LONGEST: usize = 64 << 20;

enum Told {
    Bytes(Vec<u8>),
    End(Summary, oneshot::Sender<Result<(), Problem>>),
}

/// A screen for the events of one attempt.
pub(super) struct Screen {
    to: mpsc::Sender<Told>,
}

impl Screen {
    /// `plan` is the run's: a job has a slice of it, with a digest of its own that nobody saw before.
    pub(super) fn open(mode: OutputMode, plan: Digest) -> Self {
        let (to, told) = mpsc::channel(WAITING);
        let plan = (!mode.is_json()).then_some(plan);
        thread::spawn(move || show(mode, plan, told));
        Self { to }
    }

    /// Shows more of the events. Whether anybody reads.
    pub(super) async fn take(&self, bytes: &[u8]) -> bool {
        self.to.send(Told::Bytes(bytes.to_vec())).await.is_ok()
    }

    /// Shows the end, and waits until all is shown.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) async fn finish(self, exit: Exit, millis: u64, log: String) -> Result<(), Problem> {
        let log = (exit != Exit::Passed).then_some(log);
        let (done, shown) = oneshot::channel();
        let end = Told::End(Summary { exit, millis, url: None, log }, done);
        if self.to.send(end).await.is_err() {
            return Ok(());
        }
        shown.await.unwrap_or(Ok(()))
    }
}

fn show(mode: OutputMode, plan: Option<Digest>, mut told: mpsc::Receiver<Told>) {
    let mut watch = mode.watch();
    let mut fold = Fold { plan, ..Fold::default() };
    while let Some(next) = told.blocking_recv() {
        match next {
            Told::Bytes(bytes) => fold.take(&bytes, watch.as_mut(), mode),
            Told::End(summary, done) => {
                if fold.state.is_some() {
                    watch.finish(&summary);
                }
                let lost = watch.failure().map(|refused| Problem::unwritable(&refused));
                let _ = done.send(lost.map_or(Ok(()), Err));
                return;
            }
        }
        if watch.is_gone() {
            return;
        }
    }
}

/// The events so far.
#[derive(Default)]
struct Fold {
    /// What is shown as the plan's digest in place of what the events say.
    plan: Option<Digest>,
    line: Vec<u8>,
    state: Option<RunState>,
    /// Whether an event can't be what it says; no later one makes sense then.
    broken: bool,
}

impl Fold {
    fn take(&mut self, bytes: &[u8], watch: &mut dyn Watch, mode: OutputMode) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.broken {
                return;
            }
            self.line.extend_from_slice(part);
            let is_whole = part.ends_with(b"\n");
            if is_whole {
                let line = std::mem::take(&mut self.line);
                self.broken = !self.event(&line, watch);
            } else {
                self.broken = self.line.len() > LONGEST;
            }
            if self.broken {
                output::notice(
                    "what the runner says of this attempt can't be understood; it may be of another version",
                    mode,
                );
            }
        }
    }

    /// Whether the event is one that can follow.
    fn event(&mut self, line: &[u8], watch: &mut dyn Watch) -> bool {
        let Ok(mut event) = serde_json::from_slice::<Event>(line) else { return false };
        match (&mut event.what, self.plan) {
            (EventKind::RunStarted { plan_digest, .. }, Some(whole)) => *plan_digest = whole,
            // A path on the runner is nothing that somebody who looks from elsewhere can use.
            (EventKind::PackageMade { path, .. }, Some(_)) => path.clear(),
            _ => {}
        }
        let fits = match &mut self.state {
            Some(state) => state.apply(&event).is_ok(),
            none => {
                *none = RunState::begin(&event).ok();
                none.is_some()
            }
        };
        if let (true, Some(state)) = (fits, &self.state) {
            watch.event(&event, state);
        }
        fits
    }
}
